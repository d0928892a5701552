"""How often a study rejects: its power, its error at the margin, and how many cases it needs.

Studies are drawn in which the new arm is better by a point in a share of the pairs, and worse by a
point in another, so that the mean difference is what is asked for; the readers of a case are drawn
independently, and their differences averaged by case.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.reader_study.non_inferiority import LEAST_PAIRS, non_inferiority

STUDIES = 1_000
TOLERATED = 0.06
"""Largest share of rejections at the margin, of alpha 0.05, that needs no warning."""
MOST_CASES = 400


@dataclass(frozen=True)
class Differences:
    """Shares of pairs in which the new arm is ``better`` and ``worse`` by one point."""

    better: float
    worse: float

    @classmethod
    def of_mean(cls, difference: float, better: float) -> Differences:
        """Return those of a mean difference in points, new - standard, and a share of better ones.

        Raises RequestError where the shares are below 0 or above 1 together.
        """
        worse = better - difference
        if min(better, worse) < 0 or better + worse > 1:
            raise RequestError(
                f"A mean difference of {difference:g} with a share of {better:g} better pairs "
                f"needs a share of {worse:g} worse ones: both must be 0 to 1, also together."
            )
        return cls(better, worse)

    @property
    def deviation(self) -> float:
        """Standard deviation of a difference."""
        return math.sqrt(self.better + self.worse - (self.better - self.worse) ** 2)

    def drawn(
        self, studies: int, cases: int, readers: int, rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Return the mean difference over the readers of each case, (studies, cases)."""
        shares = (self.worse, 1 - self.better - self.worse, self.better)
        points = rng.choice((-1, 0, 1), size=(studies, cases, readers), p=shares)
        means: NDArray[np.float64] = points.mean(axis=2)
        return means


def rejection_rate(
    test: str,
    differences: Differences,
    *,
    cases: int,
    readers: int,
    margin: float,
    alpha: float = 0.05,
    studies: int = STUDIES,
    seed: int = 0,
) -> float:
    """Return the share of drawn studies in which a test by case rejects inferiority.

    At a mean difference of -margin it is the type I error, above it the power. Errors are those of
    ``non_inferiority``.
    """
    drawn = differences.drawn(studies, cases, readers, np.random.default_rng(seed))
    # Equal scores in another order are the same study.
    kinds, counts = np.unique(np.sort(drawn, axis=1), axis=0, return_counts=True)
    nothing = np.zeros(cases)
    rejected = [
        non_inferiority(kind, nothing, margin, alpha=alpha, test=test).non_inferior
        for kind in kinds
    ]
    return float(counts[rejected].sum() / studies)


def power_by_normal_distribution(
    differences: Differences, *, cases: int, readers: int, margin: float, alpha: float = 0.05
) -> float:
    """Return the power of a test of the mean as for many cases.

    Phi((d + margin) / s - z), with the mean difference d, its standard error s over the cases and
    the quantile z of 1 - alpha.
    """
    error = differences.deviation / math.sqrt(cases * readers)
    distance = differences.better - differences.worse + margin
    return float(stats.norm.cdf(distance / error - stats.norm.ppf(1 - alpha)))


def cases_needed(
    test: str,
    differences: Differences,
    *,
    readers: int,
    margin: float,
    power: float = 0.8,
    alpha: float = 0.05,
    studies: int = STUDIES,
    seed: int = 0,
) -> int:
    """Return the least number of cases, in steps of a tenth, with which the power is reached.

    Raises RequestError where MOST_CASES are not enough.
    """
    sizes = [LEAST_PAIRS]
    while sizes[-1] < MOST_CASES:
        sizes.append(min(MOST_CASES, max(sizes[-1] + 1, round(1.1 * sizes[-1]))))

    def reached(cases: int) -> bool:
        rate = rejection_rate(
            test,
            differences,
            cases=cases,
            readers=readers,
            margin=margin,
            alpha=alpha,
            studies=studies,
            seed=seed,
        )
        return rate >= power

    # Of scores with few steps the power is not quite monotone: two sizes in a row decide.
    for size, after in pairwise(sizes):
        if reached(size) and reached(after):
            return size
    raise RequestError(
        f"{MOST_CASES} cases do not reach a power of {power:g}: the true difference is too near to "
        f"the margin of {margin:g} points, or the scores scatter too much."
    )
