"""Figures of slices in radiological convention, and plots of line profiles.

matplotlib is imported only when a figure is made. pyplot is not used, so no display is needed and
no figure stays in memory.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ContrastSynthLib.analysis.profiles import Profile
from ContrastSynthLib.errors import MissingError, RequestError, unknown_name
from ContrastSynthLib.volumes import Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

Extent = tuple[float, float, float, float]

# For each plane: the axis of the stack, and the directions at the left and at the top of the
# figure. The patient's right is on the left: the view is from the feet, or from the front.
PLANES = {"axial": "SRA", "coronal": "ARS", "sagittal": "RAS"}
OPPOSITE = {"R": "L", "A": "P", "S": "I"}

BACKGROUND = "#000000"
TITLE = "#f2f2f2"
LETTER = "#9aa4ad"
TAG = "#ffc857"
UPTAKE = "#ff8c42"
# Negative differences are blue, positive ones orange, and 0 is black like the background.
DIFFERENCE_COLOURS = ("#bfe9ff", "#3fa7d6", "#14506e", "#000000", "#7a3b12", "#f08a3c", "#ffe3c2")
# Distinguishable with colour vision deficiency (Okabe and Ito); black is for the reference.
LINE_COLOURS = ("#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")

PANEL_INCHES = 3.1
WINDOW_PERCENTILE = 99.5
"""Percentile of the signal at the upper end of the window."""
MARGIN_MM = 10.0
"""Margin around the signal of the slices."""


@dataclass(frozen=True)
class Panel:
    """One image of a :func:`slice_figure`.

    ``image`` (rows, columns) and ``extent`` come from :func:`display_slice`. It is shown in grey,
    or with ``difference`` in colours around 0, with a colour bar in ``unit``. ``uptake``, in [0, 1]
    and of the same shape, is an overlay with a contour at 0.5. ``window`` (low, high) replaces the
    window that all panels of a kind share. ``tag`` is written into the corner.
    """

    title: str
    image: NDArray[Any]
    extent: Extent
    difference: bool = False
    uptake: NDArray[Any] | None = None
    window: tuple[float, float] | None = None
    unit: str = ""
    tag: str = ""


def display_slice(
    volume: Volume, plane: str = "axial", at_ras_mm: Sequence[float] | None = None
) -> tuple[NDArray[np.float32], Extent]:
    """Return the slice through a RAS point as an image, and its extent in millimetres.

    The image (rows, columns) has the first row on top and is in radiological convention: axial with
    right on the left and anterior on top, coronal with right on the left and superior on top,
    sagittal with anterior on the left and superior on top. For an oblique grid it is the slice of
    the array that is nearest to the plane. The extent is (left, right, bottom, top) in RAS mm along
    these directions, as for ``matplotlib.imshow``. ``at_ras_mm`` defaults to the volume's centre.
    Raises RequestError for an unknown plane and a point outside the volume.
    """
    if plane not in PLANES:
        raise unknown_name("plane", plane, PLANES)
    grid = volume.grid
    shape = np.array(grid.shape)
    middle = (shape - 1) / 2
    chosen = middle if at_ras_mm is None else grid.index_from_ras(at_ras_mm)
    index = np.rint(chosen).astype(int)
    if (index < 0).any() or (index >= shape).any():
        raise RequestError(f"The point {at_ras_mm} mm (R, A, S) lies outside the volume.")
    axes, signs = _anatomical_axes(volume)
    stack, across, down = ("RAS".index(letter) for letter in PLANES[plane])
    picture = np.take(volume.array, index[axes[stack]], axis=axes[stack])
    if axes[across] < axes[down]:
        picture = picture.T
    picture = picture[:: -signs[down], :: -signs[across]]

    middle[axes[stack]] = index[axes[stack]]
    middle_ras = grid.ras_from_index(middle)
    spacing_kji = grid.spacing_mm[::-1]
    half = [shape[axes[a]] * spacing_kji[axes[a]] / 2 for a in (across, down)]
    left, right = middle_ras[across] + half[0], middle_ras[across] - half[0]
    top, bottom = middle_ras[down] + half[1], middle_ras[down] - half[1]
    return picture, (float(left), float(right), float(bottom), float(top))


def choose_slice(mask: Volume, plane: str = "axial") -> tuple[float, float, float]:
    """Return a RAS point, in mm, in the slice of ``plane`` with the largest part of ``mask``.

    It is the centroid of the mask in that slice, for :func:`display_slice`. The mask is binary or
    has values from 0 to 1. Raises RequestError when it is empty and for an unknown plane.
    """
    if plane not in PLANES:
        raise unknown_name("plane", plane, PLANES)
    weight = np.clip(mask.array, 0, None).astype(np.float64)
    if not weight.any():
        raise RequestError("The mask is empty: no slice contains a part of it.")
    axis = _anatomical_axes(mask)[0]["RAS".index(PLANES[plane][0])]
    others = tuple(other for other in range(3) if other != axis)
    best = int(weight.sum(axis=others).argmax())
    in_slice = np.take(weight, [best], axis=axis)
    kji = [float((in_slice * n).sum() / in_slice.sum()) for n in np.indices(in_slice.shape)]
    kji[axis] = best
    right, anterior, superior = mask.grid.ras_from_index(kji).tolist()
    return (right, anterior, superior)


def slice_figure(panels: Sequence[Panel], plane: str = "axial", columns: int = 4) -> Figure:
    """Return a figure with panels in rows of up to ``columns``, on black.

    All grey panels share a window from 0 to a high percentile of their signal, and all differences
    one that is symmetric around 0. Borders without signal are cut off. ``plane`` determines the
    letters of orientation. Raises RequestError without panels and for an unknown plane, and
    MissingError without matplotlib.
    """
    if not panels:
        raise RequestError("There is nothing to show: give at least one panel.")
    if plane not in PLANES:
        raise unknown_name("plane", plane, PLANES)
    figure_class, _ = load_matplotlib()
    left, right, bottom, top = _view(panels)
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    width = PANEL_INCHES
    title, bar = 0.32, (0.55 if any(panel.difference for panel in panels) else 0.08)
    height = width * abs(top - bottom) / abs(right - left)
    cell = title + height + bar
    figure = figure_class(figsize=(columns * width, rows * cell), facecolor=BACKGROUND)
    windows = {kind: _window(panels, difference=kind) for kind in (False, True)}
    for number, panel in enumerate(panels):
        row, column = divmod(number, columns)
        from_bottom = 1 - (row * cell + title + height) / (rows * cell)
        gap = 0.006
        axes = figure.add_axes(
            (column / columns + gap, from_bottom, 1 / columns - 2 * gap, height / (rows * cell))
        )
        _draw(axes, panel, panel.window or windows[panel.difference])
        axes.set_xlim(left, right)
        axes.set_ylim(bottom, top)
        _letters(axes, plane)
    return figure


def plot_profiles(profiles: Mapping[str, Profile], unit: str = "a.u.") -> Figure:
    """Return a plot of intensities along a line; the first profile, in black, is the reference.

    Raises RequestError without a profile, and MissingError without matplotlib.
    """
    if not profiles:
        raise RequestError("There is nothing to plot: give at least one profile.")
    figure_class, _ = load_matplotlib()
    figure = figure_class(figsize=(7.2, 3.2), facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    for number, (name, profile) in enumerate(profiles.items()):
        axes.plot(
            profile.distance_mm,
            profile.values,
            color=LINE_COLOURS[number % len(LINE_COLOURS)],
            linewidth=1.8 if number == 0 else 1.4,
            label=name,
        )
    axes.set_xlabel("Distance along the line (mm)")
    axes.set_ylabel(f"Intensity ({unit})")
    axes.margins(x=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e3e6e8", linewidth=0.8)
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper left", ncols=4, frameon=False)
    return figure


def figure_png(figure: Figure, dots_per_inch: int = 150) -> bytes:
    """Return a figure as the content of a PNG file."""
    stream = io.BytesIO()
    figure.savefig(
        stream,
        format="png",
        dpi=dots_per_inch,
        facecolor=figure.get_facecolor(),
        metadata={"Software": "ContrastSynth"},
    )
    return stream.getvalue()


def load_matplotlib() -> tuple[type[Figure], type[LinearSegmentedColormap]]:
    """Return matplotlib's classes of figures and colour maps; MissingError without matplotlib."""
    try:
        from matplotlib.colors import LinearSegmentedColormap
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingError(
            'Figures need matplotlib. Install it with: pip install "matplotlib>=3.9"'
        ) from error
    return Figure, LinearSegmentedColormap


