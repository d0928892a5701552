"""Cases without a result, those with the same reason together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ContrastSynthLib.cohort.row import DONE, Row

NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


@dataclass(frozen=True)
class Failures:
    """Cases that failed alike, in the order of the batch, and the reason of the first."""

    status: str
    reason: str
    cases: tuple[str, ...]


def grouped(rows: Sequence[Row]) -> list[Failures]:
    """Return the cases without a result by their reasons, the most frequent one first.

    Reasons that differ in numbers only, such as sizes, are one.
    """
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.status != DONE:
            alike = NUMBER.sub("#", row.reason.replace(row.case, "*"))
            found.setdefault((row.status, alike), []).append(row)
    groups = sorted(found.values(), key=len, reverse=True)
    return [
        Failures(group[0].status, group[0].reason, tuple(row.case for row in group))
        for group in groups
    ]
