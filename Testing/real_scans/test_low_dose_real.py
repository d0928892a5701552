"""``lowdose_gan`` and ``vcm`` with shipped weights on a slab of a real pair.

Its low dose is simulated, and measured, as by training/evaluate.py --table any_dose.
"""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.run import run

pytest.importorskip("torch")
pytest.importorskip("monai")

pytestmark = [pytest.mark.real_scans, pytest.mark.usefixtures("training_path")]

DOSE = 0.33
MOST_OF_LOW = 0.5
"""Mean absolute error where tissue enhances, of the full dose, over that of the low-dose scan."""


@pytest.fixture
def task():
    return importlib.import_module("evaluation.any_dose")


@pytest.fixture
def case(task, real_slab):
    """The slab with a low dose; ``pre`` is in the contrast of ``post``."""
    cases = importlib.import_module("evaluation.cases")
    item = cases.Item("slab", "slab", lambda: cases.Scans(dict(real_slab), None))
    (simulated,) = task.doses_of_pairs([item], "mismatched", DOSE, None)
    return simulated.read()


def a_low_dose(task, case, weights=None):
    """Check the low dose that the network makes: closer than linear interpolation, noise and all.

    Guards on one slab; docs/results.md tells more.
    """
    inputs = {"pre": case["pre"], "post": case["post"], "mask": case.mask}
    made = run(Request("lowdose_gan", inputs, {"dose": DOSE}, seed=0, weights=weights)).outputs
    found = task.measure(case, made, case.brain)
    linear = task.measure(case, task.ANY_DOSE.built_in["linear"].make(case, case), case.brain)
    assert found["mae_sigma"] < 0.8 * linear["mae_sigma"], (found, linear)
    assert found["mae_ce"] < 0.9 * linear["mae_ce"], (found, linear)
    assert 0.9 < found["noise_ratio"] < 1.1, found
    assert found["invented"] == 0, found


def test_a_low_dose_has_the_rise_of_its_dose_and_the_noise_of_a_scan(task, case):
    a_low_dose(task, case)


def test_random_weights_do_not_make_one(task, case, random_weights):
    with pytest.raises(AssertionError):
        a_low_dose(task, case, str(random_weights("lowdose_gan").folder))


def a_full_dose(task, case, weights=None):
    """Check the full dose that the network makes of the pre and the low-dose scan."""
    inputs = {"pre": case["pre"], "low": case["low"], "mask": case.mask}
    made = run(Request("vcm", inputs, preset="fast", weights=weights)).outputs["post"].array
    where, full = task.enhancing_in(case), case["post"].array
    left, low = (np.abs(image - full)[where].mean() for image in (made, case["low"].array))
    assert left < MOST_OF_LOW * low, left / low


def test_the_full_dose_comes_back(task, case):
    a_full_dose(task, case)


def test_random_weights_do_not_bring_it_back(task, case, random_weights):
    with pytest.raises(AssertionError):
        a_full_dose(task, case, str(random_weights("vcm").folder))
