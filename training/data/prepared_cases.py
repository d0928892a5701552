"""The cases that ``prepare_data.py`` wrote: their list, their splits, their images."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ContrastSynthLib.errors import RequestError, unknown_name
from ContrastSynthLib.files.images import read_mask, read_volume
from ContrastSynthLib.volumes import Volume
from data.leakage import refuse_two_splits

SCHEMA_VERSION = 2
"""2: each case has a grade, and the pre scan in the contrast of the post scan."""
LIST = "cases.json"
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Case:
    """One prepared case; its images are read when they are asked for, each time.

    ``grade`` is A, B or C, as :mod:`data.grading` says.
    """

    name: str
    patient: int
    split: str
    folder: Path
    roles: tuple[str, ...]
    grade: str

    @property
    def pre(self) -> Volume:
        """The normalised pre scan."""
        return self._read("pre")

    @property
    def post(self) -> Volume:
        """The normalised post scan, on the pre scan's grid and scale."""
        return self._read("post")

    @property
    def mask(self) -> Volume:
        """The brain, 0 or 1."""
        return self._read("mask")

    @property
    def corrupted(self) -> Volume | None:
        """The normalised pre scan with artefacts, where there is one."""
        return self._read("corrupted") if "corrupted" in self.roles else None

    @property
    def low(self) -> Volume | None:
        """The normalised low-dose scan, where there is one."""
        return self._read("low") if "low" in self.roles else None

    @property
    def target(self) -> Volume | None:
        """The pre scan in contrast, shading and unit of the post scan, where that could be made."""
        return self._read("target") if "target" in self.roles else None

    def path_of(self, role: str) -> Path:
        """Return the file of the image of a role."""
        return self.folder / f"{role}.nrrd"

    def _read(self, role: str) -> Volume:
        return read_image(role, self.path_of(role))


def read_cases(folder: Path, split: str) -> list[Case]:
    """Return the cases of one split (train, validation or test) of a prepared folder.

    Raises RequestError when the list is missing, of another version, or has a patient in two
    splits, and for an unknown split.
    """
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    listed = read_list(folder)
    if listed is None:
        raise RequestError(f"{folder / LIST}: there is no such file. Run prepare_data.py first.")
    refuse_two_splits(listed["cases"])
    return [
        Case(
            name,
            entry["patient"],
            split,
            folder / name,
            tuple(entry["sha256"]["outputs"]),
            entry["grade"],
        )
        for name, entry in listed["cases"].items()
        if entry["split"] == split
    ]


def holds_pairs(data: str) -> bool:
    """Return whether ``data`` is a folder of prepared cases: real scans, as far as we know."""
    return data != "virtual" and (Path(data) / LIST).is_file()


def read_list(folder: Path) -> dict[str, Any] | None:
    """Return cases.json of a prepared folder, or None where there is none.

    Raises RequestError for a file that prepare_data.py did not write.
    """
    path = folder / LIST
    if not path.exists():
        return None
    try:
        listed: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version = listed["schema_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RequestError(f"{path}: not a list that prepare_data.py wrote ({error}).") from error
    if version != SCHEMA_VERSION:
        raise RequestError(
            f"{path}: schema version {version}; this version reads {SCHEMA_VERSION}. Prepare the "
            "data again in another folder."
        )
    return listed


def write_list(out: Path, division: Mapping[str, Any], cases: Mapping[str, Any]) -> None:
    """Write cases.json. Raises RequestError for a patient in two splits."""
    refuse_two_splits(cases)
    listed = {"schema_version": SCHEMA_VERSION, "division": dict(division), "cases": cases}
    part = out / f".partial-{LIST}"
    part.write_text(json.dumps(listed, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(part, out / LIST)


def read_image(role: str, path: Path) -> Volume:
    """Return the image of a role; a mask is 0 or 1."""
    return read_mask(path) if role == "mask" else read_volume(path)
