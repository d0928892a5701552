"""Each series of a study in a folder of its own, without names of the patient in the paths."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from ContrastSynthLib.dicom_study.privacy import HIDDEN
from ContrastSynthLib.dicom_study.series import Series
from ContrastSynthLib.dicom_study.study import Study
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.writing import whole_or_nothing
from ContrastSynthLib.texts import plain

LONGEST_SLUG = 40


def split(study: Study, folder: Path) -> list[Path]:
    """Write each series into a folder of ``folder``, all or none; return the folders.

    Files are hard links where the disk allows, else copies; they are numbered, as names of files
    may hold that of the patient. Raises RequestError for a folder that holds anything, that lies in
    the study, where its files would be found twice, and for a disk that does not take them.
    """
    root = study.path if study.path.is_dir() else study.path.parent
    if folder.resolve().is_relative_to(root.resolve()):
        raise RequestError(
            f"{folder}: lies in the study itself, where each image would be found twice. Choose "
            "another folder (--split)."
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RequestError(f"{folder}: is not empty. The series need a folder of their own.")
    names = folder_names(study.series)
    with whole_or_nothing(folder) as part:
        for series, name in zip(study.series, names, strict=True):
            gather(series, part / name)
    return [folder / name for name in names]


def gather(series: Series, folder: Path) -> None:
    """Link or copy the files of a series into a new folder, numbered."""
    folder.mkdir()
    for number, file in enumerate(series.files, start=1):
        _link(file, folder / f"{number:05d}.dcm")


def folder_names(series: Sequence[Series]) -> list[str]:
    """Return a name for the folder of each series, its number and description; no two are equal."""
    found: list[str] = []
    for one in series:
        text = plain(one.description.replace(HIDDEN, " "))
        slug = re.sub(r"[^a-z0-9]+", "-", text).strip("-")[:LONGEST_SLUG].strip("-")
        slug = slug or re.sub(r"[^a-z0-9]+", "-", one.kind.casefold()).strip("-")
        start = "unnumbered" if one.number is None else str(one.number)
        name, n = f"{start}_{slug}", 1
        while name in found:
            n += 1
            name = f"{start}_{slug}_{n}"
        found.append(name)
    return found


def _link(file: Path, place: Path) -> None:
    source = file.resolve()  # the file itself, where a link leads to it
    try:
        os.link(source, place)
    except OSError:  # another disk, or one without links
        shutil.copyfile(source, place)
