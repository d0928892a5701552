"""Where the images of a DICOM series lie: from headers to one grid.

Slices are sorted by where they lie along their normal; the spacing is the distance between
them. Headers are rounded and scanners compute each slice on its own, so that positions and
orientations jitter. A jitter within the tolerances below is read, and said where it is more
than rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.dicom.checks import named
from ContrastSynthLib.files.dicom.header import Frame
from ContrastSynthLib.geometry import SHEAR_TOLERANCE, Grid, refuse_shear

Floats = NDArray[np.float64]

# Positions are written with few decimals: this much of a difference is rounding.
ROUNDING_MM = 0.01
# Shares of the distance between slices: up to the first nothing is said, up to the second
# the slices are read with a note.
UNEVEN_TOLERANCE = 0.01
JITTER_TOLERANCE = 0.04
# The same for the numbers of orientation, spacing and size; 0.001 is 0.06 degrees.
SAME_TOLERANCE = 1e-4
ORIENTATION_TOLERANCE = 1e-3
# What a voxel, and the distance of a slice from the scanner's centre, can measure.
SMALLEST_MM, LARGEST_MM, FARTHEST_MM = 1e-3, 1e3, 1e5
MOST_SHOWN = 5


@dataclass(frozen=True)
class Plane:
    """What all slices share: the axes of i and j (unit vectors in LPS), spacing and size."""

    axes: Floats
    row_mm: float
    column_mm: float
    rows: int
    columns: int
    jitter: float
    """The largest difference of the numbers of the orientation between two slices."""

    @property
    def normal(self) -> Floats:
        """The unit vector along which slices are sorted, in LPS."""
        return np.cross(self.axes[0], self.axes[1])


def plane_of(path: Path, frames: list[Frame]) -> Plane:
    """Return what the frames share; raises RequestError where they differ or hold none of it."""
    orientation = _table(path, frames, ("ImageOrientationPatient", 6))
    jitter = float(np.abs(orientation - orientation[0]).max())
    _refuse_differing(path, frames, "orientation", orientation, ORIENTATION_TOLERANCE)
    spacing = _table(path, frames, ("PixelSpacing", 2))
    _refuse_differing(path, frames, "pixel spacing", spacing, SAME_TOLERANCE)
    size = _table(path, frames, ("Rows", 1), ("Columns", 1))
    _refuse_differing(path, frames, "image size", size, SAME_TOLERANCE)
    row_mm, column_mm = spacing[0]
    if min(row_mm, column_mm) <= 0:
        raise RequestError(f"{path}: PixelSpacing {row_mm:g}, {column_mm:g} mm is not positive.")
    for length_mm in (row_mm, column_mm):
        _refuse_impossible(path, "PixelSpacing", length_mm)
    rows, columns = (int(n) for n in size[0])
    if min(rows, columns) < 1:
        raise RequestError(f"{path}: Rows {rows} and Columns {columns} make no image.")
    # The mean only where it is needed: what agrees stays as it is written.
    cosines = orientation[0] if jitter <= SAME_TOLERANCE else orientation.mean(axis=0)
    axes = _in_plane_axes(path, cosines)
    return Plane(axes, float(row_mm), float(column_mm), rows, columns, jitter)


def positions_of(path: Path, frames: list[Frame]) -> Floats:
    """Return where the first voxel of each frame lies, (n, 3), LPS millimetres."""
    positions = _table(path, frames, ("ImagePositionPatient", 3))
    far = np.abs(positions).max(axis=1) > FARTHEST_MM
    if far.any():
        raise RequestError(
            f"{path}: {named([frames[n] for n in np.flatnonzero(far)])} with an "
            "ImagePositionPatient that is no place in a scanner. Export the original series."
        )
    return positions


def stack(path: Path, frames: list[Frame]) -> tuple[list[Frame], Grid, list[str]]:
    """Return the frames of one volume in the order of k, their grid, and notes on jitter.

    Raises RequestError for gaps, uneven and sheared slices.
    """
    plane = plane_of(path, frames)
    positions, normal = positions_of(path, frames), plane.normal
    order = np.argsort(positions @ normal, kind="stable")
    frames = [frames[n] for n in order]
    points = positions[order]
    notes = _note_on_orientation(plane)
    if len(frames) > 1:
        origin, step, said = _lattice(path, points, normal, plane.jitter)
        notes += [*said, *_note_on_spacing(frames[0], float(np.linalg.norm(step)))]
    else:
        origin, step = points[0], normal * _thickness(path, frames[0])
    return frames, grid_along(path, plane, len(frames), origin, step), notes


def grid_along(path: Path, plane: Plane, count: int, origin: Floats, step: Floats) -> Grid:
    """Return the grid of ``count`` slices, the first at ``origin`` and each a ``step`` further."""
    slice_mm = float(np.linalg.norm(step))
    _refuse_impossible(path, "the distance between slices", slice_mm)
    direction = np.column_stack([*plane.axes, step / slice_mm])
    try:
        refuse_shear(direction)
    except RequestError as error:
        raise RequestError(f"{path}: {error}") from None
    return Grid(
        size=(plane.columns, plane.rows, count),
        # PixelSpacing names the distance between rows first, and that is a step along j.
        spacing_mm=(plane.column_mm, plane.row_mm, round(slice_mm, 12)),
        origin_mm=(float(origin[0]), float(origin[1]), float(origin[2])),
        direction=tuple(float(d) for d in direction.ravel()),
    )


def _table(path: Path, frames: list[Frame], *attributes: tuple[str, int]) -> Floats:
    """Return the numbers of the (keyword, count) pairs, a row for each frame."""
    found = []
    for frame in frames:
        numbers = [frame.numbers(keyword, count) for keyword, count in attributes]
        present = [n for n in numbers if n is not None]
        if len(present) < len(numbers):
            names = " or ".join(keyword for keyword, _ in attributes)
            raise RequestError(
                f"{path}: '{frame.path.name}' has no usable {names}, so nothing says where its "
                "pixels lie in the patient (a screenshot or a scanned picture?). Export the "
                "original series."
            )
        found.append(np.concatenate(present))
    return np.array(found)


def _refuse_differing(
    path: Path, frames: list[Frame], what: str, table: Floats, tolerance: float
) -> None:
    apart = np.abs(table - np.median(table, axis=0)).max(axis=1)
    if np.ptp(table, axis=0).max() <= tolerance:
        return
    digits = max(4, 2 - int(np.floor(np.log10(np.ptp(table, axis=0).max()))))
    kinds = {" ".join(f"{n:.{digits}g}" for n in row) for row in np.round(table, digits) + 0.0}
    strange = frames[int(apart.argmax())].path.name
    raise RequestError(
        f"{path}: the images differ in {what}: {'; '.join(sorted(kinds)[:MOST_SHOWN])}. "
        f"'{strange}' is the farthest off, by {apart.max():.2g}; up to {tolerance:g} is read as "
        "rounding. Expected one stack of parallel, equal slices (a localizer has several)."
    )


def _refuse_impossible(path: Path, what: str, length_mm: float) -> None:
    if not SMALLEST_MM <= length_mm <= LARGEST_MM:
        raise RequestError(
            f"{path}: {what} is {length_mm:g} mm; expected {SMALLEST_MM:g} to {LARGEST_MM:g}. "
            "Export the original series."
        )


def _in_plane_axes(path: Path, cosines: Floats) -> Floats:
    """Return the unit vectors of i and j in LPS: the header's, freed of their rounding."""
    along_row, along_column = cosines.reshape(2, 3)
    lengths = np.linalg.norm(cosines.reshape(2, 3), axis=1)
    if np.abs(lengths - 1).max() > 0.01 or abs(along_row @ along_column) > 1e-3:
        raise RequestError(
            f"{path}: ImageOrientationPatient {cosines.tolist()} is not a pair of unit vectors at "
            "a right angle. Export the original series."
        )
    along_row = along_row / lengths[0]
    along_column = along_column - (along_column @ along_row) * along_row
    return np.array([along_row, along_column / np.linalg.norm(along_column)])


