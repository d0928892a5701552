"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ContrastSynthLib.errors import RequestError


def write_text(path: Path, text: str) -> None:
    """Write a text file, which appears under its name only when it is whole, or RequestError."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8", newline="")
        os.replace(part, path)
    except OSError as error:
        raise RequestError(f"{path}: could not be written ({error.strerror}).") from error
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def whole_or_nothing(folder: Path, last: str = "", stale: Iterable[str] = ()) -> Iterator[Path]:
    """Give a folder to write into; at the end its files move into ``folder``, all or none.

    Files of an earlier run are replaced at the very end. The file ``last`` vouches for the
    others: an older one goes first, the new one comes when all are in place. Files named in
    ``stale`` are what an older run left, and are deleted. Raises RequestError when the disk does
    not take them; then, and after any other error, nothing of this run is left.
    """
    check_writable(folder)
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=folder) as name:
            part = Path(name)
            yield part
            made = [path for path in part.rglob("*") if path.is_file()]
            if last:
                (folder / last).unlink(missing_ok=True)
            for old in stale:
                (folder / old).unlink(missing_ok=True)
            for file in sorted(made, key=lambda path: (path == part / last, path)):
                place = folder / file.relative_to(part)
                place.parent.mkdir(exist_ok=True)
                os.replace(file, place)
    except OSError as error:
        raise RequestError(f"{folder}: could not be written ({error.strerror}).") from error
    finally:
        if is_new and folder.exists() and not any(folder.iterdir()):
            folder.rmdir()


def check_writable(folder: Path) -> None:
    """Raise RequestError when ``folder`` cannot be made or written into: before the work."""
    nearest = folder
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        raise RequestError(f"{folder}: '{nearest}' is a file, not a folder. Choose another --out.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise RequestError(
            f"{folder}: no permission to write in '{nearest}'. Choose another --out."
        )
