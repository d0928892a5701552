"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.locks import try_lock_folder

PARTIAL = ".partial-"
"""How the names of folders begin that hold files which are not whole yet."""
SURELY_STALE_S = 86400.0
"""Age after which such a folder is nobody's any more, where locks cannot answer that."""


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
    swept = remove_stale_partials(folder)
    is_new = not folder.exists() or (swept > 0 and not any(folder.iterdir()))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with partial_folder(folder) as part:
            yield part
            made = [path for path in part.rglob("*") if path.is_file()]
            if last:
                (folder / last).unlink(missing_ok=True)
            for old in stale:
                (folder / old).unlink(missing_ok=True)
            for file in sorted(made, key=lambda path: (path == part / last, path)):
                place = folder / file.relative_to(part)
                place.parent.mkdir(parents=True, exist_ok=True)
                os.replace(file, place)
    except OSError as error:
        raise RequestError(f"{folder}: could not be written ({error.strerror}).") from error
    finally:
        if is_new and folder.exists() and not any(folder.iterdir()):
            folder.rmdir()


@contextmanager
def partial_folder(parent: Path) -> Iterator[Path]:
    """Give a new folder in ``parent`` for files that are not whole yet; it goes at the end.

    While it is in use it is locked, so that nobody takes it for one that a killed process left.
    """
    with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=parent) as name:
        lock = try_lock_folder(name)
        try:
            yield Path(name)
        finally:
            if lock is not None:
                os.close(lock)


def remove_stale_partials(folder: Path) -> int:
    """Remove what processes that were killed left half-written in ``folder``; return how many.

    Where locks cannot answer whether a process still writes, its folder stays for a day.
    """
    removed = 0
    for left in folder.glob(f"{PARTIAL}*"):
        try:
            lock = try_lock_folder(left)
            if lock is None and time.time() - left.stat().st_mtime < SURELY_STALE_S:
                continue
        except OSError:  # in use, or gone by now
            continue
        shutil.rmtree(left, ignore_errors=True)
        if lock is not None:
            os.close(lock)
        removed += not left.exists()
    return removed


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
