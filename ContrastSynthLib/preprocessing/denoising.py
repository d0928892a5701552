"""Estimate the noise of a scan, and reduce it, slice by slice."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.ndimage import binary_erosion, convolve

from ContrastSynthLib.errors import MissingError, unknown_name
from ContrastSynthLib.volumes import BoolArray, FloatArray

# The difference of two discrete Laplacians: it removes edges and ramps but not noise (Immerkaer,
# Comput Vis Image Underst 1996;64:300-302).
EDGE_FREE = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)
MAD_OF_NORMAL = 0.6745
"""Median absolute deviation of a normal distribution with standard deviation 1."""

NLM_PATCH, NLM_DISTANCE = 5, 4
NLM_STRENGTH = 0.8
"""h of non-local means as a multiple of the noise: scikit-image's advice for its fast mode."""

LAG_OF_DIFFERENCES = 3
"""Distance in pixels at which the noise of an interpolated scan is no longer correlated."""


def noise_sigma(stack: FloatArray, inside: BoolArray, lag: int = 1) -> float:
    """Return the standard deviation of the noise of slices (n, rows, columns), in their unit.

    The slices are filtered with the kernel EDGE_FREE; a robust standard deviation (from the median
    absolute deviation) is taken over the pixels ``inside`` (n, rows, columns), 0 when there are
    none. ``lag`` is the distance in pixels between the kernel's elements. With 1 the noise of
    interpolated scans, which is correlated, is underestimated; larger lags count anatomy as noise.
    """
    if not inside.any():
        return 0.0
    mask = np.zeros((1, 2 * lag + 1, 2 * lag + 1), dtype=np.float32)
    mask[:, ::lag, ::lag] = EDGE_FREE
    response = convolve(stack, mask, mode="nearest")
    # At the border of a masked scan the filter responds to the edge of the mask.
    core = binary_erosion(inside, np.ones(mask.shape), border_value=1)
    deviation = float(np.median(np.abs(response[core if core.any() else inside])))
    deviation /= MAD_OF_NORMAL
    return deviation / float(np.sqrt(np.square(EDGE_FREE).sum()))


def noise_of_pair(stack: FloatArray, other: FloatArray, inside: BoolArray) -> float:
    """Return the root mean square noise of two scans with the same anatomy, gain and shading.

    Both are slices (n, rows, columns). Their difference contains no anatomy, so the noise can be
    measured at a lag at which that of interpolated scans is not correlated.
    """
    return noise_sigma(stack - other, inside, LAG_OF_DIFFERENCES) / float(np.sqrt(2))


def denoise(stack: FloatArray, sigma: float, kind: str = "nlm") -> FloatArray:
    """Return denoised slices (n, rows, columns); ``sigma`` is the noise's standard deviation.

    ``kind`` is a key of DENOISERS. With a ``sigma`` of 0 or with ``none`` the slices are returned
    as they are. Raises RequestError for an unknown kind, and MissingError for ``bm3d`` when that
    package is not installed.
    """
    if kind not in DENOISERS:
        raise unknown_name("denoiser", kind, DENOISERS)
    if sigma <= 0 or kind == "none":
        return stack
    return np.stack([DENOISERS[kind](image, sigma) for image in stack]).astype(np.float32)


def _nlm(image: FloatArray, sigma: float) -> FloatArray:
    """Non-local means (Buades et al. 2005)."""
    from skimage.restoration import denoise_nl_means

    found: FloatArray = denoise_nl_means(
        image,
        patch_size=NLM_PATCH,
        patch_distance=NLM_DISTANCE,
        h=NLM_STRENGTH * sigma,
        sigma=sigma,
        fast_mode=True,
    )
    return found


def _bm3d(image: FloatArray, sigma: float) -> FloatArray:
    """BM3D (Dabov et al. 2007), as in LIP-CAR; its package allows non-commercial use only."""
    try:
        from bm3d import bm3d
    except ImportError:
        raise MissingError(
            "The denoiser 'bm3d' needs the package bm3d, whose licence allows non-commercial use "
            "only, so it is not installed with ContrastSynth. Install it, or choose 'nlm'."
        ) from None
    found: FloatArray = bm3d(image, sigma)
    return found


def _as_it_is(image: FloatArray, sigma: float) -> FloatArray:
    return image


DENOISERS: dict[str, Callable[[FloatArray, float], FloatArray]] = {
    "nlm": _nlm,
    "bm3d": _bm3d,
    "none": _as_it_is,
}
