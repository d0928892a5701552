"""Missed and invented enhancement: a comparison of lesions in real and synthetic scans.

Radiologists read the difference of two scans, post - pre. When one of the two is synthetic,
lesions can disappear from the difference or appear in it. Measures of intensity hardly show
that; a list of lesions does.

The real difference is that of the two real scans. In the synthetic difference the synthetic scan
replaces the scan that it imitates; everything else, including the normalisation, is the same:

- post from pre, or full dose from low dose: synthetic - pre, compared with post - pre;
- pre from post: post - synthetic, compared with post - pre. If some agent is left in a synthetic
  pre scan, a lesion is missed; where that scan is too dark, a lesion is invented;
- a dose d: synthetic - pre, compared with low - pre, at d times the threshold, because the
  enhancement is weaker;
- a phase of a series: synthetic - pre, compared with that phase - pre.

In real scans most of what exceeds a threshold of 0.1 is one connected region of vessels, dura and
the tissue next to them. It is one lesion, which is found when a tenth of it is. Therefore the
parts of found lesions that are missing have a value of their own in the map, and a total volume.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ContrastSynthLib.analysis.regions import (
    DEFAULT_MINIMUM_VOLUME_MM3,
    Box,
    check_limits,
    check_uncertainty,
    connected,
    places_of,
    uncertainty_within,
)
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.physics.constants import UPTAKE_THRESHOLD
from ContrastSynthLib.volumes import BoolArray, FloatArray

SCHEMA_VERSION = 1

DEFAULT_MINIMUM_OVERLAP = 0.1

NONE, FOUND, MISSED, INVENTED, LOST_PART, ADDED_PART = range(6)
"""Values of the map, see :class:`EnhancementReport`."""

KINDS = {FOUND: "found", MISSED: "missed", INVENTED: "invented"}
"""Values of the map that are lesions, with their names in the table."""


@dataclass(frozen=True)
class Lesion:
    """A connected region of enhancement.

    ``kind`` is ``found`` or ``missed`` for a region of the real difference, ``invented`` for one
    of the synthetic difference. ``overlap`` is the share of the region that enhances in the other
    difference too; ``mean_error`` is the mean of synthetic - real in it, in the unit of the
    differences. ``centre_ras_mm`` is the centroid, which can lie outside the region, for example
    in a ring; ``inside_ras_mm`` is the region's voxel nearest to it. ``bounds_kji`` holds the first
    index and the last index plus 1, along k, j and i. ``uncertainty`` is that of
    :func:`uncertainty_within`.
    """

    id: int
    kind: str
    volume_ml: float
    overlap: float
    mean_error: float
    centre_ras_mm: tuple[float, float, float]
    inside_ras_mm: tuple[float, float, float]
    bounds_kji: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    uncertainty: float | None = None


@dataclass(frozen=True)
class EnhancementReport:
    """The result of :func:`missed_and_invented`.

    ``map`` uint8 (k, j, i): FOUND and MISSED lesions of the real difference; LOST_PART where a
    found lesion does not enhance in the synthetic difference; INVENTED lesions of the synthetic
    difference; ADDED_PART where another lesion of it does not enhance in the real difference; NONE
    elsewhere. Voxels in both a real and an invented lesion have the value of the real one.
    ``lesions`` are sorted by kind (found, missed, invented), then by size, and numbered from 1.
    ``lost_part_ml`` and ``added_part_ml`` are the volumes of these parts.
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
        """Total volume in ml of the real lesions that were missed."""
        return self._volume_ml("missed")

    @property
    def invented_ml(self) -> float:
        """Total volume in ml of the synthetic lesions that were invented."""
        return self._volume_ml("invented")

    def as_dict(self) -> dict[str, Any]:
        """Return everything except the map, JSON-able; uncertainties only where one is known."""
        lesions = [asdict(lesion) for lesion in self.lesions]
        if all(lesion["uncertainty"] is None for lesion in lesions):
            for lesion in lesions:
                del lesion["uncertainty"]
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
            "lesions": lesions,
        }

    def _of_kind(self, kind: str) -> list[Lesion]:
        return [lesion for lesion in self.lesions if lesion.kind == kind]

    def _volume_ml(self, kind: str) -> float:
        return math.fsum(lesion.volume_ml for lesion in self._of_kind(kind))


@dataclass(frozen=True)
class _Region:
    """A region: its value in the map, its box, its voxels within the box, and its overlap."""

    value: int
    box: Box
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
    uncertainty: FloatArray | None = None,
) -> EnhancementReport:
    """Compare the lesions of a synthetic difference with those of the real one, ``reference``.

    Both differences and ``brain`` are (k, j, i) on ``grid``; the differences are in the unit of
    ``threshold``. The docstring of this module lists the differences for each kind of synthetic
    scan. A lesion is a connected region of the brain above the threshold, with at least
    ``minimum_volume_mm3``. A real lesion is found when at least the share ``minimum_overlap`` of it
    exceeds the threshold in the synthetic difference too, else missed. A synthetic lesion is
    invented when less than that share of it exceeds the threshold in the real difference. Smaller
    regions are not lesions but are included in the overlap. ``uncertainty`` is a method's map of
    it, (k, j, i) on ``grid``, whose mean each lesion gets. Raises RequestError for different
    shapes, an empty brain and values out of range.
    """
    check_uncertainty(uncertainty, grid)
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
        lesions=tuple(
            _lesion(n, row, real, made, grid, uncertainty) for n, row in enumerate(rows, start=1)
        ),
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
    regions = []
    for box, voxels in connected(agent, minimum_voxels, connectivity)[0]:
        overlap = float(other[box][voxels].mean())
        value = matched if overlap >= minimum_overlap else unmatched
        regions.append(_Region(value, box, voxels, overlap))
    return regions


def _lesion(
    number: int,
    region: _Region,
    real: NDArray[Any],
    made: NDArray[Any],
    grid: Grid,
    uncertainty: FloatArray | None,
) -> Lesion:
    box, voxels = region.box, region.voxels
    error = made[box][voxels].astype(np.float64) - real[box][voxels]
    centre, inside = places_of(box, voxels, grid)
    k, j, i = ((int(axis.start), int(axis.stop)) for axis in box)
    return Lesion(
        id=number,
        kind=KINDS[region.value],
        volume_ml=int(voxels.sum()) * grid.voxel_volume_ml,
        overlap=region.overlap,
        mean_error=float(error.mean()),
        centre_ras_mm=centre,
        inside_ras_mm=inside,
        bounds_kji=(k, j, i),
        uncertainty=uncertainty_within(uncertainty, box, voxels),
    )


def _check(
    threshold: float, minimum_volume_mm3: float, minimum_overlap: float, connectivity: int
) -> None:
    if not (math.isfinite(threshold) and threshold > 0):
        raise RequestError(
            f"The threshold of enhancement is {threshold:g}. It must be above 0, for example 0.1."
        )
    if not 0 < minimum_overlap <= 1:
        raise RequestError(
            f"The minimum overlap is {minimum_overlap:g}. It must be a share above 0 and up to 1, "
            f"for example {DEFAULT_MINIMUM_OVERLAP:g}."
        )
    check_limits(minimum_volume_mm3, connectivity)


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
        raise RequestError("The brain mask is empty: there is no voxel to search for lesions.")
    return real, made, inside
