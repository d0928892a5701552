"""The protocol of a reader study, its hash, and the order of the readings."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.reader_study.protocol import (
    ARMS,
    CRITERIA,
    MODES,
    PREFERENCE,
    SCORES,
    Analysis,
    Criterion,
    Protocol,
    StudyCase,
    read_cases,
)
from ContrastSynthLib.reader_study.schedule import schedule

CASES = tuple(
    StudyCase(f"p{n}", f"/new/{n}.nrrd", f"/standard/{n}.nrrd", (f"/post/{n}.nrrd",))
    for n in range(15)
)
PAPER = Protocol("SPHERE, appendix D", CASES, ("one", "two"), seed=7)


def test_the_default_is_the_paper_s():
    assert [criterion.scale for criterion in CRITERIA] == [(1, 2, 3, 4)] * 5
    assert PAPER.analysis.margin == 0.16
    assert PAPER.sessions == 1


@pytest.mark.parametrize("mode", MODES)
def test_a_protocol_is_the_same_after_it_was_written(mode):
    criteria = (Criterion("noise", "Noise", ("none", "some", "much"), low=0),)
    study = replace(PAPER, mode=mode, criteria=criteria, washout_days=14, repeats=3)
    again = Protocol.from_json(study.as_json())
    assert again == study
    assert again.sha256() == study.sha256()
    assert replace(study, seed=8).sha256() != study.sha256()
    assert replace(study, analysis=Analysis(margin=0.2)).sha256() != study.sha256()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cases": CASES[:2]}, "three at least"),
        ({"cases": (*CASES, CASES[0])}, "case 'p0' is there twice"),
        ({"readers": ()}, "needs a reader"),
        ({"readers": ("one", " ")}, "reader has no name"),
        ({"repeats": 16}, "expected 0 to 15"),
        ({"washout_days": -1}, "below 0"),
        ({"mode": "score"}, "scores"),
        ({"criteria": (Criterion("a", "A", ("only",)),)}, "two scores"),
        ({"analysis": Analysis(tests=("z",))}, "test"),
    ],
)
def test_what_is_no_study_is_refused(change, words):
    with pytest.raises(RequestError, match=words):
        replace(PAPER, **change)


def test_another_text_and_a_newer_version_are_refused():
    newer = json.loads(PAPER.as_json()) | {"schema_version": 99}
    with pytest.raises(RequestError, match="use a newer one"):
        Protocol.from_json(json.dumps(newer))
    for text in ("{}", "[]", "scores", '{"schema_version": 1}'):
        with pytest.raises(RequestError, match="no protocol"):
            Protocol.from_json(text)


def test_cases_come_from_a_table(tmp_path):
    for name in ("a.nrrd", "b.nrrd", "post.nrrd", "flair.nrrd"):
        (tmp_path / name).touch()
    table = tmp_path / "cases.csv"
    table.write_text("Case,new,standard,beside\np1,a.nrrd,b.nrrd,post.nrrd; flair.nrrd\n")
    (case,) = read_cases(table)
    assert case.name == "p1"
    assert case.new == str(tmp_path / "a.nrrd")
    assert case.beside == (str(tmp_path / "post.nrrd"), str(tmp_path / "flair.nrrd"))
    for text, words in (
        ("case,new\np1,a.nrrd\n", "no column 'standard'"),
        ("case,new,standard\np1,a.nrrd,\n", "line 2: 'standard' is empty"),
        ("case,new,standard\np1,a.nrrd,c.nrrd\n", "line 2: there is no file c.nrrd"),
        ("case,new,standard,truth\np1,a.nrrd,b.nrrd,yes\n", "'yes' is neither 1 nor 0"),
    ):
        table.write_text(text)
        with pytest.raises(RequestError, match=words):
            read_cases(table)


STUDIES = {
    "one session": PAPER,
    "washout": replace(PAPER, washout_days=14.0),
    "repeats": replace(PAPER, repeats=5),
    "both": replace(PAPER, repeats=15, washout_days=14.0),
    "three cases": replace(PAPER, cases=CASES[:3], repeats=3),
    "preference": replace(PAPER, mode=PREFERENCE, repeats=2),
}


@pytest.mark.parametrize("name", STUDIES)
def test_each_image_is_read_and_no_case_twice_in_a_row(name):
    for seed in range(40):
        study = replace(STUDIES[name], seed=seed)
        readings = schedule(study, "one")
        assert [reading.number for reading in readings] == [*range(1, len(readings) + 1)]
        first = Counter((r.case, arm) for r in readings if not r.again for arm in r.arms)
        assert first == {(case, arm): 1 for case in range(len(study.cases)) for arm in ARMS}
        again = [r for r in readings if r.again]
        assert len({r.case for r in again}) == len(again) == study.repeats
        for one, other in pairwise(readings):
            assert one.case != other.case or one.session != other.session
            assert one.session <= other.session


def test_with_a_washout_each_session_has_each_case_once_and_both_arms():
    readings = schedule(STUDIES["washout"], "one")
    for session in (1, 2):
        shown = [r for r in readings if r.session == session]
        assert len({r.case for r in shown}) == len(shown) == 15
        assert sorted(Counter(r.arms[0] for r in shown).values()) == [7, 8]


def test_the_order_hangs_on_seed_and_reader_alone():
    assert schedule(PAPER, "one") == schedule(PAPER, "one")
    assert schedule(PAPER, "one") != schedule(PAPER, "two")
    assert schedule(PAPER, "one") != schedule(replace(PAPER, seed=8), "one")


def test_the_arm_cannot_be_told_from_the_place():
    """Over many readers the new arm comes first as often as second, and each place is as likely."""
    before, places = 0, []
    for number in range(200):
        readings = schedule(PAPER, f"reader {number}")
        place = {(r.case, r.arms[0]): r.number for r in readings}
        before += sum(place[case, "new"] < place[case, "standard"] for case in range(15))
        places += [r.number for r in readings if r.arms == ("new",)]
    assert before / (200 * 15) == pytest.approx(0.5, abs=0.04)
    assert sum(places) / len(places) == pytest.approx(15.5, abs=0.4)


def test_sides_are_drawn_in_pairs():
    study = replace(PAPER, mode=PREFERENCE)
    left = Counter(r.arms[0] for n in range(100) for r in schedule(study, str(n)))
    assert left["new"] / left.total() == pytest.approx(0.5, abs=0.05)
    assert PAPER.mode == SCORES
