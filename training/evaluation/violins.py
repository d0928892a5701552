"""The plot of how measures are spread over cases, one violin for each row of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path


def plot_violins(
    lines: Sequence[Mapping[str, str]],
    labels: Sequence[str],
    path: Path,
    headings: Mapping[str, str],
) -> None:
    """Draw a panel for each measure of ``headings``: violins, medians, and a point for each case.

    A row without two different values of a measure has points only.
    """
    from ContrastSynthLib.plots.figures import LINE_COLOURS, figure_png, load_matplotlib

    figure_class, _ = load_matplotlib()
    width = 2 + 0.9 * len(labels)
    figure = figure_class(
        figsize=(width * len(headings), 4), facecolor="white", layout="constrained"
    )
    panels = figure.subplots(1, len(headings), squeeze=False)[0]
    for axes, (measure, heading) in zip(panels, headings.items(), strict=True):
        for place, label in enumerate(labels, start=1):
            colour = LINE_COLOURS[(place - 1) % len(LINE_COLOURS)]
            chosen = (line[measure] for line in lines if line["label"] == label)
            values = [float(value) for value in chosen if value]
            if len(set(values)) > 1:
                drawn = axes.violinplot([values], [place], widths=0.8, showmedians=True)
                for part in (*drawn.pop("bodies"), *drawn.values()):
                    part.set_color(colour)
            spots = [place + 0.06 * (number % 5 - 2) for number in range(len(values))]
            axes.scatter(spots, values, s=10, color=colour, alpha=0.7, linewidths=0)
        axes.set_ylabel(heading.rstrip(" ↓↑"))
        axes.set_ylim(bottom=0)
        axes.set_xticks(range(1, len(labels) + 1), labels, rotation=35, ha="right", fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#e3e6e8", linewidth=0.8)
        axes.set_axisbelow(True)
    path.write_bytes(figure_png(figure))
