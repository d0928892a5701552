"""Brain or whole head: distinguished where possible, and marked as a guess otherwise."""

import time
from dataclasses import replace

import numpy as np
import pytest

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.preprocessing.foreground import foreground
from ContrastSynthLib.volumes import Volume

GRID = Grid(size=(100, 120, 90), spacing_mm=(2.0, 2.0, 2.0))
NOISE = 12.0


def depth_mm(grid, radii_mm, centre=(0.5, 0.5, 0.5)):
    """Roughly how deep a voxel lies in an ellipsoid; negative outside."""
    i, j, k = np.meshgrid(*map(np.arange, grid.size), indexing="ij", sparse=True)
    along = [
        (n - share * (size - 1)) * mm / radius
        for n, share, size, mm, radius in zip(
            (i, j, k), centre, grid.size, grid.spacing_mm, radii_mm, strict=True
        )
    ]
    radius = np.sqrt(sum(x**2 for x in along)).transpose(2, 1, 0)
    return (1 - radius) * min(radii_mm)


def head(grid=GRID, *, fat=900.0, seed=0, neck=False):
    """Scalp, skull, CSF, cortex, white matter, ventricles; noisy air. And the brain's mask."""
    rng = np.random.default_rng(seed)
    depth = depth_mm(grid, (85, 105, 80))
    signal = np.select(
        [depth < 0, depth < 6, depth < 13, depth < 15, depth < 19], [0, fat, 40, 150, 330], 450
    ).astype(float)
    signal[depth_mm(grid, (12, 25, 12)) > 0] = 140
    if neck:
        i, j, k = np.meshgrid(*map(np.arange, grid.size), indexing="ij", sparse=True)
        tube = np.hypot(i - 50, j - 60).transpose(2, 1, 0) < 30
        signal[tube & (depth < 0) & (k.transpose(2, 1, 0) < 45)] = 500
    noise = rng.normal(0, NOISE, (2, *grid.shape))
    return np.hypot(signal + noise[0], noise[1]), depth >= 13, depth >= 0


def stripped(grid=GRID, seed=0):
    scan, brain, _ = head(grid, seed=seed)
    return Volume(np.where(brain, scan, 0), grid), brain


def overlap(found, truth):
    """Dice's coefficient."""
    return 2 * (found & truth).sum() / (found.sum() + truth.sum())


def cut(volume, keep):
    k, j, i = keep
    array = volume.array[k, j, i]
    return Volume(array, replace(volume.grid, size=array.shape[::-1]))


def test_a_stripped_pair_gives_the_voxels_above_zero_in_both():
    pre, brain = stripped()
    ringing = pre.array.copy()
    ringing[40:42, 50:52, 45:47] = -3.0
    ringing[0, :, :] = -0.5
    post = pre.with_array(1.3 * ringing)
    found = foreground([pre, post])
    assert (found.source, found.message) == ("skull-stripped", None)
    assert found.mask.dtype == bool
    assert np.array_equal(found.mask, brain & (post.array > 0))


def test_stray_voxels_are_dropped_and_a_second_piece_is_kept():
    pre, brain = stripped()
    strays = pre.array.copy()
    strays[3:5, 3:6, 3:6] = 80.0
    assert np.array_equal(foreground([pre.with_array(strays)]).mask, brain)
    halves = pre.array.copy()
    halves[:, :, 49:51] = 0
    assert foreground([pre.with_array(halves)]).mask.sum() == (halves > 0).sum()


@pytest.mark.parametrize(
    "keep",
    [
        (slice(40, 41), slice(None), slice(None)),
        (slice(40, 43), slice(None), slice(None)),
        (slice(9, 81), slice(15, 106), slice(13, 88)),
    ],
    ids=["one slice", "a slab", "cropped to the brain"],
)
def test_a_stripped_scan_is_known_when_cut(keep):
    pre, brain = stripped()
    found = foreground([cut(pre, keep)])
    assert found.source == "skull-stripped"
    assert np.array_equal(found.mask, brain[keep])


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("level", [0.05, 0.2])
def test_a_noisy_stripped_scan_is_known(seed, level):
    pre, brain = stripped()
    noise = np.random.default_rng(seed).normal(0, level * 450, GRID.shape)
    noisy = pre.with_array(np.where(brain, np.maximum(pre.array + noise, 1), 0))
    assert foreground([noisy]).source == "skull-stripped"


