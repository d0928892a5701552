"""Edges against scikit-image's operators, GMSD against its paper's steps, and limits of both."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.ndimage import sobel as integer_sobel
from scipy.ndimage import uniform_filter
from scipy.signal import convolve2d
from scipy.stats import pearsonr
from skimage.filters import prewitt, sobel

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.metrics import eis, gmsd, gradient_magnitude_rmse, gradient_ratio
from ContrastSynthLib.metrics.gradients import PREWITT_SMOOTHING, gradient_magnitude


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    reference = rng.gamma(4.0, 0.2, (6, 13, 10)).astype(np.float32)
    synthetic = (0.8 * reference + 0.2 * rng.normal(size=reference.shape)).astype(np.float32)
    return reference, synthetic, rng.random(reference.shape) > 0.7


def by_scikit_image(operator, volume, dimensions=2):
    """Its magnitudes, which do not halve the difference and average the squared directions."""
    image = volume.astype(float)
    edges = operator(image) if dimensions == 3 else np.stack([operator(s) for s in image])
    return edges * math.sqrt(dimensions) / 2


def test_one_voxel_by_hand():
    """8 in the middle of 27 zeros: 2 at the four neighbours in its slice, sqrt(2) at corners."""
    nothing = np.zeros((3, 3, 3))
    spot = nothing.copy()
    spot[1, 1, 1] = 8.0
    expected = np.array([[2**0.5, 2, 2**0.5], [2, 0, 2], [2**0.5, 2, 2**0.5]])
    assert gradient_magnitude(spot)[1] == pytest.approx(expected)
    assert not gradient_magnitude(spot)[[0, 2]].any()
    assert gradient_magnitude_rmse(nothing, spot) == pytest.approx(math.sqrt(24 / 27))
    middle = np.zeros((3, 3, 3), bool)
    middle[1] = True
    assert gradient_magnitude_rmse(nothing, spot, mask=middle) == pytest.approx(math.sqrt(24 / 9))
    # Against twice itself: the edges differ by themselves.
    assert gradient_magnitude_rmse(spot, 2 * spot, mask=middle) == pytest.approx(math.sqrt(24 / 9))
    # The spot at the right edge, where it is mirrored: gradients along i of 0 1 1 / 0 2 2 /
    # 0 1 1 and along j of 0 1 3 / 0 0 0 / 0 -1 -3.
    aside = np.roll(spot, 1, axis=2)
    others = np.array([[0, 2**0.5, 10**0.5], [0, 2, 2], [0, 2**0.5, 10**0.5]])
    assert gradient_magnitude(aside)[1] == pytest.approx(others)
    assert eis(spot, aside, mask=middle) == pytest.approx(
        np.corrcoef(expected.ravel(), others.ravel())[0, 1]
    )


def test_a_ramp_has_the_slope_as_its_gradient():
    k, j, i = np.meshgrid(*(np.arange(n) for n in (5, 6, 7)), indexing="ij")
    inner = (slice(1, -1),) * 3
    assert gradient_magnitude(0.5 * i)[inner] == pytest.approx(0.5)
    assert gradient_magnitude(3 * j + 4 * i)[inner] == pytest.approx(5)
    # Slices see nothing of what changes along k.
    assert not gradient_magnitude(7 * k).any()
    assert gradient_magnitude(2 * k + 3 * j + 6 * i, dimensions=3)[inner] == pytest.approx(7)


def test_edges_are_those_of_scikit_image_and_scipy(pair):
    image = pair[0].astype(float)
    for dimensions in (2, 3):
        assert gradient_magnitude(image, dimensions=dimensions) == pytest.approx(
            by_scikit_image(sobel, image, dimensions), abs=1e-12
        )
    assert gradient_magnitude(image, smoothing=PREWITT_SMOOTHING) == pytest.approx(
        by_scikit_image(prewitt, image), abs=1e-12
    )
    # The integer kernel that the papers print is 8 times as large.
    one = image[2]
    integers = np.hypot(integer_sobel(one, axis=0), integer_sobel(one, axis=1))
    assert gradient_magnitude(image)[2] == pytest.approx(integers / 8)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_measures_of_edges_against_scikit_image_and_scipy(pair, dimensions):
    reference, synthetic, scattered = pair
    whole = np.ones_like(scattered)
    block, corner = np.zeros_like(scattered), np.zeros_like(scattered)
    block[2:4, 3:8, 4:7] = corner[0, :2, -3:] = True
    real, made = (by_scikit_image(sobel, image, dimensions) for image in (reference, synthetic))
    for mask in (scattered, block, corner, whole):
        options = {"mask": None if mask is whole else mask, "dimensions": dimensions}
        assert gradient_magnitude_rmse(reference, synthetic, **options) == pytest.approx(
            math.sqrt(np.mean((real[mask] - made[mask]) ** 2)), abs=1e-12
        )
        assert eis(reference, synthetic, **options) == pytest.approx(
            pearsonr(real[mask], made[mask]).statistic, abs=1e-9
        )
        assert gradient_ratio(reference, synthetic, **options) == pytest.approx(
            made[mask].mean() / real[mask].mean(), rel=1e-9
        )


def test_a_blurred_image_has_fewer_edges_than_the_scan(pair):
    image = pair[0]
    blurred = uniform_filter(image, size=(1, 3, 3))
    assert gradient_ratio(image, blurred) < 0.7
    assert gradient_ratio(image, 2 * image) == pytest.approx(2)
    assert math.isnan(gradient_ratio(np.ones_like(image), image))


def gmsd_by_its_steps(reference, synthetic, data_range):
    """Xue et al. 2014 on one slice: average 2 x 2, take every other pixel, Prewitt, deviation."""
    average = np.full((2, 2), 0.25)
    horizontal = np.array([[1, 0, -1]] * 3) / 3
    magnitudes = []
    for image in (reference, synthetic):
        small = convolve2d(image, average, mode="valid")[::2, ::2]
        gradients = [convolve2d(small, h, "same", "symm") for h in (horizontal, horizontal.T)]
        magnitudes.append(np.hypot(*gradients))
    r, d = magnitudes
    c = 170 * (data_range / 255) ** 2
    return np.std((2 * r * d + c) / (r**2 + d**2 + c))


def test_gmsd_follows_its_paper(pair):
    reference, synthetic = (image[:, :12, :10].astype(float) for image in pair[:2])
    expected = [
        gmsd_by_its_steps(r, s, data_range=1.5) for r, s in zip(reference, synthetic, strict=True)
    ]
    for k, value in enumerate(expected):
        one = slice(k, k + 1)
        assert gmsd(reference[one], synthetic[one], data_range=1.5) == pytest.approx(value)
    assert gmsd(reference, synthetic, data_range=1.5) == pytest.approx(np.mean(expected))
    assert len({round(value, 4) for value in expected}) > 1


def test_gmsd_by_hand():
    """Blocks 0 0 / 0 d: the squared gradients are 2, 5, 5 and 8 ninths of d^2, here of c."""
    step = 255 / math.sqrt(170)
    nothing = np.zeros((3, 3, 3))
    corner = nothing.copy()
    corner[:, 2, 2] = 1.0
    similarity = np.array([9 / 11, 9 / 14, 9 / 14, 9 / 17])
    assert gmsd(nothing, corner, data_range=step) == pytest.approx(similarity.std())
    # A mask on the first row of voxels leaves the two upper blocks.
    upper = np.zeros((3, 3, 3), bool)
    upper[:, 0] = True
    assert gmsd(nothing, corner, data_range=step, mask=upper) == pytest.approx(similarity[:2].std())
    # Slices count by their blocks in the mask: four of one that is 0 and two of this one.
    one = corner * np.array([1, 0, 0])[:, None, None]
    upper[1] = True
    upper[2] = False
    assert gmsd(nothing, one, data_range=step, mask=upper) == pytest.approx(
        similarity[:2].std() * 2 / 6
    )


def test_an_odd_edge_counts_as_if_it_were_doubled(pair):
    reference, synthetic, mask = pair
    doubled = [np.concatenate([image, image[:, -1:]], axis=1) for image in pair]
    assert gmsd(reference, synthetic, data_range=1.0, mask=mask) == pytest.approx(
        gmsd(*doubled[:2], data_range=1.0, mask=doubled[2])
    )


def test_identical_inverted_shifted_and_scaled_images(pair):
    reference, synthetic, mask = pair
    reference, synthetic = reference.astype(float), synthetic.astype(float)
    # None of the three sees the sign of an image, nor an offset.
    for same in (reference, -reference, 5 - reference, reference + 3):
        assert gradient_magnitude_rmse(reference, same, mask=mask) == pytest.approx(0, abs=1e-12)
        assert gmsd(reference, same, data_range=1.0, mask=mask) == pytest.approx(0, abs=1e-7)
        assert eis(reference, same, mask=mask) == pytest.approx(1)
    # Ten times all intensities: an error in their unit grows, what is relative does not.
    assert gradient_magnitude_rmse(10 * reference, 10 * synthetic) == pytest.approx(
        10 * gradient_magnitude_rmse(reference, synthetic)
    )
    assert gmsd(10 * reference, 10 * synthetic, data_range=10.0) == pytest.approx(
        gmsd(reference, synthetic, data_range=1.0)
    )
    # A gain of one image alone does not matter to a correlation.
    assert eis(reference, 4 * synthetic) == pytest.approx(eis(reference, synthetic))
    assert eis(reference, synthetic) == pytest.approx(eis(synthetic, reference))


def test_edges_that_avoid_each_other_correlate_negatively():
    left, right = np.zeros((1, 8, 12)), np.zeros((1, 8, 12))
    left[..., :4], right[..., 8:] = 1.0, 1.0
    assert eis(left, right) < -0.1


def test_constant_images_have_no_edges(pair):
    reference = pair[0]
    flat = np.full_like(reference, 0.1)
    assert gradient_magnitude_rmse(flat, flat) == 0
    assert gmsd(flat, flat, data_range=1.0) == 0
    assert math.isnan(eis(flat, reference))
    assert math.isnan(eis(reference, flat))
    assert math.isnan(eis(flat, flat))
    # Nor has a ramp a place where its gradient differs, but for rounding.
    ramp = np.broadcast_to(np.linspace(0, 1, 10, dtype=np.float32), (6, 13, 10))
    inner = np.zeros(ramp.shape, bool)
    inner[..., 1:-1] = True
    assert math.isnan(eis(ramp, reference, mask=inner))


@pytest.mark.parametrize("metric", [gradient_magnitude_rmse, eis, gmsd])
def test_wrong_input_is_named(metric):
    image = np.ones((3, 4, 4))
    options = {"data_range": 1.0} if metric is gmsd else {}
    with pytest.raises(RequestError, match="shape"):
        metric(image, image[1:], **options)
    with pytest.raises(RequestError, match="mask is empty"):
        metric(image, image, mask=np.zeros(image.shape, bool), **options)
    with pytest.raises(RequestError, match="volumes"):
        metric(image[0], image[0], **options)
    if metric is gmsd:
        with pytest.raises(RequestError, match="data range"):
            gmsd(image, image, data_range=0.0)
        with pytest.raises(TypeError, match="data_range"):
            gmsd(image, image)
    else:
        with pytest.raises(RequestError, match="2 or 3"):
            metric(image, image, dimensions=1)


def test_inputs_are_not_written_into(pair):
    before = [image.copy() for image in pair]
    for image in pair:
        image.flags.writeable = False
    reference, synthetic, mask = pair
    eis(reference, synthetic, mask=mask)
    gradient_magnitude_rmse(reference, synthetic, mask=mask, dimensions=3)
    gmsd(reference, synthetic, mask=mask, data_range=1.0)
    for image, copy in zip(pair, before, strict=True):
        np.testing.assert_array_equal(image, copy)
