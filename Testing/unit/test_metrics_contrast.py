"""Metrics of the contrast region: by hand, against Python's statistics module, at their limits."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest

from ContrastSynthLib.analysis.uptake import uptake
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.metrics import (
    cfs,
    cnr,
    cnr_error,
    enhancement_error,
    enhancing_voxels,
    irc,
    mae_ce,
)
from ContrastSynthLib.volumes import Volume

CUBE = np.arange(27.0).reshape(3, 3, 3)
FIRST, LAST = np.zeros((3, 3, 3), bool), np.zeros((3, 3, 3), bool)
FIRST[0], LAST[2] = True, True
"""The slices that hold 0 to 8 (mean 4) and 18 to 26 (mean 22)."""


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(8)
    reference = rng.gamma(4.0, 0.2, (9, 8, 7)).astype(np.float32)
    synthetic = (0.8 * reference + 0.1 * rng.normal(size=reference.shape)).astype(np.float32)
    return reference, synthetic, rng.random(reference.shape) > 0.6


def test_by_hand():
    # Means 4 and 5.
    assert cfs(CUBE, CUBE + 1, mask=FIRST) == pytest.approx(0.75)
    assert cfs(CUBE, CUBE - 1, mask=FIRST) == pytest.approx(0.75)
    assert enhancement_error(CUBE, CUBE + 3, mask=FIRST) == pytest.approx(9)
    # Ranges 8 and 12, and of the whole cube 26 and 39.
    assert irc(CUBE, 1.5 * CUBE, mask=FIRST) == irc(CUBE, 1.5 * CUBE) == pytest.approx(0.5)
    # The mean square of -4 to 4 is 60 / 9.
    ratio = 18 / math.sqrt(60 / 9)
    assert cnr(CUBE, mask=FIRST, background=LAST) == pytest.approx(ratio)
    raised = CUBE + 2 * FIRST
    assert cnr_error(CUBE, raised, mask=FIRST, background=LAST) == pytest.approx(ratio / 9)
    assert cnr_error(raised, CUBE, mask=FIRST, background=LAST) == pytest.approx(ratio / 9)


def test_enhancing_voxels_by_hand():
    # The 0.95 quantile of 0 to 26 lies at 0.95 * 26 = 24.7: a rise of 2.47 enhances.
    rise = np.zeros((3, 3, 3))
    rise[0, 0, 0], rise[1, 1, 1], rise[2, 2, 2] = 2.46, 2.48, -9.0
    found = enhancing_voxels(CUBE, CUBE + rise)
    assert np.argwhere(found).tolist() == [[1, 1, 1]]
    # In the first slice alone it is 7.6, and 0.76 enhances.
    assert np.argwhere(enhancing_voxels(CUBE, CUBE + rise, mask=FIRST)).tolist() == [[0, 0, 0]]
    # "At least" 10 %: of a flat image of 10, exactly 1.
    flat = np.full((3, 3, 3), 10.0)
    assert np.array_equal(enhancing_voxels(flat, flat + FIRST), FIRST)
    # Errors of 2 and 4 at two enhancing voxels, and one elsewhere that does not count.
    error = np.zeros((3, 3, 3))
    error[0, 0, 0], error[0, 2, 2], error[1, 1, 1] = 2, -4, 50
    assert mae_ce(CUBE, CUBE + error, enhancing=FIRST) == pytest.approx(6 / 9)
    assert mae_ce(CUBE, CUBE + error, enhancing=error != 0) == pytest.approx(56 / 3)
    assert mae_ce(CUBE, CUBE + error, enhancing=error != 0, mask=FIRST) == pytest.approx(3)


def test_against_the_statistics_module(pair):
    reference, synthetic, mask = pair
    real, made = ([float(v) for v in image[mask]] for image in (reference, synthetic))
    mean = statistics.fmean(real), statistics.fmean(made)
    assert cfs(reference, synthetic, mask=mask) == pytest.approx(
        1 - abs(mean[1] - mean[0]) / mean[0], abs=1e-9
    )
    span = max(real) - min(real), max(made) - min(made)
    assert irc(reference, synthetic, mask=mask) == pytest.approx(
        1 - abs(span[1] - span[0]) / span[0], abs=1e-9
    )
    assert enhancement_error(reference, synthetic, mask=mask) == pytest.approx(
        (mean[1] - mean[0]) ** 2, rel=1e-6
    )
    ratios = []
    for image in (reference, synthetic):
        inside, outside = ([float(v) for v in image[where]] for where in (mask, ~mask))
        contrast = statistics.fmean(inside) - statistics.fmean(outside)
        ratios.append(abs(contrast) / statistics.pstdev(outside))
        assert cnr(image, mask=mask, background=~mask) == pytest.approx(ratios[-1], rel=1e-6)
    assert cnr_error(reference, synthetic, mask=mask, background=~mask) == pytest.approx(
        abs(ratios[0] - ratios[1]), abs=1e-7
    )


def test_enhancing_voxels_against_a_sorted_list(pair):
    native, standard, mask = pair[0], pair[0] + 0.3 * pair[1], pair[2]
    values = sorted(float(v) for v in native[mask])
    place = 0.95 * (len(values) - 1)
    low = values[int(place)]
    level = low + (place - int(place)) * (values[int(place) + 1] - low)
    expected = {
        tuple(at)
        for at in np.argwhere(mask).tolist()
        if float(standard[tuple(at)]) - float(native[tuple(at)]) >= 0.1 * level
    }
    found = enhancing_voxels(native, standard, mask=mask)
    assert {tuple(at) for at in np.argwhere(found).tolist()} == expected
    assert 0 < len(expected) < mask.sum()


def test_enhancing_voxels_are_the_uptake_by_the_convention_of_that_paper():
    """The convention fits a gain first; where there is none to fit, both agree."""
    rng = np.random.default_rng(5)
    pre = rng.uniform(80, 120, (12, 13, 14)).astype(np.float32)
    post = pre.copy()
    post[4:7, 4:7, 4:7] += 40
    grid = Grid((14, 13, 12))
    brain = np.ones(pre.shape, bool)
    expected = uptake(Volume(pre, grid), Volume(post, grid), brain, convention="cgan")
    assert np.array_equal(enhancing_voxels(pre, post, mask=brain), expected.binary)
    assert expected.binary.sum() == 27


def test_identical_images(pair):
    reference, _, mask = pair
    assert cfs(reference, reference, mask=mask) == irc(reference, reference, mask=mask) == 1
    assert cnr_error(reference, reference, mask=mask, background=~mask) == 0
    assert mae_ce(reference, reference, enhancing=mask) == 0
    assert enhancement_error(reference, reference, mask=mask) == 0
    assert not enhancing_voxels(reference, reference, mask=mask).any()


def test_constant_images():
    """What divides by zero gives the best value for no error, and no finite one for an error."""
    flat, nothing = np.full((3, 3, 3), 2.0), np.zeros((3, 3, 3))
    assert irc(flat, flat + 1) == 1
    assert irc(flat, CUBE) == -math.inf
    assert irc(CUBE, flat) == 0
    assert cfs(nothing, nothing) == 1
    assert cfs(nothing, flat) == -math.inf
    assert cfs(flat, nothing) == 0
    assert cnr(flat, mask=FIRST, background=LAST) == 0
    assert cnr(flat + FIRST, mask=FIRST, background=LAST) == math.inf
    assert math.isnan(cnr_error(flat + FIRST, flat + FIRST, mask=FIRST, background=LAST))


def test_inverted_scaled_and_shifted_images(pair):
    reference, _, mask = (np.asarray(image) for image in pair)
    reference = reference.astype(float)
    regions = {"mask": mask, "background": ~mask}
    # Inverted: the mean is wrong by twice itself, the range is right.
    assert cfs(reference, -reference, mask=mask) == pytest.approx(-1)
    assert irc(reference, -reference, mask=mask) == pytest.approx(1)
    assert cnr_error(reference, -reference, **regions) == pytest.approx(0, abs=1e-12)
    # Scaled: CNR has no unit.
    assert cfs(reference, 1.2 * reference, mask=mask) == pytest.approx(0.8)
    assert irc(reference, 1.2 * reference, mask=mask) == pytest.approx(0.8)
    assert cnr(5 * reference, **regions) == pytest.approx(cnr(reference, **regions))
    # Shifted: neither the range nor the contrast changes.
    assert irc(reference, reference + 3, mask=mask) == pytest.approx(1)
    assert cnr(reference + 3, **regions) == pytest.approx(cnr(reference, **regions))
    assert enhancement_error(reference, reference + 3, mask=mask) == pytest.approx(9)
    # A negative mean, as in z-scored images, does not turn an error into a bonus.
    assert cfs(reference - 10, reference - 11, mask=mask) < 1


def test_what_lies_outside_the_regions_does_not_matter(pair):
    reference, synthetic, mask = pair
    changed = np.where(mask, synthetic, np.nan)
    for metric in (cfs, irc, enhancement_error):
        assert metric(reference, changed, mask=mask) == metric(reference, synthetic, mask=mask)
    assert mae_ce(reference, changed, enhancing=mask) == mae_ce(
        reference, synthetic, enhancing=mask
    )
    half = mask.copy()
    half[5:] = False
    outside = np.zeros_like(mask)
    outside[5:] = True
    far = np.where(half | outside, synthetic, np.nan)
    assert cnr(far, mask=half, background=outside) == cnr(synthetic, mask=half, background=outside)


def test_wrong_input_is_named():
    empty, other = np.zeros((3, 3, 3), bool), np.ones((3, 3), bool)
    for metric in (cfs, irc, enhancement_error):
        with pytest.raises(RequestError, match="reference has the shape"):
            metric(CUBE, CUBE[1:])
        with pytest.raises(RequestError, match="mask is empty"):
            metric(CUBE, CUBE, mask=empty)
        with pytest.raises(RequestError, match="mask has the shape"):
            metric(CUBE, CUBE, mask=other)
    with pytest.raises(RequestError, match="background is empty"):
        cnr(CUBE, mask=FIRST, background=empty)
    with pytest.raises(RequestError, match="overlap"):
        cnr(CUBE, mask=FIRST, background=~LAST)
    with pytest.raises(RequestError, match="synthetic image"):
        cnr_error(CUBE, CUBE[1:], mask=FIRST, background=LAST)
    with pytest.raises(RequestError, match="native scan has the shape"):
        enhancing_voxels(CUBE, CUBE[1:])
    with pytest.raises(RequestError, match=r"0\.95 quantile of the native scan is 0"):
        enhancing_voxels(0 * CUBE, CUBE)
    with pytest.raises(RequestError, match="enhancing voxels has the shape"):
        mae_ce(CUBE, CUBE, enhancing=other)
    for enhancing, mask in ((empty, None), (FIRST, LAST)):
        with pytest.raises(RequestError, match="enhancing voxels is empty"):
            mae_ce(CUBE, CUBE, enhancing=enhancing, mask=mask)


def test_inputs_are_not_written_into(pair):
    for image in pair:
        image.flags.writeable = False
    reference, synthetic, mask = pair
    for metric in (cfs, irc, enhancement_error):
        metric(reference, synthetic, mask=mask)
    cnr_error(reference, synthetic, mask=mask, background=~mask)
    mae_ce(reference, synthetic, enhancing=enhancing_voxels(reference, 2 * reference, mask=mask))
