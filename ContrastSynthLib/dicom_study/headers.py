"""The headers of all files of a study, and what was left out of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ContrastSynthLib.dicom_study.places import Places, is_directory
from ContrastSynthLib.dicom_study.privacy import without_names
from ContrastSynthLib.errors import Cancelled, RequestError
from ContrastSynthLib.files.dicom.header import (
    DAMAGED,
    Frame,
    NotDicom,
    frames_of,
    kind_of_object,
    promised_bytes,
)
from ContrastSynthLib.files.dicom.parsing import parse

MOST_NAMED = 3


@dataclass
class Found:
    """The images of a study, with objects that are none as frames of their own, and the rest."""

    folder: Path
    frames: list[Frame] = field(default_factory=list)
    strangers: list[Path] = field(default_factory=list)
    damaged: list[Path] = field(default_factory=list)
    copies: list[Path] = field(default_factory=list)
    absent: tuple[str, ...] = ()

    def notes(self, private: frozenset[str]) -> list[str]:
        """Return what was left out, with the names of the first few files."""
        told = []
        for places, what in (
            (self._names(self.strangers), "not DICOM and left out"),
            (self._names(self.damaged), "damaged and left out; a series may lack images"),
            (self._names(self.copies), "further copies of an image and left out"),
            (list(self.absent), "named by the DICOMDIR and not there"),
        ):
            if places:
                shown = ", ".join(without_names(name, private) for name in places[:MOST_NAMED])
                more = len(places) - MOST_NAMED
                shown += f" and {more} more" if more > 0 else ""
                told.append(f"{len(places)} files are {what}: {shown}.")
        return told

    def _names(self, files: Iterable[Path]) -> list[str]:
        return [
            file.relative_to(self.folder).as_posix()
            if file.is_relative_to(self.folder)
            else file.name
            for file in files
        ]


def found_in(path: Path, places: Places) -> Found:
    """Return what the headers of files say; raises RequestError where none of them is DICOM."""
    found = Found(path if path.is_dir() else path.parent, absent=places.absent)
    seen: set[tuple[str, ...]] = set()
    for file in places.files:
        try:
            frames = _frames(file)
        except NotDicom:
            found.strangers.append(file)
        except Cancelled:
            raise
        except DAMAGED:
            found.damaged.append(file)
        else:
            identity = _identity(frames)
            if identity and identity in seen:
                found.copies.append(file)
                continue
            seen.add(identity)
            found.frames += frames
    if not found.frames:
        rest = " ".join(found.notes(frozenset()))
        raise RequestError(
            f"{path}: no DICOM was found here. {rest} Expected a folder of a study, with or "
            "without folders in it, or a DICOMDIR."
        )
    return found


def _frames(file: Path) -> list[Frame]:
    """Return the images of a file, or one frame for DICOM of another kind; none for a DICOMDIR.

    Raises NotDicom for what is no DICOM, RequestError and others for a damaged file.
    """
    try:
        frames = frames_of(file)
    except RequestError:
        header = parse(file)
        # Several images without places: a film of screenshots, of which nothing is damaged.
        if header is None or "PixelSpacing" in header or "Rows" not in header:
            raise
        return [Frame(file, 0, (header,))]
    if frames:
        kind_of_object(frames[0].header)  # raises here what is wrong with it
        _refuse_cut(file, frames[0])
        return frames
    header = parse(file)
    if header is None or is_directory(header):
        return []
    kind_of_object(header)
    return [Frame(file, 0, (header,))]


def _refuse_cut(file: Path, frame: Frame) -> None:
    """Raise EOFError for an image that is not compressed and shorter than its pixels.

    What lacks the last few bytes only is found when the pixels are read.
    """
    syntax = frame.header.file_meta.TransferSyntaxUID
    whole = not (syntax.is_compressed or syntax.is_deflated)
    if whole and file.stat().st_size < promised_bytes(frame.header):
        raise EOFError("ends within its pixels")


def _identity(frames: list[Frame]) -> tuple[str, ...]:
    """Return what only copies of a file share; () for a file without an identity.

    The identifier alone does not do: some anonymisers give one to all images.
    """
    if not frames or not frames[0].value("SOPInstanceUID"):
        return ()
    keywords = ("SOPInstanceUID", "SeriesInstanceUID", "InstanceNumber", "ImagePositionPatient")
    more = ("AcquisitionTime", "ContentTime", "EchoTime", "ImageType", "DiffusionBValue")
    return tuple(str(frames[0].value(keyword)) for keyword in (*keywords, *more))