def _note_on_spacing(frame: Frame, slice_mm: float) -> list[str]:
    """Return a note where slices are twice or more as far apart as the scanner says."""
    stated = frame.number("SpacingBetweenSlices")
    if stated is None or stated <= 0:
        return []
    times = round(slice_mm / stated)
    if times < 2 or abs(slice_mm - times * stated) > UNEVEN_TOLERANCE * slice_mm:
        return []
    return [
        f"The slices lie {slice_mm:.4g} mm apart, {times} times their SpacingBetweenSlices of "
        f"{stated:g} mm. Are slices in between missing?"
    ]


def _note_on_orientation(plane: Plane) -> list[str]:
    if plane.jitter <= SAME_TOLERANCE:
        return []
    return [
        f"The slices differ by up to {plane.jitter:.2g} in ImageOrientationPatient; their mean was "
        f"used. Up to {ORIENTATION_TOLERANCE:g} (0.06 degrees) is read."
    ]


def _lattice(
    path: Path, points: Floats, normal: Floats, jitter: float
) -> tuple[Floats, Floats, list[str]]:
    """Return the first point and the step to the next slice, LPS millimetres, and notes."""
    count = len(points)
    gaps = np.diff(points @ normal)
    usual = float(np.median(gaps))
    quiet = UNEVEN_TOLERANCE * usual + ROUNDING_MM
    limit = JITTER_TOLERANCE * usual + ROUNDING_MM
    _refuse_gaps(path, points @ normal, gaps, usual, limit)
    origin, step = points[0], np.asarray((points[-1] - points[0]) / (count - 1))
    aside = _deviation(points, origin, step)
    notes = []
    if np.abs(gaps - usual).max() > quiet or aside > quiet:
        origin, step = _fitted(points)
        off = _deviation(points, origin, step)
        if off > limit:
            raise RequestError(
                f"{path}: the slices are not a regular stack, they lie up to {aside:.3g} mm beside "
                "even steps along a line. Export the original series."
            )
        notes.append(
            f"The slices lie up to {off:.2g} mm beside even steps of {np.linalg.norm(step):.4g} mm "
            f"(ImagePositionPatient), which were used. Up to {limit:.2g} mm is read."
        )
    across = step - (step @ normal) * normal
    drift = float(np.linalg.norm(across))
    # A drift that is small from the first slice to the last is the rounding of the header; one
    # as small as the jitter of the slices is part of it.
    rounding = drift * (count - 1) <= 2 * (ROUNDING_MM if not notes else limit)
    jittered = jitter > SAME_TOLERANCE and drift <= 2 * jitter * usual
    if drift > SHEAR_TOLERANCE * usual and (rounding or jittered):
        step = step - across
    return origin, step, notes


