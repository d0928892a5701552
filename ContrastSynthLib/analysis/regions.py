"""Connected regions of voxels, such as of uptake: which are large enough, and where they lie."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, generate_binary_structure, label

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.volumes import BoolArray, FloatArray

# Without this limit, the uptake of real scans has thousands of regions of a few voxels.
DEFAULT_MINIMUM_VOLUME_MM3 = 30.0

CONNECTIVITIES = {6: 1, 18: 2, 26: 3}
"""Number of neighbours of a voxel (with a common face, edge, corner) to scipy's connectivity."""

# Tolerance for spacings stored in single precision: 30 voxels of 0.9 mm3 must be 27 mm3.
ROUNDING_VOXELS = 1e-3

Place = tuple[float, float, float]
Box = tuple[slice, ...]


@dataclass(frozen=True)
class Region:
    """A connected region; ``mean`` is that of the image it was found in.

    ``centre_ras_mm`` is the centroid, which can lie outside the region, for example in a ring;
    ``inside_ras_mm`` is the region's voxel nearest to it. ``uncertainty`` is that of
    :func:`uncertainty_within`.
    """

    id: int
    volume_ml: float
    mean: float
    centre_ras_mm: Place
    inside_ras_mm: Place
    uncertainty: float | None = None


@dataclass(frozen=True)
class Regions:
    """The regions that are large enough, largest first and numbered from 1.

    ``mask`` (k, j, i) is all of them. ``smaller_ml`` is the volume of the ``smaller_count``
    regions that were left out.
    """

    mask: BoolArray
    regions: tuple[Region, ...]
    smaller_ml: float
    smaller_count: int

    @property
    def volume_ml(self) -> float:
        """Total volume of the regions."""
        return math.fsum(region.volume_ml for region in self.regions)


def list_regions(
    image: NDArray[Any],
    where: BoolArray,
    grid: Grid,
    *,
    minimum_volume_mm3: float = DEFAULT_MINIMUM_VOLUME_MM3,
    connectivity: int = 26,
    uncertainty: FloatArray | None = None,
) -> Regions:
    """Return the connected regions of ``where`` that have at least ``minimum_volume_mm3``.

    All arrays are (k, j, i) on ``grid``; ``image`` gives the mean of each region, and
    ``uncertainty``, the map that a method gives out, its uncertainty. Raises RequestError for
    another shape and for values out of range.
    """
    check_limits(minimum_volume_mm3, connectivity)
    if not image.shape == where.shape == grid.shape:
        raise RequestError(
            f"The image has the shape {image.shape}, the regions {where.shape}, the grid "
            f"{grid.shape}. They must agree."
        )
    check_uncertainty(uncertainty, grid)
    minimum_voxels = minimum_volume_mm3 / (1000.0 * grid.voxel_volume_ml)
    found, smaller_count = connected(where, minimum_voxels, connectivity)
    kept = np.zeros(grid.shape, dtype=bool)
    for box, voxels in found:
        kept[box] |= voxels
    found.sort(key=lambda region: -int(region[1].sum()))
    regions = tuple(
        _region(n, image, *region, grid, uncertainty) for n, region in enumerate(found, start=1)
    )
    smaller = int(where.sum()) - int(kept.sum())
    return Regions(kept, regions, smaller * grid.voxel_volume_ml, smaller_count)


def connected(
    where: BoolArray, minimum_voxels: float, connectivity: int
) -> tuple[list[tuple[Box, BoolArray]], int]:
    """Return the connected regions that are large enough, and how many are not.

    Each is its box, and its voxels in the box.
    """
    labels, count = label(where, generate_binary_structure(3, CONNECTIVITIES[connectivity]))
    large = np.bincount(labels.ravel(), minlength=count + 1) >= minimum_voxels - ROUNDING_VOXELS
    large[0] = False
    # Numbered anew before they become objects of Python: the smaller ones are thousands.
    numbers = np.where(large, np.cumsum(large), 0)
    for plane in labels:
        plane[...] = numbers[plane]
    found = [
        (box, labels[box] == number) for number, box in enumerate(find_objects(labels), start=1)
    ]
    return found, count - len(found)


def places_of(box: Box, voxels: BoolArray, grid: Grid) -> tuple[Place, Place]:
    """Return the centroid of a region, and its voxel nearest to it, RAS in mm."""
    places_kji = np.argwhere(voxels) + [axis.start for axis in box]
    centre_kji = places_kji.mean(axis=0)
    away_mm = np.linalg.norm((places_kji - centre_kji) * grid.spacing_mm[::-1], axis=1)
    return _ras_mm(grid, centre_kji), _ras_mm(grid, places_kji[away_mm.argmin()])


def uncertainty_within(uncertainty: FloatArray | None, box: Box, voxels: BoolArray) -> float | None:
    """Return the mean of a map of uncertainty (k, j, i), in its own unit, in a region's voxels.

    None without a map, and where it is 0 in all of them: it is 0 outside of what its method
    computed, and there it says nothing.
    """
    if uncertainty is None:
        return None
    inside = uncertainty[box][voxels]
    return float(inside.mean(dtype=np.float64)) if inside.any() else None


def check_uncertainty(uncertainty: FloatArray | None, grid: Grid) -> None:
    """Raise RequestError unless a map of uncertainty, if there is one, has the grid's shape."""
    if uncertainty is not None and uncertainty.shape != grid.shape:
        raise RequestError(
            f"The map of uncertainty has the shape {uncertainty.shape}, the grid {grid.shape}. "
            "They must agree."
        )


def check_limits(minimum_volume_mm3: float, connectivity: int) -> None:
    """Raise RequestError for a minimum volume or a connectivity that is not possible."""
    if not (math.isfinite(minimum_volume_mm3) and minimum_volume_mm3 >= 0):
        raise RequestError(
            f"The minimum volume of a lesion is {minimum_volume_mm3:g} mm3. It must be 0 or more, "
            f"for example {DEFAULT_MINIMUM_VOLUME_MM3:g}."
        )
    if connectivity not in CONNECTIVITIES:
        raise RequestError(
            f"A connectivity of {connectivity} neighbours is not possible: give 6, 18 or 26."
        )


def _region(
    number: int,
    image: NDArray[Any],
    box: Box,
    voxels: BoolArray,
    grid: Grid,
    uncertainty: FloatArray | None,
) -> Region:
    centre, inside = places_of(box, voxels, grid)
    mean = float(image[box][voxels].mean(dtype=np.float64))
    volume_ml = int(voxels.sum()) * grid.voxel_volume_ml
    expected = uncertainty_within(uncertainty, box, voxels)
    return Region(number, volume_ml, mean, centre, inside, expected)


def _ras_mm(grid: Grid, place_kji: NDArray[Any]) -> Place:
    right, anterior, superior = grid.ras_from_index(place_kji).tolist()
    return right, anterior, superior
