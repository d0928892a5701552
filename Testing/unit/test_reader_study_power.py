"""Power and type I error of the tests that reader studies offer."""

from __future__ import annotations

import pytest

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.reader_study.non_inferiority import TESTS
from ContrastSynthLib.reader_study.power import (
    TOLERATED,
    Differences,
    cases_needed,
    power_by_normal_distribution,
    rejection_rate,
)

PAPER = {"cases": 15, "readers": 2, "margin": 0.16}


def test_the_shares_make_the_mean():
    found = Differences.of_mean(-0.16, 0.1)
    assert (found.better, found.worse) == (0.1, pytest.approx(0.26))
    assert found.deviation == pytest.approx((0.36 - 0.16**2) ** 0.5)
    for mean, better in ((0.2, 0.1), (-0.8, 0.3)):
        with pytest.raises(RequestError, match="0 to 1"):
            Differences.of_mean(mean, better)


def test_the_papers_test_rejects_a_true_null_hypothesis_of_one_reader_in_half_of_the_studies():
    """Scores near the best one: at the margin a few pairs are worse by a point, none is better."""
    at_margin = Differences.of_mean(-0.16, 0.0)
    one = {**PAPER, "readers": 1}
    assert rejection_rate("wilcoxon", at_margin, **one) > 0.4
    assert rejection_rate("wilcoxon", at_margin, **PAPER) > 0.1, "less for means of two readers"
    assert rejection_rate("t", at_margin, **PAPER) > TOLERATED, "no test is spared then"


@pytest.mark.parametrize("test", sorted(set(TESTS) - {"wilcoxon"}))
def test_tests_of_the_mean_keep_their_level_with_enough_cases(test):
    """Where differences go both ways, and 60 cases."""
    at_margin = Differences.of_mean(-0.16, 0.2)
    # Flipping the signs of 60 pairs takes long.
    studies = 200 if test == "sign_flip" else 1_000
    rate = rejection_rate(test, at_margin, cases=60, readers=2, margin=0.16, studies=studies)
    assert 0.01 < rate <= TOLERATED + 0.015


def test_power_is_that_of_the_normal_approximation():
    true = Differences.of_mean(0.0, 0.15)
    for cases in (40, 80, 160):
        drawn = rejection_rate("t", true, cases=cases, readers=2, margin=0.16)
        wanted = power_by_normal_distribution(true, cases=cases, readers=2, margin=0.16)
        assert drawn == pytest.approx(wanted, abs=0.05)


def test_the_number_of_cases_reaches_the_power():
    true = Differences.of_mean(0.0, 0.15)
    count = cases_needed("t", true, readers=2, margin=0.16, studies=400)
    at = {
        n: rejection_rate("t", true, cases=n, readers=2, margin=0.16) for n in (count, count // 2)
    }
    assert at[count] > 0.75
    assert at[count // 2] < 0.75
    near = Differences.of_mean(-0.155, 0.15)
    with pytest.raises(RequestError, match="too near to the margin"):
        cases_needed("t", near, readers=1, margin=0.16, studies=50)
