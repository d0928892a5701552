"""The position of voxels in the patient; all conversions between coordinate conventions are here.

There are two conventions for space. Files and SimpleITK use LPS (x grows to the patient's Left,
y to the Posterior, z to the Superior); Slicer and the command line use RAS. There are two orders of
indices: arrays are indexed ``array[k, j, i]``, grids count voxels ``(i, j, k)`` along x, y and z.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ContrastSynthLib.errors import RequestError

Number = TypeVar("Number", int, float)

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Homogeneous matrix from LPS to RAS coordinates, and from RAS to LPS."""

# The axes of grids from NIfTI files, in single precision, are orthogonal to about 1e-7. A gantry
# tilt of 0.1 degree gives 2e-3.
SHEAR_TOLERANCE = 1e-4

# Two grids are the same when the distance of corresponding corners is at most this share of a
# voxel: more than rounding in single precision, less than motion.
SAME_GRID_TOLERANCE_VOXELS = 1e-2


@dataclass(frozen=True)
class Grid:
    """The grid of a volume: size, spacing and orientation of its voxels.

    ``size`` is the number of voxels along i, j, k, and ``spacing_mm`` their size. ``origin_mm`` is
    the centre of voxel 0, 0, 0 in LPS mm. ``direction`` is a 3x3 matrix, row by row, whose columns
    are the unit vectors of i, j and k in LPS.
    """

    size: tuple[int, int, int]
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    origin_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)

    @classmethod
    def from_index_to_lps(cls, size: Sequence[int], index_to_lps: ArrayLike) -> Grid:
        """Return the grid of ``size`` (i, j, k) whose 4x4 matrix maps (i, j, k, 1) to LPS mm.

        Raises RequestError if an axis has no length or if the axes are sheared.
        """
        matrix = np.asarray(index_to_lps, dtype=np.float64)
        axes = matrix[:3, :3]
        spacing = np.linalg.norm(axes, axis=0)
        if not np.all(np.isfinite(matrix)) or np.any(spacing <= 0):
            raise RequestError(
                f"The grid's spacing {_numbers(spacing)} mm is not positive and finite in all "
                "three directions. Export the series again, or correct the file's header."
            )
        direction = axes / spacing
        refuse_shear(direction)
        return cls(
            size=_triple(int(n) for n in size),
            spacing_mm=_triple(float(s) for s in spacing),
            origin_mm=_triple(float(o) for o in matrix[:3, 3]),
            direction=tuple(float(d) for d in direction.ravel()),
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the array on this grid, (k, j, i)."""
        i, j, k = self.size
        return (k, j, i)

    @property
    def index_to_lps(self) -> NDArray[np.float64]:
        """4x4 matrix from (i, j, k, 1) to LPS millimetres."""
        matrix = np.eye(4)
        matrix[:3, :3] = np.reshape(self.direction, (3, 3)) * np.asarray(self.spacing_mm)
        matrix[:3, 3] = self.origin_mm
        return matrix

    @property
    def index_to_ras(self) -> NDArray[np.float64]:
        """4x4 matrix from (i, j, k, 1) to RAS millimetres: Slicer's IJKToRAS."""
        return LPS_TO_RAS @ self.index_to_lps

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(np.prod(self.spacing_mm)) / 1000.0

    def index_from_ras(self, points_mm: ArrayLike) -> NDArray[np.float64]:
        """Return the continuous (k, j, i) indices of RAS points, shape (..., 3) in millimetres.

        The order is that of the array, as ``scipy.ndimage.map_coordinates`` wants it.
        """
        points = np.asarray(points_mm, dtype=np.float64)
        matrix = np.linalg.inv(self.index_to_ras)
        ijk = points @ matrix[:3, :3].T + matrix[:3, 3]
        return np.asarray(ijk[..., ::-1])

    def ras_from_index(self, kji: ArrayLike) -> NDArray[np.float64]:
        """Return RAS millimetres of array indices (k, j, i), shape (..., 3)."""
        ijk = np.asarray(kji, dtype=np.float64)[..., ::-1]
        matrix = self.index_to_ras
        return np.asarray(ijk @ matrix[:3, :3].T + matrix[:3, 3])

    def corner_distance_mm(self, other: Grid) -> float:
        """Return the largest distance in mm between corresponding outer corners of two grids."""
        corners = [_corners_lps(grid) for grid in (self, other)]
        return float(np.linalg.norm(corners[0] - corners[1], axis=1).max())

    def is_same(self, other: Grid) -> bool:
        """Return whether both grids have the same voxels at the same positions."""
        tolerance = SAME_GRID_TOLERANCE_VOXELS * min(self.spacing_mm + other.spacing_mm)
        return self.size == other.size and bool(self.corner_distance_mm(other) <= tolerance)


def refuse_shear(direction: ArrayLike) -> None:
    """Raise RequestError unless the columns of a 3x3 direction matrix are orthonormal."""
    columns = np.reshape(np.asarray(direction, dtype=np.float64), (3, 3))
    excess = float(np.abs(columns.T @ columns - np.eye(3)).max())
    if not excess <= SHEAR_TOLERANCE:
        raise RequestError(
            f"The grid is sheared: two of its axes are {excess:.2g} away from a right angle "
            "(a gantry tilt, or an affine registration written into the header). Resample it "
            "onto an orthogonal grid first, in Slicer with 'Harden transform' and "
            "'Resample Scalar Volume'."
        )


def grid_table(grids: dict[str, Grid]) -> str:
    """Return a table of the properties of grids, with a column for each grid.

    The first grid is the reference; rows with differences end in ``<- differs``.
    """
    names = list(grids)
    first = grids[names[0]]
    rows = [("", names, False)]
    for label, describe in _GRID_ROWS:
        cells = [describe(grid) for grid in grids.values()]
        rows.append((label, cells, len(set(cells)) > 1))
    distances = [first.corner_distance_mm(grid) for grid in grids.values()]
    rows.append(
        (f"corners from '{names[0]}', mm", [f"{d:.3g}" for d in distances], max(distances) > 0)
    )
    widths = [max(len(row[1][c]) for row in rows) for c in range(len(names))]
    label_width = max(len(row[0]) for row in rows)
    lines = []
    for label, cells, differs in rows:
        padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
        mark = "<- differs" if differs else ""
        lines.append("  ".join([label.ljust(label_width), *padded, mark]).rstrip())
    return "\n".join(lines)


def _orientation(grid: Grid) -> str:
    """Return the anatomical directions of i, j and k as letters, for example 'LPS'."""
    letters = (("L", "R"), ("P", "A"), ("S", "I"))
    columns = np.reshape(grid.direction, (3, 3)).T
    text = ""
    for column in columns:
        axis = int(np.argmax(np.abs(column)))
        text += letters[axis][0 if column[axis] > 0 else 1]
    return text


def _numbers(values: ArrayLike) -> str:
    return " ".join(f"{value:.6g}" for value in np.ravel(np.asarray(values)))


_GRID_ROWS = (
    ("size, voxels (i j k)", lambda g: _numbers(g.size)),
    ("spacing, mm", lambda g: _numbers(g.spacing_mm)),
    ("origin, mm (LPS)", lambda g: _numbers(g.origin_mm)),
    ("axes point to", _orientation),
    ("direction, i axis", lambda g: _numbers(np.round(g.direction[0::3], 5))),
    ("direction, j axis", lambda g: _numbers(np.round(g.direction[1::3], 5))),
    ("direction, k axis", lambda g: _numbers(np.round(g.direction[2::3], 5))),
)


def _corners_lps(grid: Grid) -> NDArray[np.float64]:
    ends = [(-0.5, n - 0.5) for n in grid.size]
    corners = np.array([[*ijk, 1.0] for ijk in product(*ends)])
    return np.asarray((corners @ grid.index_to_lps.T)[:, :3])


def _triple(values: Iterable[Number]) -> tuple[Number, Number, Number]:
    """Return a tuple of exactly three values, with a type that mypy can check."""
    first, second, third = values
    return (first, second, third)
