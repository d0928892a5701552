"""The claims of the five papers, and what this library's result files say of each.

``docs/papers/PAPER.toml`` holds the claims of a paper: where it makes them, its own figures, and
which figures of ours belong to them. A reading that names two rows is a comparison: the claim is
that the first is better, by the arrow of the measure, or as ``should`` has it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from loss_curves import HEADINGS as OF_CURVES

from ContrastSynthLib.errors import RequestError, unknown_name
from evaluation.cache import TASKS
from evaluation.intervals import by_patient, interval
from evaluation.later_phases import HEADINGS, OF_A_PHASE
from evaluation.lesions import HEADINGS as OF_LESIONS
from evaluation.measurements import FOLDER, Measurement

PAPERS = ("sphere", "lowdose_cgan", "hrfcn", "lip_car", "iter_unet")
REPRODUCED, NOT_SHOWN, CONTRADICTED = "reproduced", "not shown", "contradicted"
MEASURED, DRAWN, TESTED, OPEN = "measured", "drawn", "tested", "open"
VERDICTS = {
    REPRODUCED: "the interval of each difference excludes 0, or the claimed least, on its side",
    NOT_SHOWN: "the interval of a difference contains 0, or the claimed least",
    CONTRADICTED: "the interval of a difference excludes it on the other side",
    MEASURED: "a figure of ours stands beside; there is nothing to test",
    DRAWN: "a picture or plot, which a command draws",
    TESTED: "a statement of mathematics, which a unit test holds",
    OPEN: "not measured, or not kept",
}
MARKS = {REPRODUCED: "✓", NOT_SHOWN: "~", CONTRADICTED: "✗"}
HIGHER, LOWER = "higher", "lower"
ARROWS = {"↑": HIGHER, "↓": LOWER}
USUAL = {"region": "whole", "noise": "0", "phase": "all"}
"""The lines that are read unless a reading says which."""
OF_RUNTIME = {"images_per_s": "images a second ↑", "latency_s": "seconds an image ↓"}
OF_TRAINING = {"steps": "steps", "minutes": "minutes of a core or GPU"}
OF_TASKS = (task.headings for task in TASKS)
MEASURES: dict[str, str] = {
    name: heading
    for headings in (
        HEADINGS,
        OF_A_PHASE,
        OF_CURVES,
        OF_LESIONS,
        OF_RUNTIME,
        OF_TRAINING,
        *OF_TASKS,
    )
    for name, heading in headings.items()
}


@dataclass(frozen=True)
class Reading:
    """A figure of a result file: a measure of a row, or its difference from that of another.

    ``of`` is the name of the measurement, ``at`` the values of other columns that count, ``by`` the
    least difference that is claimed.
    """

    of: str
    measure: str
    row: str
    over: str = ""
    should: str = ""
    by: float = 0.0
    at: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def claimed(self) -> str:
        """HIGHER or LOWER, as the row is said to be. Raises RequestError where nothing says it."""
        claimed = self.should or ARROWS.get(MEASURES[self.measure][-1], "")
        if claimed not in (HIGHER, LOWER):
            raise RequestError(
                f"{self.of}, {self.measure}: say whether it should be {HIGHER} or {LOWER}."
            )
        return claimed

    def values(self, row: str, measurement: Measurement) -> dict[str, float]:
        """Return the measure of a row by patient. Raises RequestError where there is none."""
        lines = measurement.lines()
        known = list(lines[0])
        if self.measure not in known:
            raise unknown_name(f"column of {self.of}", self.measure, known)
        asked = {name: value for name, value in USUAL.items() if name in known} | self.at
        chosen = [line for line in lines if all(line[name] == asked[name] for name in asked)]
        found = by_patient(chosen, row, self.measure)
        if not found:
            labels = list(dict.fromkeys(line["label"] for line in chosen))
            raise unknown_name(f"row of {self.of}", row, labels)
        return found


@dataclass(frozen=True)
class Figure:
    """Mean, 95 % interval and number of patients of a reading, in words, and what follows."""

    text: str
    patients: int
    verdict: str


def read(reading: Reading, measurement: Measurement) -> Figure:
    """Return the figure of a reading; of a comparison its mean difference, paired by patient."""
    first = reading.values(reading.row, measurement)
    told = f"{reading.row} {told_values([*first.values()])}"
    if not reading.over:
        return Figure(told, len(first), MEASURED)
    second = reading.values(reading.over, measurement)
    paired = np.array([first[patient] - second[patient] for patient in first if patient in second])
    low, high = interval(paired)
    told += f", {reading.over} {told_values([*second.values()])}: "
    told += f"difference {told_values(paired, sign='+')}"
    if reading.by:
        told += f", claimed {reading.by:g}"
    least = reading.by if reading.claimed == HIGHER else -reading.by
    verdict = NOT_SHOWN
    if low > least or high < least:
        as_claimed = (low > least) == (reading.claimed == HIGHER)
        verdict = REPRODUCED if as_claimed else CONTRADICTED
    return Figure(f"{told} {MARKS[verdict]}", len(paired), verdict)


def told_values(values: Sequence[float] | np.ndarray, sign: str = "") -> str:
    """Return mean and interval of values, with as many decimals as their size asks for."""
    mean = float(np.mean(values))
    decimals = 2 if abs(mean) >= 10 else 3 if abs(mean) >= 0.1 else 4
    form = f"{sign}.{decimals}f"
    low, high = interval(np.asarray(values, dtype=np.float64))
    return f"{mean:{form}} [{low:{form}}, {high:{form}}]" if low == low else f"{mean:{form}}"


@dataclass(frozen=True)
class Claim:
    """A claim of a paper: ``says`` is what, ``paper`` its figures, ``why`` what hinders ours.

    ``readings`` are our figures. Without any, ``command`` is what would measure it, ``picture``
    what draws it, or ``test`` the unit test that holds it.
    """

    id: str
    where: str
    says: str
    paper: str
    readings: tuple[Reading, ...] = ()
    command: str = ""
    picture: str = ""
    test: str = ""
    why: str = ""

    def figures(self, known: Mapping[str, Measurement]) -> dict[Reading, Figure]:
        """Return what our result files say, of what was measured."""
        for reading in self.readings:
            if reading.of not in known:
                raise unknown_name("measurement", reading.of, known)
        there = [reading for reading in self.readings if known[reading.of].is_there]
        return {reading: read(reading, known[reading.of]) for reading in there}

    def verdict(self, figures: Iterable[Figure]) -> str:
        """Return what all of it amounts to: the worst of the comparisons."""
        found = {figure.verdict for figure in figures}
        for verdict in (CONTRADICTED, NOT_SHOWN, REPRODUCED, MEASURED):
            if verdict in found:
                return verdict
        if self.readings:
            return OPEN
        return DRAWN if self.picture else TESTED if self.test else OPEN


@dataclass(frozen=True)
class Paper:
    """A paper: its title, on what it measured, and its claims."""

    key: str
    title: str
    data: str
    claims: tuple[Claim, ...]


def read_paper(key: str) -> Paper:
    """Return a paper. Raises RequestError for an entry that is not whole."""
    table = tomllib.loads((FOLDER / f"{key}.toml").read_text(encoding="utf-8"))
    claims = tuple(_claim(key, entry) for entry in table["claim"])
    ids = [claim.id for claim in claims]
    for name in ids:
        if ids.count(name) > 1:
            raise RequestError(f"{key}: two claims have the id '{name}'.")
    return Paper(key, table["title"], table["data"], claims)


def _claim(key: str, entry: Mapping[str, Any]) -> Claim:
    name = f"{key}, {entry.get('id', 'a claim without id')}"
    for word in entry:
        known = [each.name for each in fields(Claim)]
        if word not in known:
            raise RequestError(f"{name}: {unknown_name('entry', word, known)}")
    missing = [word for word in ("id", "where", "says", "paper") if not entry.get(word)]
    if missing:
        raise RequestError(f"{name}: {', '.join(missing)} is missing.")
    readings = tuple(Reading(**each) for each in entry.get("readings", ()))
    return Claim(**{**entry, "readings": readings})


def incomplete(claim: Claim, verdict: str) -> str:
    """Return what a claim with that verdict lacks, in words; "" for nothing."""
    waits = verdict == OPEN and claim.readings
    if verdict in (NOT_SHOWN, CONTRADICTED, OPEN) and not claim.why and not waits:
        return f"{claim.id} is {verdict}: say why."
    return ""
