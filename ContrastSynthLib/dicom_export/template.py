"""The series that a result goes beside: its headers, its grid, and how a result fits onto it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.dicom.header import Frame
from ContrastSynthLib.files.dicom.reader import read_with_frames
from ContrastSynthLib.geometry import Grid, grid_table
from ContrastSynthLib.volumes import Volume

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

NEVER_ABSENT = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"),
    *("ReferringPhysicianName", "StudyID", "AccessionNumber", "PositionReferenceIndicator"),
)
"""Attributes that an object has even where nothing is known."""
UNPAIRED = frozenset(
    {
        *(
            "BRAIN",
            "HEAD",
            "HEADNECK",
            "SKULL",
            "NECK",
            "CHEST",
            "SPINE",
            "CSPINE",
            "ABDOMEN",
            "PELVIS",
        )
    }
)
"""Parts of the body that have no side: an object of them may not name one (PS3.3, C.7.3.1)."""
WHOLE = 1e-3
"""How far, in voxels, a voxel of the result may lie beside one of the template."""


@dataclass(frozen=True)
class Template:
    """A series as it was read: ``frames`` along k, and the ``volume`` (k, j, i) that they make."""

    path: Path
    frames: tuple[Frame, ...]
    volume: Volume

    @classmethod
    def read(cls, path: Path, selection: str | None = None) -> Template:
        """Return the template of a folder or file; ``selection`` is a phase of several.

        Raises RequestError as reading DICOM does, for a series that is itself synthetic, and for
        one that does not say of which study and place it is.
        """
        frames, volume = read_with_frames(path, selection)
        if frames[0].value("SyntheticData") == "YES":
            raise RequestError(
                f"{path}: this series is synthetic itself. Expected that of the scanner, which the "
                "method has read."
            )
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
            if not frames[0].value(keyword):
                raise RequestError(
                    f"{path}: its images have no {keyword}, so that nothing can be put beside them."
                )
        return cls(path, tuple(frames), volume)

    @property
    def grid(self) -> Grid:
        """Where its voxels lie."""
        return self.volume.grid

    @property
    def header(self) -> Frame:
        """The first frame, which speaks for what all have in common."""
        return self.frames[0]

    @cached_property
    def datasets(self) -> list[Dataset]:
        """The headers of the series' files, one for each slice, or one for all frames.

        What a file has to have is there, empty where the scanner has left it out.
        """
        from pydicom.dataset import Dataset

        found = []
        for header in {frame.path: frame.header for frame in self.frames}.values():
            whole = Dataset(header)
            for keyword in NEVER_ABSENT:
                if keyword not in whole:
                    setattr(whole, keyword, "")
            _name_the_default_characters(whole)
            if "PerFrameFunctionalGroupsSequence" in whole:
                whole.SharedFunctionalGroupsSequence = [_shared_groups(whole)]
            found.append(whole)
        return found

    def set_laterality(self, dataset: Dataset) -> None:
        """Set the side of the body in an object: the template's, or empty where it may have one."""
        side = self.header.value("Laterality") or ""
        if side or dataset.get("BodyPartExamined") not in UNPAIRED:
            dataset.Laterality = side

    def onto(self, volume: Volume, name: str) -> Volume:
        """Return a volume whose voxels are stored in the order of the template's.

        Files of other formats may store the same voxels along other axes. Raises RequestError for
        a volume whose voxels are not those of the template.
        """
        if volume.grid.is_same(self.grid):
            return replace(volume, grid=self.grid)
        ways = np.linalg.inv(self.grid.index_to_lps) @ volume.grid.index_to_lps
        axes = np.round(ways[:3, :3])
        array = _turned(volume.array, axes)
        if array is None or array.shape != self.grid.shape or not self._is_there(volume.grid, axes):
            grids = grid_table({name: volume.grid, "template": self.grid})
            raise RequestError(
                f"The voxels of '{name}' are not those of the template {self.path.name}. Expected "
                f"the series that the method has read, at its own resolution.\n{grids}"
            )
        return replace(volume, array=array, grid=self.grid)

    def _is_there(self, grid: Grid, axes: np.ndarray[Any, Any]) -> bool:
        """Return whether all corners of a grid lie where turning it puts them."""
        last = np.array(grid.size) - 1
        corners = np.array(np.meshgrid(*([0, n] for n in last), indexing="ij")).reshape(3, -1)
        start = np.where(axes.sum(axis=1) < 0, np.array(self.grid.size) - 1, 0)
        there = axes @ corners + start[:, None]
        ways = np.linalg.inv(self.grid.index_to_lps) @ grid.index_to_lps
        here = ways[:3, :3] @ corners + ways[:3, 3:]
        return bool(np.abs(here - there).max() < WHOLE)


def _name_the_default_characters(header: Dataset) -> None:
    """Name the first of several character sets where it is left empty: highdicom asks for it."""
    sets = header.get("SpecificCharacterSet")
    if sets and not isinstance(sets, str):
        header.SpecificCharacterSet = [one or "ISO 2022 IR 6" for one in sets]


def _shared_groups(header: Dataset) -> Dataset:
    """Return what the frames of a file share, with the groups that stand in each of them alone."""
    from pydicom.dataset import Dataset

    shared = Dataset((header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0])
    first = header.PerFrameFunctionalGroupsSequence[0]
    for group in ("PixelMeasuresSequence", "PlaneOrientationSequence"):
        if group not in shared and group in first:
            shared[group] = first[group]
    return shared


def _turned(array: np.ndarray[Any, Any], axes: np.ndarray[Any, Any]) -> Any:
    """Return an array (k, j, i) whose index (i, j, k) is multiplied by ``axes``; None if it is no
    reordering of the axes."""
    if not (np.abs(axes).sum(axis=0) == 1).all() or not (np.abs(axes).sum(axis=1) == 1).all():
        return None
    sources = np.abs(axes).argmax(axis=1)  # the source's axis (i, j, k) of each axis here
    signs = axes.sum(axis=1)
    turned = array.transpose([2 - sources[2], 2 - sources[1], 2 - sources[0]])
    flipped = tuple(2 - axis for axis in range(3) if signs[axis] < 0)
    return np.ascontiguousarray(np.flip(turned, flipped))
