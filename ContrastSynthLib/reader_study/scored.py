"""The scores of a study with the names of cases and arms, for those who have its key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ContrastSynthLib.reader_study.blinding import Key
from ContrastSynthLib.reader_study.protocol import ARMS, NEW, STANDARD
from ContrastSynthLib.reader_study.store import Store


@dataclass(frozen=True)
class Scored:
    """One score, unblinded."""

    reader: str
    number: int
    session: int
    case: str
    arm: str
    criterion: str
    value: int
    seconds: float
    again: bool


def unblinded(key: Key, store: Store) -> list[Scored]:
    """Return the last score of each reading and criterion with its case and arm.

    Of two images side by side the arm is that of the chosen one.
    """
    readings = {
        (reading.reader, reading.number): reading
        for reader in store.readers
        for reading in store.readings(reader)
    }
    seen: dict[tuple[str, frozenset[str]], int] = {}
    for (reader, number), reading in sorted(readings.items()):
        seen.setdefault((reader, frozenset(reading.images)), number)
    found = []
    for row in store.scores():
        reading = readings[row["reader"], row["number"]]
        # Of two images side by side it is the chosen one, 1 the left and 2 the right.
        chosen = row["value"] - 1 if len(reading.images) > 1 else 0
        case, arm = key.images[reading.images[chosen]]
        again = seen[row["reader"], frozenset(reading.images)] != row["number"]
        found.append(
            Scored(
                row["reader"],
                row["number"],
                reading.session,
                case,
                arm,
                row["criterion"],
                row["value"],
                row["seconds"],
                again,
            )
        )
    return found


def paired(scores: Sequence[Scored], criterion: str, reader: str) -> dict[str, tuple[float, float]]:
    """Return new and standard score of each case of a reader, both of which were read."""
    by_case: dict[str, dict[str, int]] = {}
    for score in scores:
        if score.criterion == criterion and score.reader == reader and not score.again:
            by_case.setdefault(score.case, {})[score.arm] = score.value
    return {
        case: (values[NEW], values[STANDARD])
        for case, values in by_case.items()
        if set(values) == set(ARMS)
    }


def first_read(scores: Sequence[Scored], criterion: str, reader: str) -> dict[str, str]:
    """Return the arm of each case that a reader read first, where he read both."""
    numbers: dict[str, dict[str, int]] = {}
    for score in scores:
        if score.criterion == criterion and score.reader == reader and not score.again:
            numbers.setdefault(score.case, {})[score.arm] = score.number
    return {
        case: min(of, key=lambda arm: of[arm])
        for case, of in numbers.items()
        if set(of) == set(ARMS)
    }


def first_values(scores: Sequence[Scored], criterion: str) -> dict[tuple[str, str, str], int]:
    """Return the score of each reader, case and arm, of the first reading of an image."""
    return {
        (score.reader, score.case, score.arm): score.value
        for score in scores
        if score.criterion == criterion and not score.again
    }


def read_by_both(
    scores: Sequence[Scored], criterion: str, one: str, other: str
) -> list[tuple[int, int]]:
    """Return the scores of two readers for each image that both have read."""
    values = first_values(scores, criterion)
    images = sorted({(case, arm) for _, case, arm in values})
    return [
        (values[one, *image], values[other, *image])
        for image in images
        if (one, *image) in values and (other, *image) in values
    ]


def read_again(scores: Sequence[Scored], criterion: str, reader: str) -> list[tuple[int, int]]:
    """Return the first and the second score of each image that a reader has read twice."""
    first = first_values(scores, criterion)
    return [
        (first[reader, score.case, score.arm], score.value)
        for score in scores
        if score.criterion == criterion
        and score.reader == reader
        and score.again
        and (reader, score.case, score.arm) in first
    ]
