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

    The one beside it always counts, in whatever folder it is; the others only in a BIDS data set.
    A file that leads out of the data set is left out, and so are several in one folder that would
    all apply, which BIDS forbids; the notes say so.
    """
    beside = image.with_name(image.name[: -len(_extension(image))] + SIDECAR)
    root = dataset_of(image)
    try:
        name = parse_name(image.name)
    except RequestError:
        return [beside], ()
    if root is None or "sub" not in name.entities:
        return [beside], ()
    found, notes = [], []
    for folder in _folders(root, image.absolute().parent):
        applying = [path for path in _applying(folder, name) if path.name != beside.name]
        if outside := [path for path in applying if not is_inside(path, root)]:
            notes.append(f"{outside[0].name} leads out of the data set; it was left out.")
            applying = [path for path in applying if path not in outside]
        near = folder == image.absolute().parent and beside.exists()
        if len(applying) + near > 1:
            named = ", ".join(sorted(path.name for path in applying))
            notes.append(
                f"{named}: BIDS allows one .json of a scan in each folder; "
                f"{'the one of its very name counts' if near else 'none of them was read'}."
            )
        elif applying:
            found.append(applying[0])
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


def _applying(folder: Path, name: BidsName) -> Iterator[Path]:
    try:
        candidates = sorted(folder.glob(f"*{name.suffix}{SIDECAR}"))
    except OSError:
        return
    for path in candidates:
        try:
            if parse_name(path.name).applies_to(name):
                yield path
        except RequestError:
            continue


def _extension(image: Path) -> str:
    """Return the extension as it is typed."""
    lower = image.name.lower()
    kind = next((kind for kind in IMAGES if lower.endswith(kind)), image.suffix)
    return image.name[len(image.name) - len(kind) :]
