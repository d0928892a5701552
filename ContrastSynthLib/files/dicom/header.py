"""What the header of a DICOM image says, wherever its kind of file keeps it.

A frame looks for an attribute in its own functional groups, in those that all frames of
the file share, and in the file itself, so that old and enhanced files read alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.dicom.parsing import parse

if TYPE_CHECKING:
    from pydicom.dataset import Dataset, FileDataset

# On a damaged file pydicom raises whatever its code runs into: its own errors, which have no
# common class, those of struct and zlib, and nearly all that Python has.
DAMAGED = Exception
LONGEST_REASON = 150
DICOM_ROOT = "1.2.840.10008."


class NotDicom(Exception):
    """A file that is not DICOM; the text says why, as in "'notes' is empty"."""


@dataclass(frozen=True)
class Frame:
    """One image: the ``index``-th of the file ``path``.

    ``places`` are the datasets that may describe it, the most particular first.
    """

    path: Path
    index: int
    places: tuple[Dataset, ...]

    @property
    def header(self) -> Dataset:
        """The dataset of the file itself."""
        return self.places[-1]

    @cached_property
    def _known(self) -> dict[str, Any]:
        return {}

    def value(self, keyword: str) -> Any:
        """Return the value of an attribute, None where it is absent, empty or malformed."""
        if keyword not in self._known:
            self._known[keyword] = self._find(keyword)
        return self._known[keyword]

    def _find(self, keyword: str) -> Any:
        for place in self.places:
            try:
                value = place.get(keyword)
            except DAMAGED:
                continue
            if value is not None and value != "":
                return value
        return None

    def states(self, keyword: str) -> bool:
        """Return whether the file says anything for an attribute, readable or not."""
        return any(_says_something(place, keyword) for place in self.places)

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

    def stated_number(self, keyword: str) -> float | None:
        """Return the number of an attribute on which the voxels depend; None where it is absent.

        Raises RequestError, with file and attribute, for what is there and no number.
        """
        number = self.number(keyword)
        if number is None and self.states(keyword):
            raise RequestError(
                f"{self.path}: its {keyword} is not one finite number, and the values of the "
                "image depend on it. Export it again."
            )
        return number

    def whole(self, keyword: str, default: int = 0) -> int:
        """Return the whole number of an attribute of the file itself."""
        number = self.number(keyword)
        return default if number is None else int(number)


def _says_something(place: Dataset, keyword: str) -> bool:
    try:
        if keyword not in place:
            return False
        value = place.get_item(keyword).value  # as stored: bytes that need not be readable
    except DAMAGED:
        return True
    if isinstance(value, bytes):
        return value.strip(b" \0") != b""
    return value is not None and value != ""


def frames_of(path: Path) -> list[Frame]:
    """Return the images of a file: none when it is DICOM without an image, as a report is.

    Raises NotDicom for what is no DICOM at all, and RequestError for a damaged file and for
    frames without places of their own.
    """
    try:
        dataset = parse(path)
        if dataset is None:
            raise NotDicom(_why_not(path))
        if not ("Rows" in dataset and "BitsAllocated" in dataset):
            if _should_be_image(dataset):
                raise EOFError("the header of an image ends early")
            return []
        return _frames_in(path, dataset)
    except (NotDicom, RequestError):
        raise
    except DAMAGED as error:
        refuse_damaged(path, error)


def _why_not(path: Path) -> str:
    return f"'{path.name}' is {'not DICOM' if path.stat().st_size else 'empty'}"


def _frames_in(path: Path, dataset: FileDataset) -> list[Frame]:
    import pydicom

    promised_bytes(dataset)  # raises here what is wrong with its numbers
    count = int(dataset.get("NumberOfFrames") or 1)
    if "PerFrameFunctionalGroupsSequence" not in dataset:
        if count > 1:
            raise RequestError(
                f"{path}: holds several images, but not where each lies in the patient. "
                "Expected enhanced multi-frame DICOM; export the original series."
            )
        return [Frame(path, 0, (dataset,))]
    per_frame = dataset.PerFrameFunctionalGroupsSequence
    if len(per_frame) != count:
        raise ValueError(f"{count} frames, {len(per_frame)} of them described")
    shared = dataset.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()]
    common = (*_functional_groups(shared[0]), dataset)
    return [
        Frame(path, index, (*_functional_groups(own), *common))
        for index, own in enumerate(per_frame)
    ]


def promised_bytes(header: Dataset) -> int:
    """Return how many bytes the pixels of a file take when they are not compressed."""
    count = int(header.get("NumberOfFrames") or 1) * int(header.get("SamplesPerPixel") or 1)
    bits = count * int(header.Rows) * int(header.Columns) * int(header.BitsAllocated)
    return (bits + 7) // 8


def _should_be_image(dataset: FileDataset) -> bool:
    """Return whether a file that lacks the size of an image was one, by its kind or its rest."""
    from pydicom._uid_dict import UID_dictionary

    kind = _sop_class(dataset)
    if kind in UID_dictionary:
        return "Image Storage" in kind_of_object(dataset)
    # Makers have kinds of their own, reports among them.
    private = kind.count(".") > 3 and not kind.startswith(DICOM_ROOT) and kind.isascii()
    return not private or any(keyword in dataset for keyword in ("Columns", "PixelSpacing"))


def kind_of_object(dataset: Dataset) -> str:
    """Return the name of the SOP class, for example "MR Image Storage"; "" for none."""
    from pydicom.uid import UID

    kind = _sop_class(dataset)
    return UID(kind).name if kind else ""


def _sop_class(dataset: Dataset) -> str:
    meta = getattr(dataset, "file_meta", {})
    return str(meta.get("MediaStorageSOPClassUID") or dataset.get("SOPClassUID") or "")


def _functional_groups(item: Dataset) -> list[Dataset]:
    """Return the datasets of the public groups; private ones repeat attributes in other units."""
    groups = (e.value for e in item if e.VR == "SQ" and not e.tag.is_private)
    return [group[0] for group in groups if group]


def refuse_damaged(path: Path, error: Exception) -> NoReturn:
    """Raise the RequestError for a file which pydicom could not read."""
    if isinstance(error, OSError) and error.strerror:
        raise RequestError(f"{path}: cannot be read ({error.strerror}).") from error
    text = " ".join(str(error).split()) or type(error).__name__
    reason = "".join(c for c in text if c.isprintable())[:LONGEST_REASON]
    raise RequestError(
        f"{path}: a damaged or truncated DICOM file ({reason}). Copy or export it again."
    ) from error
