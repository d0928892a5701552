"""Do readers agree with each other, and a reader with himself? Kappa and ICC, with intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ContrastSynthLib.errors import RequestError

LEAST_CASES = 2


@dataclass(frozen=True)
class Agreement:
    """A measure of agreement with its 95 % interval; NaN where it is not defined."""

    value: float
    low: float
    high: float


def quadratic_kappa(first: ArrayLike, second: ArrayLike, scale: Sequence[int]) -> Agreement:
    """Return Cohen's kappa of two readings (n,) of the same images, with quadratic weights.

    A disagreement counts as the square of its steps on the ``scale``, all scores that there are in
    rising order (Cohen, Psychol Bull 1968;70:213-220); the interval is that of its large-sample
    standard error. Not defined where both readings have one and the same score throughout. Raises
    RequestError for readings that are no pairs and for a score that is not on the scale.
    """
    from statsmodels.stats.inter_rater import cohens_kappa

    one, two = np.asarray(first), np.asarray(second)
    if one.shape != two.shape or one.ndim != 1 or len(one) < LEAST_CASES:
        raise RequestError(
            f"There are {one.size} and {two.size} scores: agreement needs pairs, {LEAST_CASES} at "
            "least."
        )
    strange = sorted(set(one.tolist() + two.tolist()) - set(scale))
    if strange:
        raise RequestError(f"The score {strange[0]:g} is not on the scale {list(scale)}.")
    places = {score: number for number, score in enumerate(scale)}
    table = np.zeros((len(scale), len(scale)))
    for a, b in zip(one.tolist(), two.tolist(), strict=True):
        table[places[a], places[b]] += 1
    if np.count_nonzero(table) == 1 and np.trace(table) > 0:
        return Agreement(math.nan, math.nan, math.nan)
    with np.errstate(divide="ignore", invalid="ignore"):  # of a z value that is not used
        found = cohens_kappa(table, wt="quadratic")
    return Agreement(float(found.kappa), float(found.kappa_low), float(found.kappa_upp))


def intraclass_correlation(scores: ArrayLike) -> dict[str, Agreement]:
    """Return ICC(2,1) and ICC(2,k) of scores (cases, readers): two-way random, absolute agreement.

    ICC(2,1) is that of one reader, ICC(2,k) that of the mean of these k (Shrout and Fleiss, Psychol
    Bull 1979;86:420-428). A case that a reader has not scored (NaN) is left out. Not defined where
    all scores are equal. Raises RequestError for fewer than two readers or five complete cases.
    """
    values = np.asarray(scores, np.float64)
    if values.ndim != 2 or values.shape[1] < 2:
        raise RequestError("ICC needs the scores of two readers at least.")
    complete = values[np.isfinite(values).all(axis=1)]
    if len(complete) < 5:
        raise RequestError(
            f"All readers have scored {len(complete)} cases: ICC needs five at least."
        )
    if np.ptp(complete) == 0:
        nothing = Agreement(math.nan, math.nan, math.nan)
        return {"ICC(2,1)": nothing, "ICC(2,k)": nothing}
    return _two_way_random(complete)


def _two_way_random(scores: NDArray[np.float64]) -> dict[str, Agreement]:
    import pandas
    from pingouin import intraclass_corr

    cases, readers = np.indices(scores.shape)
    columns = {"case": cases.ravel(), "reader": readers.ravel(), "score": scores.ravel()}
    with np.errstate(divide="ignore", invalid="ignore"):  # where readers differ by a constant
        table = intraclass_corr(
            pandas.DataFrame(columns), targets="case", raters="reader", ratings="score"
        ).set_index("Type")
    names: Mapping[str, str] = {"ICC(2,1)": "ICC(A,1)", "ICC(2,k)": "ICC(A,k)"}
    return {
        name: Agreement(float(table.loc[row, "ICC"]), *map(float, table.loc[row, "CI95"]))
        for name, row in names.items()
    }