@pytest.mark.parametrize("fat", [900.0, 200.0], ids=["fat", "fat suppressed"])
@pytest.mark.parametrize("neck", [False, True])
@pytest.mark.parametrize("air", ["noisy", "thresholded", "masked"])
def test_a_whole_head_is_a_guess_however_its_air_looks(fat, neck, air):
    scan, _, outline = head(fat=fat, neck=neck)
    if air == "thresholded":
        scan = np.where(scan > 60, scan, 0)
    elif air == "masked":
        scan = np.where(outline, scan, 0)
    found = foreground([Volume(scan, GRID)])
    assert found.source == "guess"
    assert "not the brain" in found.message
    assert "--in mask=FILE" in found.message
    if not neck:
        assert overlap(found.mask, outline) > 0.97
        assert not (outline & (depth_mm(GRID, (85, 105, 80)) > 10) & ~found.mask).any()


@pytest.mark.parametrize("air", ["noisy", "thresholded"])
def test_a_breast_on_a_chest_wall_is_a_guess(air):
    grid = Grid(size=(96, 96, 1), spacing_mm=(2.3, 2.3, 5.0))
    rng = np.random.default_rng(0)
    i, j = np.meshgrid(np.arange(96), np.arange(96), indexing="ij")
    tissue = ((i - 55) ** 2 + (j - 45) ** 2 < 30**2) | (i > 60)
    scan = np.hypot(np.where(tissue, 500, 0) + rng.normal(0, 20, (96, 96)), 10).T[None]
    if air == "thresholded":
        scan = np.where(scan > 100, scan, 0)
    found = foreground([Volume(scan, grid)])
    assert found.source == "guess"
    assert overlap(found.mask, tissue.T[None]) > 0.97


def test_a_stripped_scan_beside_one_that_is_not_gives_the_brain():
    pre, brain = stripped()
    found = foreground([pre, pre.with_array(head(seed=3)[0])])
    assert found.source == "skull-stripped"
    assert np.array_equal(found.mask, brain)


def test_the_guess_is_the_same_on_thick_slices_and_other_units():
    grid = Grid(size=(200, 240, 30), spacing_mm=(1.0, 1.0, 6.0))
    scan, _, outline = head(grid)
    for factor in (1.0, 1e-4):
        found = foreground([Volume(factor * scan, grid), Volume(0.5 * factor * scan, grid)])
        assert found.source == "guess"
        assert overlap(found.mask, outline) > 0.97


def test_a_given_mask_is_taken_as_it_is():
    pre, brain = stripped()
    drawn = pre.with_array(brain & (np.arange(90) > 40)[:, None, None])
    found = foreground([pre], drawn)
    assert (found.source, found.message) == ("given", None)
    assert np.array_equal(found.mask, drawn.array > 0)


def test_a_mask_that_leaves_nothing_is_refused():
    pre, brain = stripped()
    with pytest.raises(RequestError, match="no voxel that is above 0"):
        foreground([pre], pre.with_array(~brain))
    with pytest.raises(RequestError, match="no patient"):
        foreground([pre, pre.with_array(-pre.array)])
    with pytest.raises(RequestError, match="Choose a mask"):
        foreground([pre.with_array(np.full(GRID.shape, 5.0))])


def test_it_takes_less_than_two_seconds_and_leaves_its_input_alone():
    grid = Grid(size=(240, 240, 155))
    scan, brain, _ = head(grid)
    for array in (scan, np.where(brain, scan, 0)):
        volume = Volume(array, grid)
        kept = volume.array.copy()
        started = time.process_time()
        foreground([volume, volume])
        assert time.process_time() - started < 2.0
        assert np.array_equal(volume.array, kept)
