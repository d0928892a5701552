"""What an archive is asked for, whichever way it speaks: DIMSE or DICOMweb."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.writing import whole_or_nothing

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

LONGEST_UID = 64
STUDY_KEYS = ("StudyInstanceUID", "PatientID", "StudyDate", "StudyDescription", "AccessionNumber")
SERIES_KEYS = (
    *("SeriesInstanceUID", "SeriesNumber", "Modality", "SeriesDescription"),
    "NumberOfSeriesRelatedInstances",
)


@dataclass(frozen=True)
class Found:
    """A study or a series that an archive has: its attributes as texts, by keyword."""

    attributes: dict[str, str]

    @classmethod
    def of(cls, dataset: Dataset, keywords: Sequence[str]) -> Found:
        """Return what an answer says of these attributes; "" where it is silent."""
        return cls({keyword: str(dataset.get(keyword, "") or "") for keyword in keywords})

    @property
    def uid(self) -> str:
        """The UID of the series, or of the study."""
        return self.attributes.get("SeriesInstanceUID") or self.attributes["StudyInstanceUID"]


class Archive(Protocol):
    """An archive. All of it raises RequestError where the archive cannot be reached or refuses."""

    def studies(self, wanted: dict[str, str]) -> list[Found]:
        """Return the studies whose attributes, by keyword, are as ``wanted``."""
        ...

    def series(self, study_uid: str) -> list[Found]:
        """Return the series of a study."""
        ...

    def objects(self, study_uid: str) -> AbstractContextManager[Iterable[Dataset]]:
        """Give all objects of a study, one after the other."""
        ...

    def store(self, datasets: Iterable[Dataset]) -> int:
        """Keep objects in the archive; return how many."""
        ...


def fetch(archive: Archive, study_uid: str, folder: Path) -> int:
    """Write all objects of a study into a folder of its own, a folder for each series.

    Returns how many. Raises RequestError for a folder that holds anything, for a study that the
    archive does not have, and where not all of it arrived; then nothing is left.
    """
    if folder.exists() and any(folder.iterdir()):
        raise RequestError(f"{folder}: is not empty. A study needs a folder of its own.")
    expected = sum(_count(one) for one in archive.series(study_uid))
    if not expected:
        raise RequestError(f"The archive has no study {study_uid}.")
    count = 0
    with whole_or_nothing(folder) as part, archive.objects(study_uid) as objects:
        for dataset in objects:
            _write(dataset, part)
            count += 1
        if count < expected:
            raise RequestError(f"Only {count} of {expected} objects of the study arrived.")
    return count


def send(archive: Archive, paths: Iterable[Path]) -> int:
    """Store the DICOM files of a result in an archive; return how many.

    Raises RequestError, before anything is sent, for a file that is not marked as synthetic: this
    sends what ContrastSynth made, and nothing else.
    """
    from pydicom import dcmread

    files = [file for path in paths for file in _files(path)]
    if not files:
        raise RequestError("There is no DICOM file to send (.dcm).")
    for file in files:
        try:
            dataset = dcmread(file, stop_before_pixels=True)
        except Exception as error:  # pydicom raises whatever a damaged file makes it run into
            raise RequestError(f"{file}: no DICOM file can be read there ({error}).") from error
        if dataset.get("SyntheticData") != "YES":
            raise RequestError(
                f"{file}: it is not marked as synthetic. Expected what contrastsynth dicom wrote."
            )
    return archive.store(dcmread(file) for file in files)


def _files(path: Path) -> list[Path]:
    return sorted(path.rglob("*.dcm")) if path.is_dir() else [path]


def _count(series: Found) -> int:
    text = series.attributes["NumberOfSeriesRelatedInstances"]
    return int(text) if text.isdigit() else 1


def _write(dataset: Any, folder: Path) -> None:
    """Write an object under names of numbers alone: nothing of a header becomes a path."""
    number = str(dataset.get("SeriesNumber") or 0)
    digits = int(number) if number.lstrip("-").isdigit() else 0
    series = f"{digits:04d}_{name_of_uid(dataset.SeriesInstanceUID)}"
    path = folder / series / f"{name_of_uid(dataset.SOPInstanceUID)}.dcm"
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)


def name_of_uid(uid: object) -> str:
    """Return a UID as a name of digits: nothing that was sent becomes a path."""
    return "".join(c if c.isdigit() else "_" for c in str(uid))[:LONGEST_UID]
