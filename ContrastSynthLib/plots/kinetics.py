"""Plot of kinetic curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ContrastSynthLib.analysis.kinetics import INITIAL_WINDOW_S, PLATEAU_SHARE, KineticCurve
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.plots.figures import LINE_COLOURS, load_matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TYPE_NAMES = {"I": "persistent", "II": "plateau", "III": "washout"}


def plot_curves(curves: Mapping[str, KineticCurve]) -> Figure:
    """Return a plot of enhancement over time; the first curve, in black, is the reference.

    Enhancement is in percent of each curve's own baseline. If the first curve has a type, a grey
    band marks the 120 s of the initial phase, and a wedge the range of a plateau: within 10 % of
    the initial peak's signal. Raises RequestError without a curve and for a baseline that is not
    above 0, and MissingError without matplotlib.
    """
    if not curves:
        raise RequestError("There is nothing to plot: give at least one curve.")
    figure_class, _ = load_matplotlib()
    figure = figure_class(figsize=(7.2, 3.6), facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    _plateau(axes, next(iter(curves.values())))
    for number, (name, curve) in enumerate(curves.items()):
        if curve.baseline <= 0:
            raise RequestError(
                f"{name}: the signal before the agent is {curve.baseline:g}, but must be above 0. "
                "Does the mask lie in tissue?"
            )
        type_ = f", type {curve.type} ({TYPE_NAMES[curve.type]})" if curve.type else ""
        axes.plot(
            curve.times_s,
            _percent(curve),
            color=LINE_COLOURS[number % len(LINE_COLOURS)],
            linewidth=1.8 if number == 0 else 1.4,
            linestyle="-" if number == 0 else "--",
            marker="o",
            markersize=4,
            label=f"{name}{type_}",
        )
    axes.set_xlabel("Time (s)")
    axes.set_ylabel("Enhancement (%)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e3e6e8", linewidth=0.8)
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper left", ncols=2, frameon=False)
    return figure


def _percent(curve: KineticCurve) -> list[float]:
    return [100.0 * (value / curve.baseline - 1.0) for value in curve.values]


def _plateau(axes: Axes, curve: KineticCurve) -> None:
    """Draw the initial phase, and the range in which the delayed phase is a plateau."""
    if curve.type is None or curve.timing is None:
        return
    timing, percent = curve.timing, _percent(curve)
    peak_s, end_s = timing.times_s[timing.peak_frame], timing.times_s[-1]
    axes.axvspan(
        timing.arrival_s, timing.arrival_s + INITIAL_WINDOW_S, color="#f1f3f4", linewidth=0
    )
    peak = percent[timing.peak_frame]
    tenth = PLATEAU_SHARE * (100.0 + peak)
    share = np.array([0.0, 1.0])
    axes.fill_between(
        [peak_s, end_s], peak - tenth * share, peak + tenth * share, color="#d9dee2", linewidth=0
    )
