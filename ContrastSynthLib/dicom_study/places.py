"""Which files belong to a study: those below a folder, or those that a DICOMDIR names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.dicom.header import DAMAGED, refuse_damaged
from ContrastSynthLib.files.dicom.parsing import parse

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

DIRECTORY = "1.2.840.10008.1.3.10"
"""The kind of object that a DICOMDIR is."""
UPWARDS = ("", ".", "..")
VERSION_OF_A_CD = re.compile(r"\.?;\d+$")


@dataclass(frozen=True)
class Places:
    """The files of a study, in order, and how many of those that a DICOMDIR names are not there."""

    files: tuple[Path, ...]
    absent: tuple[str, ...] = ()


def places_of(path: Path) -> Places:
    """Return the files below a folder, those that a DICOMDIR names, or the one file that is given.

    Links to folders are not followed. Raises RequestError for a place that is not there, and for a
    DICOMDIR that is damaged, names files outside of its folder, or none that is there.
    """
    if path.is_dir():
        return Places(tuple(_below(path)))
    if not path.is_file():
        raise RequestError(f"{path}: is not there. Expected a folder of a study, or a DICOMDIR.")
    directory = _directory(path)
    return Places((path,)) if directory is None else _named_by(path, directory)


def _below(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise RequestError(f"{error.filename}: this folder cannot be read ({error.strerror}).")

    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            file = Path(place, name)
            if file.is_file() or file.is_symlink():  # a pipe would be waited for
                yield file


def is_directory(header: Dataset) -> bool:
    """Return whether a file is a DICOMDIR, by its kind of object."""
    meta = getattr(header, "file_meta", {})
    return str(meta.get("MediaStorageSOPClassUID") or "") == DIRECTORY or (
        "DirectoryRecordSequence" in header
    )


def _directory(path: Path) -> Dataset | None:
    """Return what a DICOMDIR holds; None for a file of another kind, damaged ones included."""
    try:
        header = parse(path)
    except DAMAGED as error:
        if path.name.casefold() == "dicomdir":
            refuse_damaged(path, error)
        return None
    return header if header is not None and is_directory(header) else None


def _named_by(path: Path, directory: Dataset) -> Places:
    root = path.parent.resolve()
    files: dict[Path, None] = {}
    absent = []
    for parts in _references(path, directory):
        if any(part in UPWARDS or ":" in part or "\0" in part for part in parts):
            _refuse_outside(path, parts)
        file = _find(path.parent, parts)
        if file is None:
            absent.append("/".join(parts))
        elif not file.resolve().is_relative_to(root):
            _refuse_outside(path, parts)
        else:
            files[file] = None
    if not files:
        raise RequestError(
            f"{path}: none of the {len(absent)} files that it names is below its folder. Copy the "
            "whole medium, DICOMDIR and folders, or give the folder of the study."
        )
    return Places(tuple(files), tuple(absent))


def _references(path: Path, directory: Dataset) -> list[list[str]]:
    """Return the names of the files, each as the names of the folders on its way and its own."""
    try:
        records = list(directory.get("DirectoryRecordSequence") or ())
        values = [record.get("ReferencedFileID") for record in records]
    except DAMAGED as error:
        refuse_damaged(path, error)
    texts = [[value] if isinstance(value, str) else list(value) for value in values if value]
    # Some writers put the whole way into one value, with strokes in between.
    return [[piece for part in parts for piece in re.split(r"[\\/]", str(part))] for parts in texts]


def _refuse_outside(path: Path, parts: list[str]) -> None:
    raise RequestError(
        f"{path}: names the file '{'/'.join(parts)}', which is not below its own folder. Expected "
        "only files of its medium; give the folder of the study instead."
    )


def _find(folder: Path, parts: list[str]) -> Path | None:
    """Return a file by its names; None where it is not there.

    A CD has names in capitals, sometimes with a version behind; systems show them in small letters
    or without it.
    """
    place = folder
    for part in parts:
        if not (place / part).exists():
            wanted = part.casefold()
            try:
                names = sorted(os.listdir(place))
            except OSError:
                return None
            alike = [n for n in names if VERSION_OF_A_CD.sub("", n).casefold() == wanted]
            if not alike:
                return None
            part = alike[0]
        place = place / part
    return place if place.is_file() else None
