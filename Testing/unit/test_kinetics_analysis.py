"""Kinetic curves against curves worked out by hand, agreement against published examples."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from ContrastSynthLib.acquisition import Acquisition
from ContrastSynthLib.analysis.kinetics import (
    curve_timing,
    find_arrival,
    functional_tumour_ml,
    mean_curve,
    measure_curve,
    measure_voxels,
)
from ContrastSynthLib.analysis.kinetics_report import (
    bland_altman,
    cohens_kappa,
    compare_curves,
    kinetics_report,
)
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.plots.kinetics import plot_curves
from ContrastSynthLib.volumes import Volume

PAPER_S = [0.0, 85.0, 155.0, 225.0, 295.0, 365.0]
# 30 s apart, agent from the third frame on; arrival at 30 s, so that 150 s is the last initial one.
FAST_S = [30.0 * n for n in range(11)]
FAST = [100.0, 102, 180, 260, 250, 240, 230, 220, 210, 200, 190]
GRID = Grid((4, 3, 2), (1.0, 2.0, 5.0))


def series_of(curves, times_s=PAPER_S, grid=GRID):
    """Return volumes whose voxels follow ``curves`` (n, voxels)."""
    frames = np.asarray(curves, np.float32).reshape(len(times_s), *grid.shape)
    return [
        Volume(frame, grid, Acquisition(time_s=time))
        for frame, time in zip(frames, times_s, strict=True)
    ]


def test_a_curve_worked_out_by_hand():
    curve = measure_curve(FAST_S, FAST)
    assert curve.timing.baseline_frames == 2
    assert curve.timing.arrival_s == 30
    assert curve.timing.peak_frame == 3
    # Of the last 60 s, 240-300 s, the frame at 240 s itself is out.
    assert curve.timing.delayed_frames == [9, 10]
    assert curve.baseline == 101
    assert curve.initial_enhancement == pytest.approx(159 / 101)
    assert curve.delayed_change == pytest.approx((195 - 260) / 260)
    assert curve.type == "III"
    assert curve.signal_enhancement_ratio == pytest.approx(159 / 94)
    assert curve.time_to_peak_s == 60
    rises = [0, 79, 159, 149, 139, 129, 119, 109, 99, 89]
    area = sum(15 * (a + b) / 101 for a, b in pairwise(rises))
    assert curve.area_s == pytest.approx(area)
    content = json.loads(json.dumps(curve.as_dict(), allow_nan=False))
    assert content["schema_version"] == 1
    assert content["baseline_frames"] == 2


@pytest.mark.parametrize(
    ("late", "expected"),
    [(221, "I"), (219, "II"), (200, "II"), (181, "II"), (179, "III"), (100, "III")],
)
def test_ten_percent_of_the_signal_part_the_types(late, expected):
    curve = measure_curve(PAPER_S, [100, 200, 201, 200, 199, late])
    assert curve.timing.peak_frame == 1, "155 s is later than 120 s after arrival"
    assert curve.type == expected
    assert curve.delayed_change == pytest.approx(late / 200 - 1)


def test_limit_cases_of_the_ratio():
    assert measure_curve(PAPER_S, [100, 200, 200, 200, 200, 200]).signal_enhancement_ratio == 1
    assert measure_curve(PAPER_S, [100, 150, 160, 170, 180, 200]).signal_enhancement_ratio == 0.5
    back = measure_curve(PAPER_S, [100, 300, 260, 200, 140, 100])
    assert back.signal_enhancement_ratio is None, "all agent is gone: no ratio"
    assert back.type == "III"


def test_a_gain_changes_no_measure():
    curve, louder = (measure_curve(FAST_S, np.multiply(FAST, gain)) for gain in (1.0, 7.3))
    for name in ("initial_enhancement", "delayed_change", "signal_enhancement_ratio", "area_s"):
        assert getattr(louder, name) == pytest.approx(getattr(curve, name))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (FAST, 2),
        ([100, 101, 99, 100, 160, 200, 210], 4),
        ([100, 130, 160, 190, 220, 250], 1),
        # A spike before the agent, from which the signal falls back, is no arrival.
        ([100, 130, 100, 180, 200, 190], 3),
        # So fast a washout that nothing is left of it.
        ([100, 300, 260, 200, 140, 100], 1),
        ([100, 101, 99, 100, 102, 98], None),
        ([100, 90, 80, 70, 60, 50], None),
        ([0, 0, 0, 0], None),
    ],
)
def test_arrival(values, expected):
    assert find_arrival(values) == expected


def test_the_injection_at_zero_starts_the_clock():
    curve = [100, 100, 200, 210, 205, 200]
    assert curve_timing([-200, -100, 60, 110, 160, 400], curve).arrival_s == 0
    assert curve_timing([0, 100, 160, 230, 300, 400], curve).arrival_s == 100
    # Where no frame lies within 120 s of arrival, the first with agent stands for the peak.
    late = curve_timing([0, 100, 300, 400, 500, 600], curve)
    assert (late.arrival_s, late.peak_frame) == (100, 2)


def test_what_is_given_replaces_what_is_found():
    timing = curve_timing(FAST_S, FAST, baseline_frames=1)
    assert (timing.baseline_frames, timing.arrival_s) == (1, 0)
    timing = curve_timing(FAST_S, FAST, arrival_s=45.0)
    assert (timing.baseline_frames, timing.arrival_s) == (2, 45)
    for frames in (0, 11):
        with pytest.raises(RequestError, match="at least one before"):
            curve_timing(FAST_S, FAST, baseline_frames=frames)
    with pytest.raises(RequestError, match="10 times for 11"):
        measure_curve(FAST_S[:-1], FAST)


def test_no_agent_and_no_delayed_phase_are_noted():
    flat = measure_curve(PAPER_S, [100, 101, 99, 100, 102, 98])
    assert (flat.timing, flat.type, flat.delayed_change) == (None, None, None)
    assert flat.baseline == 100
    json.dumps(flat.as_dict(), allow_nan=False)
    short = measure_curve([0, 40, 80, 115], [100, 180, 200, 210])
    assert (short.type, short.delayed_change) == (None, None)
    assert short.initial_enhancement == pytest.approx(1.1)


def test_a_map_of_equal_voxels_is_the_curve():
    curve = measure_curve(PAPER_S, [100, 200, 210, 215, 220, 230])
    maps = measure_voxels(np.multiply.outer(curve.values, [1.0, 3.0, 0.01]), curve.timing)
    for name in ("initial_enhancement", "delayed_change", "signal_enhancement_ratio", "area_s"):
        assert maps[name].dtype == np.float32
        np.testing.assert_allclose(maps[name], getattr(curve, name), rtol=1e-6)
    np.testing.assert_array_equal(maps["time_to_peak_s"], 365)
    np.testing.assert_array_equal(maps["type"], 1)


def test_each_voxel_has_its_own_type():
    voxels = np.array(
        [
            [100, 200, 210, 220, 230, 240],
            [100, 200, 200, 205, 195, 200],
            [100, 200, 190, 170, 160, 150],
            [100, 120, 125, 130, 130, 130],  # below a half of enhancement
            [0, 0, 0, 0, 0, 0],
            [0, 10, 20, 20, 20, 20],  # no signal before: no share of it
        ]
    ).T
    timing = curve_timing(PAPER_S, voxels[:, :3].mean(axis=1))
    maps = measure_voxels(voxels.reshape(6, 2, 3), timing)
    np.testing.assert_array_equal(maps["type"], [[1, 2, 3], [0, 0, 0]])
    assert np.isnan(maps["initial_enhancement"][1, 1:]).all()
    lenient = measure_voxels(voxels.reshape(6, 2, 3), timing, minimum_enhancement=0.1)
    np.testing.assert_array_equal(lenient["type"], [[1, 2, 3], [2, 0, 0]])
    with pytest.raises(RequestError, match="5 frames but 6 times"):
        measure_voxels(voxels[:5], timing)


def test_the_functional_tumour_is_what_enhances_by_70_percent():
    maps = {
        "initial_enhancement": np.array([0.69, 0.70, 2.0, 2.0, np.nan, 2.0]),
        "signal_enhancement_ratio": np.array([1.0, 1.0, 0.0, -0.1, 1.0, np.nan]),
    }
    assert functional_tumour_ml(maps, 0.5) == 1.0
    assert functional_tumour_ml(maps, 0.5, enhancement=0.6, ratio=0.9) == 1.0
    assert functional_tumour_ml(maps, 0.5, ratio=-1.0) == 1.5


def test_noise_does_not_make_washout_of_a_plateau():
    """The highest of many noisy frames would; the frames around the region's peak do not."""
    times = [16.0 * n for n in range(25)]
    curve = np.where(np.arange(25) < 4, 100.0, 250.0)
    noisy = curve[:, None] + np.random.default_rng(0).normal(0, 20, (25, 4000))
    timing = curve_timing(times, noisy.mean(axis=1))
    change = measure_voxels(noisy, timing)["delayed_change"]
    assert abs(np.median(change)) < 0.01
    # Noise of 8 % of the signal, in the mean of three frames against that of four.
    assert change.std() == pytest.approx(0.08 * np.sqrt(1 / 3 + 1 / 4), rel=0.1)
    highest = noisy[timing.baseline_frames : 11].max(axis=0)
    assert np.median(noisy[timing.delayed_frames].mean(axis=0) / highest - 1) < -0.08


