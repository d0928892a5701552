"""The store of a reader study: rows are only added, and no confirmed score is ever lost."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

sql = pytest.importorskip("sqlalchemy")

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.reader_study import sitting as sittings
from ContrastSynthLib.reader_study.protocol import CRITERIA, PREFERENCE, SCORES
from ContrastSynthLib.reader_study.sitting import COMMENT, FLAG, Sitting
from ContrastSynthLib.reader_study.store import SCORE, About, BlindReading, Store, now_utc

READERS = ("one", "two")
ABOUT = About("A study", SCORES, CRITERIA, 0.0, "f" * 64)
FULL = {criterion.key: 3 for criterion in CRITERIA}


def readings(readers=READERS, count=6, sessions=1):
    return [
        BlindReading(reader, n, 1 + (n - 1) * sessions // count, (f"image{n}",), ("beside",))
        for reader in readers
        for n in range(1, count + 1)
    ]


@pytest.fixture
def place(tmp_path):
    return tmp_path / "study.sqlite"


@pytest.fixture
def store(place):
    return Store.create(place, ABOUT, readings())


def test_it_goes_on_where_it_was_left(store, place):
    sitting = Sitting.begin(store, "one")
    assert sitting.next().images == ("image1",)
    sitting.score(1, FULL, 12.5)
    sitting.score(2, FULL, 3.0)
    store.close()
    again = Store(place)
    assert again.about == ABOUT
    assert again.readers == ["one", "two"]
    assert Sitting.begin(again, "one").next().number == 3
    assert Sitting.begin(again, "two").next().number == 1


def test_all_are_read_at_last(store):
    sitting = Sitting.begin(store, "two")
    while (reading := sitting.next()) is not None:
        sitting.score(reading.number, FULL, 1.0)
    assert sitting.done() == {1, 2, 3, 4, 5, 6}
    assert len(store.scores("two")) == 6 * len(CRITERIA)


def test_a_correction_is_a_new_row(store):
    sitting = Sitting.begin(store, "one")
    sitting.score(1, FULL, 2.0)
    sitting.score(1, FULL | {"quality": 4}, 5.0)
    values = {row["criterion"]: row["value"] for row in store.scores("one")}
    assert values == FULL | {"quality": 4}
    every = store.scores("one", every=True)
    assert len(every) == 2 * len(CRITERIA)
    assert {row["software"] for row in every}
    assert every[0]["when_utc"] <= every[-1]["when_utc"]


@pytest.mark.parametrize("verb", ["UPDATE score SET value = 4", "DELETE FROM score"])
def test_the_database_itself_refuses_to_change_a_row(store, verb):
    Sitting.begin(store, "one").score(1, FULL, 2.0)
    with pytest.raises(RequestError, match="rows are only added"), store.writing() as connection:
        connection.exec_driver_sql(verb)
    assert len(store.scores()) == len(CRITERIA)


@pytest.mark.parametrize(
    ("number", "values", "words"),
    [
        (7, FULL, "has no reading 7"),
        (1, FULL | {"quality": 5}, "5 is not on the scale, 1 to 4"),
        (1, {"quality": 3}, "no score yet for: Anatomical alignment"),
        (1, FULL | {"beauty": 3}, "beauty"),
    ],
)
def test_a_wrong_score_leaves_nothing(store, number, values, words):
    with pytest.raises(RequestError, match=words):
        Sitting.begin(store, "one").score(number, values, 1.0)
    assert store.scores() == []


def test_of_two_sittings_of_a_reader_only_the_last_is_kept(store):
    first = Sitting.begin(store, "one")
    first.score(1, FULL, 1.0)
    second = Sitting.begin(store, "one")
    with pytest.raises(RequestError, match="opened the study once more"):
        first.score(2, FULL, 1.0)
    second.score(2, FULL, 1.0)
    Sitting.begin(store, "two").score(1, FULL, 1.0)
    assert second.done() == {1, 2}


def test_the_second_session_waits_for_the_washout(tmp_path):
    about = replace(ABOUT, washout_days=14.0)
    store = Store.create(tmp_path / "washout.sqlite", about, readings(count=4, sessions=2))
    sitting = Sitting.begin(store, "one")
    for number in (1, 2):
        sitting.score(number, FULL, 1.0)
    with pytest.raises(RequestError, match="Session 2 begins 14 days after"):
        sitting.next()
    assert sitting.next(now_utc() + timedelta(days=14, seconds=1)).number == 3


def test_no_score_of_the_second_session_is_taken_before_it_begins(tmp_path, monkeypatch):
    about = replace(ABOUT, washout_days=14.0)
    store = Store.create(tmp_path / "early.sqlite", about, readings(count=4, sessions=2))
    sitting = Sitting.begin(store, "one")
    sitting.score(1, FULL, 1.0)
    with pytest.raises(RequestError, match="Reading 3 is of session 2"):
        sitting.score(3, FULL, 1.0)
    sitting.score(2, FULL, 1.0)
    with pytest.raises(RequestError, match="Session 2 begins 14 days after"):
        sitting.score(3, FULL, 1.0)
    assert sitting.done() == {1, 2}
    later = now_utc() + timedelta(days=15)
    monkeypatch.setattr(sittings, "now_utc", lambda: later)
    sitting.score(3, FULL, 1.0)
    # A correction of the first session does not make the second wait once more.
    sitting.score(1, FULL, 1.0)
    sitting.score(4, FULL, 1.0)
    assert sitting.done() == {1, 2, 3, 4}


def test_two_images_have_one_choice(tmp_path):
    about = replace(ABOUT, mode=PREFERENCE)
    store = Store.create(tmp_path / "preference.sqlite", about, readings())
    sitting = Sitting.begin(store, "one")
    sitting.score(1, {"choice": 2}, 1.0)
    with pytest.raises(RequestError, match="not on the scale, 1 to 2"):
        sitting.score(2, {"choice": 3}, 1.0)


def test_remarks(store):
    sitting = Sitting.begin(store, "one")
    sitting.remark(1, COMMENT, "motion at the skull base")
    sitting.remark(1, FLAG)
    assert [row["kind"] for row in store.remarks()] == [COMMENT, FLAG]
    with pytest.raises(RequestError, match="remark"):
        sitting.remark(1, "joke")


def test_what_cannot_be_opened(store, place, tmp_path):
    with pytest.raises(RequestError, match="there is no study"):
        Store(tmp_path / "nothing.sqlite")
    with pytest.raises(RequestError, match="there is a study already"):
        Store.create(place, ABOUT, readings())
    with pytest.raises(RequestError, match="reader of this study"):
        Sitting.begin(store, "three")
    (tmp_path / "text.sqlite").write_text("scores of a study, in a file of another kind" * 50)
    with pytest.raises(RequestError, match="does not work"):
        Store(tmp_path / "text.sqlite")
    newer = Store.create(tmp_path / "newer.sqlite", ABOUT, readings())
    with newer.writing() as connection:
        connection.exec_driver_sql("DROP TRIGGER study_update")
        connection.exec_driver_sql("UPDATE study SET schema_version = 99")
    with pytest.raises(RequestError, match="use a newer one"):
        Store(tmp_path / "newer.sqlite")


# Power cuts, and many at once


def score_for_ever(place, reader, confirmed):
    """Score readings and their corrections, and write each number when it is confirmed."""
    sitting = Sitting.begin(Store(place), reader)
    with open(confirmed, "ab", buffering=0) as file:
        for value in range(10_000):
            sitting.score(1 + value % 6, dict.fromkeys(FULL, 1 + value % 4), float(value))
            file.write(f"{value}\n".encode())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("kills", [25, pytest.param(100, marks=pytest.mark.slow)])
def test_no_confirmed_score_is_lost_to_kills(store, place, tmp_path, kills):
    store.close()
    context, rng = multiprocessing.get_context("fork"), np.random.default_rng(0)
    for kill in range(kills):
        confirmed = tmp_path / f"confirmed{kill}"
        process = context.Process(target=score_for_ever, args=(place, "one", confirmed))
        process.start()
        time.sleep(float(rng.uniform(0.02, 0.15)))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        text = confirmed.read_text() if confirmed.exists() else ""
        wanted = [float(line) for line in text.split("\n")[:-1]]
        kept = Store(place)
        rows = kept.scores("one", every=True)
        kept.close()
        assert len(rows) % len(FULL) == 0, "a reading is kept whole"
        mine = [row["seconds"] for row in rows[-len(FULL) * (len(wanted) + 1) :]]
        assert set(wanted) <= set(mine)
    assert Sitting.begin(Store(place), "one").next() is None or len(rows) > 0


def score_all(place, reader):
    sitting = Sitting.begin(Store(place), reader)
    for reading in sitting.readings:
        sitting.score(reading.number, FULL, 1.0)


def test_eight_readers_at_once_lose_nothing(tmp_path):
    place, names = tmp_path / "many.sqlite", [f"reader {n}" for n in range(8)]
    store = Store.create(place, ABOUT, readings(names))
    store.close()
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=score_all, args=(place, name)) for name in names]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 8
    with Store(place).reading() as connection:
        count = connection.execute(sql.select(sql.func.count()).select_from(SCORE)).scalar_one()
    assert count == 8 * 6 * len(FULL)
