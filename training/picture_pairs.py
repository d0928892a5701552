"""Draw pairs of scans with two results, before and after a change, and with their errors.

    python training/picture_pairs.py --cases PAIRS --case one two --out pictures \\
        --before "sphere 1.4=sphere" --after new=sphere:runs/real/best,three_directions=false

One PNG for each case: above, the slice with the most uptake, below, one near the top of the brain
through healthy surface. Side by side: the post scan, both results, the real pre scan in the
contrast and shading of the post scan, and what each result differs from it. All scans have one
grey window and all errors one scale, symmetric around 0, in means of the post scan's brain.

--before and --after are rows as for evaluate.py, or [NAME=]FOLDER with results that are there
already: FOLDER/CASE/pre.nrrd, as a run writes them, or FOLDER/CASE.nii.gz. Pictures of patients
may be shown only where the terms of their data allow it.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from data.matched import soft_uptake
from data.prepared_cases import SPLITS
from data.real_pairs import BRIGHT, lesions_of
from evaluation.cases import Item, Scans, items_in_folder, refuse_unknown
from evaluation.matched_pairs import MATCHED_PAIRS, Compared, in_means
from evaluation.rows import FORM, Row, synthesise
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ContrastSynthLib.errors import ContrastSynthError, RequestError
from ContrastSynthLib.files.images import read_volume
from ContrastSynthLib.files.writing import whole_or_nothing
from ContrastSynthLib.plots.figures import (
    BACKGROUND,
    DIFFERENCE_COLOURS,
    LETTER,
    TITLE,
    display_slice,
    figure_png,
    load_matplotlib,
)
from ContrastSynthLib.volumes import BoolArray, FloatArray, Volume, check_same_grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Place = NDArray[np.float64]
"""A RAS point in mm, (3,)."""
Box = tuple[float, float, float, float]
FILES = ("{case}/pre.nrrd", "{case}/pre.nii.gz", "{case}.nrrd", "{case}.nii.gz")
"""Where a result lies in a folder of results."""
NAMES = ("most uptake", "healthy surface")
"""Of the two slices."""
UNIT = "means of the brain"
DOTS_PER_INCH = 100
PANEL_PX, TOP_PX, GAP_PX, SIDE_PX, BAR_PX = 225, 38, 4, 22, 58
"""Width of a panel, height of the titles, gap, width of the slices' names, height of the bars."""
BAR_WIDTH_PX = 340
CHARACTERS, LINES = 30, 2
"""That a title may have, so that it stays above its panel."""
MARGIN = 4
"""Voxels shown around the brain."""
AWAY_MM, LEAST_AREA, LESIONS_COUNT = 15.0, 0.4, 10
"""Of the second slice: distance from the first, area of the brain, of the largest one, and how much
more a voxel of a lesion counts than one that takes up agent elsewhere."""
GREY_PERCENTILE, ERROR_PERCENTILE = 99.5, 99.0
ERROR_COLOURS = 128
"""Of the 256 colours of a file."""


@dataclass(frozen=True)
class Result:
    """One of the two results: a row, or a folder of results."""

    name: str
    source: Row | Path

    @classmethod
    def parse(cls, text: str) -> Result:
        """Return the result of a row, or of [NAME=]FOLDER. Raises RequestError for neither."""
        name, equals, path = text.partition("=")
        if equals and Path(path).is_dir():
            return cls(name, Path(path))
        if Path(text).is_dir():
            return cls(Path(text).resolve().name, Path(text))
        row = Row.parse(text, MATCHED_PAIRS)
        return cls(row.name, row)

    def make(self, case: str, scans: Scans) -> Volume:
        """Return the result of a case. Raises RequestError where it is not there."""
        if isinstance(self.source, Row):
            outputs = synthesise(self.source, MATCHED_PAIRS, scans, scans)
            if MATCHED_PAIRS.output not in outputs:
                raise RequestError(f"{self.name}: '{self.source.method}' makes no image to draw.")
            return outputs[MATCHED_PAIRS.output]
        paths = [self.source / form.format(case=case) for form in FILES]
        for path in paths:
            if path.is_file():
                found = read_volume(path)
                check_same_grid({"post": scans["post"], self.name: found})
                return found
        raise RequestError(f"{case}: there is none of {', '.join(map(str, paths))}.")


@dataclass(frozen=True)
class Panel:
    """An image (rows, columns) in means of the brain, its title and width to height of a pixel."""

    title: str
    image: NDArray[np.float32]
    error: bool
    aspect: float


def main(arguments: list[str] | None = None) -> int:
    """Draw each case that was asked for."""
    chosen = parse(arguments)
    try:
        results = [Result.parse(text) for text in (chosen.before, chosen.after)]
        for item in chosen_items(chosen.cases, chosen.case, chosen.split):
            scans = MATCHED_PAIRS.prepare(item.read())
            made = {result.name: result.make(item.name, scans) for result in results}
            if len(made) < len(results):
                raise RequestError(f"Both results are named '{results[0].name}'.")
            picture = small_png(figure_of(panels_of(scans, made)))
            with whole_or_nothing(chosen.out) as part:
                (part / f"{item.name}.png").write_bytes(picture)
            print(chosen.out / f"{item.name}.png")
    except ContrastSynthError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def chosen_items(folders: Sequence[Path], names: Sequence[str], split: str) -> list[Item]:
    """Return the cases with these names. Raises RequestError for one that is not there."""
    found = {item.name: item for folder in folders for item in items_in_folder(folder, split)}
    refuse_unknown(names, [*found.values()])
    return [found[name] for name in names]


