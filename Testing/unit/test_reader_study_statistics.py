"""Statistics of reader studies against worked examples that were published, and by hand."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy import stats

for package in ("statsmodels", "pingouin"):
    pytest.importorskip(package)

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.reader_study.agreement import intraclass_correlation, quadratic_kappa
from ContrastSynthLib.reader_study.non_inferiority import (
    TESTS,
    holm,
    non_inferiority,
    sign_flip,
    wilcoxon,
)

# Carcinoma of the cervix, two pathologists (Landis and Koch 1977; Agresti, Categorical Data
# Analysis, section 11.5): kappa 0.493, with quadratic weights 0.78.
PATHOLOGISTS = np.array([[22, 2, 2, 0], [5, 7, 14, 0], [0, 2, 36, 0], [0, 1, 17, 10]])
# Shrout and Fleiss 1979, table 2: six targets, four judges; ICC(2,1) 0.29, ICC(2,4) 0.62.
JUDGES = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
# Hollander and Wolfe 1973, p. 29: depression before and after a tranquilliser; T+ = 40, p 0.020.
BEFORE = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
AFTER = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]


def test_kappa_of_two_pathologists():
    pairs = [
        (row, column)
        for row, column in product(range(4), repeat=2)
        for _ in range(PATHOLOGISTS[row, column])
    ]
    first, second = np.transpose(pairs) + 1
    found = quadratic_kappa(first, second, (1, 2, 3, 4))
    assert found.value == pytest.approx(0.78, abs=0.005)
    assert found.low < found.value < found.high


def test_kappa_counts_steps_of_the_scale_and_not_of_what_was_used():
    first, second = [1, 1, 4, 4, 1, 4], [1, 1, 4, 4, 4, 1]
    assert quadratic_kappa(first, second, (1, 2, 3, 4)).value == pytest.approx(1 / 3)
    assert quadratic_kappa([1, 2, 3], [1, 2, 3], (1, 2, 3, 4)).value == 1
    assert math.isnan(quadratic_kappa([4, 4], [4, 4], (1, 2, 3, 4)).value)
    with pytest.raises(RequestError, match="score 5 is not on the scale"):
        quadratic_kappa([1, 5], [1, 2], (1, 2, 3, 4))
    with pytest.raises(RequestError, match="needs pairs"):
        quadratic_kappa([1, 2], [1], (1, 2))


def test_icc_of_shrout_and_fleiss():
    found = intraclass_correlation(JUDGES)
    assert found["ICC(2,1)"].value == pytest.approx(0.29, abs=0.005)
    assert found["ICC(2,k)"].value == pytest.approx(0.62, abs=0.005)
    assert found["ICC(2,1)"].low == pytest.approx(0.02, abs=0.005)
    assert found["ICC(2,1)"].high == pytest.approx(0.76, abs=0.005)


def test_icc_leaves_out_what_a_reader_did_not_score():
    more = [*JUDGES, [5, np.nan, 5, 5]]
    assert intraclass_correlation(more) == intraclass_correlation(JUDGES)
    assert math.isnan(intraclass_correlation(np.full((6, 2), 4))["ICC(2,1)"].value)
    with pytest.raises(RequestError, match="scored 4 cases"):
        intraclass_correlation(JUDGES[:4])
    with pytest.raises(RequestError, match="two readers"):
        intraclass_correlation([[1], [2], [3], [4], [5]])


def test_the_signed_rank_test_of_hollander_and_wolfe():
    p_value, _, how = wilcoxon(np.subtract(BEFORE, AFTER), 0.05)
    assert p_value == pytest.approx(0.020, abs=5e-4)
    assert "exact" in how


def test_signed_ranks_by_hand_with_a_zero_and_a_tie():
    """|d| 0, 1, 1, 2, 3 have the ranks 1, 2.5, 2.5, 4, 5; W+ = 11.5 of 14, the zero without sign.

    Of the 16 arrangements of signs, W+ is 14, 11.5 (twice) or less: p = 3 / 16.
    """
    p_value, _, _ = wilcoxon(np.array([0.0, 1.0, -1.0, 2.0, 3.0]), 0.05)
    assert p_value == pytest.approx(3 / 16)


@pytest.mark.parametrize("count", [5, 9, 13])
def test_exact_chances_are_those_of_all_arrangements(count):
    """Scores with ties and zeros, and values that all differ, beside scipy's enumeration."""
    rng = np.random.default_rng(count)
    scores = rng.integers(-1, 3, count) + 0.16 * rng.integers(0, 2, count)
    for values in (scores, scores - scores[0], rng.normal(0.2, 1.0, count)):
        p_value, _, how = sign_flip(values, 0.05)
        expected = stats.permutation_test(
            (values,),
            np.sum,
            permutation_type="samples",
            alternative="greater",
            n_resamples=2**count,
        )
        assert p_value == pytest.approx(expected.pvalue, abs=1e-12)
        assert how == f"exact: all 2^{count} signs"


def test_signs_of_many_values_that_all_differ_are_drawn():
    values = np.random.default_rng(1).normal(0.3, 1.0, 40)
    p_value, _, how = sign_flip(values, 0.05)
    assert how == "9999 drawn signs"
    assert p_value == pytest.approx(
        stats.ttest_1samp(values, 0, alternative="greater").pvalue, abs=0.01
    )


@pytest.mark.parametrize("test", TESTS)
def test_a_clearly_better_arm_is_non_inferior_and_a_clearly_worse_one_is_not(test):
    standard = np.array([3, 4, 3, 3, 4, 2, 3, 3, 4, 3, 3, 2])
    better, worse = np.minimum(standard + 1, 4), np.maximum(standard - 1, 1)
    found = non_inferiority(better, standard, 0.16, test=test)
    assert found.non_inferior
    assert found.difference == pytest.approx((better - standard).mean())
    refused = non_inferiority(worse, standard, 0.16, test=test)
    assert not refused.non_inferior
    assert refused.p_value > 0.9


@pytest.mark.parametrize("test", TESTS)
def test_the_same_scores_twice_give_the_same_p(test):
    rng = np.random.default_rng(2)
    new, standard = rng.integers(1, 5, (2, 20))
    first, again = (non_inferiority(new, standard, 0.16, test=test) for _ in range(2))
    assert first == again


def test_the_t_test_and_its_interval_tell_the_same():
    rng = np.random.default_rng(5)
    standard = rng.integers(2, 5, 15)
    new = np.clip(standard + rng.integers(-1, 2, 15), 1, 4)
    for margin in (0.05, 0.3, 0.6, 0.9):
        found = non_inferiority(new, standard, margin, test="t")
        assert found.non_inferior == (found.lower > -margin)


def test_zeros_and_ties_are_counted():
    found = non_inferiority([3, 3, 4, 2, 3, 4], [4, 3, 3, 3, 3, 4], 1.0, test="wilcoxon")
    assert (found.zeros, found.ties) == (2, 5)


def test_what_is_no_study_is_refused():
    for new, standard, margin, test, words in (
        ([1, 2], [1, 2], 0.16, "t", "2 pairs"),
        ([1] * 6, [1] * 5, 0.16, "t", "needs its partner"),
        ([1] * 6, [1] * 6, 0.0, "t", "margin must be above 0"),
        ([1] * 6, [1] * 6, 0.1, "z", "test"),
    ):
        with pytest.raises(RequestError, match=words):
            non_inferiority(new, standard, margin, test=test)


def test_holm_by_hand():
    """0.01 x 4, 0.02 x 3, 0.03 x 2, then 0.04, which may not be below the one before."""
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
