"""Ctrl-C and SIGTERM for a batch: it stops at a moment of its own choice, within two seconds."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ContrastSynthLib.errors import Cancelled

EXIT_CODE_OF_A_SIGNAL = 128
"""What shells add to the number of a signal: 130 for Ctrl-C, 143 for SIGTERM."""


class Stop:
    """Whether the batch was asked to stop."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.at_once = True
        """Whether a signal raises where it arrives, or is only noted, for the loop to find."""

    def cancelled(self) -> Cancelled:
        """Return the error with which a stopped batch ends, with the exit code of its signal."""
        number = self.number or signal.SIGINT
        error = Cancelled(f"Stopped by {signal.Signals(number).name}.")
        error.exit_code = EXIT_CODE_OF_A_SIGNAL + number
        return error


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Give what SIGTERM and Ctrl-C set; in a thread, where Python takes no signals, nothing does.

    Until ``at_once`` is unset they raise Cancelled.
    """
    stop = Stop()

    def note(number: int, frame: object) -> None:
        stop.number = stop.number or number
        if stop.at_once:
            stop.at_once = False
            raise stop.cancelled()

    previous: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            previous[number] = signal.signal(number, note)
    try:
        yield stop
    finally:
        for caught, handler in previous.items():
            signal.signal(caught, handler)
