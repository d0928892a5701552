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


@pytest.fixture(scope="module")
def scripts(training_path):
    return [importlib.import_module(n) for n in ("low_dose_cases", "evaluate_lip_car")]


@pytest.mark.parametrize("case", CASES)
def test_it_beats_the_differences_and_its_guess(real_scans, scripts, case):
    """Settings, relaxivity, gain and noise of the simulation are not told to the solver."""
    cases, evaluation = scripts
    items = cases.real_cases(real_scans, "mismatched", NOISE, slices=6)
    scans = next(item for item in items if item.name == case).read()
    where, truth = scans.uptake, scans.full.array
    names = (
        *("LIP-physics-GenTV(pre)", "pre-dose", "scaled difference", "denoised difference"),
        "LIP-physics-GenTV(difference)",
    )
    left = {name: mae(truth, evaluation.FULL_DOSE[name](scans), mask=where) for name in names}
    best = min(left["scaled difference"], left["denoised difference"])
    assert left["LIP-physics-GenTV(pre)"] < 0.8 * best
    assert left["LIP-physics-GenTV(pre)"] < 0.5 * left["pre-dose"]
    assert left["LIP-physics-GenTV(difference)"] < left["denoised difference"]
    assert np.isfinite(list(left.values())).all()
