"""Means over patients and their bootstrap intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
BOOTSTRAP_SEED = 0


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the mean of ``values`` (n,); NaN for one value."""
    if len(values) < 2:
        return math.nan, math.nan
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    means = values[rng.integers(len(values), size=(RESAMPLES, len(values)))].mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def by_patient(lines: Sequence[Mapping[str, str]], label: str, measure: str) -> dict[str, float]:
    """Return the mean of a measure over the cases of each patient, where it is defined."""
    values: dict[str, list[float]] = {}
    for line in lines:
        if line["label"] == label and line[measure]:
            values.setdefault(line["patient"], []).append(float(line[measure]))
    return {patient: float(np.mean(several)) for patient, several in values.items()}
