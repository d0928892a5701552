"""The report: what went otherwise than planned, agreement plots, the checklist, the page."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import replace
from pathlib import Path

import pytest

for package in ("sqlalchemy", "statsmodels", "pingouin", "matplotlib"):
    pytest.importorskip(package)

from drawn_studies import READERS, score, study

from ContrastSynthLib.reader_study import sitting as sittings
from ContrastSynthLib.reader_study.analysis import analyse
from ContrastSynthLib.reader_study.claim import claim_items
from ContrastSynthLib.reader_study.plots import MOST_ROWS, agreement_plot, compared_readings
from ContrastSynthLib.reader_study.protocol import CRITERIA, PREFERENCE
from ContrastSynthLib.reader_study.report import page
from ContrastSynthLib.reader_study.sitting import COMMENT, FLAG, Sitting

THREE = {criterion.key: 3 for criterion in CRITERIA}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A study with nothing to report, whose readers differ in every fourth case."""
    key, store = study(tmp_path_factory.mktemp("finished"), repeats=3)
    score(key, store, lambda reader, case, arm, _: 4 - (reader == "two" and case % 4 == 0))
    return analyse(key, store)


def test_nothing_to_report(finished):
    assert finished.deviations == ()
    assert finished.remarks == ()
    assert "None was found" in page(finished)
    assert "Comments and flags" not in page(finished)


def test_what_went_otherwise_is_found_in_the_store(tmp_path, monkeypatch):
    key, store = study(tmp_path)
    one = Sitting.begin(store, "one")
    for number in (2, 1, 3):
        one.score(number, THREE, 9.0 if number < 3 else 0.0)
    one.score(2, {**THREE, "tissue": 1}, 9.0)
    one.score(1, THREE, 9.0)  # seen again and left as it was
    one.remark(3, COMMENT, "ghosts <b>everywhere</b>")
    one.remark(2, FLAG)
    monkeypatch.setattr(sittings, "__version__", "9.9")
    score(key, store, lambda *_: 3, readers=("two",))
    found = analyse(key, store)
    case = key.images[store.readings("one")[1].images[0]][0]
    told = {(each.what, each.reader): (each.count, each.which) for each in found.deviations}
    assert told.pop(("not read", "one"))[0] == 27
    assert told.pop(("read before an earlier one", "one")) == (1, "2")
    assert told.pop(("without the time it took", "one")) == (1, "3")
    corrected = told.pop(("scores corrected afterwards", "one"))
    assert corrected == (1, f"2 ({case}): tissue 3 to 1 after 0 min")
    versions = {reader: which for (_, reader), (_, which) in told.items()}
    assert versions.keys() == {"one", "two"}
    assert versions["two"] == "9.9"
    comment, flag = found.remarks
    assert (comment.number, comment.text, flag.kind) == (3, "ghosts <b>everywhere</b>", FLAG)
    assert (flag.case, flag.arm) == key.images[store.readings("one")[1].images[0]]
    text = page(found)
    assert "tissue 3 to 1" in text
    assert "ghosts &lt;b&gt;everywhere" in text
    assert found.as_dict()["deviations"][0]["reader"] == "one"


def test_agreement_is_drawn_of_each_pair_and_of_each_reader_with_himself(finished):
    compared = compared_readings(finished)
    assert [*compared] == [
        ("one", "two"),
        ("one", "one, read again"),
        ("two", "two, read again"),
    ]
    assert all(len(pairs) == 30 for pairs in compared["one", "two"])
    assert all(len(pairs) == 3 for pairs in compared["two", "two, read again"])
    figure = agreement_plot(finished)
    assert len(figure.axes) == 3 * len(CRITERIA)
    numbers = {text.get_text() for text in figure.axes[0].texts}
    assert numbers == {"22", "8"}, "4, 4 in 11 cases of two arms; 4, 3 in 4"


def test_of_many_readers_some_are_drawn_and_the_page_says_so(tmp_path):
    readers = tuple("abcd")
    key, store = study(tmp_path, readers=readers, repeats=1)
    score(key, store, lambda reader, *_: 3 + (reader > "b"), readers=readers)
    found = analyse(key, store)
    assert len(agreement_plot(found).axes) == MOST_ROWS * len(CRITERIA)
    assert f"The first {MOST_ROWS} of 10 comparisons" in page(found)


def test_the_checklist_tells_what_the_study_knows(finished, tmp_path):
    items = {number: told for number, _, told in claim_items(finished)}
    assert items.keys() == {4, 6, 9, 12, 13, 16, 17, 18, 19, 22, 23, 29, 33, 41}
    assert "less than 0.16 points" in items[4]
    assert items[13].startswith("0 of 66 readings")
    assert "no mark" in items[22]
    assert finished.protocol.sha256() in items[41]
    made = replace(finished, made_by=("SYNTHETIC: sphere 2.1",))
    assert "sphere 2.1" in dict((n, told) for n, _, told in claim_items(made))[22]
    key, store = study(tmp_path, mode=PREFERENCE)
    for reader in READERS:
        Sitting.begin(store, reader).score(1, {"choice": 1}, 2.0)
    choices = {number: told for number, _, told in claim_items(analyse(key, store))}
    assert "preferred as often" in choices[4]
    assert choices[13].startswith("28 of 30 readings")
    assert "Clopper" in choices[29]


def test_the_paper_from_create_to_the_page_in_one_script(tmp_path, capsys):
    """Two readers, 15 cases, five criteria, a margin of 0.16: SPHERE, appendix D."""
    path = Path(__file__).parents[1] / "study_of_the_paper.py"
    spec = importlib.util.spec_from_file_location("study_of_the_paper", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    summary = script.rerun(tmp_path / "paper")
    assert summary["missing"] == 0
    for arm in summary["arms"]:
        mean, deviation = script.PAPER[arm["criterion"]][arm["arm"]]
        assert arm["count"] == 30
        assert arm["mean"] == pytest.approx(mean, abs=0.02)
        assert arm["deviation"] == pytest.approx(deviation, abs=0.06)
    tests = {(t["criterion"], t["unit"], t["test"]): t for t in summary["tests"]}
    assert len(tests) == 5 * 4 * 4
    by_case = tests["quality", "by case", "wilcoxon"]
    assert by_case["how"] == "exact: all 2^15 signs"
    assert by_case["non_inferior"]
    # Its mean difference is beyond the margin, whatever a test of ranks may say.
    assert tests["tissue", "by case", "t"]["difference"] < -0.16
    assert not tests["tissue", "by case", "t"]["non_inferior"]
    assert [mark for mark in summary["made_by"] if "its scores are drawn" in mark]
    text = (tmp_path / "paper" / "report" / "report.html").read_text(encoding="utf-8")
    assert len(re.findall("<img ", text)) == 2
    assert "http" not in re.sub(r"base64,[^']*", "", text), "it needs nothing from elsewhere"
    assert "case 15" in text
    assert "tissue" in script.compared(summary)