def panels_of(scans: Scans, made: dict[str, Volume]) -> list[list[Panel]]:
    """Return the panels of a case, a list for each slice; ``made`` are results by name."""
    case = Compared.of(scans)
    grid = scans["post"].grid
    results = {name: in_means(volume, case.unit) for name, volume in made.items()}
    images = {"post scan": case.post}
    images |= {f"synthetic: {name}": image for name, image in results.items()}
    images["real pre scan, matched"] = case.target
    errors = {f"error of {name}": image - case.target for name, image in results.items()}
    every = [(title, image, False) for title, image in images.items()]
    every += [(title, image, True) for title, image in errors.items()]

    def panel(title: str, image: FloatArray, error: bool, place: Place) -> Panel:
        shown, extent = display_slice(Volume(image * case.brain, grid), "axial", place.tolist())
        left, right, bottom, top = extent
        width, height = abs(right - left) / shown.shape[1], abs(top - bottom) / shown.shape[0]
        return Panel(title, shown, error, height / width)

    places = slices_to_show(case, scans["post"])
    return cut([[panel(*each, place) for each in every] for place in places])


def slices_to_show(case: Compared, post: Volume) -> list[Place]:
    """Return a RAS point, in mm, in the axial slice with the most uptake and in a healthy one.

    The uptake of lesions counts where there are any. The second slice lies in the upper half of
    the brain and has the smallest share of lesions and uptake, of those of some size that are not
    near the first.
    """
    grid = post.grid
    towards = grid.index_to_ras[2, :3]
    axis = 2 - int(np.abs(towards).argmax())
    others = tuple(other for other in range(3) if other != axis)
    lesions, bright = lesions_in(case), case.uptake & (case.post > BRIGHT)
    uptake, ill, area = (m.sum(axis=others) for m in (case.uptake, lesions, case.inside))
    found = next((mask for mask in (case.uptake & lesions, bright) if mask.any()), case.inside)
    first = int(found.sum(axis=others).argmax())
    numbers = np.arange(len(area))
    height = numbers * np.sign(towards[2 - axis])
    allowed = (height > np.average(height, weights=area)) & (area >= LEAST_AREA * area.max())
    away = allowed & (np.abs(numbers - first) * grid.spacing_mm[2 - axis] >= AWAY_MM)
    share = (uptake + LESIONS_COUNT * ill) / np.maximum(area, 1)
    second = int(np.where(away if away.any() else allowed, share, np.inf).argmin())
    centre = (np.array(post.array.shape) - 1) / 2
    points = []
    for number in (first, second):
        centre[axis] = number
        points.append(grid.ras_from_index(centre.copy()))
    return points


def lesions_in(case: Compared) -> BoolArray:
    """Return the enhancing lesions (k, j, i) with what surrounds them."""
    label = soft_uptake((case.post - case.target) * case.brain, case.span) * case.brain
    return np.asarray(lesions_of(label, case.post, case.brain) > 0.5)


def cut(rows: list[list[Panel]]) -> list[list[Panel]]:
    """Return the panels without what lies around the brain in all of them."""
    seen = np.any([panel.image != 0 for row in rows for panel in row], axis=0)
    box = tuple(
        slice(max(int(found[0]) - MARGIN, 0), int(found[-1]) + 1 + MARGIN)
        for found in (np.flatnonzero(seen.any(axis=other)) for other in (1, 0))
    )
    return [[replace(panel, image=panel.image[box]) for panel in row] for row in rows]


@dataclass(frozen=True)
class Page:
    """Where things lie on a figure of ``columns`` x ``rows`` panels, in pixels from the upper left;
    ``tall`` is the height of a panel."""

    columns: int
    rows: int
    tall: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        width = SIDE_PX + self.columns * (PANEL_PX + GAP_PX)
        return width, self.bars + BAR_PX

    @property
    def bars(self) -> int:
        """Where the colour bars begin."""
        return self.top(self.rows)

    def left(self, column: int) -> int:
        """Return where a column begins."""
        return SIDE_PX + column * (PANEL_PX + GAP_PX)

    def top(self, row: int) -> int:
        """Return where a row begins."""
        return TOP_PX + row * (self.tall + GAP_PX)

    def box(self, left: float, top: float, width: float, height: float) -> Box:
        """Return a place in shares of the figure from the lower left, as matplotlib wants it."""
        wide, high = self.size
        return left / wide, 1 - (top + height) / high, width / wide, height / high


