"""Voxelwise agreement of a synthetic image with the real one.

All functions take two arrays of one shape and one unit, the real image first, and return one
number. ``mask`` is a boolean array of the same shape that selects the voxels; None means all.
All raise RequestError for different shapes, an empty mask and a data range that is not positive.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from importlib.util import find_spec

import numpy as np
from numpy.typing import ArrayLike

from ContrastSynthLib.errors import MissingError, RequestError
from ContrastSynthLib.metrics.common import (
    Array,
    BoolArray,
    axes_of,
    check_range,
    mask_of,
    pair_of,
    relative,
    voxels_of,
)

SKIMAGE_HINT = (
    "SSIM needs scikit-image, which is not installed. Install it: 'pip install scikit-image', in "
    "Slicer 'PythonSlicer -m pip install scikit-image'."
)

# The window of Wang et al. 2004: a Gaussian with a sigma of 1.5, 11 voxels wide.
SSIM_SIGMA_VOXELS = 1.5
SLAB_VOXELS = 2**21
"""About as many voxels are compared at once: 200 MB."""
SSIM_WINDOW_VOXELS = 11
SSIM_RADIUS_VOXELS = SSIM_WINDOW_VOXELS // 2


def mae(reference: ArrayLike, synthetic: ArrayLike, *, mask: ArrayLike | None = None) -> float:
    """Return the mean absolute error, in the unit of the images."""
    return float(np.mean(np.abs(_difference(reference, synthetic, mask))))


def rmse(reference: ArrayLike, synthetic: ArrayLike, *, mask: ArrayLike | None = None) -> float:
    """Return the root of the mean squared error, in the unit of the images."""
    return float(np.sqrt(np.mean(np.square(_difference(reference, synthetic, mask)))))


def relative_error(
    reference: ArrayLike, synthetic: ArrayLike, *, mask: ArrayLike | None = None
) -> float:
    """Return ||synthetic - reference|| / ||reference||, Euclidean norms (LIP-CAR, sec. 4.3).

    A reference of zeros gives infinity, or 0 when the synthetic image is zero too.
    """
    real, made = voxels_of(reference, synthetic, mask)
    return relative(float(np.linalg.norm(made - real)), float(np.linalg.norm(real)))


def psnr(
    reference: ArrayLike,
    synthetic: ArrayLike,
    *,
    data_range: float,
    mask: ArrayLike | None = None,
) -> float:
    """Return the peak signal-to-noise ratio in dB: 20 log10(data_range / RMSE).

    ``data_range`` is the peak value, in the unit of the images: HR-FCN (sec. IV-A) and LIP-CAR
    (sec. 4.3, which prints the norm instead of the RMSE) use the maximum of the reference. Infinite
    when the images are equal in the mask.
    """
    check_range(data_range)
    error = rmse(reference, synthetic, mask=mask)
    return float(20.0 * np.log10(data_range / error)) if error != 0.0 else float("inf")


def ssim(
    reference: ArrayLike,
    synthetic: ArrayLike,
    *,
    data_range: float,
    mask: ArrayLike | None = None,
    dimensions: int = 3,
) -> float:
    """Return the mean structural similarity (Wang et al. 2004) of two (k, j, i) arrays.

    The window is a Gaussian with a sigma of 1.5 voxels, 11 voxels wide; ``dimensions=2`` compares
    slice by slice along k. With a mask, the local similarities are averaged over its voxels;
    windows at its border use the voxels outside, and mirrored ones outside of the volume. Without
    a mask, only windows inside the volume are averaged. Raises RequestError when the volume is
    smaller than the window, and MissingError without scikit-image.
    """
    check_range(data_range)
    real, made = pair_of(reference, synthetic)
    axes = _window_axes(real.shape, dimensions)
    inside = _interior(real.shape, axes) if mask is None else mask_of(mask, real.shape)
    box = _box_around(inside, axes)
    real, made, inside = (array[box] for array in (real, made, inside))
    if dimensions == 3:
        slabs = [
            _similarity_map(real[seen], made[seen], data_range)[kept][inside[slab]]
            for slab, seen, kept in _overlapping_slabs(real.shape)
        ]
        return float(np.concatenate(slabs).mean())
    slices = zip(real, made, inside, strict=True)
    values = [_similarity_map(r, m, data_range)[w] for r, m, w in slices if w.any()]
    return float(np.concatenate(values).mean())


def _overlapping_slabs(shape: tuple[int, ...]) -> Iterator[tuple[slice, slice, slice]]:
    """Yield parts of the first axis, each as it is, with the window around it, and within that.

    The map of a whole volume takes 100 bytes a voxel; the values of a slab are the same bits.
    """
    thickness = max(SSIM_WINDOW_VOXELS, SLAB_VOXELS // (shape[1] * shape[2]))
    count = max(1, shape[0] // thickness)
    edges = np.linspace(0, shape[0], count + 1).astype(int).tolist()
    for start, stop in itertools.pairwise(edges):
        first = max(0, start - SSIM_RADIUS_VOXELS)
        last = min(shape[0], stop + SSIM_RADIUS_VOXELS)
        yield slice(start, stop), slice(first, last), slice(start - first, stop - first)


def _similarity_map(real: Array, made: Array, data_range: float) -> Array:
    if find_spec("skimage") is None:
        raise MissingError(SKIMAGE_HINT)
    from skimage.metrics import structural_similarity

    _, similarity = structural_similarity(
        real.astype(np.float64),
        made.astype(np.float64),
        data_range=data_range,
        gaussian_weights=True,
        sigma=SSIM_SIGMA_VOXELS,
        use_sample_covariance=False,
        full=True,
    )
    return np.asarray(similarity)


def _difference(reference: ArrayLike, synthetic: ArrayLike, mask: ArrayLike | None) -> Array:
    """Return synthetic - reference in the mask, in double precision."""
    real, made = voxels_of(reference, synthetic, mask)
    return np.asarray(made - real)


def _window_axes(shape: tuple[int, ...], dimensions: int) -> tuple[int, ...]:
    """Return the array axes of the window. Raises RequestError for a volume smaller than it."""
    axes = axes_of(shape, dimensions)
    if min(shape[axis] for axis in axes) < SSIM_WINDOW_VOXELS:
        along = "k, j and i" if dimensions == 3 else "j and i"
        slicewise = " Use dimensions=2 for thin volumes." if dimensions == 3 else ""
        raise RequestError(
            f"SSIM in {dimensions}D needs at least {SSIM_WINDOW_VOXELS} voxels along {along}; "
            f"the volume has {' x '.join(str(n) for n in shape)} (k x j x i).{slicewise}"
        )
    return axes


def _interior(shape: tuple[int, ...], axes: tuple[int, ...]) -> BoolArray:
    """Return the voxels whose whole window lies inside the volume."""
    inside = np.zeros(shape, dtype=bool)
    margin = slice(SSIM_RADIUS_VOXELS, -SSIM_RADIUS_VOXELS)
    inside[tuple(margin if axis in axes else slice(None) for axis in range(len(shape)))] = True
    return inside


def _box_around(inside: BoolArray, axes: tuple[int, ...]) -> tuple[slice, ...]:
    """Return the smallest box that gives the same similarities in the mask as the whole volume.

    It contains the windows of all voxels of the mask, within the volume, and is at least as large
    as one window.
    """
    box = []
    for axis, size in enumerate(inside.shape):
        others = tuple(other for other in range(inside.ndim) if other != axis)
        found = np.flatnonzero(inside.any(axis=others))
        radius = SSIM_RADIUS_VOXELS if axis in axes else 0
        start, stop = max(found[0] - radius, 0), min(found[-1] + radius + 1, size)
        if radius:
            stop = min(max(stop, start + SSIM_WINDOW_VOXELS), size)
            start = max(min(start, stop - SSIM_WINDOW_VOXELS), 0)
        box.append(slice(start, stop))
    return tuple(box)
