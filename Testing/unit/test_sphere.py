"""The shipped weights of SPHERE and SPHERE-Art, on a virtual patient that they never saw."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from ContrastSynthLib.analysis.evaluation import evaluate
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.methods.sphere_art import CONTRAST_MM, smooth_part
from ContrastSynthLib.phantom.brain.slices import brain_slabs
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.run import run
from ContrastSynthLib.volumes import Volume
from ContrastSynthLib.weights.bundles import find_bundle

torch = pytest.importorskip("torch")
pytest.importorskip("monai")

HELD_OUT_SEED = 2_000_000
SLICES = slice(8, 24)
LEAST_GAIN_DB = 1.5
MOST_ERROR_LEFT = 0.6
MOST_CHANGE_OUTSIDE = 0.05
LEAST_SSIM_OVER_CORRUPTED = 0.04
MOST_ERROR_LEFT_BY_ART = 0.35
"""What the shipped weights must reach on this patient; they do better, see their cards."""


@pytest.fixture(scope="module")
def patient():
    """Return scans and brain of a held-out virtual patient, 16 slices of 1 mm."""
    roles = ("pre", "post", "corrupted", "brain")
    slab = next(brain_slabs(HELD_OUT_SEED, roles=roles, lesions=2, corruption="motion"))
    k, j, i = slab["pre"][SLICES].shape
    grid = Grid((i, j, k))
    scans = {role: Volume(np.ascontiguousarray(slab[role][SLICES]), grid) for role in roles}
    return scans


def measured(patient, request):
    """Return the evaluation of a method's pre scan beside the true one."""
    pre = run(request).outputs["pre"]
    pair = {role: patient[role] for role in ("pre", "post")}
    return evaluate(patient["pre"], pre, brain=patient["brain"].array > 0, **pair)


def request_for(patient, method, **options):
    roles = {"sphere": ("post",), "sphere_art": ("post", "corrupted")}[method]
    inputs = {role: patient[role] for role in roles} | {"mask": patient["brain"]}
    return Request(method, inputs, {"mirrored": False}, **options)


def check_sphere(patient, **options):
    report = measured(patient, request_for(patient, "sphere", **options))
    assert report["scale"]["gain_db"] > LEAST_GAIN_DB
    assert report["scale"]["uptake_mae_of_do_nothing"] < MOST_ERROR_LEFT


def check_sphere_art(patient, **options):
    made = measured(patient, request_for(patient, "sphere_art", **options))
    pair = {role: patient[role] for role in ("pre", "post")}
    brain = patient["brain"].array > 0
    given = evaluate(patient["pre"], patient["corrupted"], brain=brain, **pair)
    gain = made["regions"]["brain"]["ssim"] - given["regions"]["brain"]["ssim"]
    assert gain > LEAST_SSIM_OVER_CORRUPTED
    assert made["scale"]["uptake_mae_of_do_nothing"] < MOST_ERROR_LEFT_BY_ART


CHECKS = {"sphere": check_sphere, "sphere_art": check_sphere_art}


@pytest.mark.parametrize("method", CHECKS)
def test_shipped_weights_gain_what_is_stated(patient, method):
    CHECKS[method](patient)


@pytest.mark.parametrize("method", CHECKS)
def test_random_weights_do_not(patient, method, random_weights):
    """The check above can fail: the same network with random numbers does."""
    with pytest.raises(AssertionError):
        CHECKS[method](patient, weights=str(random_weights(method).folder))


def test_little_changes_where_nothing_enhances(patient):
    result = run(request_for(patient, "sphere"))
    post, brain = patient["post"].array, patient["brain"].array > 0
    quiet = brain & (result.outputs["uptake"].array < 0.1)
    change = np.abs(result.outputs["pre"].array - post)[quiet].mean() / post[brain].mean()
    assert change < MOST_CHANGE_OUTSIDE
    outside = ~brain
    np.testing.assert_array_equal(result.outputs["pre"].array[outside], post[outside])
    assert not result.outputs["uptake"].array[outside].any()


def test_the_uptake_is_where_agent_went(patient):
    """The uptake is where the post scan is brighter, once both have one gain."""
    result = run(request_for(patient, "sphere"))
    brain = patient["brain"].array > 0
    pre, post = patient["pre"].array, patient["post"].array
    change = post * (np.median(pre[brain]) / np.median(post[brain])) - pre
    found = result.outputs["uptake"].array > 0.5
    assert found.any()
    assert change[found].mean() > 5 * abs(change[brain & ~found].mean())
    record = result.provenance["record"]
    voxel_ml = patient["post"].grid.voxel_volume_ml
    assert record["uptake_ml"] == pytest.approx(found.sum() * voxel_ml)
    assert record["memory"]["device"] == "cpu"


