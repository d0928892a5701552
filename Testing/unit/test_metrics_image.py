"""The image metrics against scikit-image, closed forms and an SSIM written out here."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import convolve1d
from skimage.metrics import (
    mean_squared_error,
    normalized_root_mse,
    peak_signal_noise_ratio,
    structural_similarity,
)

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.metrics import mae, psnr, relative_error, rmse, ssim

RADIUS = 5


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    reference = rng.gamma(4.0, 0.2, (19, 23, 21)).astype(np.float32)
    synthetic = (0.8 * reference + 0.1 * rng.normal(size=reference.shape)).astype(np.float32)
    return reference, synthetic


def gaussian_ssim_map(x, y, data_range, axes):
    """Wang et al. 2004, eq. 13, with the Gaussian window of that paper, edges mirrored."""
    offsets = np.arange(-RADIUS, RADIUS + 1)
    window = np.exp(-(offsets**2) / (2 * 1.5**2))
    window /= window.sum()

    def smooth(image):
        for axis in axes:
            image = convolve1d(image, window, axis=axis, mode="reflect")
        return image

    x, y = x.astype(float), y.astype(float)
    mean_x, mean_y = smooth(x), smooth(y)
    variance_x = smooth(x * x) - mean_x**2
    variance_y = smooth(y * y) - mean_y**2
    covariance = smooth(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return luminance * structure


def test_errors_of_a_case_that_can_be_done_by_hand():
    reference = np.zeros((3, 3, 3))
    synthetic = reference.copy()
    synthetic[0, 0, 0], synthetic[2, 1, 0] = 3.0, -6.0
    assert mae(reference, synthetic) == pytest.approx(9 / 27)
    assert rmse(reference, synthetic) == pytest.approx(np.sqrt(45 / 27))
    assert psnr(reference, synthetic, data_range=10.0) == pytest.approx(
        10 * np.log10(100 / (45 / 27))
    )
    mask = synthetic != 0
    assert mae(reference, synthetic, mask=mask) == pytest.approx(4.5)
    assert rmse(reference, synthetic, mask=mask) == pytest.approx(np.sqrt(22.5))
    # Two of 27 voxels that hold 3 everywhere are off, by 3 and 6.
    assert relative_error(reference + 3, synthetic + 3) == pytest.approx(np.sqrt(45 / (27 * 9)))
    assert relative_error(reference + 3, synthetic + 3, mask=mask) == pytest.approx(
        np.sqrt(45 / 18)
    )


def test_errors_agree_with_scikit_image(pair):
    reference, synthetic = (image.astype(float) for image in pair)
    mask = reference > 0.8
    assert rmse(reference, synthetic) ** 2 == pytest.approx(
        mean_squared_error(reference, synthetic)
    )
    for data_range in (0.5, 7.0):
        assert psnr(reference, synthetic, data_range=data_range) == pytest.approx(
            peak_signal_noise_ratio(reference, synthetic, data_range=data_range)
        )
        assert psnr(reference, synthetic, mask=mask, data_range=data_range) == pytest.approx(
            peak_signal_noise_ratio(reference[mask], synthetic[mask], data_range=data_range)
        )


def test_relative_error_agrees_with_scikit_image_and_its_limits(pair):
    reference, synthetic = (image.astype(float) for image in pair)
    expected = normalized_root_mse(reference, synthetic, normalization="euclidean")
    assert relative_error(reference, synthetic) == pytest.approx(expected)
    assert relative_error(7 * reference, 7 * synthetic) == pytest.approx(expected)
    assert relative_error(reference, 1.25 * reference) == pytest.approx(0.25)
    assert relative_error(reference, -reference) == pytest.approx(2)
    nothing = np.zeros_like(reference)
    assert relative_error(reference, nothing) == 1
    assert relative_error(nothing, reference) == np.inf
    assert relative_error(nothing, nothing) == 0


def test_unsigned_integers_do_not_wrap_around():
    reference, synthetic = np.full((2, 2, 2), 5, np.uint8), np.full((2, 2, 2), 250, np.uint8)
    assert mae(reference, synthetic) == 245
    assert rmse(synthetic, reference) == 245
    assert mae(np.full(2, 60_000, np.uint16), np.zeros(2, np.uint16)) == 60_000


@pytest.mark.parametrize("dimensions", [2, 3])
def test_ssim_agrees_with_an_explicit_gaussian_window(pair, dimensions):
    axes = (0, 1, 2) if dimensions == 3 else (1, 2)
    expected = gaussian_ssim_map(*pair, 1.7, axes)
    inner = tuple(slice(RADIUS, -RADIUS) if axis in axes else slice(None) for axis in range(3))
    options = {"data_range": 1.7, "dimensions": dimensions}
    assert ssim(*pair, **options) == pytest.approx(expected[inner].mean(), abs=1e-10)
    corner = np.zeros(pair[0].shape, bool)
    corner[:4, -3:, :2] = True
    scattered = np.random.default_rng(0).random(pair[0].shape) > 0.7
    for mask in (corner, scattered, np.ones_like(corner)):
        measured = ssim(*pair, mask=mask, **options)
        assert measured == pytest.approx(expected[mask].mean(), abs=1e-10)


def test_ssim_without_a_mask_is_that_of_scikit_image(pair):
    reference, synthetic = (image.astype(float) for image in pair)
    settings = {
        "data_range": 2.0,
        "gaussian_weights": True,
        "sigma": 1.5,
        "use_sample_covariance": False,
    }
    expected = structural_similarity(reference, synthetic, **settings)
    assert ssim(reference, synthetic, data_range=2.0) == pytest.approx(expected, abs=1e-12)
    slices = [structural_similarity(r, s, **settings) for r, s in zip(*pair, strict=True)]
    assert ssim(*pair, data_range=2.0, dimensions=2) == pytest.approx(np.mean(slices), abs=1e-5)


def test_cropping_to_the_mask_changes_no_bit(pair):
    """Every place of a small mask, in the middle and at the faces, gives the full map's value."""
    reference, synthetic = (image.astype(float) for image in pair)
    _, full = structural_similarity(
        reference,
        synthetic,
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    for place in [(0, 0, 0), (18, 22, 20), (9, 11, 10), (5, 0, 20), (17, 3, 6)]:
        mask = np.zeros(reference.shape, bool)
        mask[place] = True
        assert ssim(reference, synthetic, mask=mask, data_range=1.0) == full[place]


def test_identical_images(pair):
    reference = pair[0]
    for metric in (mae, rmse, relative_error):
        assert metric(reference, reference) == 0
    assert psnr(reference, reference, data_range=1.0) == np.inf
    assert ssim(reference, reference, data_range=1.0) == 1.0


def test_closed_forms(pair):
    reference = pair[0].astype(float)
    data_range = 2.0
    shifted, scaled = reference + 0.25, 1.5 * reference
    assert mae(reference, shifted) == pytest.approx(0.25)
    assert psnr(reference, shifted, data_range=data_range) == pytest.approx(20 * np.log10(8))
    assert rmse(reference, scaled) == pytest.approx(0.5 * np.sqrt(np.mean(reference**2)))
    # Ten times the intensities with ten times the range: nothing relative has changed.
    for metric in (psnr, ssim):
        assert metric(10 * reference, 10 * shifted, data_range=20.0) == pytest.approx(
            metric(reference, shifted, data_range=data_range), rel=1e-9
        )
    # Two constant images differ by luminance alone.
    flat = np.full((12, 12, 12), 0.5)
    c1 = (0.01 * data_range) ** 2
    expected = (2 * 0.5 * 1.0 + c1) / (0.25 + 1.0 + c1)
    assert ssim(flat, 2 * flat, data_range=data_range) == pytest.approx(expected, abs=1e-9)
    # An inverted image has the opposite structure around its mean.
    assert ssim(reference, -reference + 2 * reference.mean(), data_range=data_range) < 0


def test_what_lies_outside_the_mask_does_not_matter(pair):
    reference, synthetic = pair
    mask = np.zeros(reference.shape, bool)
    mask[8:10, 8:12, 9:12] = True
    elsewhere = synthetic.copy()
    elsewhere[~mask] = np.nan
    for metric in (mae, rmse, relative_error):
        assert metric(reference, elsewhere, mask=mask) == metric(reference, synthetic, mask=mask)
    assert psnr(reference, elsewhere, mask=mask, data_range=1.0) == psnr(
        reference, synthetic, mask=mask, data_range=1.0
    )
    # SSIM looks half a window past the mask, and no further.
    far = synthetic.copy()
    far[:3], far[15:], far[:, :3], far[:, 17:] = 9.0, 9.0, 9.0, 9.0
    assert ssim(reference, far, mask=mask, data_range=1.0) == ssim(
        reference, synthetic, mask=mask, data_range=1.0
    )
    near = synthetic.copy()
    near[3] = 9.0
    assert ssim(reference, near, mask=mask, data_range=1.0) != ssim(
        reference, synthetic, mask=mask, data_range=1.0
    )


def test_a_thin_volume_needs_two_dimensions(pair):
    reference, synthetic = (image[:1] for image in pair)
    with pytest.raises(RequestError, match=r"at least 11 voxels.*1 x 23 x 21.*dimensions=2"):
        ssim(reference, synthetic, data_range=1.0)
    assert ssim(reference, synthetic, data_range=1.0, dimensions=2) == pytest.approx(
        gaussian_ssim_map(reference, synthetic, 1.0, (1, 2))[
            :, RADIUS:-RADIUS, RADIUS:-RADIUS
        ].mean(),
        abs=1e-10,
    )
    with pytest.raises(RequestError, match="11 voxels along j and i"):
        ssim(reference[..., :10], synthetic[..., :10], data_range=1.0, dimensions=2)


def test_the_smallest_volume_has_one_window(pair):
    reference, synthetic = (image[:11, :11, :11] for image in pair)
    expected = gaussian_ssim_map(reference, synthetic, 1.0, (0, 1, 2))[5, 5, 5]
    assert ssim(reference, synthetic, data_range=1.0) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("metric", [mae, rmse, relative_error, psnr, ssim])
def test_wrong_input_is_named(metric):
    options = {"data_range": 1.0} if metric in (psnr, ssim) else {}
    image = np.ones((12, 12, 12))
    with pytest.raises(RequestError, match="shape"):
        metric(image, image[1:], **options)
    with pytest.raises(RequestError, match="mask is empty"):
        metric(image, image, mask=np.zeros(image.shape, bool), **options)
    with pytest.raises(RequestError, match="mask has the shape"):
        metric(image, image, mask=np.ones((12, 12), bool), **options)
    with pytest.raises(RequestError, match="no voxel"):
        metric(image[:0], image[:0], **options)


@pytest.mark.parametrize("metric", [psnr, ssim])
@pytest.mark.parametrize("data_range", [0.0, -1.0, np.nan, np.inf])
def test_the_range_must_be_positive(metric, data_range):
    image = np.ones((12, 12, 12))
    with pytest.raises(RequestError, match="data range"):
        metric(image, image, data_range=data_range)
    with pytest.raises(TypeError, match="data_range"):
        metric(image, image)


def test_ssim_knows_two_and_three_dimensions():
    image = np.ones((12, 12, 12))
    with pytest.raises(RequestError, match="2 or 3"):
        ssim(image, image, data_range=1.0, dimensions=4)
    with pytest.raises(RequestError, match="volumes"):
        ssim(image[0], image[0], data_range=1.0, dimensions=2)


def test_inputs_are_not_written_into(pair):
    before = [image.copy() for image in pair]
    for image in pair:
        image.flags.writeable = False
    mask = pair[0] > 0.5
    for metric in (mae, rmse, relative_error):
        metric(*pair, mask=mask)
    for metric in (psnr, ssim):
        metric(*pair, mask=mask, data_range=1.0)
    for image, copy in zip(pair, before, strict=True):
        np.testing.assert_array_equal(image, copy)


@pytest.mark.parametrize("shape", [(40, 16, 17), (23, 30, 12), (11, 20, 20)])
@pytest.mark.parametrize("masked", [False, True])
def test_ssim_by_slabs_has_the_bits_of_the_whole(monkeypatch, shape, masked):
    pytest.importorskip("skimage")
    from ContrastSynthLib.metrics import image

    rng = np.random.default_rng(3)
    real = rng.random(shape)
    made = real + 0.1 * rng.random(shape)
    mask = rng.random(shape) > 0.4 if masked else None
    whole = image.ssim(real, made, data_range=1.0, mask=mask)
    monkeypatch.setattr(image, "SLAB_VOXELS", 1)
    assert len(list(image._overlapping_slabs(shape))) == shape[0] // image.SSIM_WINDOW_VOXELS
    assert image.ssim(real, made, data_range=1.0, mask=mask) == whole