def _anatomical_axes(volume: Volume) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the array axes nearest to R, A and S, and their signs: +1 towards, -1 away.

    All three are chosen together; otherwise two directions could get the same axis on a grid
    rotated by 45 degrees.
    """
    towards = (volume.grid.index_to_ras[:3, :3] / volume.grid.spacing_mm)[:, ::-1]
    best = max(permutations(range(3)), key=lambda axes: sum(abs(towards[range(3), axes])))
    return best, tuple(1 if towards[ras, axis] > 0 else -1 for ras, axis in enumerate(best))


def _window(panels: Sequence[Panel], *, difference: bool) -> tuple[float, float]:
    values = [panel.image.ravel() for panel in panels if panel.difference is difference]
    if not values:
        return (0.0, 1.0)
    shown = np.concatenate(values)
    if difference:
        shown = np.abs(shown)
    signal = shown[shown > 0]
    top = float(np.percentile(signal, WINDOW_PERCENTILE)) if signal.size else 1.0
    return (-top, top) if difference else (0.0, top)


def _view(panels: Sequence[Panel]) -> Extent:
    """Return the extent that contains the signal of all grey panels, with a margin, in mm."""
    boxes = []
    top_value = _window(panels, difference=False)[1]
    for panel in panels:
        found = np.abs(panel.image) > 0.05 * (panel.window[1] if panel.window else top_value)
        x, y = _centres(panel)
        if panel.difference or not found.any():
            continue
        x, y = x[found.any(axis=0)], y[found.any(axis=1)]
        boxes.append((x[0] + MARGIN_MM, x[-1] - MARGIN_MM, y[-1] - MARGIN_MM, y[0] + MARGIN_MM))
    if not boxes:
        return panels[0].extent
    left, right, bottom, top = zip(*boxes, strict=True)
    return (max(left), min(right), min(bottom), max(top))


def _centres(panel: Panel) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the centres of the columns and of the rows of a panel, in mm."""
    left, right, bottom, top = panel.extent
    rows, columns = panel.image.shape
    across = (np.arange(columns) + 0.5) / columns
    down = (np.arange(rows) + 0.5) / rows
    return left + across * (right - left), top + down * (bottom - top)


