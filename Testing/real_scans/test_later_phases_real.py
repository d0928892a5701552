"""``iter_unet`` with shipped weights on the slice of a real breast tumour.

The tumour stays on its plateau: that the phases stay near the real ones is all it can show.
"""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from ContrastSynthLib.files.images import read_mask
from ContrastSynthLib.files.series import read_series
from ContrastSynthLib.volumes import Series

pytest.importorskip("torch")
pytest.importorskip("monai")

pytestmark = [pytest.mark.real_scans, pytest.mark.usefixtures("training_path")]
INTERVAL_S, INJECTION_S, WANTED_S = 16.43, 60.0, (85.0, 155.0, 225.0, 295.0)


@pytest.fixture
def phases():
    return importlib.import_module("evaluation.later_phases")


@pytest.fixture
def script():
    return importlib.import_module("evaluate_series")


@pytest.fixture
def tumour(phases, real_scans):
    folder = real_scans / "breast_dce_qin2d"
    times = INTERVAL_S * np.arange(25) - INJECTION_S
    series = Series(tuple(read_series(folder / "dce4d.nii.gz", times.tolist())))
    early, *wanted = (int(np.abs(times - time).argmin()) for time in WANTED_S)
    lesion = read_mask(folder / "tumour.nii.gz").array > 0
    body = series.volumes[0].array > 0
    return phases.Case("tumour", series, early, tuple(wanted), (lesion,), body)


def test_the_phases_of_one_slice_are_near_the_real_ones(phases, script, tumour):
    made = script.Row("iterU-Net", "iter_unet", "").make(tumour)
    assert made.shape == (3, 1, 192, 192)
    found = phases.measured(tumour, made)
    assert found["last"] < 0.05, found
    assert found["dtw"] < 0.5, found
    assert found["same_type"] == 1
