"""Plot of the convergence of an iterative method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.plots.figures import LINE_COLOURS, load_matplotlib

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ContrastSynthLib.registry import Column


def plot_history(
    history: Mapping[str, Sequence[float]],
    columns: Mapping[str, Column],
    record: Mapping[str, Any] | None = None,
) -> Figure:
    """Return a figure of a history over its iterations, with one plot per ``plot`` of its columns.

    ``record`` holds the numbers by which columns with a ``factor`` are multiplied; a column whose
    factor it lacks is left out. Raises RequestError for a history without iterations, MissingError
    without matplotlib.
    """
    iterations = history.get("iteration")
    if not iterations:
        raise RequestError("There is nothing to plot: the history contains no iteration.")
    figure_class, _ = load_matplotlib()
    figure = figure_class(figsize=(7.2, 4.6), facecolor="white", layout="constrained")
    titles = list(dict.fromkeys(column.plot for column in columns.values() if column.plot))
    heights = (2, *[1] * (len(titles) - 1))
    plots = figure.subplots(len(titles), 1, sharex=True, height_ratios=heights, squeeze=False)
    number = 0
    for title, axes in zip(titles, plots[:, 0], strict=True):
        for name, column in columns.items():
            factor = (record or {}).get(column.factor) if column.factor else 1.0
            if column.plot == title and factor is not None:
                values = [factor * value for value in history[name]]
                colour = LINE_COLOURS[number % len(LINE_COLOURS)]
                axes.plot(iterations, values, color=colour, linewidth=1.6, label=column.title)
                number += 1
        units = {c.unit for c in columns.values() if c.plot == title and c.unit}
        axes.set_ylabel(f"{title} / {units.pop()}" if len(units) == 1 else title)
        _style(axes)
    plots[-1, 0].set_xlabel("Iteration")
    figure.legend(loc="outside upper left", ncols=3, frameon=False)
    return figure


def _style(axes: Any) -> None:
    axes.set_yscale("log")
    axes.margins(x=0.01)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e3e6e8", linewidth=0.8)
    axes.set_axisbelow(True)