def test_the_mean_of_a_mask():
    curves = np.zeros((6, 24))
    curves[:, [3, 17]] = np.array([[100, 200, 210, 220, 230, 240], [50, 100, 90, 80, 70, 60]]).T
    inside = np.zeros(24, bool)
    inside[[3, 17]] = True
    mask = Volume(inside.reshape(GRID.shape), GRID)
    expected = [75, 150, 150, 150, 150, 150]
    np.testing.assert_allclose(mean_curve(series_of(curves), mask), expected)
    np.testing.assert_allclose(mean_curve(series_of(curves), mask.array > 0), expected)
    other = Volume(mask.array, replace(GRID, origin_mm=(50.0, 0.0, 0.0)))
    with pytest.raises(RequestError, match="different grids"):
        mean_curve(series_of(curves), other)
    with pytest.raises(RequestError, match="0 voxels"):
        mean_curve(series_of(curves), np.zeros(GRID.shape, bool))


def test_bland_and_altmans_own_example():
    """Peak flow by two meters, Lancet 1986;327:307-310: -2.1 (38.8), limits -79.7 and 75.5."""
    wright = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
    mini = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]
    found = bland_altman(mini, wright)
    assert found.pairs == 17
    assert found.bias == pytest.approx(-2.1, abs=0.05)
    assert found.deviation == pytest.approx(38.8, abs=0.05)
    # The paper takes 2 standard deviations; 1.96 is what later papers of theirs take.
    half = 1.96 / 2 * (75.5 + 79.7) / 2
    assert found.upper == pytest.approx(-2.1 + half, abs=0.1)
    assert found.lower == pytest.approx(-2.1 - half, abs=0.1)


