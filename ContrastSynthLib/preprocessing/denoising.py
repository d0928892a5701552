"""Noise of a scan: how much there is, and the scan with less of it, slice by slice."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.ndimage import binary_erosion, convolve

from ContrastSynthLib.errors import MissingError, unknown_name
from ContrastSynthLib.volumes import BoolArray, FloatArray

# The difference of two discrete Laplacians: edges and ramps cancel, noise does not (Immerkaer,
# Comput Vis Image Underst 1996;64:300-302).
EDGE_FREE = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)
MAD_OF_NORMAL = 0.6745
"""Median absolute deviation of a normal distribution of deviation 1."""

NLM_PATCH, NLM_DISTANCE = 5, 4
NLM_STRENGTH = 0.8
"""h of non-local means over the noise, as scikit-image recommends for its fast variant."""


LAG_OF_DIFFERENCES = 3
"""Pixels over which noise is no longer correlated, where a scan was interpolated."""


def noise_sigma(stack: FloatArray, inside: BoolArray, lag: int = 1) -> float:
    """Return the standard deviation of the noise of slices (n, rows, columns), in their unit.

    It is the robust one (by the median absolute deviation) of the slices after the mask
    EDGE_FREE, over the pixels ``inside`` (n, rows, columns); 0 where there are none. ``lag`` is
    the distance in pixels of what the mask compares: with 1 the noise of interpolated scans,
    which is correlated, looks smaller than it is; with more, anatomy looks like noise.
    """
    if not inside.any():
        return 0.0
    mask = np.zeros((1, 2 * lag + 1, 2 * lag + 1), dtype=np.float32)
    mask[:, ::lag, ::lag] = EDGE_FREE
    response = convolve(stack, mask, mode="nearest")
    # At the rim of a masked scan the response is that of the mask.
    core = binary_erosion(inside, np.ones(mask.shape), border_value=1)
    deviation = float(np.median(np.abs(response[core if core.any() else inside])))
    deviation /= MAD_OF_NORMAL
    return deviation / float(np.sqrt(np.square(EDGE_FREE).sum()))


def noise_of_pair(stack: FloatArray, other: FloatArray, inside: BoolArray) -> float:
    """Return the noise of each of two scans of one anatomy, gain and shading, as slices.

    In their difference the anatomy is gone, so that noise can be told at a distance at which
    that of interpolated scans is not correlated. It is the root mean square of the two.
    """
    return noise_sigma(stack - other, inside, LAG_OF_DIFFERENCES) / float(np.sqrt(2))


def denoise(stack: FloatArray, sigma: float, kind: str = "nlm") -> FloatArray:
    """Return slices (n, rows, columns) with less noise; ``sigma`` is that of the noise.

    ``kind`` is a key of DENOISERS. Without noise, or with ``none``, nothing changes. Raises
    RequestError for an unknown kind and MissingError for ``bm3d`` where that is not installed.
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
    """BM3D (Dabov et al. 2007), what the paper uses; its package is not free for all uses."""
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
