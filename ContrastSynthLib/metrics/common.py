"""Checks of arrays that the metrics share, and a relative error that allows a scale of 0."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ContrastSynthLib.errors import RequestError

Array = NDArray[Any]
BoolArray = NDArray[np.bool_]


def pair_of(
    reference: ArrayLike,
    synthetic: ArrayLike,
    names: tuple[str, str] = ("reference", "synthetic image"),
) -> tuple[Array, Array]:
    """Return both images as arrays. Raises RequestError for different shapes or empty arrays."""
    real, made = np.asarray(reference), np.asarray(synthetic)
    if real.shape != made.shape:
        raise RequestError(
            f"The {names[0]} has the shape {real.shape}, the {names[1]} {made.shape}. "
            "Resample one onto the grid of the other."
        )
    if real.size == 0:
        raise RequestError("The images contain no voxels.")
    return real, made


def region_of(region: ArrayLike, shape: tuple[int, ...], name: str) -> BoolArray:
    """Return a region, which may be empty, as booleans. Raises RequestError for a wrong shape."""
    inside = np.asarray(region, dtype=bool)
    if inside.shape != shape:
        raise RequestError(
            f"The {name} has the shape {inside.shape}, the images {shape}. They must agree."
        )
    return inside


def mask_of(mask: ArrayLike | None, shape: tuple[int, ...], name: str = "mask") -> BoolArray:
    """Return the mask as booleans; None means all voxels. Raises RequestError when it is empty."""
    inside = np.ones(shape, dtype=bool) if mask is None else region_of(mask, shape, name)
    if not inside.any():
        raise RequestError(f"The {name} is empty: there is no voxel to compare the images in.")
    return inside


def voxels_of(
    reference: ArrayLike, synthetic: ArrayLike, mask: ArrayLike | None
) -> tuple[Array, Array]:
    """Return the values of both images in the mask, in double precision; all for None."""
    real, made = pair_of(reference, synthetic)
    if mask is not None:
        inside = mask_of(mask, real.shape)
        real, made = real[inside], made[inside]
    return real.astype(np.float64), made.astype(np.float64)


def check_range(data_range: float) -> None:
    """Raise RequestError unless the data range is a finite number above 0."""
    if not (np.isfinite(data_range) and data_range > 0):
        raise RequestError(
            f"The data range is {data_range:g}. It must be a finite number above 0: the "
            "range of the reference's intensities."
        )


def axes_of(shape: tuple[int, ...], dimensions: int) -> tuple[int, ...]:
    """Return the array axes of a window of 2 (j, i) or 3 (k, j, i) dimensions.

    Raises RequestError for other dimensions and for arrays that are not three-dimensional.
    """
    if dimensions not in (2, 3):
        raise RequestError(
            f"{dimensions} dimensions are not possible: give 2 or 3, slice by slice or 3D."
        )
    if len(shape) != 3:
        raise RequestError(
            f"This metric compares volumes (k, j, i); these arrays have the shape {shape}."
        )
    return (0, 1, 2) if dimensions == 3 else (1, 2)


def relative(error: float, scale: float) -> float:
    """Return |error| / |scale|; for a scale of 0 infinity, and 0 when the error is 0 too."""
    if error == 0:
        return 0.0
    return float(abs(error) / abs(scale)) if scale != 0 else float("inf")