def test_bland_altman_limits():
    one = bland_altman([1.0, np.nan, 3.0], [1.5, 2.0, np.nan])
    assert (one.pairs, one.bias, one.deviation, one.lower) == (1, 0.5, None, None)
    shifted = bland_altman([1.0, 2.0, 5.0], [1.25, 2.25, 5.25])
    assert (shifted.bias, shifted.lower, shifted.upper) == pytest.approx((0.25, 0.25, 0.25))
    with pytest.raises(RequestError, match="no pair"):
        bland_altman([np.nan], [1.0])
    with pytest.raises(RequestError, match="must be pairs"):
        bland_altman([1.0, 2.0], [1.0])


def test_kappa_of_two_radiologists():
    """85 xeromammograms in four classes: kappa 0.47 (Altman, Practical Statistics, 1991)."""
    table = [[21, 12, 0, 0], [4, 17, 1, 0], [3, 9, 15, 2], [0, 0, 0, 1]]
    pairs = [(a, b) for a in range(4) for b in range(4) for _ in range(table[a][b])]
    assert len(pairs) == 85
    assert cohens_kappa(*zip(*pairs, strict=True)) == pytest.approx(0.473, abs=5e-4)


def test_kappa_limits():
    assert cohens_kappa(["I", "II", "III"], ["I", "II", "III"]) == 1
    assert cohens_kappa([1, 1, 2, 2], [1, 2, 1, 2]) == 0
    assert cohens_kappa([1, 1, 2, 2], [2, 2, 1, 1]) == -1
    assert np.isnan(cohens_kappa([2, 2], [2, 2]))
    with pytest.raises(RequestError, match="pairs"):
        cohens_kappa([1, 2], [1])


def test_curves_are_compared_in_units_of_the_real_baseline():
    real = measure_curve(PAPER_S, [100, 200, 210, 220, 230, 240])
    made = measure_curve(PAPER_S, [100, 200, 210, 220, 230, 200])
    found = compare_curves(real, made)
    assert found["enhancement_error"] == pytest.approx([0, 0, 0, 0, 0, 0.4**2])
    # Ranks 1-6 against 1, 2.5, 4, 5, 6, 2.5.
    assert found["spearman_rho"] == pytest.approx(
        np.corrcoef(range(6), [1, 2.5, 4, 5, 6, 2.5])[0, 1]
    )
    assert found["differences"]["delayed_change"] == pytest.approx(-0.2)
    assert found["same_type"] is False
    louder = compare_curves(real, measure_curve(PAPER_S, np.multiply(real.values, 3)))
    assert louder["enhancement_error"][:2] == pytest.approx([2.0**2, 4.0**2])
    same = compare_curves(real, real)
    assert (same["spearman_rho"], same["dtw"], same["same_type"]) == (pytest.approx(1), 0, True)
    assert compare_curves(real, made, [5])["spearman_rho"] is None
    with pytest.raises(RequestError, match="before the agent is 0"):
        compare_curves(measure_curve(PAPER_S, [0, 1, 2, 3, 4, 5]), made)


