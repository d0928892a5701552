"""Locks that end with the process that holds them, however it ends: a crash leaves none behind."""

from __future__ import annotations

import os
import sys

BYTE_OF_THE_LOCK = 1 << 30
"""Windows locks bytes, here one far behind whatever the file holds, which stays readable."""


def try_lock(descriptor: int) -> bool:
    """Lock an open file, on POSIX a folder too; return False where somebody else holds the lock.

    It ends when the last copy of the descriptor is closed, those of child processes included.
    Raises OSError where the file system has no locks.
    """
    if sys.platform == "win32":
        import msvcrt

        os.lseek(descriptor, BYTE_OF_THE_LOCK, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def try_lock_folder(folder: str | os.PathLike[str]) -> int | None:
    """Lock a folder and return the descriptor that holds the lock; None where that is impossible.

    Windows has no locks of folders; other systems lack them on some network drives.
    Raises BlockingIOError where somebody else holds it.
    """
    if sys.platform == "win32":
        return None
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return None
    try:
        if not try_lock(descriptor):
            raise BlockingIOError(f"{folder} is locked")
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
