"""Where a study did not go as its protocol has it, and what readers remarked, from its store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ContrastSynthLib.reader_study.blinding import Key
from ContrastSynthLib.reader_study.store import BlindReading, Store

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Deviation:
    """What happened to a reader's readings: how often, and which they were."""

    what: str
    reader: str
    count: int
    which: str


@dataclass(frozen=True)
class Remark:
    """A comment or a flag, with the case and the arm or arms that were seen."""

    reader: str
    number: int
    case: str
    arm: str
    kind: str
    text: str
    when_utc: str


def deviations(key: Key, store: Store) -> list[Deviation]:
    """Return the deviations of each reader: readings that are missing, corrected, out of order or
    without a time, and scores that came from several versions of the software.

    All are found in the rows of the store, of which none is ever changed. A second session before
    the end of the washout is none of them: it is refused.
    """
    found: list[Deviation] = []
    for reader in store.readers:
        readings = {reading.number: reading for reading in store.readings(reader)}
        rows = store.scores(reader, every=True)
        first: dict[int, Row] = {}
        for row in rows:
            first.setdefault(row["number"], row)
        told = {
            "not read": _missing(readings, first),
            "scores corrected afterwards": _corrected(key, readings, rows),
            "read before an earlier one": _out_of_order(first),
            "without the time it took": [f"{n}" for n, row in first.items() if not row["seconds"]],
        }
        found += [
            Deviation(what, reader, len(which), ", ".join(which))
            for what, which in told.items()
            if which
        ]
    return found + _versions(store)


def remarks(key: Key, store: Store) -> list[Remark]:
    """Return comments and flags in the order they came, unblinded."""
    readings = {
        (reading.reader, reading.number): reading
        for reader in store.readers
        for reading in store.readings(reader)
    }
    found = []
    for row in store.remarks():
        seen = [key.images[name] for name in readings[row["reader"], row["number"]].images]
        arms = ", ".join(arm for _, arm in seen)
        who = (row["reader"], row["number"], seen[0][0], arms)
        found.append(Remark(*who, row["kind"], row["text"], row["when_utc"]))
    return found


def _missing(readings: Mapping[int, BlindReading], first: Mapping[int, Row]) -> list[str]:
    return [f"{number}" for number in readings if number not in first]


def _corrected(
    key: Key, readings: Mapping[int, BlindReading], rows: list[dict[str, Any]]
) -> list[str]:
    """Return each score that was changed: from what to what, and how long afterwards."""
    before: dict[tuple[int, str], Row] = {}
    found = []
    for row in rows:
        place = (row["number"], row["criterion"])
        old = before.get(place)
        if old is not None and old["value"] != row["value"]:
            case, _ = key.images[readings[row["number"]].images[0]]
            later = (_when(row) - _when(old)).total_seconds() / 60
            found.append(
                f"{row['number']} ({case}): {row['criterion']} {old['value']} to {row['value']} "
                f"after {later:.0f} min"
            )
        before[place] = row
    return found


def _out_of_order(first: Mapping[int, Row]) -> list[str]:
    """Return readings after which one with a lower number was read."""
    order = list(first)
    return [f"{n}" for place, n in enumerate(order) if any(m < n for m in order[place + 1 :])]


def _versions(store: Store) -> list[Deviation]:
    """Return the versions that each reader's scores came from, where not all are the same."""
    used = {
        reader: sorted({row["software"] for row in store.scores(reader, every=True)})
        for reader in store.readers
    }
    if len({version for versions in used.values() for version in versions}) < 2:
        return []
    what = "versions of the software, which differ in this study"
    return [
        Deviation(what, reader, len(versions), ", ".join(versions))
        for reader, versions in used.items()
        if versions
    ]


def _when(row: Row) -> datetime:
    return datetime.fromisoformat(row["when_utc"])
