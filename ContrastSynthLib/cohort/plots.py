"""Histograms of a cohort."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ContrastSynthLib.cohort.outliers import FROM_Z
from ContrastSynthLib.cohort.row import DONE, Row
from ContrastSynthLib.plots.figures import load_matplotlib

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_BINS = 40
FARTHEST = 4.0
COLOUR = "#4a7ba6"
MIDDLE = "#d28a00"
GRID = "#e3e6e8"
SOFT = "#5b6875"
HEIGHT_INCHES = 2.9
WIDTH_INCHES = 4.6
SHOWN = {
    "uptake_ml": "Uptake (ml)",
    "change_percent": "Mean change from the scan (%)",
    "seconds": "Time of the run (s)",
}


def values_of(rows: Sequence[Row], name: str) -> list[float]:
    """Return a column of the cases that are done, without what is not known."""
    found = (getattr(row, name) for row in rows if row.status == DONE)
    return [float(value) for value in found if value is not None]


def histograms(rows: Sequence[Row]) -> Figure | None:
    """Return how uptake, change and time are distributed, None where nothing is known of any.

    A line marks the median. Raises MissingError without matplotlib.
    """
    known = {title: values_of(rows, name) for name, title in SHOWN.items()}
    known = {title: values for title, values in known.items() if values}
    if not known:
        return None
    figure_class, _ = load_matplotlib()
    size = (WIDTH_INCHES * len(known), HEIGHT_INCHES)
    figure = figure_class(figsize=size, facecolor="white", layout="constrained")
    every = np.atleast_1d(figure.subplots(1, len(known)))
    for axes, (title, values) in zip(every, known.items(), strict=True):
        low, high = within(values)
        near = [value for value in values if low <= value <= high]
        axes.hist(near, bins=_bins(near), color=COLOUR, edgecolor="white", linewidth=0.5)
        if beyond := _what_is_beyond(values, low, high):
            axes.set_title(f"Not drawn: {beyond}", fontsize=9, color=SOFT, loc="right")
        axes.axvline(float(np.median(values)), color=MIDDLE, linewidth=1.5)
        axes.set_xlabel(title)
        axes.set_ylabel("Cases")
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
    return figure


def within(values: Sequence[float]) -> tuple[float, float]:
    """Return the range that is drawn: all values, but for those that would squeeze the others.

    Those lie more than FARTHEST quartile distances below the first or above the third quartile.
    """
    first, third = np.percentile(values, (25, 75))
    reach = FARTHEST * (third - first)
    near = [value for value in values if first - reach <= value <= third + reach]
    return min(near), max(near)


def _bins(values: Sequence[float]) -> list[float]:
    """Return the edges of the bins, equally wide.

    The width is that of Freedman and Diaconis, twice the quartiles' distance over the cube root of
    the number of values, but there are not more than MOST_BINS.
    """
    low, high = min(values), max(values)
    first, third = np.percentile(values, (25, 75))
    width = 2 * (third - first) / len(values) ** (1 / 3)
    if high == low:
        return [low - 0.5, low + 0.5]
    count = MOST_BINS if width == 0 else min(MOST_BINS, int(np.ceil((high - low) / width)))
    edges: list[float] = np.linspace(low, high, count + 1).tolist()
    return edges


def _what_is_beyond(values: Sequence[float], low: float, high: float) -> str:
    """Return how many values lie outside of the range that is drawn, "" for none."""
    left, right = sum(value < low for value in values), sum(value > high for value in values)
    told = [f"{left} below {low:.3g}"] * bool(left) + [f"{right} above {high:.3g}"] * bool(right)
    return ", ".join(told)


def is_outlier(row: Row) -> bool:
    """Return whether a case is unlike the others."""
    return row.outlier is not None and row.outlier >= FROM_Z
