"""Draw the rows of a table side by side: a slice of each case, as the figures of the papers do.

    python training/picture_rows.py --cases PAIRS --case one two --slab 8 --table lip_car_3 \\
        --row NN-L2H=direct_low_to_full,network=l2h --row LIP-H2L-TV=lip_car,forward=h2l,prior=tv \\
        --out figure_4.png
    python training/picture_rows.py --virtual same --patients 1 --slab 4 --added-noise 0 0.044 \\
        --table lip_car_stability --below zoom --out figure_8.png
    python training/picture_rows.py --virtual same --patients 2 --table sphere_real \\
        --row sphere=sphere@fast --row nothing=nothing --below spectrum --out noise.png

Table, rows and cases are given as to ``evaluate.py``. A line is a case, or a case at one
``--added-noise``: what was given, each row, and the truth, in the axial slice with the most uptake.
``--below`` adds a line under each: ``error``, what a row differs from the truth by; ``zoom``, the
part of the slice about its largest uptake; ``spectrum``, the noise power spectrum of that
difference over all slices (SPHERE, figure 5), on a logarithmic scale of four decades. The images of
a case have one grey window, its errors and its spectra one scale; in the tables that compare scans
in medians of the brain they are divided by these. Pictures of patients may be shown only where the
terms of their data allow it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from evaluate import add_cases_and_rows, asked_for
from evaluation.cases import Scans
from evaluation.matched_pairs import TARGET
from evaluation.post_to_pre import POST_TO_PRE, POST_TO_TARGET
from evaluation.rows import Row, synthesise
from evaluation.task import Task
from numpy.typing import NDArray
from scipy import ndimage

from ContrastSynthLib.errors import ContrastSynthError, RequestError
from ContrastSynthLib.files.writing import whole_or_nothing
from ContrastSynthLib.metrics.noise import nps
from ContrastSynthLib.plots.figures import (
    BACKGROUND,
    DIFFERENCE_COLOURS,
    LETTER,
    TITLE,
    display_slice,
    figure_png,
    load_matplotlib,
)
from ContrastSynthLib.preprocessing.normalisation import fit
from ContrastSynthLib.volumes import FloatArray, Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Image = NDArray[np.float32]
Part = tuple[slice, slice]
"""Rows and columns of an image."""
GIVEN = {"pre": "post", "post": "low", "low": "post"}
"""What is shown as given, by what is made."""
TRUTH, WHITE_PERCENTILE = "truth", 99.5
DECADES = 4
PANEL_INCHES, TOP_INCHES = 1.9, 0.35
MARGIN, ZOOM = 3, 24
"""Pixels around the brain, and about half of the zoomed part."""


@dataclass(frozen=True)
class Line:
    """Images (rows, columns) by title, with one window and colours; None leaves a place empty."""

    name: str
    images: Mapping[str, Image | None]
    window: tuple[float, float]
    colours: str = "gray"

    @property
    def drawn(self) -> list[tuple[str, Image]]:
        """The images that are there, with their titles."""
        return [(title, image) for title, image in self.images.items() if image is not None]


def main(arguments: list[str] | None = None) -> int:
    """Draw all cases that were asked for in one figure."""
    chosen = parse(arguments)
    try:
        task, rows, _, items = asked_for(chosen)
        lines: list[Line] = []
        for item in items:
            clean = task.prepare(item.read())
            for sigma in chosen.added_noise:
                name = f"{item.name}, noise {sigma:g}" if len(chosen.added_noise) > 1 else item.name
                lines += lines_of(name, task, rows, clean, sigma, chosen.below)
                print(name, file=sys.stderr, flush=True)
        write_picture(chosen.out, figure_png(figure_of(lines)))
    except ContrastSynthError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


@dataclass(frozen=True)
class View:
    """One axial slice of a case, cut to the brain."""

    scans: Scans
    place: int

    @classmethod
    def with_most_uptake(cls, scans: Scans, task: Task) -> View:
        """Return the slice with the most uptake."""
        return cls(scans, int(task.uptake(scans).sum(axis=(1, 2)).argmax()))

    def image(self, volume: Volume) -> Image:
        """Return the brain in the slice, right on the left and anterior on top."""
        brain = self.scans.brain
        inside = self._displayed(volume, volume.array * brain)
        return inside[about(self._displayed(volume, brain))]

    def _displayed(self, volume: Volume, array: NDArray[Any]) -> Image:
        return axial_slice(
            volume.with_array(array.astype(np.float32), volume.synthetic), self.place
        )


def axial_slice(volume: Volume, place: int) -> Image:
    """Return slice ``place`` of a volume, right on the left and anterior on top."""
    middle = (np.array(volume.array.shape) - 1) / 2
    middle[0] = place
    at = volume.grid.ras_from_index(middle).tolist()
    return display_slice(volume, "axial", at)[0]


def about(mask: Image) -> Part:
    """Return the rows and columns of what is not 0 in an image, with a MARGIN."""
    ends = [np.flatnonzero(mask.any(axis=axis))[[0, -1]] for axis in (1, 0)]
    rows, columns = (slice(max(a - MARGIN, 0), b + 1 + MARGIN) for a, b in ends)
    return rows, columns


def around_centre(mask: NDArray[Any], half: int) -> Part:
    """Return ``half`` a width of rows and columns on each side of the centre of a mask."""
    row, column = (int(number) for number in ndimage.center_of_mass(mask))
    return slice(max(row - half, 0), row + half), slice(max(column - half, 0), column + half)


def lines_of(
    name: str, task: Task, rows: Sequence[Row], clean: Scans, sigma: float, below: str | None
) -> list[Line]:
    """Return the line of a case with added noise, and the one below it where that is asked for."""
    given = task.with_noise(clean, sigma)
    made = {row.name: _made(row, task, given, clean) for row in rows}
    truth = clean[TARGET] if TARGET in clean.scans else clean[task.output]
    role = GIVEN[task.output] if GIVEN[task.output] in given.scans else "pre"
    volumes = {f"given: {role}": given[role], **made, TRUTH: truth}
    if task in (POST_TO_PRE, POST_TO_TARGET):
        volumes = {title: in_medians(volume, clean) for title, volume in volumes.items()}
    view = View.with_most_uptake(clean, task)
    images = {title: view.image(volume) for title, volume in volumes.items()}
    white = float(np.percentile(images[TRUTH][images[TRUTH] > 0], WHITE_PERCENTILE))
    lines = [Line(name, images, (0.0, white))]
    if below:
        errors = {row.name: volumes[row.name].array - volumes[TRUTH].array for row in rows}
        lines.append(BELOW[below](lines[0], errors, task, view))
    return lines


def _made(row: Row, task: Task, given: Scans, clean: Scans) -> Volume:
    outputs = synthesise(row, task, given, clean)
    if task.output not in outputs:
        raise RequestError(f"{row.name}: '{row.method}' makes no image to draw.")
    return outputs[task.output]


def in_medians(volume: Volume, scans: Scans) -> Volume:
    """Return a scan in medians of its brain."""
    scaled = fit("median", volume.array, scans.brain).apply(volume.array)
    return volume.with_array(scaled, volume.synthetic)


# ---- what may be below

Errors = Mapping[str, FloatArray]
"""What each row differs from the truth by (k, j, i)."""


def _error(line: Line, errors: Errors, task: Task, view: View) -> Line:
    """Return the errors of each row, symmetric around 0."""
    truth, top = line.images[TRUTH], line.window[1] / 3
    images = {title: image - truth if title in errors else None for title, image in line.drawn}
    return Line("error", images, (-top, top), "error")


def _zoom(line: Line, errors: Errors, task: Task, view: View) -> Line:
    """Return the part of each image about the largest region that takes up agent."""
    scan = view.scans[task.output]
    uptake = task.uptake(view.scans).astype(np.float32)
    labels, count = ndimage.label(view.image(scan.with_array(uptake, scan.synthetic)) > 0)
    if not count:
        raise RequestError(f"{line.name}: no voxel takes up agent, so there is nothing to zoom at.")
    largest = labels == 1 + np.bincount(labels.ravel())[1:].argmax()
    part = around_centre(largest, ZOOM)
    return Line("zoom", {title: image[part] for title, image in line.drawn}, line.window)


def _spectrum(line: Line, errors: Errors, task: Task, view: View) -> Line:
    """Return the noise power spectra of the rows' errors, in decades below the highest of all."""
    spacing = view.scans[task.output].grid.spacing_mm
    powers = {
        title: nps(error, spacing_mm=spacing, mask=view.scans.brain).map
        for title, error in errors.items()
    }
    top = max(float(power.max()) for power in powers.values())
    decades = {
        title: np.log10(np.maximum(power / top, 10.0**-DECADES)).astype(np.float32)
        for title, power in powers.items()
    }
    images = {title: decades.get(title) for title in line.images}
    return Line("noise power", images, (-DECADES, 0.0), "magma")


