"""``hrfcn`` with shipped weights on a slab of a real patient, measured as by --table enhance.

It cannot see what is not in its inputs; that it is ahead of T1 as it is, is all that is asked.
"""

from __future__ import annotations

import importlib

import pytest

from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.run import run

pytest.importorskip("torch")
pytest.importorskip("monai")

pytestmark = [pytest.mark.real_scans, pytest.mark.usefixtures("training_path")]
CASE, SLICES = "open_ms_p07", 8


@pytest.fixture
def task():
    return importlib.import_module("evaluation.enhance")


@pytest.fixture
def case(task, real_scans):
    cases = importlib.import_module("evaluation.cases")
    items = cases.items_in_folder(real_scans, "test", task.OTHERS)
    (item,) = (item for item in items if item.name == CASE)
    (cut,) = task.about_most_uptake([item], SLICES)
    return cut.read()


def a_guess(task, case, weights=None):
    """Check the full dose that the network guesses."""
    inputs = {role: case[role] for role in ("pre", "t2", "flair")}
    made = run(Request("hrfcn", inputs, weights=weights)).outputs
    found = task.measure(case, made, case.brain)
    t1 = task.measure(case, {"post": case["pre"]}, case.brain)
    assert found["auc"] > 0.75, found
    assert found["psnr_rising_db"] > t1["psnr_rising_db"] + 1.0, (found, t1)
    assert found["psnr_brain_db"] > t1["psnr_brain_db"] + 0.8, (found, t1)
    assert found["lesions_found"] == 1, found


def test_a_guess_is_ahead_of_t1_as_it_is(task, case):
    a_guess(task, case)


def test_random_weights_do_not_make_one(task, case, random_weights):
    with pytest.raises(AssertionError):
        a_guess(task, case, str(random_weights("hrfcn").folder))
