"""Noise that is known, put on an image that is known, is found and mostly taken away."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ContrastSynthLib.errors import MissingError, RequestError
from ContrastSynthLib.preprocessing.denoising import DENOISERS, denoise, noise_of_pair, noise_sigma

SIZE = 128
ROWS, COLS = np.mgrid[:SIZE, :SIZE] / SIZE


def phantom(count: int = 2) -> np.ndarray:
    """A ramp with a ring and a square on it, (count, rows, cols), each slice of its own level."""
    radius = np.hypot(ROWS - 0.5, COLS - 0.4)
    image = 0.3 + 0.2 * ROWS + 0.1 * COLS + 0.3 * (radius < 0.22) - 0.2 * (radius < 0.08)
    image[10:40, 90:115] += 0.25
    return np.stack([image + 0.3 * n for n in range(count)]).astype(np.float32)


CLEAN = phantom()
EVERYWHERE = np.ones(CLEAN.shape, dtype=bool)


def noisy(sigma: float, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, sigma, CLEAN.shape)
    return (CLEAN + noise).astype(np.float32)


def error(stack: np.ndarray) -> float:
    """Root mean square of what is not the clean image."""
    return float(np.sqrt(np.square(stack - CLEAN).mean()))


# ---- how much there is


@pytest.mark.parametrize("sigma", [0.01, 0.03, 0.1])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_noise_is_found_beside_edges_and_ramps(sigma, seed):
    stack = noisy(sigma, seed)
    assert noise_sigma(stack, EVERYWHERE) == pytest.approx(sigma, rel=0.05)
    # The plain deviation counts edges and ramps as well.
    assert stack[0].std() > 1.5 * sigma


def test_an_image_without_noise_has_none():
    assert noise_sigma(CLEAN, EVERYWHERE) < 1e-6


def test_only_what_is_inside_counts():
    inside = np.zeros(CLEAN.shape, dtype=bool)
    inside[:, :, :64] = True
    rough = noisy(0.2)
    stack = np.where(inside, noisy(0.02, seed=1), rough)
    # The ring lies in this half, so that of it more are edges.
    assert noise_sigma(stack, inside) == pytest.approx(0.02, rel=0.1)
    assert noise_sigma(stack, ~inside) == pytest.approx(0.2, rel=0.05)
    assert noise_sigma(stack, ~EVERYWHERE) == 0


def test_a_scan_that_ends_at_its_mask_has_the_noise_of_its_inside():
    inside = np.broadcast_to(np.hypot(ROWS - 0.5, COLS - 0.5) < 0.45, CLEAN.shape)
    # Measured: 9 % too much, for pixels at the rim see the zeros beyond; not twice as much.
    assert noise_sigma(noisy(0.03) * inside, inside) == pytest.approx(0.03, rel=0.15)
    assert np.std((noisy(0.03) * inside)[inside]) > 0.06


def test_noise_is_in_the_unit_of_the_scan():
    stack = noisy(0.03)
    sigma = noise_sigma(stack, EVERYWHERE)
    for scale in (1e-3, 4000.0):
        scaled = (scale * stack).astype(np.float32)
        assert noise_sigma(scaled, EVERYWHERE) == pytest.approx(scale * sigma, rel=1e-4)
    # Neither a level nor a ramp is noise, nor a step from slice to slice.
    tilted = stack + 2 * ROWS - COLS + np.array([0, 7])[:, None, None]
    assert noise_sigma(tilted.astype(np.float32), EVERYWHERE) == pytest.approx(sigma, rel=1e-3)


# ---- the scan with less of it


@pytest.mark.parametrize("sigma", [0.02, 0.05])
def test_non_local_means_leave_a_third_of_the_noise_and_the_edges(sigma):
    stack = noisy(sigma)
    found = denoise(stack, sigma, "nlm")
    assert (found.dtype, found.shape) == (np.float32, stack.shape)
    # Measured: 4.2 and 4.7 times less.
    assert error(found) < error(stack) / 3
    # No blur comes near, for it takes the edges along.
    blurred = [gaussian_filter(stack, (0, width, width)) for width in np.arange(0.4, 2, 0.2)]
    assert error(found) < min(map(error, blurred)) / 1.5


def test_non_local_means_are_what_one_gets_unasked():
    stack = noisy(0.03)
    before = stack.copy()
    np.testing.assert_array_equal(denoise(stack, 0.03), denoise(stack, 0.03, "nlm"))
    np.testing.assert_array_equal(stack, before)


def test_an_image_without_noise_stays():
    np.testing.assert_allclose(denoise(CLEAN, noise_sigma(CLEAN, EVERYWHERE)), CLEAN, atol=1e-6)
    # Even where noise is expected: what is alike in such an image is nearly the same.
    assert error(denoise(CLEAN, 0.03)) < 0.03 / 8


def test_slices_are_denoised_alone_and_in_any_unit():
    stack = noisy(0.03)
    found = denoise(stack, 0.03)
    np.testing.assert_array_equal(denoise(stack[1:], 0.03), found[1:])
    np.testing.assert_allclose(denoise(1000 * stack, 30.0), 1000 * found, rtol=1e-3)


# ---- by name


@pytest.mark.parametrize("kind", DENOISERS)
def test_without_noise_nothing_is_done(kind, monkeypatch):
    monkeypatch.setitem(sys.modules, "bm3d", None)
    stack = noisy(0.03)
    assert denoise(stack, 0.0, kind) is stack
    assert denoise(stack, 0.03, "none") is stack


@pytest.mark.parametrize("sigma", [0.0, 0.03])
def test_an_unknown_denoiser_is_refused_and_the_nearest_named(sigma):
    with pytest.raises(RequestError, match=r"Unknown denoiser 'nml'\. Did you mean 'nlm'"):
        denoise(CLEAN, sigma, "nml")


def test_bm3d_that_is_not_installed_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "bm3d", None)
    with pytest.raises(MissingError, match=r"needs the package bm3d.*or choose 'nlm'"):
        denoise(CLEAN, 0.03, "bm3d")


def test_bm3d_that_is_installed_gets_each_slice_and_the_noise(monkeypatch):
    given = []

    def bm3d(image, sigma):
        given.append((image, sigma))
        return 2.0 * image.astype(np.float64)

    package = ModuleType("bm3d")
    package.bm3d = bm3d
    monkeypatch.setitem(sys.modules, "bm3d", package)
    found = denoise(CLEAN, 0.03, "bm3d")
    assert [sigma for _, sigma in given] == [0.03, 0.03]
    np.testing.assert_array_equal([image for image, _ in given], CLEAN)
    np.testing.assert_array_equal(found, 2 * CLEAN)
    assert found.dtype == np.float32


@pytest.mark.parametrize("smoothed", [0.0, 0.8])
def test_the_noise_of_a_pair_is_found_where_it_is_correlated_and_amid_anatomy(smoothed):
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(0)
    anatomy = 1 + 0.3 * (gaussian_filter(rng.normal(size=(3, 96, 96)), (0, 2, 2)) > 0)
    scans = []
    for _ in range(2):
        noise = gaussian_filter(rng.normal(size=anatomy.shape), (0, smoothed, smoothed))
        scans.append((anatomy + 0.04 * noise / noise.std()).astype(np.float32))
    inside = np.ones(anatomy.shape, bool)
    assert noise_of_pair(*scans, inside) == pytest.approx(0.04, rel=0.1)
    # In each scan alone correlated noise is underestimated.
    if smoothed:
        assert noise_sigma(scans[0], inside) < 0.03
