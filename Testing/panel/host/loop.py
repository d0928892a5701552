"""The event loop as a test sees it: wait for something, and know how long Qt was blocked."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from .record import record

HEARTBEAT_MS = 5


@dataclass(frozen=True)
class Pumped:
    """How long it took, and the longest time in which the loop did nothing else."""

    elapsed_s: float
    longest_block_s: float


def pump(
    until: Callable[[], object] | None = None,
    timeout_s: float = 10.0,
    *,
    raise_errors: bool = True,
) -> Pumped:
    """Run the event loop until a condition holds, or (without one) for ``timeout_s``.

    A timer beats every 5 ms; the longest time between two beats, less those 5 ms, is the time
    for which a person could not have pressed anything. TimeoutError if the condition never
    holds. What a slot raised meanwhile is raised here, unless ``raise_errors`` is False.
    """
    from PySide6.QtCore import QEventLoop, QTimer

    loop, timer, errors = QEventLoop(), QTimer(), len(record.errors)
    began = last = time.perf_counter()
    longest, held = 0.0, False

    def beat() -> None:
        nonlocal last, longest, held
        now = time.perf_counter()
        longest, last = max(longest, now - last - HEARTBEAT_MS / 1000), now
        try:
            held = until is not None and bool(until())
        except Exception as error:
            record.errors.append(error)
        failed = raise_errors and len(record.errors) > errors
        if held or failed or now - began > timeout_s:
            loop.quit()

    timer.connect("timeout()", beat)
    timer.start(HEARTBEAT_MS)
    loop.exec_()
    timer.stop()
    if raise_errors and len(record.errors) > errors:
        raise record.errors.pop(errors)
    elapsed = time.perf_counter() - began
    if until is not None and not held:
        raise TimeoutError(f"not after {elapsed:.1f} s: {getattr(until, '__doc__', '') or until}")
    return Pumped(elapsed, longest)
