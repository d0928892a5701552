"""Rank correlation and time warping of curves, against what can be enumerated."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.metrics import dtw, spearman_rho

Path = list[tuple[int, int]]

short_curves = st.lists(st.integers(-4, 4), min_size=1, max_size=5)


def warping_paths(n: int, m: int, start: tuple[int, int] = (0, 0)) -> Iterator[Path]:
    """Every way from (0, 0) to (n - 1, m - 1) in steps of one in either index or in both."""
    if start == (n - 1, m - 1):
        yield [start]
        return
    for step in ((0, 1), (1, 0), (1, 1)):
        a, b = start[0] + step[0], start[1] + step[1]
        if a < n and b < m:
            yield from ([start, *rest] for rest in warping_paths(n, m, (a, b)))


@given(short_curves, short_curves)
def test_dtw_is_the_cheapest_of_all_warping_paths(real, made):
    costs = [
        sum(abs(real[a] - made[b]) for a, b in path) for path in warping_paths(len(real), len(made))
    ]
    assert dtw(real, made) == min(costs)


def test_all_paths_are_there():
    """The Delannoy numbers count such paths: 1, 3, 13, 63, 321."""
    assert [sum(1 for _ in warping_paths(n, n)) for n in range(1, 6)] == [1, 3, 13, 63, 321]


def test_dtw_by_hand():
    assert dtw([0, 1, 2], [0, 2]) == 1
    assert dtw([1, 1, 5], [1, 5, 5, 5]) == 0
    assert dtw([0, 0, 0], [2, 2, 2]) == 6
    assert dtw([3], [1, 4]) == 3


def test_limits_of_dtw():
    curve = np.random.default_rng(1).gamma(2.0, 1.0, 25)
    assert dtw(curve, curve) == 0
    # A curve that dwells at each point is the same curve, and so is one that comes late.
    assert dtw(curve, np.repeat(curve, 3)) == 0
    other = curve[::-1] * 1.5
    assert dtw(curve, other) == pytest.approx(dtw(other, curve))
    assert dtw(10 * curve, 10 * other) == pytest.approx(10 * dtw(curve, other))
    assert dtw(curve, other) <= np.abs(curve - other).sum()
    # Far above, each of the points still pays at least the distance of the ranges.
    assert dtw(curve, curve + 100) >= 25 * (100 - np.ptp(curve))


def test_spearman_by_hand():
    """Ranks 1 to 5 against 2 1 4 3 5: 1 - 6 * 4 / (5 * 24) = 0.8."""
    assert spearman_rho([10, 20, 30, 40, 50], [5, 1, 9, 7, 11]) == pytest.approx(0.8)
    # Ties share a rank: 1, 2.5, 2.5, 4 against 1, 2, 3, 4 correlate by sqrt(0.9).
    assert spearman_rho([1, 2, 2, 3], [1, 2, 3, 4]) == pytest.approx(math.sqrt(0.9))


def test_spearman_is_the_correlation_of_ranks():
    rng = np.random.default_rng(2)
    real, made = rng.normal(size=(2, 12))
    ranks = [np.argsort(np.argsort(curve)) for curve in (real, made)]
    assert spearman_rho(real, made) == pytest.approx(np.corrcoef(*ranks)[0, 1])


def test_limits_of_spearman():
    curve = np.random.default_rng(3).normal(size=9)
    # Any rising function keeps the order, any falling one turns it round.
    for same in (curve, 3 * curve + 7, np.exp(curve)):
        assert spearman_rho(curve, same) == pytest.approx(1)
    assert spearman_rho(curve, -curve) == pytest.approx(-1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert math.isnan(spearman_rho(curve, np.ones(9)))
        assert math.isnan(spearman_rho(np.zeros(9), curve))


@pytest.mark.parametrize("metric", [dtw, spearman_rho])
def test_wrong_input_is_named(metric):
    with pytest.raises(RequestError, match=r"synthetic curve has the shape \(2, 2\)"):
        metric([1, 2], [[1, 2], [3, 4]])
    with pytest.raises(RequestError, match="reference curve"):
        metric([], [1, 2])
    with pytest.raises(RequestError, match="finite"):
        metric([1, math.nan], [1, 2])


def test_ranks_need_the_same_times():
    with pytest.raises(RequestError, match="Curves of 3 and 2 points"):
        spearman_rho([1, 2, 3], [1, 2])
    with pytest.raises(RequestError, match="at least 2"):
        spearman_rho([1], [1])