BELOW: dict[str, Callable[..., Line]] = {"error": _error, "zoom": _zoom, "spectrum": _spectrum}


# ---- the figure


def write_picture(path: Path, png: bytes) -> None:
    """Write a picture whole or not at all. Raises RequestError where that fails."""
    with whole_or_nothing(path.parent) as part:
        (part / path.name).write_bytes(png)


def figure_of(lines: Sequence[Line]) -> Figure:
    """Return the figure, a row of panels for each line."""
    figure_class, _ = load_matplotlib()
    titles = list(lines[0].images)
    shapes = [line.drawn[0][1].shape for line in lines]
    heights = [PANEL_INCHES * rows / columns for rows, columns in shapes]
    size = (PANEL_INCHES * len(titles) + 0.3, sum(heights) + TOP_INCHES)
    figure = figure_class(figsize=size, facecolor=BACKGROUND, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    axes = figure.subplots(len(lines), len(titles), squeeze=False, height_ratios=heights)
    for number, line in enumerate(lines):
        for panel, title in zip(axes[number], titles, strict=True):
            draw(panel, line, line.images[title])
        axes[number, 0].set_ylabel(line.name, color=LETTER, fontsize=7)
    for panel, title in zip(axes[0], titles, strict=True):
        panel.set_title(title, color=TITLE, fontsize=8, pad=3)
    return figure


def draw(axes: Axes, line: Line, image: Image | None) -> None:
    """Draw an image of a line, or nothing."""
    _, colours = load_matplotlib()
    axes.set(xticks=[], yticks=[], facecolor=BACKGROUND)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if image is not None:
        difference = line.colours == "error"
        look = colours.from_list("error", DIFFERENCE_COLOURS) if difference else line.colours
        axes.imshow(image, cmap=look, vmin=line.window[0], vmax=line.window[1], aspect="auto")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_cases_and_rows(parser)
    add = parser.add_argument
    add("--added-noise", type=float, nargs="+", default=[0.0], metavar="SIGMA", help="a line each")
    add("--below", choices=tuple(BELOW), help="what is drawn under each line")
    add("--out", type=Path, required=True, metavar="FILE.png", help="the figure")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
