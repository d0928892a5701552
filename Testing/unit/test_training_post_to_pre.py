"""From the post- to the pre-contrast scan: measures by hand, and the rows that are no method."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from ContrastSynthLib.analysis.evaluation import evaluate
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.run import run
from ContrastSynthLib.volumes import Volume

pytestmark = pytest.mark.usefixtures("training_path")

SIZE = (30, 36, 24)
PATIENT = sample_patient(3, SIZE)
PRE, POST = PATIENT.scans["pre"], PATIENT.scans["post"]
BRAIN = (PRE.array > 0) & (POST.array > 0)


@pytest.fixture(scope="module")
def task():
    return importlib.import_module("evaluation.post_to_pre")


@pytest.fixture(scope="module")
def rows():
    return importlib.import_module("evaluation.rows")


@pytest.fixture(scope="module")
def cases():
    return importlib.import_module("evaluation.cases")


@pytest.fixture
def scans(cases):
    return cases.Scans({"pre": PRE, "post": POST}, None)


def in_medians(array: np.ndarray) -> np.ndarray:
    return np.clip(array.astype(float) / np.median(array[BRAIN]), 0, None)


REAL, GIVEN = in_medians(PRE.array), in_medians(POST.array)
SPAN = np.percentile(REAL[BRAIN], 99.9)
AGENT = BRAIN & (GIVEN - REAL > 0.1 * SPAN)


def psnr(made: np.ndarray) -> float:
    return 10 * np.log10(SPAN**2 / np.mean((made - REAL)[BRAIN] ** 2))


NOTHING, BEST = psnr(GIVEN), psnr(np.where(AGENT, REAL, GIVEN))


def made(rows, task, scans, method):
    return rows.synthesise(rows.Row("x", method), task.POST_TO_PRE, scans, scans)


@pytest.fixture
def measured(task, rows, scans):
    """A function that measures a row on the scans."""
    return lambda method: task.measure(scans, made(rows, task, scans, method), scans.brain)


def test_doing_nothing_and_what_can_be_reached_by_the_formula(measured):
    nothing, reachable = (measured(name) for name in ("nothing", "reachable"))
    assert nothing["psnr_db"] == pytest.approx(NOTHING, abs=1e-4)
    assert nothing["share_of_reachable"] == pytest.approx(0, abs=1e-6)
    assert nothing["uptake_mae"] == pytest.approx(np.abs(GIVEN - REAL)[AGENT].mean(), rel=1e-5)
    assert nothing["uptake_mae_of_nothing"] == pytest.approx(1)
    assert nothing["outside_change"] == 0
    assert reachable["psnr_db"] == pytest.approx(BEST, abs=1e-4)
    assert reachable["share_of_reachable"] == pytest.approx(1, abs=1e-6)
    assert reachable["uptake_mae"] == 0
    assert reachable["outside_change"] == 0
    assert reachable["cfs"] == 1


def test_the_clamp_by_the_formula(measured):
    made = np.where(GIVEN > 1.2, 1.0, GIVEN)
    found = measured("clamp")
    share = (psnr(made) - NOTHING) / (BEST - NOTHING)
    assert found["share_of_reachable"] == pytest.approx(share, abs=1e-4)
    error = np.abs(made - REAL)[AGENT].mean()
    assert found["uptake_mae"] == pytest.approx(error, rel=1e-4)
    before = np.abs(GIVEN - REAL)[AGENT].mean()
    assert found["uptake_mae_of_nothing"] == pytest.approx(error / before, rel=1e-4)


def test_what_changes_outside_the_uptake_by_the_formula(task, scans):
    changed = np.where(POST.array > np.median(POST.array[BRAIN]), 1.3, 0.9) * POST.array
    found = task.measure(scans, {"pre": POST.with_array(changed)}, BRAIN)
    difference = np.abs(in_medians(changed) - GIVEN)[BRAIN & ~AGENT]
    assert found["outside_change"] == pytest.approx(difference.mean() / SPAN, rel=1e-4)
    # The same image in other units has not changed.
    same = task.measure(scans, {"pre": POST.with_array(3 * POST.array)}, BRAIN)
    assert same["outside_change"] == pytest.approx(0, abs=1e-6)


def test_a_method_is_measured_as_the_command_evaluate_does(task, measured):
    result = run(Request("physics_pre", {"post": POST})).outputs["pre"]
    report = evaluate(PRE, result, pre=PRE, post=POST)
    brain, agent = report["regions"]["brain"], report["regions"]["uptake"]
    expected = {
        "psnr_db": brain["psnr_db"],
        "ssim": brain["ssim"],
        "rmse": brain["rmse"],
        "cnr_error": report["contrast"]["cnr_error"],
        "gradient_rmse": agent["gradient_magnitude_rmse"],
        "cfs": agent["cfs"],
        "irc": agent["irc"],
        "eis": agent["eis"],
        "uptake_mae": agent["mae"],
        "share_of_reachable": report["scale"]["share_of_reachable"],
        "uptake_mae_of_nothing": report["scale"]["uptake_mae_of_do_nothing"],
    }
    found = measured("physics_pre")
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-4)
    assert set(found) == set(task.HEADINGS)


def test_the_mask_of_a_case_is_the_brain_of_the_measures_and_of_the_method(
    task, rows, cases, scans
):
    half = np.zeros(BRAIN.shape)
    half[: len(half) // 2] = BRAIN[: len(half) // 2]
    masked = cases.Scans(scans.scans, PRE.with_array(half))
    assert masked.brain.sum() == half.sum() < BRAIN.sum()
    found = made(rows, task, masked, "physics_pre")
    np.testing.assert_array_equal(found["pre"].array[half == 0], POST.array[half == 0])


def test_a_scan_that_a_row_needs_is_asked_for(task, rows, scans, cases):
    with pytest.raises(RequestError, match="no scan 'corrupted'"):
        made(rows, task, scans, "corrupted")
    whole = cases.Scans({**scans.scans, "corrupted": PATIENT.scans["low"]}, None)
    assert made(rows, task, whole, "corrupted")["pre"] is PATIENT.scans["low"]


def test_uptake_is_measured_lesion_by_lesion(task, cases):
    """Two lesions that enhance, one that does not; one is found, and a region is made up."""
    shape, grid = (6, 40, 40), Grid((40, 40, 6), (1, 2, 3))
    rise, lesion, found = np.zeros(shape), np.zeros(shape, np.uint8), np.zeros(shape, np.float32)
    lesion[2, 5:15, 5:15], lesion[2, 25:30, 5:15], lesion[4, 5:15, 25:35] = 1, 2, 3
    rise[2, 5:15, 5:15], rise[2, 25:30, 5:15] = 0.5, 0.2
    found[2, 5:15, 5:10], found[4, 30:35, 30:34] = 0.8, 0.7
    volume = Volume(np.ones(shape, np.float32), grid)
    scans = cases.Scans({"pre": volume, "post": volume}, volume, {"rise": rise, "lesion": lesion})
    measured = task.measure_uptake(found, scans.truth, scans.brain, grid)
    assert measured["uptake_dice"] == pytest.approx(2 * 50 / (150 + 70))
    assert measured["lesion_recall"] == 0.5
    assert measured["invented_regions"] == 1
    assert measured["invented_ml"] == pytest.approx(20 * 6 / 1000)
    nothing = task.measure_uptake(
        0 * found, {**scans.truth, "lesion": 0 * lesion}, scans.brain, grid
    )
    assert (nothing["uptake_dice"], nothing["lesion_recall"], nothing["invented_ml"]) == (
        0,
        None,
        0,
    )
    assert set(task.measure_uptake(found, {}, scans.brain, grid).values()) == {None}


@pytest.fixture
def with_truth(cases):
    """A case whose second scan is not what was asked for: another gain, contrast and noise."""
    rng = np.random.default_rng(1)
    target = np.where(AGENT, 0.6 * POST.array, POST.array).astype(np.float32)
    pre = 3 * target**1.2 + rng.normal(0, 2, target.shape).astype(np.float32)
    second = PRE.with_array(np.where(BRAIN, np.maximum(pre, 1e-3), 0).astype(np.float32))
    mask = PRE.with_array(BRAIN.astype(np.float32))
    return cases.Scans({"pre": second, "post": POST}, mask, {"unenhanced": target})


def measured_by(rows, which, scans, method):
    given = which.prepare(scans)
    outputs = rows.synthesise(rows.Row("x", method), which, given, given)
    return which.measure(given, outputs, given.brain)


def test_a_perfect_answer_is_perfect_against_what_was_asked_for(task, rows, with_truth):
    ceiling = measured_by(rows, task.POST_TO_TARGET, with_truth, "target")
    assert (ceiling["ssim"], ceiling["rmse"], ceiling["uptake_mae"]) == (1, 0, 0)
    assert ceiling["psnr_db"] is None
    second = measured_by(rows, task.POST_TO_TARGET, with_truth, "second_scan")
    assert second["uptake_mae"] > 0.02
    target = with_truth.truth["unenhanced"]
    error = np.abs(in_medians(with_truth["pre"].array) - in_medians(target))
    span = np.percentile(in_medians(target)[BRAIN], 99.9)
    agent = BRAIN & (GIVEN - in_medians(target) > 0.1 * span)
    assert second["uptake_mae"] == pytest.approx(error[agent].mean(), rel=1e-4)


def test_against_the_second_scan_a_perfect_answer_is_not_perfect(task, rows, with_truth):
    ceiling = measured_by(rows, task.POST_TO_PRE, with_truth, "target")
    assert ceiling["uptake_mae"] > 0.02
    assert measured_by(rows, task.POST_TO_PRE, with_truth, "second_scan")["uptake_mae"] == 0


def test_real_scans_have_no_target(task, rows, scans):
    with pytest.raises(RequestError, match="no scan 'target'"):
        measured_by(rows, task.POST_TO_PRE, scans, "target")
    assert measured_by(rows, task.POST_TO_PRE, scans, "nothing")["psnr_db"] == pytest.approx(
        NOTHING, abs=1e-4
    )
