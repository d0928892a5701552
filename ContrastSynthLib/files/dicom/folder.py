"""Which files of a folder are images, and what to say of the others.

A slice whose file is empty or damaged must not be taken for a file that never was an image:
the volume would be one slice short, and no one would know.
"""

from __future__ import annotations

from pathlib import Path

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.dicom.header import Frame, NotDicom, frames_of

# Names of DICOM images, and of files that lie beside them and are none.
IMAGE_SUFFIXES = {".dcm", ".dicom", ".dic", ".ima"}
DOCUMENT_SUFFIXES = {
    *(".txt", ".csv", ".tsv", ".json", ".xml", ".html", ".htm", ".pdf", ".md", ".log", ".ini"),
    *(".nii", ".gz", ".zip", ".bval", ".bvec", ".nrrd", ".mha", ".png", ".jpg", ".jpeg", ".gif"),
    *(".db", ".exe", ".inf", ".dll", ".py", ".sh", ".xlsx", ".docx", ".bmp", ".yaml", ".yml"),
}
WITHOUT_SUFFIX = {"readme", "license", "licence", "version", "lockfile", "index", "dicomdir"}
MOST_NAMED = 5


def find_frames(path: Path) -> tuple[list[Frame], list[str]]:
    """Return the images in a folder or a file, and notes on files that were left out.

    Folders in the folder are not searched. Raises RequestError where there is no image, for
    damaged ones, and for files that are named like the images and cannot be read.
    """
    frames: list[Frame] = []
    strangers: dict[Path, str] = {}
    for file in _files(path):
        try:
            frames += frames_of(file)
        except NotDicom as reason:
            strangers[file] = str(reason)
    if not frames:
        raise RequestError(_nothing(path, list(strangers.values())))
    kinds = {_kind_of_name(frame.path) for frame in frames}
    _refuse_lost_slices(
        path, [why for file, why in strangers.items() if _may_be_image(file, kinds)]
    )
    left_out = [why for file, why in strangers.items() if not _is_document(file)]
    return frames, [f"Left out: {_named(left_out)}."] if left_out else []


def _files(path: Path) -> list[Path]:
    """Return the files to read; a link that leads nowhere is one, for it may have been a slice."""
    if not path.is_dir():
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise RequestError(f"{path}: not a plain file. Expected a DICOM file or a folder.")
        return [path]
    try:
        return sorted(
            p for p in path.iterdir() if p.is_file() or (p.is_symlink() and not p.exists())
        )
    except OSError as error:
        raise RequestError(f"{path}: this folder cannot be read ({error.strerror}).") from error


def _nothing(path: Path, reasons: list[str]) -> str:
    where = "no file in this folder is" if path.is_dir() else "this file is not"
    seen = f" ({_named(reasons)})" if reasons else ""
    return (
        f"{path}: {where} a DICOM image{seen}. Expected a folder with the slices of one series "
        "(folders in it are not searched), or a multi-frame file."
    )


def _refuse_lost_slices(path: Path, lost: list[str]) -> None:
    if lost:
        raise RequestError(
            f"{path}: {_named(lost)}, among images with such names; a slice of the scan may be "
            "missing. Copy or export it again; remove what is no image."
        )


def _named(reasons: list[str]) -> str:
    more = len(reasons) - MOST_NAMED
    return ", ".join(reasons[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _kind_of_name(path: Path) -> str:
    """Return the suffix of a name, "" for none: a number is none, as in "1.2.840.7"."""
    suffix = path.suffix.lower()
    return "" if suffix[1:].isdigit() else suffix


def _may_be_image(path: Path, kinds_of_images: set[str]) -> bool:
    if path.name.startswith(".") or path.name.lower() in WITHOUT_SUFFIX:
        return False
    kind = _kind_of_name(path)
    return kind in kinds_of_images or kind in IMAGE_SUFFIXES


def _is_document(path: Path) -> bool:
    """Return whether a file says by its name that it is no image, and holds something."""
    name = path.name.lower()
    known = (
        name.startswith(".") or name in WITHOUT_SUFFIX or path.suffix.lower() in DOCUMENT_SUFFIXES
    )
    return known and path.exists() and path.stat().st_size > 0