def figure_of(rows: list[list[Panel]]) -> Figure:
    """Return the figure of the panels, a row for each slice, with both colour bars below."""
    figure_class, _ = load_matplotlib()
    one, count = rows[0][0], len(rows[0])
    tall = round(PANEL_PX * one.aspect * one.image.shape[0] / one.image.shape[1])
    page = Page(count, len(rows), tall)
    wide, high = (pixels / DOTS_PER_INCH for pixels in page.size)
    figure = figure_class(figsize=(wide, high), dpi=DOTS_PER_INCH, facecolor=BACKGROUND)
    windows, drawn = {error: window_of(rows, error=error) for error in (False, True)}, {}
    for number, row in enumerate(rows):
        for column, panel in enumerate(row):
            box = page.box(page.left(column), page.top(number), PANEL_PX, tall)
            window = windows[panel.error]
            drawn[panel.error] = draw(figure.add_axes(box), panel, window, titled=number == 0)
        left, bottom, width, height = page.box(0, page.top(number), SIDE_PX, tall)
        style: dict[str, Any] = {"ha": "center", "va": "center", "rotation": 90, "fontsize": 9}
        place = (left + width / 2, bottom + height / 2)
        figure.text(*place, NAMES[number], color=LETTER, **style)
    scans = sum(not panel.error for panel in rows[0])
    for error, first, end in ((False, 0, scans), (True, scans, count)):
        middle = (page.left(first) + page.left(end)) / 2
        bar = page.box(middle - BAR_WIDTH_PX / 2, page.bars + 8, BAR_WIDTH_PX, 10)
        label = "result - real pre scan" if error else "intensity"
        bar_below(figure, drawn[error], figure.add_axes(bar), f"{label} ({UNIT})", both=error)
    return figure


def window_of(rows: list[list[Panel]], *, error: bool) -> tuple[float, float]:
    """Return the window of all scans, from 0, or of all errors, symmetric around 0."""
    shown = np.concatenate(
        [np.abs(p.image.ravel()) for row in rows for p in row if p.error is error]
    )
    shown = shown[shown > 0]
    percentile = ERROR_PERCENTILE if error else GREY_PERCENTILE
    top = float(np.percentile(shown, percentile)) if shown.size else 1.0
    top = max(np.ceil(top * 20) / 20, 0.05)
    return (-top, top) if error else (0.0, top)


def draw(axes: Axes, panel: Panel, window: tuple[float, float], *, titled: bool) -> Any:
    """Draw a panel and return its image."""
    _, colours = load_matplotlib()
    axes.set_axis_off()
    if titled:
        lines = textwrap.wrap(panel.title, CHARACTERS, max_lines=LINES, placeholder=" ...")
        axes.set_title("\n".join(lines), color=TITLE, fontsize=9, pad=4)
    look = colours.from_list("error", DIFFERENCE_COLOURS) if panel.error else "gray"
    style: dict[str, Any] = {"interpolation": "bilinear", "aspect": "auto"}
    return axes.imshow(panel.image, cmap=look, vmin=window[0], vmax=window[1], **style)


def bar_below(figure: Figure, image: Any, place: Axes, label: str, *, both: bool) -> None:
    """Draw a colour bar; its pointed ends say that some values lie beyond."""
    bar = figure.colorbar(
        image, cax=place, orientation="horizontal", extend="both" if both else "max"
    )
    bar.ax.tick_params(colors=LETTER, labelsize=8, length=2)
    bar.outline.set_visible(False)
    bar.set_label(label, color=LETTER, fontsize=9, labelpad=2)


def small_png(figure: Figure) -> bytes:
    """Return a figure as a PNG file of 256 colours: greys, and those of the errors."""
    from PIL import Image

    _, colours = load_matplotlib()
    greys = np.repeat(np.linspace(0, 255, 256 - ERROR_COLOURS)[:, None], 3, axis=1)
    scale = colours.from_list("error", DIFFERENCE_COLOURS)(np.linspace(0, 1, ERROR_COLOURS))
    palette = np.rint(np.vstack([greys, 255 * scale[:, :3]]))
    png = BytesIO(figure_png(figure, DOTS_PER_INCH))
    pixels = np.asarray(Image.open(png).convert("RGB"))
    nearest = cKDTree(palette).query(pixels)[1].astype(np.uint8)
    picture = Image.fromarray(nearest)
    picture.putpalette(palette.astype(np.uint8).tobytes())
    stream = BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_results(parser)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="for the pictures"
    )
    return parser.parse_args(arguments)


def add_results(parser: argparse.ArgumentParser) -> None:
    """Declare the options that name the cases and the two results."""
    add = parser.add_argument
    add("--cases", type=Path, nargs="+", required=True, metavar="FOLDER", help="pairs of scans")
    add("--case", nargs="+", required=True, metavar="NAME", help="these cases")
    add("--split", default="test", choices=SPLITS, help="of a prepared folder")
    form = f"{FORM} or [NAME=]FOLDER"
    add("--before", required=True, metavar="RESULT", help=form)
    add("--after", required=True, metavar="RESULT", help=form)


if __name__ == "__main__":
    sys.exit(main())