def voxels_with_noise(seed, delayed=1.0):
    rng = np.random.default_rng(seed)
    curve = np.array([100, 200, 205, 203, 201, 200 * delayed])
    return curve[:, None] * rng.normal(1, 0.03, (6, 24)) * rng.uniform(0.8, 1.2, 24)


def test_the_report_of_a_series_alone_and_beside_itself():
    mask = Volume(np.ones(GRID.shape), GRID)
    series = series_of(voxels_with_noise(0))
    alone = kinetics_report(series, None, mask)
    assert alone["curve"]["type"] == "II"
    assert alone["mask"] == {"voxels": 24, "ml": pytest.approx(0.24)}
    assert "agreement" not in alone
    assert sum(alone["voxels"]["share_of_type"].values()) == pytest.approx(1)
    beside = kinetics_report(series, None, mask, series)
    json.dumps(beside, allow_nan=False)
    assert beside["synthetic"]["curve"] == beside["curve"]
    agreement = beside["agreement"]
    assert agreement["delayed_change_by_voxel"]["pairs"] == 24
    assert agreement["delayed_change_by_voxel"]["bias"] == 0
    assert (agreement["dtw"], agreement["spearman_rho"]) == (0, pytest.approx(1))


def test_the_report_finds_what_a_synthetic_series_gets_wrong():
    mask = Volume(np.ones(GRID.shape), GRID)
    real, made = voxels_with_noise(0), voxels_with_noise(0)
    made[-1] *= 0.7
    report = kinetics_report(series_of(real), None, mask, series_of(made))
    assert (report["curve"]["type"], report["synthetic"]["curve"]["type"]) == ("II", "III")
    bias = report["agreement"]["delayed_change_by_voxel"]["bias"]
    assert bias == pytest.approx(-0.3 * (real[-1] / real[1]).mean(), rel=1e-5)
    assert report["agreement"]["type_kappa_by_voxel"] < 0.2


def test_missing_phases_are_those_of_the_real_series():
    mask = Volume(np.ones(GRID.shape), GRID)
    real = voxels_with_noise(0)
    late = series_of(real * 1.02)[3:]
    report = kinetics_report(series_of(real), None, mask, late)
    assert report["agreement"]["frames"] == [3, 4, 5]
    assert "no phase at 0, 85, 155 s" in report["notes"][0]
    values = report["synthetic"]["curve"]["values"]
    np.testing.assert_allclose(values[:3], real.mean(axis=1)[:3], rtol=1e-6)
    np.testing.assert_allclose(values[3:], 1.02 * real.mean(axis=1)[3:], rtol=1e-6)
    shifted = [replace(v, acquisition=Acquisition(time_s=v.acquisition.time_s + 30)) for v in late]
    with pytest.raises(RequestError, match="phase at 255 s"):
        kinetics_report(series_of(real), None, mask, shifted)


def test_times_that_are_given_replace_those_of_the_file():
    mask = Volume(np.ones(GRID.shape), GRID)
    unknown = [replace(v, acquisition=Acquisition()) for v in series_of(voxels_with_noise(0))]
    report = kinetics_report(unknown, PAPER_S, mask, unknown)
    assert (report["times_from"], report["curve"]["times_s"]) == ("given", tuple(PAPER_S))
    with pytest.raises(RequestError, match="has no time"):
        kinetics_report(unknown, None, mask)
    with pytest.raises(RequestError, match="3 times for 6"):
        kinetics_report(unknown, PAPER_S[:3], mask)


def test_a_mask_without_agent_has_a_note():
    mask = Volume(np.ones(GRID.shape), GRID)
    flat = series_of(np.full((6, 24), 100.0))
    report = kinetics_report(flat, None, mask, flat)
    json.dumps(report, allow_nan=False)
    assert report["curve"]["type"] is None
    assert "No agent arrives" in report["notes"][0]
    assert report["agreement"]["spearman_rho"] is None


def test_the_plot_shows_each_curve_in_percent():
    real = measure_curve(PAPER_S, [100, 200, 210, 220, 230, 240])
    made = measure_curve(PAPER_S, [50, 100, 98, 96, 90, 80])
    axes = plot_curves({"Real": real, "Synthetic": made}).axes[0]
    lines = {line.get_label(): line.get_ydata() for line in axes.lines}
    np.testing.assert_allclose(lines["Real, type I (persistent)"], [0, 100, 110, 120, 130, 140])
    np.testing.assert_allclose(lines["Synthetic, type III (washout)"], [0, 100, 96, 92, 80, 60])
    with pytest.raises(RequestError, match="at least one curve"):
        plot_curves({})
    with pytest.raises(RequestError, match="Air: the signal before the agent is 0"):
        plot_curves({"Air": measure_curve(PAPER_S, [0, 0, 0, 0, 0, 0])})
