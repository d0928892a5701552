"""Progress, result and errors of a run, as a bar on a terminal or as JSON lines for the panel.

Each JSON line is one object with ``schema_version`` and ``type``: ``progress`` (``fraction`` from 0
to 1, ``message`` and, for an iterative method, ``measures``: numbers of the last iteration by
name), ``estimate`` (``seconds`` and ``bytes``, before the computation), ``case`` (the outcome of a
case of a batch), ``result`` (what ``--json`` prints) or ``error``
(``message``, ``exit_code``). Nothing else is written to that stream. Readers must ignore types and
fields that they do not know.
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
PROGRESS_CHOICES = ("bar", "json", "none")
BAR_WIDTH = 24


class JsonLines:
    """Writes JSON objects to a stream, one on each line."""

    def __init__(self, stream: TextIO):
        self._stream = stream
        self._measures: dict[str, float] = {}

    def measured(self, values: Mapping[str, float]) -> None:
        """Keep an iteration's numbers for the next line of progress, without NaN and infinity."""
        self._measures = {name: value for name, value in values.items() if math.isfinite(value)}

    def progress(self, fraction: float, message: str) -> None:
        """Write a line of progress, from 0 to 1, with the numbers kept by :meth:`measured`."""
        measures = {"measures": self._measures} if self._measures else {}
        self._measures = {}
        self.send("progress", fraction=round(fraction, 4), message=message, **measures)

    def send(self, kind: str, **content: Any) -> None:
        """Write one line of type ``kind`` and flush it, so that the reader gets it at once."""
        line = {"schema_version": SCHEMA_VERSION, "type": kind, **content}
        self._stream.write(json.dumps(line, allow_nan=False) + "\n")
        self._stream.flush()


@contextmanager
def json_lines_on_stdout() -> Iterator[JsonLines]:
    """Reserve stdout for JSON lines; all other output to it, C++ libraries' too, goes to stderr."""
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
    """Return the progress function for one of PROGRESS_CHOICES; ``lines`` is given for json."""
    if lines:
        return lines.progress
    return progress_bar(sys.stderr) if choice == "bar" else no_progress


def progress_bar(stream: TextIO) -> ProgressFunction:
    """Return a function that draws a progress bar if ``stream`` is a terminal, else nothing."""
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
    """Raise Cancelled on SIGTERM and Ctrl-C, so that a stopped run removes what it has written."""

    def cancel(number: int, frame: object) -> None:
        raise Cancelled(f"Cancelled by {signal.Signals(number).name}; nothing was written.")

    previous = {number: signal.signal(number, cancel) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
