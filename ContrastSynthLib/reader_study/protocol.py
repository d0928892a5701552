"""The protocol of a reader study: what is read, by whom, on which scales, and how it is analysed.

It is fixed before the first score: its hash stands in the store and on every report.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ContrastSynthLib.errors import RequestError, unknown_name
from ContrastSynthLib.reader_study.non_inferiority import TESTS
from ContrastSynthLib.running.batch.grid import read_grid

SCHEMA_VERSION = 1
NEW, STANDARD = "new", "standard"
ARMS = (NEW, STANDARD)
"""The images under study, and those they are compared with."""
SCORES, WHICH_IS_REAL, PREFERENCE = "scores", "which_is_real", "preference"
MODES = (SCORES, WHICH_IS_REAL, PREFERENCE)
"""Each image is scored alone; or of the two of a case, side by side, the reader says which is real,
or which is preferred."""
MARGIN, ALPHA = 0.16, 0.05
"""Those of SPHERE, appendix D."""


@dataclass(frozen=True)
class Criterion:
    """What is scored: ``anchors`` are the texts of the scores, ``low`` that of the first."""

    key: str
    title: str
    anchors: tuple[str, ...]
    low: int = 1

    @property
    def scale(self) -> tuple[int, ...]:
        """All scores, from the worst to the best."""
        return tuple(range(self.low, self.low + len(self.anchors)))


QUALITY = ("Poor", "Fair", "Good", "Excellent")
CRITERIA = (
    Criterion("quality", "Perceived image quality", QUALITY),
    Criterion("alignment", "Anatomical alignment", ("Wrong", "Poor", "Slightly off", "Exact")),
    Criterion("tissue", "Tissue visualisation", QUALITY),
    Criterion("diagnostic", "Diagnostic value", ("None", "Limited", "Sufficient", "Full")),
    Criterion("artefacts", "Imaging artefacts", ("Severe", "Moderate", "Slight", "None")),
)
"""Those of SPHERE, appendix D, on its scale of 1 to 4; the texts of the scores are our choice."""


@dataclass(frozen=True)
class StudyCase:
    """One patient: an image of each arm, and the scans that are shown beside either.

    ``truth`` is 1 with and 0 without what the readers look for, None where that is not asked.
    """

    name: str
    new: str
    standard: str
    beside: tuple[str, ...] = ()
    truth: int | None = None


@dataclass(frozen=True)
class Analysis:
    """Margin in points, alpha, and tests of ``non_inferiority.TESTS``, the primary one first."""

    margin: float = MARGIN
    alpha: float = ALPHA
    tests: tuple[str, ...] = tuple(TESTS)


@dataclass(frozen=True)
class Protocol:
    """A study. ``repeats`` images are read twice by each reader; with ``washout_days`` the two
    images of a case are read in two sessions at least so many days apart, otherwise in one."""

    title: str
    cases: tuple[StudyCase, ...]
    readers: tuple[str, ...]
    seed: int
    mode: str = SCORES
    criteria: tuple[Criterion, ...] = CRITERIA
    repeats: int = 0
    washout_days: float = 0.0
    analysis: Analysis = field(default_factory=Analysis)

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise unknown_name("mode of a study", self.mode, MODES)
        for test in self.analysis.tests:
            if test not in TESTS:
                raise unknown_name("test", test, TESTS)
        for what, names in (
            ("case", [case.name for case in self.cases]),
            ("reader", self.readers),
            ("criterion", [criterion.key for criterion in self.criteria]),
        ):
            _refuse_twice(what, names)
        self._refuse_numbers()

    def _refuse_numbers(self) -> None:
        """Raise RequestError for numbers that make no study."""
        if len(self.cases) < 3:
            raise RequestError(
                f"A study of {len(self.cases)} cases: three at least are needed, so that the two "
                "images of one need not follow each other."
            )
        if not 0 <= self.repeats <= len(self.cases):
            raise RequestError(
                f"{self.repeats} images are to be read again: expected 0 to {len(self.cases)}, as "
                "many as there are cases."
            )
        if self.washout_days < 0:
            raise RequestError(f"A washout of {self.washout_days:g} days is below 0.")
        if any(len(criterion.anchors) < 2 for criterion in self.criteria):
            raise RequestError("A scale has two scores at least.")

    @property
    def sessions(self) -> int:
        """How many sessions each reader has."""
        return 2 if self.washout_days > 0 and self.mode == SCORES else 1

    def as_json(self) -> str:
        """Return the protocol as JSON, the same text for the same protocol."""
        told = {"schema_version": SCHEMA_VERSION, **asdict(self)}
        return json.dumps(told, indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    def sha256(self) -> str:
        """Return the hash of the protocol."""
        return hashlib.sha256(self.as_json().encode()).hexdigest()

    @classmethod
    def from_json(cls, text: str) -> Protocol:
        """Return the protocol of a text. Raises RequestError for another text or version."""
        try:
            told = json.loads(text)
            version = told.pop("schema_version")
            if version > SCHEMA_VERSION:
                raise RequestError(
                    f"The study has the version {version}, and this ContrastSynth knows "
                    f"{SCHEMA_VERSION}: use a newer one."
                )
            return cls(
                **_as_tuples(told)
                | {
                    "cases": tuple(StudyCase(**_as_tuples(case)) for case in told["cases"]),
                    "criteria": tuple(Criterion(**_as_tuples(one)) for one in told["criteria"]),
                    "analysis": Analysis(**_as_tuples(told["analysis"])),
                }
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RequestError(f"This is no protocol of a reader study ({error}).") from error


def read_cases(table: Path) -> tuple[StudyCase, ...]:
    """Return the cases of a CSV table with the columns ``case``, ``new`` and ``standard``.

    It may have ``beside``, several files of which are separated by semicolons, and ``truth``, 1 or
    0. Files are relative to the table. Raises RequestError, with the line, for a column or a cell
    that is missing, and for a file that is not there.
    """
    columns = ("case", *ARMS, "beside", "truth")
    grid = read_grid(table, columns)
    for column in columns[:3]:
        if column not in grid.headings:
            raise RequestError(
                f"{table}: there is no column '{column}'. Expected: {', '.join(columns)}."
            )
    cases = []
    for row in grid.rows:
        cells = dict(zip(grid.headings, row.cells, strict=True))
        empty = next((column for column in columns[:3] if not cells[column]), None)
        if empty:
            raise RequestError(f"{table}: line {row.line}: '{empty}' is empty.")
        beside = [part.strip() for part in cells.get("beside", "").split(";") if part.strip()]
        files = [_file(table, row.line, name) for name in (cells[NEW], cells[STANDARD], *beside)]
        truth = _truth(table, row.line, cells.get("truth", ""))
        cases.append(StudyCase(cells["case"], files[0], files[1], tuple(files[2:]), truth))
    return tuple(cases)


def _file(table: Path, line: int, name: str) -> str:
    path = (table.parent / name).resolve()
    if not path.exists():
        raise RequestError(f"{table}: line {line}: there is no file {name}.")
    return str(path)


def _truth(table: Path, line: int, cell: str) -> int | None:
    if cell not in ("", "0", "1"):
        raise RequestError(f"{table}: line {line}: the truth '{cell}' is neither 1 nor 0.")
    return int(cell) if cell else None


def _refuse_twice(what: str, names: Sequence[str]) -> None:
    if not names:
        raise RequestError(f"A study needs a {what} at least.")
    for name in names:
        if not name.strip():
            raise RequestError(f"A {what} has no name.")
        if list(names).count(name) > 1:
            raise RequestError(f"The {what} '{name}' is there twice.")


def _as_tuples(told: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in told.items()
    }