def _draw(axes: Axes, panel: Panel, window: tuple[float, float]) -> None:
    axes.set_axis_off()
    axes.set_title(panel.title, color=TITLE, fontsize=10, pad=6)
    look: dict[str, Any] = {"extent": panel.extent, "interpolation": "bilinear"}
    _, colours = load_matplotlib()
    if panel.difference:
        look["cmap"] = colours.from_list("difference", DIFFERENCE_COLOURS)
    else:
        look["cmap"] = "gray"
    picture = axes.imshow(panel.image, vmin=window[0], vmax=window[1], **look)
    if panel.difference:
        place = axes.inset_axes((0.15, -0.075, 0.7, 0.028))
        bar = axes.figure.colorbar(picture, cax=place, orientation="horizontal")
        bar.ax.tick_params(colors=LETTER, labelsize=8, length=2)
        bar.outline.set_visible(False)
        bar.set_label(panel.unit, color=LETTER, fontsize=8, labelpad=2)
    if panel.uptake is not None:
        fill = colours.from_list("uptake", [(UPTAKE, 0.0), (UPTAKE, 0.4)])
        axes.imshow(panel.uptake, vmin=0, vmax=1, **(look | {"cmap": fill}))
        if panel.uptake.min() < 0.5 <= panel.uptake.max():
            x, y = _centres(panel)
            axes.contour(x, y, panel.uptake, levels=[0.5], colors=[UPTAKE], linewidths=0.7)
    if panel.tag:
        axes.text(0.03, 0.97, panel.tag, color=TAG, fontsize=8, va="top", transform=axes.transAxes)


def _letters(axes: Axes, plane: str) -> None:
    left, top = PLANES[plane][1], PLANES[plane][2]
    places = {
        left: (0.02, 0.5, "left", "center"),
        OPPOSITE[left]: (0.98, 0.5, "right", "center"),
        top: (0.5, 0.98, "center", "top"),
        OPPOSITE[top]: (0.5, 0.02, "center", "bottom"),
    }
    for letter, (x, y, across, down) in places.items():
        style: dict[str, Any] = {"ha": across, "va": down, "color": LETTER, "fontsize": 9}
        axes.text(x, y, letter, transform=axes.transAxes, **style)
