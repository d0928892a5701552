"""What the header of a DICOM image tells, wherever its kind of file keeps it.

A frame looks for an attribute in its own functional groups, in those that all frames of
the file share, and in the file itself, so that old and enhanced files read alike.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ContrastSynthLib.acquisition import Acquisition, generic_agent_name
from ContrastSynthLib.errors import RequestError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# What pydicom raises on a damaged file, beside its own InvalidDicomError.
DAMAGED = (ValueError, TypeError, KeyError, AttributeError, EOFError, OSError, struct.error)

@dataclass(frozen=True)
class Frame:
    """One image: the ``index``-th of the file ``path``.

    ``places`` are the datasets that may describe it, the most particular first.
    """

    path: Path
    index: int
    places: tuple[Dataset, ...]

    def value(self, keyword: str) -> Any:
        """Return the value of an attribute, None where it is absent, empty or malformed."""
        for place in self.places:
            try:
                value = place.get(keyword)
            except DAMAGED:
                continue
            if value is not None and value != "":
                return value
        return None

    def numbers(self, keyword: str, count: int) -> NDArray[np.float64] | None:
        """Return the ``count`` finite numbers of an attribute, None when it has no such."""
        try:
            numbers = np.atleast_1d(np.asarray(self.value(keyword), dtype=np.float64))
        except DAMAGED:
            return None
        return numbers if numbers.shape == (count,) and np.isfinite(numbers).all() else None

    def number(self, keyword: str) -> float | None:
        """Return the finite number that an attribute holds, None when it has no such."""
        numbers = self.numbers(keyword, 1)
        return None if numbers is None else float(numbers[0])


def frames_of(path: Path) -> list[Frame]:
    """Return the images of a file: none when it is not DICOM or holds no image."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
        if not ("Rows" in dataset and "BitsAllocated" in dataset):
            return []
        if "PerFrameFunctionalGroupsSequence" not in dataset:
            count = int(dataset.get("NumberOfFrames") or 1)
            return [Frame(path, index, (dataset,)) for index in range(count)]
        shared = dataset.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()]
        common = (*_functional_groups(shared[0]), dataset)
        return [
            Frame(path, index, (*_functional_groups(own), *common))
            for index, own in enumerate(dataset.PerFrameFunctionalGroupsSequence)
        ]
    except InvalidDicomError:
        return []
    except DAMAGED as error:
        refuse_damaged(path, error)


def _functional_groups(item: Dataset) -> list[Dataset]:
    """Return the datasets of the public groups; private ones repeat attributes in other units."""
    groups = (e.value for e in item if e.VR == "SQ" and not e.tag.is_private)
    return [group[0] for group in groups if group]


def refuse_damaged(path: Path, error: Exception) -> NoReturn:
    raise RequestError(
        f"{path}: a damaged or truncated DICOM file ({error}). Copy or export it again."
    ) from error


