"""The JSON files that tell of an image: the one beside it and, in a BIDS data set, those above it.

By the inheritance principle of BIDS, ``T1w.json`` in the folder of the data set tells of all its
T1-weighted images, and ``sub-01_T1w.json`` of those of a subject. What is nearer wins.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.bids_names import IMAGES, SIDECAR, BidsName, parse_name

DESCRIPTION = "dataset_description.json"
MOST_LEVELS = 4
"""An image lies at most so many folders deep: the data set, subject, session, kind of data."""


def sidecars_of(image: Path) -> tuple[list[Path], tuple[str, ...]]:
    """Return the JSON files that tell of a NIfTI file, the nearest last, and notes.

    The one beside it counts in whatever folder it is, the others only in a BIDS data set.
    Left out, with a note, is a file that leads out of the data set, one that lies beside another
    scan whose name it has, and each of several in one folder, which BIDS forbids.
    """
    beside = image.with_name(_stem(image) + SIDECAR)
    root = dataset_of(image)
    try:
        name = parse_name(image.name)
    except RequestError:
        return [beside], ()
    if root is None or "sub" not in name.entities:
        return [beside], ()
    found: list[Path] = []
    notes: list[str] = []
    for folder in _folders(root, image.absolute().parent):
        # One of its very name makes the others in the folder of the scan superfluous.
        if folder != image.absolute().parent or not beside.exists():
            found += _applying(folder, name, root, notes)
    if not is_inside(beside, root):
        return found, (*notes, _outside(beside))
    return [*found, beside], tuple(notes)


def dataset_of(path: Path) -> Path | None:
    """Return the folder of the BIDS data set that a file lies in, None where it is in none."""
    parents = list(path.absolute().parents)[:MOST_LEVELS]
    return next((folder for folder in parents if (folder / DESCRIPTION).is_file()), None)


def is_inside(path: Path, root: Path) -> bool:
    """Return whether a path, with all links followed, still is in the folder ``root``."""
    try:
        return path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # links in a circle
        return False


def _folders(root: Path, last: Path) -> Iterator[Path]:
    """Yield the folders from the data set down to the image."""
    yield root
    for part in last.relative_to(root).parts:
        root = root / part
        yield root


def _applying(folder: Path, name: BidsName, root: Path, notes: list[str]) -> list[Path]:
    """Return the file in a folder that tells of an image of this name, or none; notes tell why."""
    found = []
    for path in _of_suffix(folder, name.suffix):
        try:
            applies = parse_name(path.name).applies_to(name)
        except RequestError:
            continue
        if not applies:
            continue
        if not is_inside(path, root):
            notes.append(_outside(path))
        elif any((folder / f"{path.stem}{kind}").exists() for kind in IMAGES):
            notes.append(f"{path.name} is beside another scan of its name; it was left out.")
        else:
            found.append(path)
    if len(found) > 1:
        named = ", ".join(path.name for path in found)
        notes.append(f"{named}: BIDS allows one .json of a scan in a folder; none was read.")
        return []
    return found


def _outside(path: Path) -> str:
    return f"{path.name} leads out of the data set; it was left out."


def _of_suffix(folder: Path, suffix: str) -> list[Path]:
    try:
        return sorted(folder.glob(f"*{suffix}{SIDECAR}"))
    except OSError:
        return []


def _stem(image: Path) -> str:
    """Return the name without its extension."""
    lower = image.name.lower()
    kind = next((kind for kind in IMAGES if lower.endswith(kind)), image.suffix)
    return image.name[: len(image.name) - len(kind)]
