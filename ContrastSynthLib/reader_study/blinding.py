"""From a protocol to what readers get, and the key that they do not get.

``FOLDER/readers`` has the store and an image for each arm of each case, under random names, without
metadata, in the same unit, as files of the same size and date. ``FOLDER/key.json`` has the protocol
and says which name is of which image; it stays with whoever leads the study.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.images import read_volume, write_volume
from ContrastSynthLib.files.writing import whole_or_nothing, write_text
from ContrastSynthLib.reader_study.protocol import NEW, STANDARD, Protocol, StudyCase
from ContrastSynthLib.reader_study.schedule import schedule
from ContrastSynthLib.reader_study.store import About, BlindReading, Store
from ContrastSynthLib.volumes import Volume, check_same_grid

READERS, STORE, IMAGES, KEY = "readers", "study.sqlite", "images", "key.json"
SUFFIX = ".nrrd"
MARK = "image of a blinded reader study: it may be synthetic"
"""Of every image, those of scanners too: nothing is told, and nothing synthetic is without it."""
BRIGHTEST_PERCENT, LEVELS = 99.9, 1000.0
"""Each image is scaled so that this percentile of its positive voxels has this value."""


@dataclass(frozen=True)
class Key:
    """The protocol, and of each random name the case and the arm or the place beside it.

    ``marks`` has the SYNTHETIC mark of the images that came with one, by their random names.
    """

    protocol: Protocol
    images: Mapping[str, tuple[str, str]]
    marks: Mapping[str, str] = field(default_factory=dict)

    def arm_of(self, image: str) -> str:
        """Return the arm of an image by its random name."""
        return self.images[image][1]

    def marks_of(self, arm: str) -> dict[str, str]:
        """Return the SYNTHETIC marks of an arm's images, by case."""
        return {
            self.images[name][0]: mark
            for name, mark in self.marks.items()
            if self.arm_of(name) == arm
        }


def create(protocol: Protocol, folder: Path, url: str | None = None) -> Key:
    """Make a study in a folder that is new or empty; ``url`` is a database in place of the file.

    Raises RequestError for a folder that holds anything, for images that cannot be read and for two
    images of a case on different grids; then nothing is left.
    """
    if folder.exists() and any(folder.iterdir()):
        raise RequestError(f"{folder}: is not empty. A study needs a folder of its own.")
    named = {case.name: _names(case) for case in protocol.cases}
    readings = [one for reader in protocol.readers for one in blinded(protocol, reader, named)]
    about = About(
        protocol.title,
        protocol.mode,
        protocol.criteria,
        protocol.washout_days,
        protocol.sha256(),
    )
    with whole_or_nothing(folder) as part:
        marks: dict[str, str] = {}
        for case in protocol.cases:
            marks |= _write_case(case, named[case.name], part / READERS / IMAGES)
        key = Key(protocol, _places(named), marks)
        write_text(part / KEY, _as_json(key))
        Store.create(url or part / READERS / STORE, about, readings).close()
    return key


def open_store(folder: Path, url: str | None = None) -> tuple[Path, Store]:
    """Return the readers' folder and the store of a study, of its own folder or of theirs.

    ``url`` is the database where the store is no file. Raises RequestError as the store does.
    """
    inner = folder / READERS
    found = inner if inner.is_dir() else folder
    return found, Store(url or found / STORE)


def image_file(folder: Path, name: str) -> Path:
    """Return the file of an image in a readers' folder. Raises RequestError where it is missing."""
    path = folder / IMAGES / f"{name}{SUFFIX}"
    if not path.is_file():
        raise RequestError(
            f"{path}: this image of the study is missing. Bring the readers' folder back whole; "
            "what is scored already is kept."
        )
    return path


def read_key(path: Path) -> Key:
    """Return the key of a study. Raises RequestError for another file, or a changed protocol."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        protocol = Protocol.from_json(json.dumps(told["protocol"]))
        images = {name: (case, what) for name, (case, what) in told["images"].items()}
        sha256, marks = told["protocol_sha256"], dict(told.get("marks", {}))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RequestError(f"{path}: this is no key of a reader study ({error}).") from error
    if sha256 != protocol.sha256():
        raise RequestError(
            f"{path}: the protocol was changed after the study was made. It was fixed before the "
            "first score: bring the original back, or make a new study."
        )
    return Key(protocol, images, marks)


def blinded(
    protocol: Protocol, reader: str, named: Mapping[str, Mapping[str, str]]
) -> list[BlindReading]:
    """Return the readings of a reader with random names in place of cases and arms."""
    found = []
    for reading in schedule(protocol, reader):
        names = named[protocol.cases[reading.case].name]
        beside = tuple(name for what, name in names.items() if what not in (NEW, STANDARD))
        shown = tuple(names[arm] for arm in reading.arms)
        found.append(BlindReading(reader, reading.number, reading.session, shown, beside))
    return found


def neutral(volume: Volume) -> Volume:
    """Return an image without acquisition and notes, in the unit and with the mark of all.

    Values are whole: a scanner's would be multiples of one step otherwise, a network's would not.
    """
    positive = volume.array[volume.array > 0]
    brightest = float(np.percentile(positive, BRIGHTEST_PERCENT)) if positive.size else 1.0
    return Volume(np.rint(volume.array * (LEVELS / brightest)), volume.grid, synthetic=MARK)


def _names(case: StudyCase) -> dict[str, str]:
    """Return a random name for each image of a case, by its arm or place, in a random order."""
    whats = [NEW, STANDARD, *(f"beside {n}" for n in range(1, len(case.beside) + 1))]
    return {what: secrets.token_hex(6) for what in whats}


def _places(named: Mapping[str, Mapping[str, str]]) -> dict[str, tuple[str, str]]:
    return {name: (case, what) for case, names in named.items() for what, name in names.items()}


def _write_case(case: StudyCase, names: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Write the images of a case; return the SYNTHETIC marks that they came with, by name."""
    files: Sequence[str] = (case.new, case.standard, *case.beside)
    volumes = dict(zip(names, map(read_volume, files), strict=True))
    check_same_grid({what: volumes[what] for what in (STANDARD, NEW)})
    for what, name in names.items():
        path = folder / f"{name}{SUFFIX}"
        write_volume(neutral(volumes[what]), path, compress=False)
        os.utime(path, (0, 0))
    return {name: mark for what, name in names.items() if (mark := volumes[what].synthetic)}


def _as_json(key: Key) -> str:
    told = {
        "schema_version": 1,
        "protocol": json.loads(key.protocol.as_json()),
        "protocol_sha256": key.protocol.sha256(),
        "images": dict(sorted(key.images.items())),
        "marks": dict(sorted(key.marks.items())),
    }
    return json.dumps(told, indent=2, ensure_ascii=False) + "\n"
