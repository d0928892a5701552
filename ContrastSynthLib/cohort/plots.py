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
COLOUR = "#4a7ba6"
MIDDLE = "#d28a00"
GRID = "#e3e6e8"
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
        axes.hist(values, bins=_bins(values), color=COLOUR, edgecolor="white", linewidth=0.5)
        axes.axvline(float(np.median(values)), color=MIDDLE, linewidth=1.5)
        axes.set_xlabel(title)
        axes.set_ylabel("Cases")
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
    return figure


def _bins(values: Sequence[float]) -> list[float]:
    """Return the edges of the bins: as wide as half the cases ask for, with all cases in them.

    The width is that of Freedman and Diaconis, twice the quartiles' distance over the cube root of
    the number; a case that lies far away makes the bins wider, not more than MOST_BINS.
    """
    low, high = min(values), max(values)
    first, third = np.percentile(values, (25, 75))
    width = 2 * (third - first) / len(values) ** (1 / 3)
    count = 1 if high == low else MOST_BINS
    if width > 0 and high > low:
        count = min(MOST_BINS, max(1, int(np.ceil((high - low) / width))))
    edges: list[float] = np.linspace(low, high if high > low else low + 1, count + 1).tolist()
    return edges


def is_outlier(row: Row) -> bool:
    """Return whether a case is unlike the others."""
    return row.outlier is not None and row.outlier >= FROM_Z
