"""Plot how the error of two results depends on the depth below the surface of the brain.

    python training/picture_depths.py --cases PAIRS --case one two three --out depths.png \\
        --before "sphere 1.4=sphere_virtual" --after new=sphere:runs/real/best

A column for each case: above, the mean error where agent was taken up, below, where it was not.
Rims and vessels that stay bright lie above 0, a surface that was darkened below it. Cases and
results are given as to picture_pairs.py, and are compared as it and ``evaluate.py --table
sphere_real`` compare them. The plot shows no patient, so that it may be shown where no picture may.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from evaluation.matched_pairs import MATCHED_PAIRS, Compared, in_means
from numpy.typing import NDArray
from picture_pairs import UNIT, Result, add_results, chosen_items
from picture_rows import write_picture
from scipy.ndimage import distance_transform_edt

from ContrastSynthLib.errors import ContrastSynthError, RequestError
from ContrastSynthLib.plots.figures import figure_png, load_matplotlib
from ContrastSynthLib.volumes import BoolArray, FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EDGES_MM = (1, 2, 3, 4, 5, 6, 8, 10, 13, 17, 22, 30)
"""Depths between which errors are averaged."""
LEAST_VOXELS = 50
"""In a mean that is drawn."""
GIVEN = "post scan"
COLOURS = {GIVEN: "0.6", "before": "tab:orange", "after": "tab:blue"}
INCHES = (2.6, 2.4)
"""Of one plot."""

Curve = NDArray[np.float64]


def main(arguments: list[str] | None = None) -> int:
    """Plot all cases that were asked for in one figure."""
    chosen = parse(arguments)
    try:
        results = {name: Result.parse(getattr(chosen, name)) for name in ("before", "after")}
        curves = {}
        for item in chosen_items(chosen.cases, chosen.case, chosen.split):
            scans = MATCHED_PAIRS.prepare(item.read())
            case = Compared.of(scans)
            images = {GIVEN: case.post}
            for name, result in results.items():
                images[name] = in_means(result.make(item.name, scans), case.unit)
            curves[item.name] = curves_of(case, images, scans["post"].grid.spacing_mm[::-1])
            print(item.name, flush=True)
        names = {GIVEN: GIVEN} | {name: result.name for name, result in results.items()}
        write_picture(chosen.out, figure_of(curves, names))
    except ContrastSynthError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def curves_of(
    case: Compared, images: dict[str, FloatArray], spacing_mm: tuple[float, ...]
) -> list[dict[str, Curve]]:
    """Return the mean errors of images (k, j, i) by depth, inside the uptake and outside of it.

    They are in means of the brain. Raises RequestError for a brain without any uptake.
    """
    if not case.uptake.any():
        raise RequestError("No voxel takes up agent: there is nothing to plot.")
    depth_mm = depth_below(case.brain, spacing_mm)
    places = (case.uptake, case.inside & ~case.uptake)
    return [
        {
            name: mean_by_depth(image - case.target, depth_mm, where)
            for name, image in images.items()
        }
        for where in places
    ]


def depth_below(brain: BoolArray, spacing_mm: tuple[float, ...]) -> FloatArray:
    """Return the distance in mm (k, j, i) to what is outside the brain; beyond the image is too."""
    padded = distance_transform_edt(np.pad(brain, 1), sampling=spacing_mm)
    return np.asarray(padded[1:-1, 1:-1, 1:-1], dtype=np.float32)


def mean_by_depth(error: FloatArray, depth_mm: FloatArray, where: BoolArray) -> Curve:
    """Return the mean of ``error`` in voxels ``where`` between EDGES_MM; nan for LEAST_VOXELS."""
    bins = np.digitize(depth_mm[where], EDGES_MM)
    count = np.bincount(bins, minlength=len(EDGES_MM) + 1)[1:-1]
    total = np.bincount(bins, error[where].astype(np.float64), len(EDGES_MM) + 1)[1:-1]
    return np.where(count >= LEAST_VOXELS, total / np.maximum(count, 1), np.nan)


def figure_of(curves: dict[str, list[dict[str, Curve]]], names: dict[str, str]) -> bytes:
    """Return a PNG: a column for each case, uptake above, the rest below."""
    figure_class, _ = load_matplotlib()
    width, height = INCHES
    figure = figure_class(
        figsize=(width * len(curves) + 0.6, 2 * height + 0.5), layout="constrained"
    )
    axes = figure.subplots(2, len(curves), sharex=True, sharey="row", squeeze=False)
    for column, (case, rows) in enumerate(curves.items()):
        axes[0, column].set_title(case, fontsize=9)
        axes[1, column].set_xlabel("depth below the surface (mm)", fontsize=8)
        for row, lines in enumerate(rows):
            draw(axes[row, column], lines, names)
    for row, where in enumerate(("in the uptake", "elsewhere")):
        axes[row, 0].set_ylabel(f"mean error {where}\n({UNIT})", fontsize=8)
    axes[0, 0].legend(fontsize=7, frameon=False)
    return figure_png(figure)


def draw(axes: Axes, lines: dict[str, Curve], names: dict[str, str]) -> None:
    """Draw the curves of one plot."""
    middle = np.sqrt(np.multiply(EDGES_MM[:-1], EDGES_MM[1:]))
    axes.axhline(0, color="0.8", linewidth=0.8)
    for name, curve in lines.items():
        axes.plot(middle, curve, marker=".", color=COLOURS[name], label=names[name])
    axes.set_xscale("log")
    axes.set_xticks([1, 2, 5, 10, 20], labels=["1", "2", "5", "10", "20"])
    axes.minorticks_off()
    axes.tick_params(labelsize=7)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_results(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.png", help="the plot")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
