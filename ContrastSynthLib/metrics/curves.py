"""Similarity of two kinetic curves, sequences of intensities over time."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ContrastSynthLib.errors import RequestError


def spearman_rho(reference: ArrayLike, synthetic: ArrayLike) -> float:
    """Return Spearman's rank correlation of two curves (n,) at the same times (iterU-Net, 4.3).

    The Pearson correlation of the ranks, with the mean rank for ties: 1 when both curves have
    the same order of intensities. NaN when a curve is constant. Raises RequestError for curves of
    different lengths or fewer than 2 points.
    """
    from scipy.stats import ConstantInputWarning, spearmanr

    real, made = _curve(reference, "reference"), _curve(synthetic, "synthetic")
    if real.size != made.size or real.size < 2:
        raise RequestError(
            f"Curves of {real.size} and {made.size} points: a rank correlation needs curves of "
            "equal length, with at least 2 points."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantInputWarning)
        return float(spearmanr(real, made).statistic)


def dtw(reference: ArrayLike, synthetic: ArrayLike) -> float:
    """Return the dynamic time warping distance of two curves (n,) and (m,) (iterU-Net, 4.3).

    The minimum, over all warping paths, of the sum of |reference[a] - synthetic[b]| over the pairs
    (a, b) of the path. A path leads from the first points to the last ones, and each step advances
    a, b or both by one (Sakoe and Chiba 1978, without a window). The paper gives no formula; our
    choice: absolute differences in the unit of the curves, not divided by the path's length. 0 for
    equal curves. The times of the points are not used.
    """
    real, made = _curve(reference, "reference"), _curve(synthetic, "synthetic")
    cost = np.abs(real[:, None] - made[None, :])
    total = np.full((real.size + 1, made.size + 1), np.inf)
    total[0, 0] = 0.0
    for a in range(real.size):
        for b in range(made.size):
            before = min(total[a, b], total[a, b + 1], total[a + 1, b])
            total[a + 1, b + 1] = cost[a, b] + before
    return float(total[-1, -1])


def _curve(values: ArrayLike, name: str) -> NDArray[np.float64]:
    curve = np.asarray(values, dtype=np.float64)
    if curve.ndim != 1 or curve.size == 0 or not np.isfinite(curve).all():
        raise RequestError(
            f"The {name} curve has the shape {curve.shape} and must be a row of finite numbers."
        )
    return curve
