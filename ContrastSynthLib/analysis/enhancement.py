"""Missed and invented enhancement: lesion by lesion, what a synthetic scan hides or makes up.

A radiologist reads the difference of two scans, post - pre. When one of the two is synthetic,
so is the difference, and lesions can vanish from it or appear in it. Errors of intensity say
little about that; a list of lesions does.

The real difference is that of the two scans. The synthetic one has the synthetic scan in the
place of the scan that it imitates, with everything else alike, the normalisation too:

- post from pre, or full dose from low dose: synthetic - pre, against post - pre;
- pre from post: post - synthetic, against post - pre. A synthetic pre scan that keeps some of
  the agent hides a lesion, one that is too dark makes one up;
- a dose d: synthetic - pre, against low - pre, with d times the threshold, since there is
  less to see;
- a phase of a series: synthetic - pre, against that phase - pre.

On real scans most of what exceeds a threshold of 0.1 is one region: vessels, dura and what
they touch. It counts as one lesion, which is found as soon as a tenth of it is, so that the
parts of found lesions that are lost have a value in the map and a total of their own.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import find_objects, generate_binary_structure, label

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.physics.constants import UPTAKE_THRESHOLD
from ContrastSynthLib.volumes import BoolArray

SCHEMA_VERSION = 1

# Thresholded uptake of real scans falls into thousands of regions of a few voxels.
DEFAULT_MINIMUM_VOLUME_MM3 = 30.0
DEFAULT_MINIMUM_OVERLAP = 0.1

NONE, FOUND, MISSED, INVENTED, LOST_PART, ADDED_PART = range(6)
"""Values of the map; see :class:`EnhancementReport`."""

KINDS = {FOUND: "found", MISSED: "missed", INVENTED: "invented"}
"""Values of the map that are lesions of their own, with their names in the table."""

CONNECTIVITIES = {6: 1, 18: 2, 26: 3}
"""How many neighbours a voxel has: those that share a face, an edge too, or a corner too."""

# Spacings may come from single precision: 30 voxels of 0.9 mm3 are 27 mm3.
ROUNDING_VOXELS = 1e-3


@dataclass(frozen=True)
class Lesion:
    """A connected region of enhancement.

    ``kind``: ``found`` and ``missed`` ones are regions of the real difference, ``invented``
    ones of the synthetic. ``overlap`` is the share of the region that enhances in the other
    difference as well, ``mean_error`` the mean of synthetic - real in it, in the unit of the
    differences. ``centre_ras_mm`` is the centroid, which may lie outside the region, as that of
    a ring does; ``inside_ras_mm`` is the region's voxel nearest to it. ``bounds_kji`` holds the
    first index and the one after the last, along k, j and i.
    """

    id: int
    kind: str
    volume_ml: float
    overlap: float
    mean_error: float
    centre_ras_mm: tuple[float, float, float]
    inside_ras_mm: tuple[float, float, float]
    bounds_kji: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class EnhancementReport:
    """Missed and invented enhancement.

    ``map`` uint8 (k, j, i): FOUND and MISSED lesions of the real difference, LOST_PART where a
    found one does not enhance in the synthetic difference, INVENTED lesions of the synthetic
    difference, ADDED_PART where one that is not invented does not enhance in the real
    difference; NONE elsewhere. Where a real and an invented lesion share voxels, the real one
    shows. ``lesions`` come by kind (found, missed, invented) and then by size, numbered from
    1. ``lost_part_ml`` and ``added_part_ml`` are the volumes of the two kinds of parts.
    """

    map: NDArray[np.uint8]
    lesions: tuple[Lesion, ...]
    lost_part_ml: float
    added_part_ml: float
    threshold: float
    minimum_volume_mm3: float
    minimum_overlap: float
    connectivity: int

    @property
    def missed_ml(self) -> float:
        """Volume of the real lesions that were missed."""
        return self._volume_ml("missed")

    @property
    def invented_ml(self) -> float:
        """Volume of the synthetic lesions that were invented."""
        return self._volume_ml("invented")

    def as_dict(self) -> dict[str, Any]:
        """Return all but the map, for JSON."""
        return {
            "schema_version": SCHEMA_VERSION,
            "threshold": self.threshold,
            "minimum_volume_mm3": self.minimum_volume_mm3,
            "minimum_overlap": self.minimum_overlap,
            "connectivity": self.connectivity,
            **{f"{kind}_count": len(self._of_kind(kind)) for kind in KINDS.values()},
            **{f"{kind}_ml": self._volume_ml(kind) for kind in KINDS.values()},
            "lost_part_ml": self.lost_part_ml,
            "added_part_ml": self.added_part_ml,
            "lesions": [asdict(lesion) for lesion in self.lesions],
        }

    def _of_kind(self, kind: str) -> list[Lesion]:
        return [lesion for lesion in self.lesions if lesion.kind == kind]

    def _volume_ml(self, kind: str) -> float:
        return math.fsum(lesion.volume_ml for lesion in self._of_kind(kind))


@dataclass(frozen=True)
class _Region:
    """A value of the map, the voxels (within a box of the volume) and the overlap of a region."""

    value: int
    box: tuple[slice, ...]
    voxels: BoolArray
    overlap: float


def missed_and_invented(
    reference: ArrayLike,
    synthetic: ArrayLike,
    brain: ArrayLike,
    grid: Grid,
    *,
    threshold: float = UPTAKE_THRESHOLD,
    minimum_volume_mm3: float = DEFAULT_MINIMUM_VOLUME_MM3,
    minimum_overlap: float = DEFAULT_MINIMUM_OVERLAP,
    connectivity: int = 26,
) -> EnhancementReport:
    """Compare the lesions of a synthetic difference with those of the real one, ``reference``.

    Both differences and ``brain`` are (k, j, i) on ``grid``, in the unit of ``threshold``; the
    head of this file says which they are for each kind of synthetic scan. A lesion is a
    connected region of the brain above the threshold of at least ``minimum_volume_mm3``. A
    real one is found when at least the share ``minimum_overlap`` of it exceeds the threshold
    in the synthetic difference too, else missed; a synthetic one is invented when less than
    that share of it does in the real difference. A smaller region is no lesion, but counts as
    overlap. Raises RequestError for differing shapes, an empty brain and impossible values.
    """
    _check(threshold, minimum_volume_mm3, minimum_overlap, connectivity)
    real, made, inside = _on_grid(reference, synthetic, brain, grid)
    real_agent, made_agent = (inside & (image > threshold) for image in (real, made))
    rules = minimum_volume_mm3 / (1000.0 * grid.voxel_volume_ml), minimum_overlap, connectivity
    regions = [
        *_regions(made_agent, real_agent, ADDED_PART, INVENTED, *rules),
        *_regions(real_agent, made_agent, FOUND, MISSED, *rules),
    ]
    painted = np.zeros(grid.shape, dtype=np.uint8)
    for region in regions:
        painted[region.box][region.voxels] = region.value
    painted[(painted == FOUND) & ~made_agent] = LOST_PART
    painted[(painted == ADDED_PART) & real_agent] = NONE
    rows = [region for region in regions if region.value in KINDS]
    rows.sort(key=lambda region: (region.value, -int(region.voxels.sum())))
    lost, added = (int((painted == part).sum()) for part in (LOST_PART, ADDED_PART))
    return EnhancementReport(
        map=painted,
        lesions=tuple(_lesion(n, row, real, made, grid) for n, row in enumerate(rows, start=1)),
        lost_part_ml=lost * grid.voxel_volume_ml,
        added_part_ml=added * grid.voxel_volume_ml,
        threshold=float(threshold),
        minimum_volume_mm3=float(minimum_volume_mm3),
        minimum_overlap=float(minimum_overlap),
        connectivity=connectivity,
    )


def _regions(
    agent: BoolArray,
    other: BoolArray,
    matched: int,
    unmatched: int,
    minimum_voxels: float,
    minimum_overlap: float,
    connectivity: int,
) -> list[_Region]:
    """Return the regions of ``agent`` that are large enough, by their overlap with ``other``."""
    labels, count = label(agent, generate_binary_structure(3, CONNECTIVITIES[connectivity]))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    regions = []
    for number, box in enumerate(find_objects(labels), start=1):
        if sizes[number] >= minimum_voxels - ROUNDING_VOXELS:
            voxels = labels[box] == number
            overlap = float(other[box][voxels].mean())
            value = matched if overlap >= minimum_overlap else unmatched
            regions.append(_Region(value, box, voxels, overlap))
    return regions


def _lesion(
    number: int, region: _Region, real: NDArray[Any], made: NDArray[Any], grid: Grid
) -> Lesion:
    box, voxels = region.box, region.voxels
    error = made[box][voxels].astype(np.float64) - real[box][voxels]
    places_kji = np.argwhere(voxels) + [axis.start for axis in box]
    centre_kji = places_kji.mean(axis=0)
    away_mm = np.linalg.norm((places_kji - centre_kji) * grid.spacing_mm[::-1], axis=1)
    nearest_kji = places_kji[away_mm.argmin()]
    k, j, i = ((int(axis.start), int(axis.stop)) for axis in box)
    return Lesion(
        id=number,
        kind=KINDS[region.value],
        volume_ml=int(voxels.sum()) * grid.voxel_volume_ml,
        overlap=region.overlap,
        mean_error=float(error.mean()),
        centre_ras_mm=_ras_mm(grid, centre_kji),
        inside_ras_mm=_ras_mm(grid, nearest_kji),
        bounds_kji=(k, j, i),
    )


def _ras_mm(grid: Grid, place_kji: NDArray[Any]) -> tuple[float, float, float]:
    right, anterior, superior = grid.ras_from_index(place_kji).tolist()
    return right, anterior, superior


def _check(
    threshold: float, minimum_volume_mm3: float, minimum_overlap: float, connectivity: int
) -> None:
    if not (math.isfinite(threshold) and threshold > 0):
        raise RequestError(
            f"The threshold of enhancement is {threshold:g}. It must be above 0, for example 0.1."
        )
    if not (math.isfinite(minimum_volume_mm3) and minimum_volume_mm3 >= 0):
        raise RequestError(
            f"The smallest lesion has {minimum_volume_mm3:g} mm3. It must have 0 or more, for "
            f"example {DEFAULT_MINIMUM_VOLUME_MM3:g}."
        )
    if not 0 < minimum_overlap <= 1:
        raise RequestError(
            f"The smallest overlap is {minimum_overlap:g}. It is a share above 0 and up to 1, for "
            f"example {DEFAULT_MINIMUM_OVERLAP:g}."
        )
    if connectivity not in CONNECTIVITIES:
        raise RequestError(f"{connectivity} neighbours: a voxel has 6, 18 or 26.")


def _on_grid(
    reference: ArrayLike, synthetic: ArrayLike, brain: ArrayLike, grid: Grid
) -> tuple[NDArray[Any], NDArray[Any], BoolArray]:
    real, made, inside = np.asarray(reference), np.asarray(synthetic), np.asarray(brain, bool)
    named = {"real difference": real, "synthetic difference": made, "brain mask": inside}
    for name, array in named.items():
        if array.shape != grid.shape:
            raise RequestError(
                f"The {name} has the shape {array.shape}, the grid {grid.shape}. They must agree."
            )
    if not inside.any():
        raise RequestError("The brain mask is empty: there is nothing to look for lesions in.")
    return real, made, inside
