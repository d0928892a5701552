"""Pictures of how a solver went; figures and colours are those of ``plots.figures``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.plots.figures import LINE_COLOURS, load_matplotlib

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_history(history: Mapping[str, Sequence[float]], alpha_mm: float) -> Figure:
    """Return a plot of the objective and its two parts, and of the change, over the iterations.

    ``history`` holds the columns that ``lip_car`` records. Raises MissingError without
    matplotlib, and RequestError for a history without iterations.
    """
    iterations = history.get("iteration")
    if not iterations:
        raise RequestError("There is nothing to plot: the history holds no iteration.")
    figure_class, _ = load_matplotlib()
    figure = figure_class(figsize=(7.2, 4.6), facecolor="white", layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    lines = {
        "objective": history["objective"],
        "fidelity": history["fidelity"],
        f"prior x alpha ({alpha_mm:.2g} mm)": [alpha_mm * r for r in history["regulariser"]],
    }
    for number, (name, values) in enumerate(lines.items()):
        above.plot(iterations, values, color=LINE_COLOURS[number], linewidth=1.6, label=name)
    below.plot(iterations, history["change"], color=LINE_COLOURS[3], linewidth=1.4)
    above.set_ylabel("Objective")
    below.set_ylabel("Relative change")
    below.set_xlabel("Iteration")
    for axes in (above, below):
        axes.set_yscale("log")
        axes.margins(x=0.01)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e3e6e8", linewidth=0.8)
        axes.set_axisbelow(True)
    figure.legend(loc="outside upper left", ncols=3, frameon=False)
    return figure
