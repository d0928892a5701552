"""The kinetics of a real breast tumour: what its curve must show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ContrastSynthLib.analysis.kinetics import mean_curve, measure_curve, measure_voxels
from ContrastSynthLib.analysis.kinetics_report import kinetics_report
from ContrastSynthLib.files.images import read_mask
from ContrastSynthLib.files.series import read_series, write_series
from ContrastSynthLib.plots.figures import figure_png
from ContrastSynthLib.plots.kinetics import plot_curves
from ContrastSynthLib.volumes import times_of

pytestmark = pytest.mark.real_scans


@pytest.fixture
def breast(real_scans: Path):
    folder = real_scans / "breast_dce_qin2d"
    return read_series(folder / "dce4d.nii.gz"), read_mask(folder / "tumour.nii.gz")


def test_the_tumour_is_a_plateau_that_rises_at_frame_4(breast):
    series, mask = breast
    times = times_of(series)
    np.testing.assert_allclose(times, 16.43 * np.arange(25), atol=1e-3)
    curve = measure_curve(times, mean_curve(series, mask))
    assert curve.timing.baseline_frames == 4
    assert curve.type == "II"
    assert curve.signal_enhancement_ratio == pytest.approx(1.0, abs=0.1)
    assert 1.5 < curve.initial_enhancement < 2.1
    assert 45 < curve.time_to_peak_s < 180
    assert figure_png(plot_curves({"Tumour": curve})).startswith(b"\x89PNG")


def test_the_tumour_stands_out_in_the_maps(breast):
    series, mask = breast
    curve = measure_curve(times_of(series), mean_curve(series, mask))
    maps = measure_voxels(np.stack([volume.array for volume in series]), curve.timing)
    inside = mask.array > 0
    assert maps["type"].shape == inside.shape
    assert (maps["type"][inside] > 0).mean() > 0.9
    assert (maps["type"][~inside] > 0).mean() < 0.25
    assert np.nanmedian(maps["delayed_change"][inside]) == pytest.approx(0, abs=0.1)


def test_a_series_that_forgets_to_plateau_is_found(breast, tmp_path):
    series, mask = breast
    fading = [v.with_array(v.array * (1 - 0.012 * n)) for n, v in enumerate(series)]
    write_series(fading, tmp_path / "fading.seq.nrrd")
    report = kinetics_report(series, None, mask, read_series(tmp_path / "fading.seq.nrrd"))
    assert report["curve"]["type"] == "II"
    assert report["synthetic"]["curve"]["type"] == "III"
    assert report["agreement"]["delayed_change_by_voxel"]["bias"] < -0.1
    assert 0 < report["agreement"]["type_kappa_by_voxel"] < 0.8
