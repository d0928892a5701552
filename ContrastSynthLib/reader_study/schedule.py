"""In which order a reader sees the images: drawn from the study's seed, blinded, never in pairs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ContrastSynthLib.reader_study.protocol import ARMS, SCORES, Protocol

Shown = tuple[int, tuple[str, ...]]
"""The place of a case in the protocol, and the arms that are shown of it."""


@dataclass(frozen=True)
class Reading:
    """What is read at once: ``number`` counts a reader's readings from 1.

    ``case`` is the place of the case in the protocol, ``arms`` what is shown: one arm, or both from
    left to right. ``again`` is a second reading of the same image.
    """

    number: int
    session: int
    case: int
    arms: tuple[str, ...]
    again: bool = False


def schedule(protocol: Protocol, reader: str) -> tuple[Reading, ...]:
    """Return the readings of a reader, the same for the same seed and name.

    Two readings of one case never follow each other within a session. In a study with a washout
    each case is read once in each of two sessions, half of them in either arm. Images that are read
    again come at the end of the last session, each of another case.
    """
    rng = np.random.default_rng(_seed(protocol.seed, reader))
    readings: list[Reading] = []
    for session, shown in enumerate(_sessions(protocol, rng), start=1):
        order = apart([shown[place] for place in rng.permutation(len(shown))], rng)
        told = [(one, False) for one in order]
        if session == protocol.sessions:
            told += [(one, True) for one in _again(protocol, order, rng)]
        for (case, arms), again in told:
            readings.append(Reading(len(readings) + 1, session, case, arms, again))
    return tuple(readings)


def _sessions(protocol: Protocol, rng: np.random.Generator) -> list[list[Shown]]:
    """Return what is shown in each session, in no order."""
    cases = range(len(protocol.cases))
    if protocol.mode != SCORES:
        return [[(case, tuple(rng.permutation(ARMS).tolist())) for case in cases]]
    if protocol.sessions == 1:
        return [[(case, (arm,)) for case in cases for arm in ARMS]]
    first = rng.permutation(np.arange(len(cases)) % 2).tolist()
    return [[(case, (ARMS[(first[case] + later) % 2],)) for case in cases] for later in range(2)]


def apart(shown: Sequence[Shown], rng: np.random.Generator) -> list[Shown]:
    """Return an order in which no two neighbours are of one case.

    There are three cases at least, each of them once or twice. The second of two neighbours of one
    case is moved to a place, drawn from all those where it has no such neighbour.
    """
    order = list(shown)
    for place in range(1, len(order)):
        if order[place][0] != order[place - 1][0]:
            continue
        moved = order.pop(place)
        free = [
            n
            for n in range(len(order) + 1)
            if all(one[0] != moved[0] for one in order[max(n - 1, 0) : n + 1])
        ]
        order.insert(int(rng.choice(free)), moved)
        return apart(order, rng)
    return order


def _again(protocol: Protocol, order: Sequence[Shown], rng: np.random.Generator) -> list[Shown]:
    """Return what is read once more after ``order``: of each case one image at most."""
    cases = rng.permutation(len(protocol.cases)).tolist()
    if cases[0] == order[-1][0]:
        cases = cases[1:] + cases[:1]
    again = []
    for case in cases[: protocol.repeats]:
        seen = [arms for number, arms in order if number == case]
        again.append((case, seen[int(rng.integers(len(seen)))]))
    return again


def _seed(seed: int, reader: str) -> list[int]:
    """Return what the order is drawn from: the study's seed, and the reader's name."""
    return [seed, int.from_bytes(hashlib.sha256(reader.encode()).digest()[:8], "big")]
