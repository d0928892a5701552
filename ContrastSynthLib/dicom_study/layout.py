"""How the images of a series lie: size, voxels, plane, and how often each place was imaged.

Only for the list and for the choice among series: it refuses nothing, reading does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ContrastSynthLib.files.dicom.header import Frame
from ContrastSynthLib.files.dicom.phases import CONTRASTS, SAME_PLACE_MM

PLANES = ("sagittal", "coronal", "axial")
OBLIQUE = "oblique"
SEVERAL_PLANES = "several planes"
STRAIGHT = np.cos(np.deg2rad(30.0))
"""Slices that are tilted by less are still called by the plane of the body."""
PARALLEL = np.cos(np.deg2rad(20.0))
"""As much as two scans of one plane are tilted against each other."""


@dataclass(frozen=True)
class Layout:
    """Rows, columns and slices, the voxel size in mm along them, and the plane of the slices."""

    rows: int
    columns: int
    slices: int
    voxel_mm: tuple[float, float, float]
    plane: str
    normal: tuple[float, float, float]
    """The unit vector through the slices, LPS."""
    phases: int
    """How many images of one contrast lie at one place."""
    contrasts: int
    """How many contrasts (echoes, b-values, kinds of image) the series has."""

    @property
    def size(self) -> str:
        """Rows x columns x slices."""
        return f"{self.rows}x{self.columns}x{self.slices}"

    @property
    def voxel(self) -> str:
        """The voxel size in mm, for the list."""
        return "x".join(f"{length:.3g}" for length in self.voxel_mm)

    @property
    def volume_mm3(self) -> float:
        """The volume of a voxel."""
        return float(np.prod(self.voxel_mm))

    def is_parallel(self, other: Layout) -> bool:
        """Return whether the slices of both lie in the same plane."""
        return bool(abs(np.dot(self.normal, other.normal)) > PARALLEL)

    def unlikeness(self, other: Layout) -> float:
        """Return how far the voxel sizes are apart: 0 for equal ones, 0.7 for one doubled side."""
        return float(np.abs(np.log(np.divide(self.voxel_mm, other.voxel_mm))).sum())


def layout_of(frames: Sequence[Frame]) -> Layout | None:
    """Return how the frames lie; None where they do not say it."""
    placed = [(frame, place) for frame in frames if (place := _place(frame)) is not None]
    if not placed:
        return None
    normals = np.array([place[0] for _, place in placed])
    planes = {_plane(normal) for normal in normals}
    normal = normals[0]
    along = np.array([place[1] @ normal for _, place in placed])
    if len(planes) == 1 and np.abs(normals @ normal).min() > STRAIGHT:
        plane, slices, step_mm = planes.pop(), *_steps(along)
    else:
        plane, slices, step_mm = SEVERAL_PLANES, len(placed), 0.0
    first = placed[0][0]
    spacing = placed[0][1][2]
    thickness = step_mm or first.number("SliceThickness") or 0.0
    contrasts = _contrasts([frame for frame, _ in placed], slices)
    at_place = Counter(zip(contrasts, _numbered(along), strict=True))
    return Layout(
        int(first.number("Rows") or 0),
        int(first.number("Columns") or 0),
        slices,
        (float(spacing[0]), float(spacing[1]), float(thickness) or 1.0),
        plane,
        (float(normal[0]), float(normal[1]), float(normal[2])),
        max(at_place.values()) if plane != SEVERAL_PLANES else 1,
        len(set(contrasts)),
    )


def _place(frame: Frame) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]] | None:
    """Return normal, position and pixel spacing of a frame; None where one is missing."""
    cosines = frame.numbers("ImageOrientationPatient", 6)
    position = frame.numbers("ImagePositionPatient", 3)
    spacing = frame.numbers("PixelSpacing", 2)
    if cosines is None or position is None or spacing is None or spacing.min() <= 0:
        return None
    normal = np.cross(cosines[:3], cosines[3:])
    length = float(np.linalg.norm(normal))
    return (normal / length, position, spacing) if length > 0.5 else None


def _plane(normal: NDArray[Any]) -> str:
    axis = int(np.abs(normal).argmax())
    return PLANES[axis] if abs(normal[axis]) > STRAIGHT else OBLIQUE


def _steps(along_mm: NDArray[Any]) -> tuple[int, float]:
    """Return how many places there are along the normal, and how far they are apart; 0 for one."""
    places = np.sort(along_mm)
    gaps = np.diff(places)
    gaps = gaps[gaps > SAME_PLACE_MM]
    return len(gaps) + 1, float(np.median(gaps)) if len(gaps) else 0.0


def _numbered(along_mm: NDArray[Any]) -> list[int]:
    """Return the number of each image's place along the normal."""
    order = np.argsort(along_mm, kind="stable")
    numbers = np.empty(len(order), dtype=int)
    numbers[order] = np.cumsum(np.diff(along_mm[order], prepend=-np.inf) > SAME_PLACE_MM)
    return numbers.tolist()


def _contrasts(frames: list[Frame], slices: int) -> list[tuple[str, ...]]:
    """Return what sets the contrasts of a series apart, for each frame.

    A value that differs from slice to slice, as times of echoes do, makes no contrast.
    """
    found: list[tuple[str, ...]] = [()] * len(frames)
    for keyword in CONTRASTS:
        values = [str(frame.value(keyword)) for frame in frames]
        if min(Counter(values).values()) >= slices:
            found = [(*before, value) for before, value in zip(found, values, strict=True)]
    return found