def test_the_contrast_of_the_corrupted_scan_is_kept_unless_left_out(patient):
    corrupted, brain = patient["corrupted"].array, patient["brain"].array > 0
    off = {}
    for preset in ("fast", "paper"):
        result = run(request_for(patient, "sphere_art", preset=preset))
        change = result.outputs["pre"].array - corrupted
        smooth = smooth_part(change, brain, CONTRAST_MM, (1.0, 1.0, 1.0))
        assert np.abs(change[brain]).mean() > 0.01 * corrupted[brain].mean()
        off[preset] = np.abs(smooth[brain]).mean()
    assert off["fast"] < 0.5 * off["paper"]


def test_a_smooth_part_takes_nothing_from_outside_of_the_mask():
    rng = np.random.default_rng(0)
    mask = np.zeros((12, 20, 16), dtype=bool)
    mask[2:10, 3:17, 2:12] = True
    image = np.where(mask, np.float32(3), rng.normal(50, 9, mask.shape).astype(np.float32))
    found = smooth_part(image, mask, 4.0, (5.0, 1.0, 1.5))
    np.testing.assert_allclose(found[mask], 3, rtol=1e-5)
    assert not found[~mask].any()
    # A wave of 4 mm along j and one of 60 mm along i: what is left, and what stays.
    j, i = np.meshgrid(np.arange(200.0), np.arange(120.0), indexing="ij")
    waves = (np.sin(2 * np.pi * j / 4) + np.sin(2 * np.pi * i * 1.5 / 60))[np.newaxis]
    found = smooth_part(waves.astype(np.float32), np.ones(waves.shape, bool), 4.0, (1.0, 1.0, 1.5))
    middle = found[0, 40:-40, 30:-30]
    kept = np.exp(-0.5 * (2 * np.pi * 4 / 60) ** 2)
    np.testing.assert_allclose(
        middle, kept * np.sin(2 * np.pi * i * 1.5 / 60)[40:-40, 30:-30], atol=0.01
    )


@pytest.mark.parametrize("plane", [0, 1, 2])
def test_no_seams_between_slices(patient, plane):
    """What was taken out is as smooth across slices as agent is: no stripes in other planes."""
    result = run(request_for(patient, "sphere"))
    taken = patient["post"].array - result.outputs["pre"].array
    found = result.outputs["uptake"].array > 0.5
    steps = np.abs(np.diff(taken, axis=plane))
    inside = np.take(found, range(1, found.shape[plane]), plane) & np.take(
        found, range(found.shape[plane] - 1), plane
    )
    assert steps[inside].mean() < 0.5 * taken[found].mean()


def test_a_scan_in_other_units_gives_the_same_in_those(patient):
    request = request_for(patient, "sphere")
    scaled = replace(patient["post"], array=patient["post"].array * np.float32(0.01))
    other = replace(request, inputs={**request.inputs, "post": scaled})
    here, there = (run(each).outputs["pre"].array for each in (request, other))
    np.testing.assert_allclose(there, here * 0.01, rtol=1e-3, atol=1e-4 * here.max() * 0.01)


@pytest.mark.parametrize("method", CHECKS)
def test_the_model_card_states_how_the_weights_were_made(method):
    card = find_bundle(method, method).metadata
    assert card["trained_on_virtual_patients"] is True
    assert card["metrics"], "the figures of the card are missing"
    for key in ("data", "data_licence", "commit", "command", "seed", "steps", "hours", "hardware"):
        assert card["training"][key] not in (None, ""), key
    assert '"/' not in json.dumps(card), "a folder of the machine that trained them"


def test_small_changes_are_left_as_scanned_and_large_ones_made():
    from ContrastSynthLib.methods.sphere import without_small

    change = np.array([-1.0, -0.1, -0.05, 0.0, 0.01, 0.5], dtype=np.float32)
    left = without_small(change, 0.05)
    assert left.dtype == np.float32
    np.testing.assert_allclose(left[:3], [-1 / 1.0025, -0.08, -0.025], rtol=1e-5)
    assert left[3] == 0
    assert 0 < left[4] < 0.0004
    assert left[5] > 0.49
    np.testing.assert_array_equal(without_small(change, 0.0), change)
