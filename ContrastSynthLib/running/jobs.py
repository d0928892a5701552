"""Speaking to whoever started the run: a person at a terminal, or the panel in Slicer.

The panel reads JSON lines. Each line is one object with ``schema_version`` and ``type``:
``progress`` (fraction, message and, where a method measures as it goes, ``measures``: numbers
by name), ``result`` (what ``--json`` prints) or ``error`` (message, exit_code). Nothing else is
written to that stream. Readers pass over what they do not know.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TextIO

from ContrastSynthLib.errors import Cancelled
from ContrastSynthLib.registry.context import ProgressFunction, no_progress

SCHEMA_VERSION = 1
BAR_WIDTH = 24


class JsonLines:
    """Writes one JSON object a line to a stream that it keeps for itself."""

    def __init__(self, stream: TextIO):
        self._stream = stream
        self._measures: dict[str, float] = {}

    def measured(self, values: Mapping[str, float]) -> None:
        """Keep numbers for the next line of progress; what is not finite is no JSON."""
        self._measures = {name: value for name, value in values.items() if math.isfinite(value)}

    def progress(self, fraction: float, message: str) -> None:
        """Tell how far the run is, from 0 to 1, and what was measured."""
        measures = {"measures": self._measures} if self._measures else {}
        self._measures = {}
        self.send("progress", fraction=round(fraction, 4), message=message, **measures)

    def send(self, kind: str, **content: Any) -> None:
        """Write one line and flush it: the reader waits for it."""
        line = {"schema_version": SCHEMA_VERSION, "type": kind, **content}
        self._stream.write(json.dumps(line, allow_nan=False) + "\n")
        self._stream.flush()


@contextmanager
def json_lines_on_stdout() -> Iterator[JsonLines]:
    """Take stdout for JSON lines; what anything else prints there, C++ too, goes to stderr."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with os.fdopen(os.dup(kept), "w", encoding="utf-8") as stream:
            yield JsonLines(stream)
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def progress_for(choice: str, lines: JsonLines | None) -> ProgressFunction:
    """Return the progress function for an option ``--progress``: bar, json or none."""
    if lines:
        return lines.progress
    return progress_bar(sys.stderr) if choice == "bar" else no_progress


def progress_bar(stream: TextIO) -> ProgressFunction:
    """Return a progress function that draws a bar on a terminal, and nothing elsewhere."""
    if not stream.isatty():
        return no_progress

    def draw(fraction: float, message: str) -> None:
        filled = round(fraction * BAR_WIDTH)
        bar = "#" * filled + "-" * (BAR_WIDTH - filled)
        stream.write(f"\r[{bar}] {fraction:4.0%}  {message:<44.44}")
        stream.write("\n" if fraction >= 1 else "")
        stream.flush()

    return draw


@contextmanager
def cancelled_by_signals() -> Iterator[None]:
    """Turn SIGTERM and Ctrl-C into Cancelled, so that a stopped run cleans up behind itself."""

    def cancel(number: int, frame: object) -> None:
        raise Cancelled(f"Cancelled by {signal.Signals(number).name}; nothing was written.")

    previous = {number: signal.signal(number, cancel) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
