"""What the metrics share: the checks of their arrays, and a ratio that may lack a denominator."""

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
    """Return both images as arrays. Raises RequestError unless they have one shape and voxels."""
    real, made = np.asarray(reference), np.asarray(synthetic)
    if real.shape != made.shape:
        raise RequestError(
            f"The {names[0]} has the shape {real.shape}, the {names[1]} {made.shape}. "
            "Resample one onto the grid of the other."
        )
    if real.size == 0:
        raise RequestError("The images hold no voxel.")
    return real, made


def region_of(region: ArrayLike, shape: tuple[int, ...], name: str) -> BoolArray:
    """Return a region, perhaps empty, as booleans. Raises RequestError for another shape."""
    inside = np.asarray(region, dtype=bool)
    if inside.shape != shape:
        raise RequestError(
            f"The {name} has the shape {inside.shape}, the images {shape}. They must agree."
        )
    return inside


def mask_of(mask: ArrayLike | None, shape: tuple[int, ...], name: str = "mask") -> BoolArray:
    """Return the mask as booleans, everything for None. Raises RequestError when it is empty."""
    inside = np.ones(shape, dtype=bool) if mask is None else region_of(mask, shape, name)
    if not inside.any():
        raise RequestError(f"The {name} is empty: there is no voxel to compare the images in.")
    return inside


def voxels_of(
    reference: ArrayLike, synthetic: ArrayLike, mask: ArrayLike | None
) -> tuple[Array, Array]:
    """Return the values of both images in the mask, in double precision."""
    real, made = pair_of(reference, synthetic)
    if mask is not None:
        inside = mask_of(mask, real.shape)
        real, made = real[inside], made[inside]
    return real.astype(np.float64), made.astype(np.float64)


def check_range(data_range: float) -> None:
    """Raise RequestError unless the span of intensities is a finite number above 0."""
    if not (np.isfinite(data_range) and data_range > 0):
        raise RequestError(
            f"The data range is {data_range:g}. It must be a finite number above 0: the span of "
            "the reference's intensities."
        )


def axes_of(shape: tuple[int, ...], dimensions: int) -> tuple[int, ...]:
    """Return the array axes that a window spans: all three, or j and i of each slice."""
    if dimensions not in (2, 3):
        raise RequestError(
            f"{dimensions} dimensions: 2 or 3 are possible, slice by slice along k or in space."
        )
    if len(shape) != 3:
        raise RequestError(
            f"This metric compares volumes (k, j, i); these arrays have the shape {shape}."
        )
    return (0, 1, 2) if dimensions == 3 else (1, 2)


def relative(error: float, scale: float) -> float:
    """Return |error| / |scale|; without a scale, 0 for no error and infinity for any."""
    if error == 0:
        return 0.0
    return float(abs(error) / abs(scale)) if scale != 0 else float("inf")
