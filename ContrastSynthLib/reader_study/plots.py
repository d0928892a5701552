"""The figures of a study's report: how often each score was given, and where readers agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

from ContrastSynthLib.plots.figures import load_matplotlib
from ContrastSynthLib.reader_study.protocol import NEW, STANDARD
from ContrastSynthLib.reader_study.result import StudyResult
from ContrastSynthLib.reader_study.scored import read_again, read_by_both

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLES = {NEW: "new", STANDARD: "standard"}
# From the worst score to the best, to be told apart by the colour-blind too.
FROM_COLOUR, TO_COLOUR = (0.93, 0.86, 0.66), (0.08, 0.30, 0.55)
MOST_ROWS = 6
"""Of agreement plots: eight readers have 28 pairs."""
LARGEST = 520.0
"""Area in points of the circle of all readings."""
Pairs = Sequence[tuple[int, int]]


def likert_bars(result: StudyResult) -> Figure:
    """Return stacked bars of the share of each score, an arm below the other, by criterion."""
    figure_class, _ = load_matplotlib()
    titles = {criterion.key: criterion.title for criterion in result.protocol.criteria}
    rows = [(arm, f"{titles[arm.criterion]}, {TITLES[arm.arm]}") for arm in result.arms][::-1]
    figure = figure_class(
        figsize=(8.6, 0.6 + 0.36 * len(rows)), facecolor="white", layout="constrained"
    )
    axes = figure.add_subplot()
    most = max((len(arm.given) for arm in result.arms), default=1)
    for score in range(most):
        shade = score / max(most - 1, 1)
        colour = [a + shade * (b - a) for a, b in zip(FROM_COLOUR, TO_COLOUR, strict=True)]
        widths = [100 * arm.given[score] / arm.count for arm, _ in rows]
        left = [100 * sum(arm.given[:score]) / arm.count for arm, _ in rows]
        bars = axes.barh([name for _, name in rows], widths, left=left, color=colour)
        bars.set_label(f"step {score + 1} of {most}")
        text = [str(arm.given[score]) if arm.given[score] else "" for arm, _ in rows]
        axes.bar_label(bars, text, label_type="center", color="white" if shade > 0.5 else "black")
    axes.set_xlim(0, 100)
    axes.set_xlabel("Share of the readings (%), with their number")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=most, frameon=False, fontsize=8)
    return figure


def compared_readings(result: StudyResult) -> dict[tuple[str, str], list[Pairs]]:
    """Return the pairs of scores of each criterion, by the names of the axes.

    First two readers for the same image, then the first and second reading of one reader.
    """
    protocol, scores = result.protocol, result.scores
    found: dict[tuple[str, str], list[Pairs]] = {
        (one, other): [
            read_by_both(scores, criterion.key, one, other) for criterion in protocol.criteria
        ]
        for one, other in combinations(protocol.readers, 2)
    }
    found |= {
        (reader, f"{reader}, read again"): [
            read_again(scores, criterion.key, reader) for criterion in protocol.criteria
        ]
        for reader in protocol.readers
    }
    return {axes: pairs for axes, pairs in found.items() if any(pairs)}


def agreement_plot(result: StudyResult) -> Figure | None:
    """Return scores against each other, a column for each criterion; None where nothing is.

    The area of a circle, and the number in it, tell how many images were scored so; on the line
    both scores are the same. At most MOST_ROWS rows are drawn.
    """
    rows = [*compared_readings(result).items()][:MOST_ROWS]
    if not rows:
        return None
    figure_class, _ = load_matplotlib()
    criteria = result.protocol.criteria
    figure = figure_class(
        figsize=(2.0 * len(criteria) + 0.4, 2.05 * len(rows) + 0.5),
        facecolor="white",
        layout="constrained",
    )
    panels = figure.subplots(len(rows), len(criteria), squeeze=False)
    for row, ((across, up), of_criteria) in zip(panels, rows, strict=True):
        for axes, criterion, pairs in zip(row, criteria, of_criteria, strict=True):
            _circles(axes, pairs, criterion.scale)
            axes.set_xlabel(across, fontsize=8)
        row[0].set_ylabel(up, fontsize=8)
    for axes, criterion in zip(panels[0], criteria, strict=True):
        axes.set_title(criterion.title, fontsize=8.5)
    return figure


def _circles(axes: Any, pairs: Pairs, scale: Sequence[int]) -> None:
    """Draw how often each two scores were given to one image."""
    low, high = scale[0] - 0.6, scale[-1] + 0.6
    axes.plot([low, high], [low, high], color="0.8", linewidth=1, zorder=0)
    for (across, up), count in Counter(pairs).items():
        area = LARGEST * count / len(pairs)
        axes.scatter(across, up, s=area, color=TO_COLOUR if across == up else "#c2571a", alpha=0.45)
        axes.annotate(f"{count}", (across, up), ha="center", va="center", fontsize=7.5)
    axes.set(xlim=(low, high), ylim=(low, high), xticks=scale, yticks=scale, aspect="equal")
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
