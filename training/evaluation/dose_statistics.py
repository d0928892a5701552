"""The statistics of synthetic low doses over cases: Figure 8 of the low-dose cGAN.

Above in tissue that enhances, below where none does. On the left a histogram of each row's errors,
on the right violins of the means and standard deviations themselves, those of the real scans first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Lines = Sequence[Mapping[str, str]]
DRAWN = (
    ("mae_ce", "rise", "true_rise", "MAE_CE", "mean rise in CE"),
    ("mae_sigma", "deviation", "true_deviation", "MAE_sigma", "deviation elsewhere"),
)
"""Of each row: error, value, true value, and what to call the first two."""
REAL, GREY = "real", "0.45"
LEAST_BINS, CASES_OF_BIN = 6, 8


def plot_statistics(lines: Lines, labels: Sequence[str], path: Path) -> None:
    """Draw histograms and violins of what was measured, a colour for each label, into a PNG.

    A row without two different values of a measure has points for a violin.
    """
    from ContrastSynthLib.plots.figures import LINE_COLOURS, figure_png, load_matplotlib

    figure_class, _ = load_matplotlib()
    figure = figure_class(
        figsize=(5 + 1.6 * len(labels), 7), facecolor="white", layout="constrained"
    )
    panels = figure.subplots(2, 2, width_ratios=(1, 1.2))
    colours = [LINE_COLOURS[place % len(LINE_COLOURS)] for place in range(len(labels))]
    for (left, right), (error, value, true, error_name, name) in zip(panels, DRAWN, strict=True):
        errors = [values_of(lines, label, error) for label in labels]
        draw_histograms(left, errors, labels, colours)
        left.set_xlabel(error_name)
        left.set_ylabel("cases")
        values = [values_of(lines, labels[0], true)]
        values += [values_of(lines, label, value) for label in labels]
        draw_violins(right, values, [REAL, *labels], [GREY, *colours])
        right.set_ylabel(name)
        for axes in (left, right):
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(axis="y", color="#e3e6e8", linewidth=0.8)
            axes.set_axisbelow(True)
    panels[0, 0].legend(fontsize=8, frameon=False)
    path.write_bytes(figure_png(figure))


def values_of(lines: Lines, label: str, measure: str) -> list[float]:
    """Return a measure of the cases of a row, where it is defined."""
    chosen = (line[measure] for line in lines if line["label"] == label)
    return [float(value) for value in chosen if value]


def draw_histograms(
    axes: Axes, values: Sequence[list[float]], labels: Sequence[str], colours: Sequence[str]
) -> None:
    """Draw the histograms of several rows with the same bins, as bars beside each other."""
    together = np.concatenate(values)
    bins = max(LEAST_BINS, len(together) // (CASES_OF_BIN * len(values)))
    edges = np.linspace(0, max(float(together.max(initial=0)), 1e-6), bins + 1)
    axes.hist(values, edges, color=[*colours], label=[*labels], rwidth=0.85)


def draw_violins(
    axes: Axes, values: Sequence[list[float]], labels: Sequence[str], colours: Sequence[str]
) -> None:
    """Draw a violin with its median, and a point for each value, for each row."""
    for place, (these, colour) in enumerate(zip(values, colours, strict=True), start=1):
        if len(set(these)) > 1:
            drawn = axes.violinplot([these], [place], widths=0.8, showmedians=True)
            for part in (*drawn.pop("bodies"), *drawn.values()):
                part.set_color(colour)
        spots = [place + 0.06 * (number % 5 - 2) for number in range(len(these))]
        axes.scatter(spots, these, s=10, color=colour, alpha=0.7, linewidths=0)
    axes.set_ylim(bottom=0)
    axes.set_xticks(range(1, len(labels) + 1), labels, rotation=35, ha="right", fontsize=8)
