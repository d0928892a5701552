"""A reader before the screen: what comes next, scores and remarks."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sql

from ContrastSynthLib import __version__
from ContrastSynthLib.errors import RequestError, unknown_name
from ContrastSynthLib.reader_study.protocol import SCORES, Criterion
from ContrastSynthLib.reader_study.store import OPENING, REMARK, SCORE, BlindReading, Store, now_utc

CHOICE = Criterion("choice", "Choice", ("Left", "Right"))
"""What is scored of two images side by side."""
COMMENT, FLAG = "comment", "flag"
REMARKS = (COMMENT, FLAG)


@dataclass(frozen=True)
class Sitting:
    """A reader's time with a study. After another :meth:`begin` of this reader it keeps no more."""

    store: Store
    reader: str
    token: str
    readings: list[BlindReading]

    @classmethod
    def begin(cls, store: Store, reader: str) -> Sitting:
        """Return a sitting of a reader. Raises RequestError for one that the study has not."""
        readings, token = store.readings(reader), secrets.token_hex(8)
        row = {"reader": reader, "token": token, "when_utc": now_utc().isoformat()}
        with store.writing() as connection:
            connection.execute(OPENING.insert(), row)
        return cls(store, reader, token, readings)

    @property
    def criteria(self) -> tuple[Criterion, ...]:
        """What is scored of each reading."""
        return self.store.about.criteria if self.store.about.mode == SCORES else (CHOICE,)

    def done(self) -> set[int]:
        """Return the numbers of the readings that are scored."""
        return {row["number"] for row in self.store.scores(self.reader)}

    def given(self, number: int) -> dict[str, int]:
        """Return the scores that a reading has, by criterion."""
        rows = self.store.scores(self.reader)
        return {row["criterion"]: row["value"] for row in rows if row["number"] == number}

    def next(self, now: datetime | None = None) -> BlindReading | None:
        """Return the first reading that is not scored, None at the end.

        Raises RequestError, with the day, before the washout is over.
        """
        done = self.done()
        found = next((one for one in self.readings if one.number not in done), None)
        if found is not None:
            self._refuse_before_washout(found, now or now_utc())
        return found

    def score(self, number: int, values: Mapping[str, int], seconds: float) -> None:
        """Keep the scores of a reading, all or none, after ``seconds`` of looking at it.

        Raises RequestError for a reading or criterion that there is not, for one that is missing,
        for a score that is not on the scale, before the washout is over, and where this reader has
        opened the study again.
        """
        reading = next((one for one in self.readings if one.number == number), None)
        if reading is None:
            raise RequestError(
                f"{self.reader} has no reading {number}: there are {len(self.readings)}."
            )
        self._refuse_values(values)
        self._refuse_before_washout(reading, now_utc())
        now = now_utc().isoformat()
        shared = {"reader": self.reader, "number": number, "seconds": float(seconds)}
        rows = [
            {**shared, "criterion": key, "value": value, "when_utc": now, "software": __version__}
            for key, value in values.items()
        ]
        with self.store.writing() as connection:
            self._refuse_when_opened_again(connection)
            connection.execute(SCORE.insert(), rows)

    def remark(self, number: int, kind: str, text: str = "") -> None:
        """Keep a comment on a reading, or a flag. Raises RequestError for another kind."""
        if kind not in REMARKS:
            raise unknown_name("remark", kind, REMARKS)
        row = {"reader": self.reader, "number": number, "kind": kind, "text": text}
        with self.store.writing() as connection:
            self._refuse_when_opened_again(connection)
            connection.execute(REMARK.insert(), {**row, "when_utc": now_utc().isoformat()})

    def _refuse_values(self, values: Mapping[str, int]) -> None:
        known = {criterion.key: criterion for criterion in self.criteria}
        for key, value in values.items():
            if key not in known:
                raise unknown_name("criterion", key, known)
            if value not in known[key].scale:
                low, high = known[key].scale[0], known[key].scale[-1]
                raise RequestError(
                    f"{known[key].title}: {value} is not on the scale, {low} to {high}."
                )
        missing = [one.title for one in self.criteria if one.key not in values]
        if missing:
            raise RequestError(f"There is no score yet for: {', '.join(missing)}.")

    def _refuse_when_opened_again(self, connection: sql.Connection) -> None:
        last = self.store.opened(connection, self.reader)
        if last["token"] != self.token:
            raise RequestError(
                f"{self.reader} has opened the study once more, at {last['when_utc'][:16]} UTC. "
                "Only there can be scored; this score was not kept. Close one of the two."
            )

    def _refuse_before_washout(self, reading: BlindReading, now: datetime) -> None:
        if reading.session == 1:
            return
        first: dict[int, datetime] = {}
        for row in self.store.scores(self.reader, every=True):
            first.setdefault(row["number"], datetime.fromisoformat(row["when_utc"]))
        before = [one.number for one in self.readings if one.session < reading.session]
        left = [number for number in before if number not in first]
        if left:
            raise RequestError(
                f"Reading {reading.number} is of session {reading.session}: readings of the one "
                f"before are not scored yet, {left[0]} the first of {len(left)}."
            )
        days = self.store.about.washout_days
        until = max(first[number] for number in before) + timedelta(days=days)
        if now < until:
            raise RequestError(
                f"Session {reading.session} begins {days:g} days after the last one ended: on "
                f"{until:%Y-%m-%d at %H:%M} UTC."
            )
