"""Similarity of the edges of two images (k, j, i).

As in the papers the operators are two-dimensional, within each slice along k, unless
``dimensions=3`` is given. At the border of a mask the kernels use the voxels outside of it; at
the faces of the volume they use mirrored voxels. All functions raise RequestError for different
shapes, an empty mask and arrays that are not three-dimensional.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.ndimage import correlate1d, find_objects

from ContrastSynthLib.metrics.common import Array, axes_of, check_range, mask_of, pair_of

DERIVATIVE = (-0.5, 0.0, 0.5)
SOBEL_SMOOTHING = (0.25, 0.5, 0.25)
PREWITT_SMOOTHING = (1 / 3, 1 / 3, 1 / 3)

# c of Xue et al. 2014: 170 for 8-bit images, which is 0.0026 for images in [0, 1].
GMSD_CONSTANT_OF_SQUARED_RANGE = 170 / 255**2

# Relative variation of edges below which it is rounding: images are in single precision.
FLAT_EDGES = 1e-6


def gradient_magnitude(
    image: ArrayLike, *, dimensions: int = 2, smoothing: tuple[float, ...] = SOBEL_SMOOTHING
) -> Array:
    """Return the magnitude of the gradient (k, j, i), float64, in intensity per voxel.

    The kernels are scaled so that a ramp of 1 per voxel gives 1 (our choice; Sobel's integer
    kernels give 8 in 2D). The spacing of the voxels is not used.
    """
    values = np.asarray(image)
    axes = axes_of(values.shape, dimensions)
    squares = np.zeros(values.shape)
    for along in axes:
        derivative = correlate1d(values, DERIVATIVE, axis=along, output=np.float64)
        for across in axes:
            if across != along:
                derivative = correlate1d(derivative, smoothing, axis=across)
        squares += derivative**2
    return np.sqrt(squares)


def gradient_magnitude_rmse(
    reference: ArrayLike,
    synthetic: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    dimensions: int = 2,
) -> float:
    """Return sqrt(mean((g - g')^2)) of Sobel gradient magnitudes, in intensity per voxel.

    SPHERE's eq. 26, where it is called "GMSD"; the GMSD of the literature is :func:`gmsd`. 0 is
    best; an image and its negative also give 0, because their edges have equal magnitudes.
    """
    real, made = _edges(reference, synthetic, mask, dimensions)
    return float(np.sqrt(np.mean(np.square(real - made))))


def gradient_ratio(
    reference: ArrayLike,
    synthetic: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    dimensions: int = 2,
) -> float:
    """Return the mean Sobel gradient magnitude of ``synthetic`` over that of ``reference``.

    Below 1 the synthetic image is blurrier, or has less noise; above 1 it is sharper or noisier.
    NaN where the reference has no edges in the mask.
    """
    real, made = _edges(reference, synthetic, mask, dimensions)
    return float(made.mean() / real.mean()) if real.any() else float("nan")


def eis(
    reference: ArrayLike,
    synthetic: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    dimensions: int = 2,
) -> float:
    """Return SPHERE's edge intensity similarity, the Pearson correlation of Sobel edges (eq. 28).

    From -1 to 1; 1 is best. It does not depend on the gain, offset or sign of either image. NaN
    when the gradient magnitude of an image is constant in the mask.
    """
    real, made = _edges(reference, synthetic, mask, dimensions)
    norms = []
    for edges in (real, made):
        size = np.linalg.norm(edges)
        edges -= edges.mean()
        norms.append(np.linalg.norm(edges))
        if norms[-1] <= FLAT_EDGES * size:
            return float("nan")
    return float(real @ made / (norms[0] * norms[1]))


def gmsd(
    reference: ArrayLike,
    synthetic: ArrayLike,
    *,
    data_range: float,
    mask: ArrayLike | None = None,
) -> float:
    """Return the gradient magnitude similarity deviation of Xue et al. 2014; 0 is best.

    Each slice is averaged over blocks of 2 x 2, g and g' are Prewitt gradient magnitudes, and
    GMSD is the standard deviation of (2 g g' + c) / (g^2 + g'^2 + c), with c = 170 for 8-bit
    images, scaled to ``data_range``. For a volume (our choice): the mean over slices, weighted by
    the number of blocks that touch the mask.
    """
    check_range(data_range)
    real, made = pair_of(reference, synthetic)
    axes_of(real.shape, 2)
    blocks = _halved(mask_of(mask, real.shape)) > 0
    # The paper's Prewitt kernel does not divide the difference of the two neighbours by 2.
    g, h = (
        2.0 * gradient_magnitude(_halved(image), smoothing=PREWITT_SMOOTHING)
        for image in (real, made)
    )
    constant = GMSD_CONSTANT_OF_SQUARED_RANGE * data_range**2
    similarity = (2.0 * g * h + constant) / (g**2 + h**2 + constant)
    met = [(s[b].std(), b.sum()) for s, b in zip(similarity, blocks, strict=True) if b.any()]
    deviations, weights = zip(*met, strict=True)
    return float(np.average(deviations, weights=weights))


def _edges(
    reference: ArrayLike, synthetic: ArrayLike, mask: ArrayLike | None, dimensions: int
) -> tuple[Array, Array]:
    """Return the gradient magnitudes of both images at the voxels of the mask, (n,)."""
    real, made = pair_of(reference, synthetic)
    inside = mask_of(mask, real.shape)
    # A kernel reaches one voxel past the mask; the rest of the volume is not needed.
    (tight,) = find_objects(inside.astype(np.uint8))
    box = tuple(slice(max(axis.start - 1, 0), axis.stop + 1) for axis in tight)
    return (
        gradient_magnitude(real[box], dimensions=dimensions)[inside[box]],
        gradient_magnitude(made[box], dimensions=dimensions)[inside[box]],
    )


def _halved(image: Array) -> Array:
    """Return means over blocks of 2 x 2 in each slice; an odd last row or column is repeated."""
    odd = [(0, size % 2) for size in image.shape[1:]]
    even = np.pad(image.astype(np.float64), [(0, 0), *odd], mode="edge")
    rows = even[:, ::2] + even[:, 1::2]
    return np.asarray((rows[:, :, ::2] + rows[:, :, 1::2]) / 4.0)
