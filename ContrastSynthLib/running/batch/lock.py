"""One batch in a folder at a time: the second is refused, and a crash leaves nothing locked."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.locks import try_lock
from ContrastSynthLib.running.batch.record import LOCK

PATIENCE_S = 5.0
"""So long the workers of a batch that was killed may need to end; they hold its lock."""


@contextmanager
def only_batch(out: Path) -> Iterator[int]:
    """Lock the folder of a batch, and give the descriptor that holds the lock.

    Raises RequestError where another batch writes into it. A file system without locks, such as
    some network drives, is used without.
    """
    path = out / LOCK
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise RequestError(f"{path}: could not be written ({error.strerror}).") from error
    try:
        with suppress(OSError):
            if not _patiently(descriptor):
                raise RequestError(
                    f"{out}: another batch writes into this folder{_holder(path)}. Wait for it, "
                    "stop it, or choose another --out."
                )
            holder = {
                "process": os.getpid(),
                "computer": platform.node(),
                "since_utc": datetime.now(UTC).isoformat(timespec="seconds"),
            }
            os.ftruncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)
            os.write(descriptor, json.dumps(holder).encode())
        yield descriptor
    finally:
        os.close(descriptor)


def _patiently(descriptor: int) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while not try_lock(descriptor):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _holder(path: Path) -> str:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        return f" (process {said['process']} on {said['computer']}, since {said['since_utc']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
