"""Is the new arm not meaningfully worse? Tests with a margin, and what each of them assumes.

SPHERE, appendix D: scores of two readers, the null hypothesis that the synthetic image is worse by
the margin of 0.16 points or more, a one-sided Wilcoxon signed-rank test. That test is about the
median of differences that are symmetric about it. Scores of few steps are not: where most pairs of
a reader are equal and some are worse by a whole point, it rejects a true null hypothesis in half of
all studies (``power.rejection_rate``). Tests of the mean difference are offered beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from ContrastSynthLib.errors import RequestError, unknown_name

MOST_SUMS = 2**18
"""All signs are counted where they have no more sums than that, which scores of few steps never
exceed; otherwise RESAMPLES signs are drawn."""
RESAMPLES = 9_999
EQUAL = 1e-7
"""Sums that differ by less are the same one."""
SEED = 20_240_901
LEAST_PAIRS = 5
"""Of fewer pairs no arrangement of signs has a chance below 0.05 / 2."""


@dataclass(frozen=True)
class NonInferiority:
    """One test of H0: new - standard <= -margin, for the paired scores of one criterion.

    ``difference`` is the mean of new - standard in points, ``lower`` the lower end of its one-sided
    interval at 1 - alpha where the test has one. ``how`` tells how the p value was found. ``zeros``
    are pairs whose difference is the margin itself and ``ties`` pairs that share their distance
    from it with another one.
    """

    test: str
    pairs: int
    margin: float
    alpha: float
    difference: float
    p_value: float
    lower: float | None
    how: str
    zeros: int
    ties: int

    @property
    def non_inferior(self) -> bool:
        """Whether the null hypothesis is rejected."""
        return self.p_value < self.alpha


def wilcoxon(distances: NDArray[np.float64], alpha: float) -> tuple[float, float | None, str]:
    """Return the one-sided p value of the signed-rank test of ``distances`` = new - standard +
    margin; zeros keep their ranks but have no sign (Pratt 1959), ties share theirs."""
    return _flipped(stats.rankdata(np.abs(distances)) * np.sign(distances))


def sign_flip(distances: NDArray[np.float64], alpha: float) -> tuple[float, float | None, str]:
    """Return the p value of the permutation test of the mean: signs of the distances are flipped.

    Exact where distances are symmetric about their mean.
    """
    return _flipped(distances)


def student(distances: NDArray[np.float64], alpha: float) -> tuple[float, float | None, str]:
    """Return the p value of the paired t test and the lower end of the mean distance.

    Without any spread the distance itself decides.
    """
    mean, count = float(distances.mean()), len(distances)
    if np.ptp(distances) < 1e-12:
        return (0.0 if mean > 0 else 1.0), mean, "no spread: all distances are equal"
    found = stats.ttest_1samp(distances, 0.0, alternative="greater")
    lower = float(found.confidence_interval(1 - alpha).low)
    return float(found.pvalue), lower, f"t distribution, {count - 1} degrees of freedom"


def bootstrap(distances: NDArray[np.float64], alpha: float) -> tuple[float, float | None, str]:
    """Return the share of resampled means at or below 0, and the lower end of the interval."""
    rng = np.random.default_rng(SEED)
    drawn = distances[rng.integers(len(distances), size=(RESAMPLES, len(distances)))].mean(axis=1)
    share = (1 + int((drawn <= 1e-12).sum())) / (1 + RESAMPLES)
    lower = float(np.quantile(drawn, alpha))
    return share, lower, f"{RESAMPLES} resamples of the pairs, percentile method"


TESTS: dict[str, Callable[[NDArray[np.float64], float], tuple[float, float | None, str]]] = {
    "wilcoxon": wilcoxon,
    "sign_flip": sign_flip,
    "t": student,
    "bootstrap": bootstrap,
}
"""By name: the paper's test, then tests of the mean difference."""


def non_inferiority(
    new: ArrayLike, standard: ArrayLike, margin: float, *, alpha: float = 0.05, test: str
) -> NonInferiority:
    """Return the test of paired scores (n,), where more is better; NaN in a pair leaves it out.

    ``test`` is a key of TESTS. Raises RequestError for another one, for scores that are no pairs,
    for fewer than LEAST_PAIRS of them, and for a margin or alpha out of range.
    """
    if test not in TESTS:
        raise unknown_name("test", test, TESTS)
    if not margin > 0 or not 0 < alpha < 0.5:
        raise RequestError(
            f"A margin of {margin:g} points and an alpha of {alpha:g}: the margin must be above 0, "
            "and alpha between 0 and 0.5."
        )
    first, second = (np.asarray(scores, np.float64) for scores in (new, standard))
    if first.shape != second.shape or first.ndim != 1:
        raise RequestError(
            f"There are {first.size} scores of one arm and {second.size} of the other: each score "
            "needs its partner."
        )
    differences = (first - second)[np.isfinite(first - second)]
    if len(differences) < LEAST_PAIRS:
        raise RequestError(
            f"There are {len(differences)} pairs of scores: at least {LEAST_PAIRS} are needed."
        )
    distances = np.round(differences + margin, 12)
    p_value, lower, how = TESTS[test](distances, alpha)
    return NonInferiority(
        test,
        len(distances),
        margin,
        alpha,
        float(differences.mean()),
        p_value,
        None if lower is None else lower - margin,
        how,
        int((distances == 0).sum()),
        _tied(np.abs(distances)),
    )


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Return p values (n,) adjusted for n criteria after Holm (Scand J Stat 1979;6:65-70)."""
    from statsmodels.stats.multitest import multipletests

    adjusted: NDArray[np.float64] = multipletests(np.asarray(p_values, float), method="holm")[1]
    return adjusted


def _flipped(values: NDArray[np.float64]) -> tuple[float, None, str]:
    """Return the chance of so large a sum of values whose signs are drawn, and how it was found."""
    sums = _sums_of_signs(np.abs(values))
    if sums is not None:
        there, chances = sums
        exact = float(chances[there > values.sum() - EQUAL].sum())
        return min(exact, 1.0), None, f"exact: all 2^{len(values)} signs"
    found = stats.permutation_test(
        (values,),
        np.sum,
        permutation_type="samples",
        alternative="greater",
        n_resamples=RESAMPLES,
        vectorized=True,
        rng=np.random.default_rng(SEED),
    )
    return float(found.pvalue), None, f"{RESAMPLES} drawn signs"


def _sums_of_signs(
    magnitudes: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return all sums of magnitudes with either sign, and their chances; None for too many.

    Of equal magnitudes only the number of positive ones matters.
    """
    sums: NDArray[np.float64] = np.zeros(1)
    chances: NDArray[np.float64] = np.ones(1)
    for magnitude, count in zip(*np.unique(magnitudes, return_counts=True), strict=True):
        positive = np.arange(count + 1)
        if len(sums) * len(positive) > MOST_SUMS:
            return None
        added = np.add.outer(sums, magnitude * (2 * positive - count)).ravel()
        weights = np.multiply.outer(chances, stats.binom.pmf(positive, count, 0.5)).ravel()
        sums, where = np.unique(np.round(added, 9), return_inverse=True)
        chances = np.bincount(where, weights).astype(np.float64)
    return sums, chances


def _tied(distances: NDArray[np.float64]) -> int:
    _, counts = np.unique(distances, return_counts=True)
    return int(counts[counts > 1].sum())
