"""Which cases are unlike the others: robust z values, with the measure that tells them apart.

z = (x - median) / s, where s is the median absolute deviation, times 1.4826 so that it is the
standard deviation of a normal distribution. A few cases that went wrong do not move either of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ContrastSynthLib.cohort.row import DONE, Row

TO_DEVIATION = 1.4826
"""From the median absolute deviation to the standard deviation of a normal distribution."""
MEAN_TO_DEVIATION = 1.2533
"""The same from the mean absolute deviation, which counts where more than half are equal."""
FROM_Z = 3.5
"""Of Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993: from here on an outlier."""
LEAST_CASES = 8
"""Fewer cases have no usual value."""


@dataclass(frozen=True)
class Measure:
    """A column: what it is called, its unit, and the least deviation that counts as one."""

    title: str
    unit: str
    least: float


MEASURES = {
    "uptake_ml": Measure("uptake", "ml", 0.05),
    "change_percent": Measure("change", "%", 0.2),
    "brain_ml": Measure("brain", "ml", 5.0),
    "seconds": Measure("time", "s", 0.2),
    "warnings": Measure("warnings", "", 0.2),
}


def robust_z(values: Sequence[float], least: float) -> list[float]:
    """Return how many deviations each value lies above (or, negative, below) the median.

    ``least`` is the smallest deviation, so that equal values and rounding make no outliers.
    """
    found = np.asarray(values, dtype=np.float64)
    away = found - np.median(found)
    deviation = TO_DEVIATION * np.median(np.abs(away))
    if deviation == 0:
        deviation = MEAN_TO_DEVIATION * np.abs(away).mean()
    return [float(z) for z in away / max(deviation, least)]


def with_outliers(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with the score of each case that is done, and why it is an outlier.

    The score is the largest absolute z of its measures; a reason is given from FROM_Z on.
    """
    found: dict[int, list[tuple[float, str]]] = {}
    for name, measure in MEASURES.items():
        known = _known(rows, name)
        if len(known) < LEAST_CASES:
            continue
        middle = float(np.median(list(known.values())))
        zs = robust_z(list(known.values()), measure.least)
        for (index, value), z in zip(known.items(), zs, strict=True):
            unit = f" {measure.unit}" if measure.unit else ""
            told = f"{measure.title} {value:.4g}{unit}, usually {middle:.4g}"
            found.setdefault(index, []).append((z, told))
    return [_scored(row, found.get(index, [])) for index, row in enumerate(rows)]


def _known(rows: Sequence[Row], name: str) -> Mapping[int, float]:
    values = {index: getattr(row, name) for index, row in enumerate(rows) if row.status == DONE}
    return {index: float(value) for index, value in values.items() if value is not None}


def _scored(row: Row, found: Sequence[tuple[float, str]]) -> Row:
    if not found:
        return replace(row, outlier=None, outlier_because="")
    ordered = sorted(found, key=lambda pair: -abs(pair[0]))
    because = "; ".join(told for z, told in ordered if abs(z) >= FROM_Z)
    return replace(row, outlier=round(abs(ordered[0][0]), 2), outlier_because=because)
