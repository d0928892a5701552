"""LIP-CAR with the signal equation, on low doses simulated from real pairs with other settings."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from ContrastSynthLib.metrics import mae

pytest.importorskip("torch")
pytestmark = pytest.mark.real_scans
CASES = ("brats20_186", "tcga_fg_6692", "open_ms_p07")
NOISE = 0.03


ROWS = {
    "LIP": "a=lip_car,forward=physics,prior=gentv,guess=pre",
    "LIP from the difference": "a=lip_car,forward=physics,prior=gentv,guess=difference",
    "pre": "a=pre",
    "difference": "a=difference",
    "denoised difference": "a=difference,denoiser=nlm",
}


@pytest.fixture(scope="module")
def modules(training_path):
    names = ("cases", "low_dose", "low_to_full", "rows")
    return [importlib.import_module(f"evaluation.{name}") for name in names]


@pytest.mark.parametrize("case", CASES)
def test_it_beats_the_differences_and_its_guess(real_scans, modules, case):
    """The solver does not know settings, relaxivity, gain and noise of the simulation."""
    cases, low_dose, low_to_full, rows = modules
    (pair,) = [item for item in cases.items_in_folder(real_scans, "test") if item.name == case]
    (item,) = low_dose.simulated_items([pair], "mismatched", NOISE, slices=6)
    scans, task = item.read(), low_to_full.LOW_TO_FULL
    where, truth = task.uptake(scans), scans["post"].array
    left = {}
    for name, text in ROWS.items():
        made = rows.synthesise(rows.Row.parse(text, task), task, scans, scans)["post"].array
        left[name] = mae(truth, made, mask=where)
    best = min(left["difference"], left["denoised difference"])
    assert left["LIP"] < 0.8 * best
    assert left["LIP"] < 0.5 * left["pre"]
    assert left["LIP from the difference"] < left["denoised difference"]
    assert np.isfinite(list(left.values())).all()
