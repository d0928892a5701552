"""What the header of an image file promises, in one form for NIfTI, NRRD and MetaImage.

Each format has a module that parses its header (:mod:`nifti_header`, :mod:`nrrd_header`,
:mod:`meta_header`). Only what it understands in full becomes an :class:`ImageHeader`; the voxels
are then read by :mod:`stored_voxels` from the bytes that the header promises. No other library sees
a file that came from elsewhere: the readers of ITK can end the process on a damaged header.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.geometry import SHEAR_TOLERANCE, Grid, refuse_shear

RAW, GZIP, ZLIB, TEXT = "raw", "gzip", "zlib", "text"
"""How voxels are packed. TEXT is decimal numbers between spaces."""

SMALLEST_SPACING_MM, LARGEST_SPACING_MM = 0.01, 100.0
"""A voxel outside this range is no scan of a patient, but a wrong unit or a damaged header."""

LARGEST_POSITION_MM = 10_000.0
"""A scanner is not ten metres long."""

# Larger entries of a matrix are damage, in whatever unit; their squares are still numbers.
LARGEST_ENTRY = 1e12

# Rounding in a header shears axes by less than this (0.02 degrees); a gantry tilt by more.
ROUNDED_SHEAR = 3.5e-4

# Unit vectors of six digits, as some programs write them, have this length.
LENGTH_TOLERANCE = 1e-3

MOST_AXES = 7
# A header takes kilobytes; with the index of a long series or a scanner's notes, some more.
LONGEST_LINE_BYTES = 1 << 20
MOST_LINES = 20_000
LONGEST_HEADER_BYTES = 16 << 20

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Geometry:
    """Where voxels lie: ``spacing_mm``, ``origin_mm`` in LPS and the ``direction``, a 3x3 matrix.

    The columns of ``direction`` are the unit vectors of i, j and k in LPS.
    """

    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]
    direction: Matrix


@dataclass(frozen=True)
class FrameTimes:
    """The regular times of the frames of a 4D file, in seconds.

    ``unit_known`` is False where the file names no unit and seconds are only a guess; ``field`` is
    the header's name of the interval.
    """

    start_s: float
    interval_s: float
    unit_known: bool
    field: str


@dataclass(frozen=True)
class ImageHeader:
    """A header that was understood in full.

    ``sizes`` are those of all axes of the stored array, fastest first, and ``kind`` the type and
    byte order of its numbers. ``value_axis`` is the axis that holds several values of one voxel
    (the frames of a sequence, too), None where there is none. The voxels begin at ``start`` of
    ``data_path``, packed as ``packing``, and behind ``skipped`` unpacked bytes. A voxel is
    ``slope`` * number + ``intercept``. ``keys`` are free texts by name.
    """

    path: Path
    sizes: tuple[int, ...]
    kind: np.dtype[np.generic]
    geometry: Geometry | None
    data_path: Path
    start: int = 0
    skipped: int = 0
    packing: str = RAW
    value_axis: int | None = None
    value_kind: str = ""
    slope: float = 1.0
    intercept: float = 0.0
    frame_times: FrameTimes | None = None
    keys: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, ...]:
        """The number of voxels along i, j, k, and t where there is one, without the value axis."""
        return tuple(n for axis, n in enumerate(self.sizes) if axis != self.value_axis)

    @property
    def values(self) -> int:
        """How many values one voxel has."""
        return 1 if self.value_axis is None else self.sizes[self.value_axis]

    @property
    def is_list(self) -> bool:
        """Whether the values of a voxel are the frames of a series."""
        return self.value_axis is not None and self.value_kind == "list"

    @property
    def promised_bytes(self) -> int:
        """How many unpacked bytes the voxels take."""
        return math.prod(self.sizes) * self.kind.itemsize

    def grid(self) -> tuple[Grid, tuple[str, ...]]:
        """Return the grid of one volume, and notes.

        Axes that rounding has sheared by up to 0.02 degrees become orthogonal, with a note. Raises
        RequestError for a spacing or position that cannot be, and for sheared axes.
        """
        if self.geometry is None:
            raise refusal(self.path, "the header does not say how large the voxels are")
        check_plausible(self.path, self.geometry)
        try:
            return _grid(self.size[:3], self.geometry)
        except RequestError as error:
            raise RequestError(f"{self.path}: {error}") from None


def refusal(path: Path, why: str) -> RequestError:
    """Return the error for a file that is no image, or one whose header contradicts itself."""
    return RequestError(
        f"{path}: cannot be read as an image ({why}). Expected a whole .nrrd, .nii, .nii.gz or "
        ".mha file; copy or export it again."
    )


def check_sizes(path: Path, sizes: Sequence[int], name: Callable[[int], str]) -> None:
    """Raise RequestError unless every axis has a voxel; ``name`` names the field of a size."""
    if not 1 <= len(sizes) <= MOST_AXES:
        raise refusal(path, f"{len(sizes)} axes; 3 are expected, 4 in a series")
    for axis, size in enumerate(sizes):
        if size < 1:
            raise refusal(path, f"{name(axis)} is {size}; every axis has one voxel at least")


def check_plausible(path: Path, geometry: Geometry) -> None:
    """Raise RequestError for voxels and positions that no scan of a patient has."""
    for axis, spacing in zip("ijk", geometry.spacing_mm, strict=True):
        if not SMALLEST_SPACING_MM <= spacing <= LARGEST_SPACING_MM:
            raise RequestError(
                f"{path}: the voxel spacing along {axis} is {spacing:.6g} mm. Expected "
                f"{SMALLEST_SPACING_MM:g} to {LARGEST_SPACING_MM:g} mm; correct the spacing in the "
                "file's header, or its unit."
            )
    if not max(abs(position) for position in geometry.origin_mm) <= LARGEST_POSITION_MM:
        shown = " ".join(f"{position:.6g}" for position in geometry.origin_mm)
        raise RequestError(
            f"{path}: the first voxel lies at {shown} mm. Expected at most "
            f"{LARGEST_POSITION_MM:g} mm from the scanner's centre; correct the origin in the "
            "file's header."
        )


def _grid(size: Sequence[int], geometry: Geometry) -> tuple[Grid, tuple[str, ...]]:
    direction = geometry.direction
    notes: tuple[str, ...] = ()
    if not (np.abs(direction) < LARGEST_ENTRY).all():
        raise RequestError("the directions of its axes are no numbers. Correct the file's header.")
    lengths = np.linalg.norm(direction, axis=0)
    if np.abs(lengths - 1).max() > LENGTH_TOLERANCE:
        raise RequestError(
            "the directions of its axes are no unit vectors; their lengths are "
            f"{' '.join(f'{length:.6g}' for length in lengths)}. Correct the file's header."
        )
    unit = direction / lengths
    excess = shear_of(unit)
    if SHEAR_TOLERANCE < excess <= ROUNDED_SHEAR:
        direction = unit = nearest_rotation(unit)
        notes = (
            f"The axes were {math.degrees(excess):.3f} degrees away from a right angle, as "
            "rounding does it; the nearest right-angled grid was taken.",
        )
    refuse_shear(unit)
    matrix = np.eye(4)
    matrix[:3, :3] = direction * np.asarray(geometry.spacing_mm)
    matrix[:3, 3] = geometry.origin_mm
    return Grid.from_index_to_lps(size, matrix), notes


def shear_of(unit: ArrayLike) -> float:
    """Return the largest cosine between two of the columns of a 3x3 matrix of unit vectors."""
    columns = np.asarray(unit, dtype=np.float64)
    return float(np.abs(columns.T @ columns - np.eye(3)).max())


def nearest_rotation(matrix: Matrix) -> Matrix:
    """Return the orthonormal 3x3 matrix that is nearest to a matrix, mirrored where it is."""
    left, _, right = np.linalg.svd(matrix)
    return np.asarray(left @ right, dtype=np.float64)


def neighbour(path: Path, name: str) -> Path:
    """Return the data file that a detached header names: a plain file in the header's own folder.

    Raises RequestError for any other path, a device, a link to another folder, several files, and a
    file that is not there.
    """
    name = name.removeprefix("./")
    plain = PurePosixPath(name).name == name == PureWindowsPath(name).name
    if not plain or name in ("", ".", "..") or "\0" in name:
        raise refusal(
            path,
            f"its data file is '{name[:80]}', which is not a file in the header's own folder; put "
            "both into one folder and give only the name",
        )
    data = path.with_name(name)
    try:
        if not data.is_file():
            raise refusal(path, f"its data file '{name[:80]}' is not in the same folder")
        if data.resolve().parent != path.resolve().parent and data.is_symlink():
            raise refusal(path, f"its data file '{name[:80]}' is a link to another folder")
    except OSError as error:
        raise refusal(path, f"its data file cannot be opened: {error.strerror}") from None
    return data


def refuse_data_file(path: Path, name: str, detached: str) -> None:
    """Raise RequestError when a file that should hold its voxels names another one instead."""
    if path.suffix.lower() != detached:
        raise refusal(
            path,
            f"its voxels are said to be in another file, '{name[:80]}'. Only a header that ends in "
            f"{detached} may have its data in a second file beside it",
        )


def header_lines(path: Path, file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of a text header; RequestError where it is longer than any header is."""
    count = 0
    while line := file.readline(LONGEST_LINE_BYTES):
        count += 1
        if len(line) == LONGEST_LINE_BYTES or count > MOST_LINES:
            break
        if file.tell() > LONGEST_HEADER_BYTES:
            break
        yield line
    else:
        return
    raise refusal(path, "its header has no end: lines of text without number or length")


def number(path: Path, name: str, text: str) -> float:
    """Return a finite number of a header's field; RequestError for anything else."""
    try:
        value = float(text) if len(text) < 400 and "_" not in text else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise refusal(path, f"'{name}' holds '{text[:40]}', which is no number")
    return value


def whole(path: Path, name: str, text: str) -> int:
    """Return a whole number of a header's field; RequestError for anything else."""
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        raise refusal(path, f"'{name}' holds '{text[:40]}', which is no whole number")
    return int(text)
