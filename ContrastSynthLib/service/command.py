"""A command in a process of its own, which gives its memory back, and how far it is."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence

from ContrastSynthLib.errors import RequestError

Tell = Callable[[float], None]
"""Gets the share of a command that is done."""
STEP, LEAST_S = 0.1, 10.0
"""A command is told of at each tenth of it, but not more often than that many seconds."""


def run_command(words: Sequence[str], tell: Tell) -> None:
    """Run a command that prints JSON lines of progress.

    Raises RequestError with what it says on its error stream, if it fails. It is ended where
    something else goes wrong here, as when the node is stopped.
    """
    with (
        tempfile.TemporaryFile("w+") as told,
        subprocess.Popen(words, stdout=subprocess.PIPE, stderr=told, text=True) as process,
    ):
        try:
            for line in process.stdout or ():
                share = _share_in(line)
                if share is not None:
                    tell(share)
            process.wait()
        except BaseException:
            process.kill()  # it would be waited for
            raise
        if process.returncode:
            told.seek(0)
            reason = told.read().strip().removeprefix("contrastsynth: ")
            raise RequestError(reason or f"the run ended with the code {process.returncode}")


def sparingly(say: Callable[[str], None], what: str) -> Tell:
    """Return a function that says how far ``what`` is, some times but not at each step."""
    last_share, last_s = 0.0, time.monotonic()

    def tell(share: float) -> None:
        nonlocal last_share, last_s
        now = time.monotonic()
        if share >= last_share + STEP and now >= last_s + LEAST_S:
            say(f"{what}: {share:.0%}")
            last_share, last_s = share, now

    return tell


def _share_in(line: str) -> float | None:
    """Return the share in a line of progress; None for another line."""
    try:
        told = json.loads(line)
    except ValueError:
        return None
    return float(told["fraction"]) if told.get("type") == "progress" else None
