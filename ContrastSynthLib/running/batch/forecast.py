"""How long a batch will still take, told from the cases that are done."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from statistics import median

LEAST_CASES = 3
"""Cases that must have been computed before anything is foretold."""
LAST_CASES = 20
"""Cases that count: a computer that is used by others as well gets slower and faster."""
SECONDS_BETWEEN_LINES = 60.0
WORTH_TELLING_S = 10.0
"""A batch that is over sooner is not worth a line."""


def seconds_left(took_s: Sequence[float], to_come: int, at_once: int) -> float | None:
    """Return the expected seconds for ``to_come`` cases, None while too few have been computed.

    ``took_s`` are the seconds that each case took, in the order in which they ended, of which the
    median of the last ones counts: one case with many more slices does not move it. ``at_once``
    cases run at the same time. A case takes its whole time however many could run beside it.
    """
    if len(took_s) < LEAST_CASES:
        return None
    rounds = max(1.0, to_come / at_once) if to_come else 0.0
    return median(list(took_s)[-LAST_CASES:]) * rounds


def time_in_words(seconds: float) -> str:
    """Return a time as people say it: ``40 s``, ``12 min``, ``3 h 20 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


class Forecast:
    """What is known of the time that cases take, and when it was last told."""

    def __init__(self, at_once: int):
        """Take how many cases run at the same time."""
        self._at_once = at_once
        self._took_s: deque[float] = deque(maxlen=LAST_CASES)
        self._told_s: float | None = None

    def note(self, took_s: float | None) -> None:
        """Take the seconds of a case that is done; None for one that was kept, or failed.

        What fails often does so at once, and would promise too early an end.
        """
        if took_s is not None:
            self._took_s.append(took_s)

    def left_s(self, to_come: int) -> float | None:
        """Return the expected seconds for the cases to come, None while too little is known."""
        return seconds_left(self._took_s, to_come, self._at_once)

    def line(self, to_come: int, total: int, now_s: float) -> str | None:
        """Return a line for the terminal, None where one was told less than a minute ago.

        ``now_s`` is the time of a clock that only goes forwards.
        """
        left_s = self.left_s(to_come)
        if left_s is None or left_s < WORTH_TELLING_S:
            return None
        if self._told_s is not None and now_s - self._told_s < SECONDS_BETWEEN_LINES:
            return None
        self._told_s = now_s
        return (
            f"Expected: about {time_in_words(left_s)} for the {to_come} of {total} cases to come, "
            f"{self._at_once} at a time, by the last {len(self._took_s)}"
        )
