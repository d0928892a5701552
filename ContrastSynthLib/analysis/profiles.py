"""Intensities along a straight line through a volume (SPHERE, fig. 9), and its largest edge."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.volumes import FloatArray, Volume

MAX_SAMPLES = 100_000

# Tolerance for points on the outer face of the outermost voxels.
FACE_TOLERANCE_VOXELS = 1e-6
# The width of an edge lies between these shares of its step.
FROM_SHARE, TO_SHARE = 0.1, 0.9


@dataclass(frozen=True)
class Profile:
    """Intensities at points evenly spaced along a line.

    ``distance_mm`` (n,) is the distance from the start, ``ras_mm`` (n, 3) the position of the
    points, and ``values`` (n,) float32 the intensity in the unit of the volume, NaN outside of it.
    """

    distance_mm: NDArray[np.float64]
    ras_mm: NDArray[np.float64]
    values: FloatArray

    def as_dict(self) -> dict[str, list[Any]]:
        """Return lists for JSON; a value outside the volume is None."""
        return {
            "distance_mm": self.distance_mm.tolist(),
            "ras_mm": self.ras_mm.tolist(),
            "values": [None if math.isnan(value) else value for value in self.values.tolist()],
        }


@dataclass(frozen=True)
class Edge:
    """The largest change along a profile that goes up or down only, such as a lesion's border.

    ``at_mm`` is the distance from the start at which half of the ``step`` is done, ``width_mm``
    the distance between 10 % and 90 % of it. ``step`` is in the unit of the volume, above 0 where
    the intensity rises. ``contrast`` is the step as a share of the sum of both sides (Michelson),
    None where that is not above 0.
    """

    at_mm: float
    width_mm: float
    step: float
    contrast: float | None


def line_profile(
    volume: Volume,
    from_ras_mm: Sequence[float],
    to_ras_mm: Sequence[float],
    samples: int | None = None,
) -> Profile:
    """Return the intensities from one RAS point to another, both included, in millimetres.

    Values are interpolated linearly; from the centre of the outermost voxels to their outer face
    the value of the centre is used, so a volume of one slice can be sampled over its thickness.
    ``samples`` is the number of points; by default their distance is half of the smallest spacing.
    Raises RequestError for a line without length or outside of the volume, and for fewer than 2
    or more than 100,000 points.
    """
    start, end = _point(from_ras_mm), _point(to_ras_mm)
    length = float(np.linalg.norm(end - start))
    if length == 0:
        raise RequestError(
            f"The line has no length: both ends are at {_as_text(start)}. Give two points."
        )
    if samples is None:
        samples = max(2, math.ceil(length / (min(volume.grid.spacing_mm) / 2)) + 1)
    if not 2 <= samples <= MAX_SAMPLES:
        raise RequestError(
            f"A profile of {length:g} mm with {samples} points is not possible: give 2 to "
            f"{MAX_SAMPLES}."
        )
    share = np.linspace(0.0, 1.0, samples)
    points = start + share[:, None] * (end - start)
    values = _interpolated(volume, points)
    if np.isnan(values).all():
        middle = volume.grid.ras_from_index((np.array(volume.grid.shape) - 1) / 2)
        raise RequestError(
            f"The line from {_as_text(start)} to {_as_text(end)} does not meet the volume, whose "
            f"centre is at {_as_text(middle)}."
        )
    return Profile(share * length, points, values)


def find_edge(profile: Profile) -> Edge | None:
    """Return the edge of a profile; None where all intensities are the same."""
    values = profile.values.astype(np.float64)
    ways = np.nan_to_num(np.sign(np.diff(values)))
    turns = np.flatnonzero(np.diff(ways)) + 1
    bounds = itertools.pairwise([0, *turns.tolist(), len(ways)])
    runs = [(start, end) for start, end in bounds if ways[start] != 0]
    if not runs:
        return None
    start, end = max(runs, key=lambda run: abs(values[run[1]] - values[run[0]]))
    before, after = float(values[start]), float(values[end])
    done = (values[start : end + 1] - before) / (after - before)
    places = np.interp((FROM_SHARE, 0.5, TO_SHARE), done, profile.distance_mm[start : end + 1])
    both = before + after
    contrast = abs(after - before) / both if both > 0 else None
    return Edge(float(places[1]), float(places[2] - places[0]), after - before, contrast)


def profile_error(reference: Profile, synthetic: Profile) -> float:
    """Return the mean absolute error between two profiles along the same line (SPHERE, fig. 9).

    Points outside of either volume are left out. Raises RequestError when the profiles have
    different points, or no point with a value in both.
    """
    if reference.ras_mm.shape != synthetic.ras_mm.shape or not np.allclose(
        reference.ras_mm, synthetic.ras_mm, rtol=0.0, atol=1e-3
    ):
        raise RequestError(
            "The profiles have different points. Take both between the same two points, with the "
            "same number of samples."
        )
    difference = np.abs(synthetic.values.astype(np.float64) - reference.values)
    if np.isnan(difference).all():
        raise RequestError("The profiles have no point at which both volumes have a value.")
    return float(np.nanmean(difference))


def _interpolated(volume: Volume, points_mm: NDArray[np.float64]) -> FloatArray:
    """Return the values at RAS points (n, 3), NaN outside the outer faces of the voxels."""
    kji = volume.grid.index_from_ras(points_mm)
    face = np.array(volume.grid.shape) - 0.5 + FACE_TOLERANCE_VOXELS
    inside = ((kji >= -0.5 - FACE_TOLERANCE_VOXELS) & (kji <= face)).all(axis=1)
    values = np.full(len(points_mm), np.nan, dtype=np.float32)
    values[inside] = map_coordinates(volume.array, kji[inside].T, order=1, mode="nearest")
    return values


def _point(ras_mm: Sequence[float]) -> NDArray[np.float64]:
    point = np.asarray(ras_mm, dtype=np.float64)
    if point.shape != (3,) or not np.isfinite(point).all():
        raise RequestError(
            f"{ras_mm} is not a point. Give three finite numbers R, A, S in millimetres."
        )
    return point


def _as_text(point: NDArray[np.float64]) -> str:
    return f"({', '.join(f'{x:g}' for x in np.round(point, 3))}) mm RAS"