def _fitted(points: Floats) -> tuple[Floats, Floats]:
    """Return origin and step of the even steps along a line that come closest to the points."""
    k = np.arange(len(points)) - (len(points) - 1) / 2
    centre = points.mean(axis=0)
    step = np.asarray(k @ (points - centre) / (k @ k))
    return np.asarray(centre + k[0] * step), step


def _deviation(points: Floats, origin: Floats, step: Floats) -> float:
    lattice = origin + np.arange(len(points))[:, None] * step
    return float(np.linalg.norm(points - lattice, axis=1).max())


def _refuse_gaps(path: Path, along_mm: Floats, gaps: Floats, usual: float, limit: float) -> None:
    off = np.flatnonzero(np.abs(gaps - usual) > limit)
    if len(off):
        where = "; ".join(
            f"{gaps[n]:.4g} mm between {listed(along_mm[n : n + 2])}" for n in off[:MOST_SHOWN]
        )
        raise RequestError(
            f"{path}: the {len(along_mm)} slices are not evenly spaced: {usual:.4g} mm is usual, "
            f"but {where} (mm along the normal). Is a slice missing? Export the whole series again."
        )


def _thickness(path: Path, frame: Frame) -> float:
    for keyword in ("SliceThickness", "SpacingBetweenSlices"):
        thickness = frame.number(keyword)
        if thickness is not None and thickness > 0:
            return thickness
    raise RequestError(f"{path}: a single slice whose header has no SliceThickness.")


def listed(millimetres: Sequence[float] | Floats) -> str:
    """Return the first few of some positions, with two decimals."""
    shown = ", ".join(f"{n:.2f}" for n in millimetres[:MOST_SHOWN])
    return shown + (", ..." if len(millimetres) > MOST_SHOWN else "")
