"""Plots of LIP-CAR: how the SSIM falls while noise grows, and the errors of single cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np


def plot_stability(
    lines: Sequence[Mapping[str, str]], labels: Sequence[str], path: Path, sigmas: Sequence[float]
) -> None:
    """Draw SSIM against the noise, and box plots over patients at no noise and in the middle."""
    from ContrastSynthLib.plots.figures import LINE_COLOURS, figure_png, load_matplotlib

    figure_class, _ = load_matplotlib()
    figure = figure_class(figsize=(11, 4.2), facecolor="white", layout="constrained")
    curve, *boxes = figure.subplots(1, 3, width_ratios=(1.4, 1, 1))

    def values(label: str, sigma: float) -> list[float]:
        chosen = (i for i in lines if i["label"] == label and i["noise"] == f"{sigma:g}")
        return [float(line["ssim"]) for line in chosen]

    for number, label in enumerate(labels):
        colour = LINE_COLOURS[number % len(LINE_COLOURS)]
        means = [np.mean(values(label, sigma)) for sigma in sigmas]
        curve.plot(sigmas, means, color=colour, marker="o", markersize=3.5, label=label)
    curve.set_xlabel("Standard deviation of the added noise (unit of low_dose)")
    curve.set_ylabel("SSIM, mean over patients")
    for axes, sigma in zip(boxes, (sigmas[0], sigmas[len(sigmas) // 2]), strict=True):
        drawn = axes.boxplot([values(label, sigma) for label in labels], patch_artist=True)
        for number, box in enumerate(drawn["boxes"]):
            box.set_facecolor(LINE_COLOURS[number % len(LINE_COLOURS)] + "55")
        axes.set_xticks(range(1, len(labels) + 1), labels, rotation=35, ha="right", fontsize=8)
        axes.set_title(f"added noise {sigma:g}", fontsize=10)
    for axes in (curve, *boxes):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#e3e6e8", linewidth=0.8)
        axes.set_axisbelow(True)
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=8)
    path.write_bytes(figure_png(figure))


def plot_errors(
    lines: Sequence[Mapping[str, str]], labels: Sequence[str], path: Path, sigmas: Sequence[float]
) -> None:
    """Draw the relative error of each case, a line for each row and each noise: figure 3."""
    from ContrastSynthLib.plots.figures import LINE_COLOURS, figure_png, load_matplotlib

    figure_class, _ = load_matplotlib()
    figure = figure_class(figsize=(9, 4.2), facecolor="white", layout="constrained")
    axes = figure.subplots()
    for number, label in enumerate(labels):
        for sigma, style in zip(sigmas, ("-", "--", ":"), strict=False):
            chosen = [i for i in lines if i["label"] == label and i["noise"] == f"{sigma:g}"]
            errors = [float(line["relative_error"]) for line in chosen]
            name = f"{label}, added noise {sigma:g}"
            colour = LINE_COLOURS[number % len(LINE_COLOURS)]
            axes.plot(range(1, len(errors) + 1), errors, f"o{style}", color=colour, label=name)
    axes.set_xlabel("Case")
    axes.set_ylabel("Relative error")
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e3e6e8", linewidth=0.8)
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=8)
    path.write_bytes(figure_png(figure))
