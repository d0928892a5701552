"""A BIDS data set as it lies on the disk: its subjects and sessions, and the scans of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ContrastSynthLib.acquisition import json_object
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.bids_names import (
    IMAGES,
    BidsName,
    parse_entities,
    parse_name,
    refuse_wrong_folder,
)
from ContrastSynthLib.files.sidecars import DESCRIPTION, is_inside

KINDS = ("anat", "dwi")
"""Folders of a session that may hold scans of ours."""
RAW = "raw"


@dataclass(frozen=True)
class Scan:
    """An image of a data set: its file, its path in the data set (with slashes), its name."""

    path: Path
    place: str
    name: BidsName


@dataclass(frozen=True)
class Session:
    """The scans of a subject in a session, by their paths; ``notes`` tell what was left out.

    ``case`` is the name of both, such as ``sub-01_ses-1``.
    """

    case: str
    scans: tuple[Scan, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Dataset:
    """A raw data set: its folder and what its ``dataset_description.json`` says."""

    folder: Path
    description: Mapping[str, Any]

    @classmethod
    def open(cls, folder: Path) -> Dataset:
        """Return the data set in a folder.

        Raises RequestError where the folder has no description with a version of BIDS, and for a
        data set of derivatives.
        """
        path = folder / DESCRIPTION
        if not path.is_file():
            raise RequestError(
                f"{folder}: no BIDS data set. Expected a folder with {DESCRIPTION} and sub-*."
            )
        said = json_object(path)
        if said is None:
            raise RequestError(f"{path}: no JSON object. Expected Name and BIDSVersion in it.")
        version = said.get("BIDSVersion")
        if not (isinstance(version, str) and version.strip()):
            raise RequestError(
                f'{path}: BIDSVersion is missing. BIDS asks for it, such as "BIDSVersion": "1.9.0".'
            )
        kind = said.get("DatasetType", RAW)
        if kind != RAW:
            raise RequestError(
                f"{path}: DatasetType is {str(kind)[:40]!r}; expected a data set of scans, {RAW!r}."
            )
        return cls(folder, said)

    def sessions(self) -> list[Session]:
        """Return all sessions in the order of their names; one for a subject without any."""
        subjects = _folders(self.folder, "sub-")
        found = [
            self._session(place)
            for subject in subjects
            for place in (subject, *_folders(subject, "ses-"))
            if place != subject or _has_kinds(place) or not _folders(subject, "ses-")
        ]
        if not found:
            raise RequestError(f"{self.folder}: holds no subject. Expected folders such as sub-01.")
        return sorted(found, key=lambda session: session.case)

    def _session(self, place: Path) -> Session:
        parts = list(place.relative_to(self.folder).parts)
        case = "_".join(parts)
        try:
            parse_entities(parts, case)
        except RequestError as error:
            return Session(case, (), (str(error),))
        scans, notes = [], []
        for file in _images(place):
            try:
                scans.append(self._scan(file))
            except RequestError as error:
                notes.append(str(error))
        return Session(case, tuple(scans), tuple(notes))

    def _scan(self, file: Path) -> Scan:
        """Return an image; RequestError where it may not be taken."""
        place = file.relative_to(self.folder)
        if not is_inside(file, self.folder):
            raise RequestError(
                f"{place.as_posix()}: a link that leads out of the data set; it was left out. Copy "
                "the file into the data set."
            )
        if not file.is_file():
            raise RequestError(
                f"{place.as_posix()}: a link to a file that is not there; it was left out. Fetch "
                "the content of the data set first."
            )
        name = parse_name(file.name)
        if "sub" not in name.entities:
            raise RequestError(f"{file.name}: no name of BIDS: it does not begin with sub-LABEL_.")
        refuse_wrong_folder(name, place.as_posix())
        return Scan(file, place.as_posix(), name)


def _folders(folder: Path, prefix: str) -> list[Path]:
    try:
        return sorted(path for path in folder.glob(f"{prefix}*") if path.is_dir())
    except OSError as error:
        raise RequestError(f"{folder}: cannot be opened ({error.strerror}).") from None


def _has_kinds(place: Path) -> bool:
    return any((place / kind).is_dir() for kind in KINDS)


def _images(place: Path) -> Iterator[Path]:
    for kind in KINDS:
        for path in sorted((place / kind).glob("*")):
            if path.name.lower().endswith(IMAGES) and not path.is_dir():
                yield path
