"""What a study says, on scores that are known."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest

for package in ("sqlalchemy", "statsmodels", "pingouin"):
    pytest.importorskip(package)

from drawn_studies import CASES, READERS, score, study

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.reader_study.analysis import analyse
from ContrastSynthLib.reader_study.exports import imrmc, mrmcaov
from ContrastSynthLib.reader_study.protocol import (
    ARMS,
    CRITERIA,
    PREFERENCE,
    WHICH_IS_REAL,
    Analysis,
)
from ContrastSynthLib.reader_study.report import page, write_report
from ContrastSynthLib.reader_study.result import BY_CASE, POOLED
from ContrastSynthLib.reader_study.sitting import Sitting


def test_means_and_counts_by_hand(tmp_path):
    key, store = study(tmp_path)
    score(key, store, lambda reader, case, arm, criterion: 4 if arm == "new" else 2 + case % 2)
    found = analyse(key, store)
    assert found.missing == 0
    arms = {(arm.criterion, arm.arm): arm for arm in found.arms}
    assert arms["quality", "new"].mean == 4
    assert arms["quality", "new"].deviation == 0
    assert arms["quality", "standard"].mean == pytest.approx(2 + 7 / 15)
    assert arms["quality", "standard"].given == (0, 16, 14, 0)
    assert {arm.count for arm in found.arms} == {30}


def test_units_of_the_tests_and_their_warnings(tmp_path):
    key, store = study(tmp_path)
    worse = {("new", n) for n in (2, 5)}
    score(key, store, lambda reader, case, arm, criterion: 3 - ((arm, case) in worse))
    found = analyse(key, store)
    tests = {(t.criterion, t.unit, t.result.test): t.result for t in found.tests}
    assert {unit for _, unit, _ in tests} == {"one", "two", POOLED, BY_CASE}
    assert tests["quality", POOLED, "t"].pairs == 30
    assert tests["quality", BY_CASE, "t"].pairs == 15
    assert tests["quality", BY_CASE, "t"].difference == pytest.approx(-2 / 15)
    # The readers agree in all: by case there is no more to know than of one of them.
    assert tests["quality", "one", "t"].p_value == tests["quality", BY_CASE, "t"].p_value
    assert tests["quality", POOLED, "t"].p_value < tests["quality", BY_CASE, "t"].p_value
    assert any("as independent" in warning for warning in found.warnings)
    assert any("signed-rank" in warning for warning in found.warnings)
    wrong = [warning for warning in found.warnings if "of such studies, not 5%" in warning]
    assert len(wrong) == 5
    assert "better in 0% of the pairs" in wrong[0]
    assert "wilcoxon in 13%, sign_flip in 11%, t in 11%, bootstrap in 11%" in wrong[0]


def test_holm_is_over_the_criteria_of_the_primary_test_by_case(tmp_path):
    key, store = study(tmp_path, analysis=Analysis(tests=("t", "wilcoxon")))
    rng = np.random.default_rng(0)
    drawn = rng.integers(2, 5, (2, 15, 2, 5))
    places = {c.key: n for n, c in enumerate(CRITERIA)}

    def value_of(reader, case, arm, criterion):
        return drawn[READERS.index(reader), case, ARMS.index(arm), places[criterion]].item()

    score(key, store, value_of)
    tests = analyse(key, store).tests
    adjusted = [t for t in tests if t.adjusted is not None]
    assert [(t.unit, t.result.test) for t in adjusted] == [(BY_CASE, "t")] * 5
    smallest = min(adjusted, key=lambda t: t.result.p_value)
    assert smallest.adjusted == pytest.approx(min(1, 5 * smallest.result.p_value))


def test_agreement_between_readers_and_of_a_reader_with_himself(tmp_path):
    key, store = study(tmp_path, repeats=10)
    score(key, store, lambda reader, case, arm, criterion: 1 + case % 4)
    found = analyse(key, store)
    agreed = {(a.criterion, a.measure[:5], a.who): a for a in found.agreement}
    assert agreed["quality", "kappa", "one, two"].agreement.value == 1
    assert agreed["quality", "kappa", "one, two"].count == 30
    assert agreed["quality", "kappa", "one, read again"].count == 10
    assert agreed["quality", "ICC(2", "all readers"].agreement.value == pytest.approx(1)
    assert sum(s.again for s in found.scores) == 2 * 10 * 5
    assert {arm.count for arm in found.arms} == {30}, "what was read again counts once"


def test_an_effect_of_the_order_is_found(tmp_path):
    """A reader who scores what he sees second a point lower."""
    key, store = study(tmp_path)
    for reader in READERS:
        sitting, seen = Sitting.begin(store, reader), set()
        for reading in sitting.readings:
            case = key.images[reading.images[0]][0]
            value = 3 if case in seen else 4
            seen.add(case)
            sitting.score(reading.number, {c.key: value for c in sitting.criteria}, 1.0)
    found = analyse(key, store)
    assert len(found.order) == 5
    for effect in found.order:
        assert (effect.new_first, effect.new_second) == (1.0, -1.0)
        assert sum(effect.pairs) == 30
        assert effect.p_value < 1e-4


def test_exports_for_other_programs(tmp_path):
    cases = tuple(replace(case, truth=n % 2) for n, case in enumerate(CASES))
    key, store = study(tmp_path, cases=cases, repeats=3)
    score(key, store, lambda reader, case, arm, criterion: 1 + case % 4)
    found = analyse(key, store)
    rows = list(csv.DictReader(io.StringIO(mrmcaov(found))))
    assert len(rows) == 2 * 30 * 5
    assert {(row["case"], row["truth"], row["rating"]) for row in rows} == {
        (f"p{n}", str(n % 2), str(1 + n % 4)) for n in range(15)
    }
    head, _, data = imrmc(found, "quality").partition("BEGIN DATA:\n")
    assert "N0: 8\nN1: 7\nNR: 2\nNM: 2\n" in head
    lines = data.splitlines()
    assert lines[:2] == ["-1,1,0,0", "-1,2,0,1"]
    assert len(lines) == 15 + 60
    assert "two,4,new,4" in lines
    write_report(found, tmp_path / "out")
    assert (tmp_path / "out" / "tissue.imrmc").is_file()
    other, other_store = study(tmp_path, "without")
    score(other, other_store, lambda *_: 3)
    with pytest.raises(RequestError, match="column 'truth'"):
        imrmc(analyse(other, other_store), "quality")


def test_a_study_that_is_not_finished_says_so(tmp_path):
    key, store = study(tmp_path)
    with pytest.raises(RequestError, match="nothing is scored yet"):
        analyse(key, store)
    score(key, store, lambda *_: 3, readers=("one",), leave=4)
    found = analyse(key, store)
    assert found.missing == 34
    assert found.warnings[0].startswith("34 of 60 readings")
    kappas = [a.agreement.value for a in found.agreement]
    assert all(math.isnan(value) for value in kappas)
    text = json.dumps(found.as_dict())
    assert json.loads(text)["missing"] == 34


@pytest.mark.parametrize("mode", [PREFERENCE, WHICH_IS_REAL])
def test_choices_between_two_images(tmp_path, mode):
    """One prefers the new image in 12 of 15 cases, the other in all: whatever side it was on."""
    key, store = study(tmp_path, mode=mode, repeats=4)
    for reader, cases in (("one", 12), ("two", 15)):
        sitting = Sitting.begin(store, reader)
        for reading in sitting.readings:
            arms = [key.arm_of(image) for image in reading.images]
            case = int(key.images[reading.images[0]][0][1:])
            sitting.score(
                reading.number,
                {"choice": 1 + arms.index("new" if case < cases else "standard")},
                5.0,
            )
    one, two, pooled = analyse(key, store).chosen
    assert (one.who, one.count, one.of) == ("one", 12, 15)
    # Clopper and Pearson for 12 of 15, and the two tails of the binomial distribution.
    assert (one.low, one.high) == pytest.approx((0.519, 0.957), abs=1e-3)
    assert one.p_value == pytest.approx(2 * 576 / 2**15)
    assert (two.share, pooled.count, pooled.of) == (1.0, 27, 30)
    assert "27 of 30" in page(analyse(key, store))


def test_scores_of_another_study_are_refused(tmp_path):
    key, _ = study(tmp_path)
    _, other = study(tmp_path, "other", seed=2)
    with pytest.raises(RequestError, match="of another study"):
        analyse(key, other)
