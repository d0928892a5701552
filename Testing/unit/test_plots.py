"""Pictures: the right side on the right side, on whatever grid, and PNG files at the end."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from ContrastSynthLib.analysis.profiles import Profile
from ContrastSynthLib.errors import MissingError, RequestError
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.plots import figures as plots
from ContrastSynthLib.plots.figures import (
    Panel,
    choose_slice,
    display_slice,
    figure_png,
    plot_profiles,
    slice_figure,
)
from ContrastSynthLib.volumes import Volume

RADIUS_MM = 6.0
# A head of 60 x 80 x 50 mm with three marks, in RAS millimetres: all at different distances.
MARKS = {"R": (24.0, 0.0, 0.0), "A": (0.0, 32.0, 0.0), "S": (0.0, 0.0, 18.0)}
BRIGHTNESS = {"R": 100.0, "A": 200.0, "S": 300.0}


def head(spacing, rotation=None, order=(0, 1, 2), flips=(1, 1, 1)) -> Volume:
    """Store the marked head on a grid whose i, j, k are LPS axes ``order`` times ``flips``."""
    direction = np.eye(3) if rotation is None else rotation.as_matrix()
    direction = direction[:, list(order)] * np.asarray(flips)
    size = [int(np.ceil((96, 96, 72)[axis] / mm)) for axis, mm in zip(order, spacing, strict=True)]
    origin = -direction @ (np.asarray(spacing) * (np.array(size) - 1) / 2)
    grid = Grid(tuple(size), tuple(spacing), tuple(origin), tuple(direction.ravel()))
    k, j, i = np.indices(grid.shape)
    lps = np.einsum("ab,bkji->akji", grid.index_to_lps[:3, :3], np.stack([i, j, k]))
    lps = lps + np.reshape(grid.origin_mm, (3, 1, 1, 1))
    ras = np.moveaxis(lps * np.reshape([-1, -1, 1], (3, 1, 1, 1)), 0, -1)
    array = np.where((np.abs(ras) < [30, 40, 25]).all(-1), 20.0, 0.0)
    for name, centre in MARKS.items():
        array[np.linalg.norm(ras - centre, axis=-1) < RADIUS_MM] = BRIGHTNESS[name]
    return Volume(array.astype(np.float32), grid)


def place(picture, extent, mark):
    """Return where a mark lies: its share from left and top, and its place in mm."""
    rows, columns = np.nonzero(picture == BRIGHTNESS[mark])
    x, y = (columns.mean() + 0.5) / picture.shape[1], (rows.mean() + 0.5) / picture.shape[0]
    left, right, bottom, top = extent
    return x, y, left + x * (right - left), top + y * (bottom - top)


TILT = Rotation.from_euler("xyz", [9, -7, 12], degrees=True)
STORED = {
    "LPS": {"spacing": (1.0, 1.0, 1.0)},
    "RAS, anisotropic": {"spacing": (1.0, 2.0, 3.0), "flips": (-1, -1, 1)},
    "upside down": {"spacing": (2.0, 2.0, 2.0), "flips": (1, 1, -1)},
    "sagittal acquisition": {"spacing": (1.0, 1.5, 3.0), "order": (1, 2, 0), "flips": (1, -1, 1)},
    "coronal acquisition": {"spacing": (1.5, 1.0, 2.0), "order": (0, 2, 1), "flips": (1, -1, -1)},
    "oblique": {"spacing": (1.0, 1.0, 2.5), "rotation": TILT},
    "oblique, turned": {
        "spacing": (1.0, 1.2, 2.0),
        "rotation": TILT,
        "order": (2, 0, 1),
        "flips": (-1, 1, -1),
    },
}


@pytest.mark.parametrize("name", STORED)
def test_radiological_convention_on_every_grid(name):
    volume = head(**STORED[name])
    tolerance_mm = 3.5 if "rotation" in STORED[name] else 1.5
    tilt_mm = 10.0 if "rotation" in STORED[name] else 0.0

    axial, extent = display_slice(volume, "axial", MARKS["R"])
    x, y, right, anterior = place(axial, extent, "R")
    assert x < 0.4, "the patient's right is on the left of the picture"
    assert right == pytest.approx(24, abs=tolerance_mm)
    assert anterior == pytest.approx(0, abs=tolerance_mm + tilt_mm)
    x, y, _, anterior = place(*display_slice(volume, "axial", MARKS["A"]), "A")
    assert y < 0.4, "anterior is up"
    assert anterior == pytest.approx(32, abs=tolerance_mm)

    x, _, right, _ = place(*display_slice(volume, "coronal", MARKS["R"]), "R")
    assert x < 0.4
    _, y, _, superior = place(*display_slice(volume, "coronal", MARKS["S"]), "S")
    assert y < 0.4, "superior is up"
    assert superior == pytest.approx(18, abs=tolerance_mm)

    x, _, anterior, _ = place(*display_slice(volume, "sagittal", MARKS["A"]), "A")
    assert x < 0.4, "anterior is on the left"
    assert anterior == pytest.approx(32, abs=tolerance_mm)
    _, y, _, _ = place(*display_slice(volume, "sagittal", MARKS["S"]), "S")
    assert y < 0.4


@pytest.mark.parametrize("name", ["LPS", "RAS, anisotropic", "sagittal acquisition"])
def test_the_extent_is_in_ras_millimetres(name):
    volume = head(**STORED[name])
    picture, (left, right, bottom, top) = display_slice(volume, "axial")
    head_columns = (picture > 0).any(axis=0).mean() * (left - right)
    head_rows = (picture > 0).any(axis=1).mean() * (top - bottom)
    assert (head_columns, head_rows) == pytest.approx((60, 80), abs=4)
    assert left == pytest.approx(-right)
    assert left > 0


def test_however_a_grid_is_turned_the_three_planes_are_three_directions():
    """On some grids two anatomical axes are nearest to the same array axis."""
    collisions = 0
    for rotation in Rotation.random(60, rng=np.random.default_rng(6)):
        direction = rotation.as_matrix()
        grid = Grid((4, 6, 8), (1.0, 1.0, 1.0), direction=tuple(direction.ravel()))
        collisions += len(set(np.abs(direction).argmax(axis=1))) < 3
        volume = Volume(np.zeros(grid.shape), grid)
        shapes = [set(display_slice(volume, plane)[0].shape) for plane in plots.PLANES]
        assert sorted(({4, 6, 8} - shape).pop() for shape in shapes) == [4, 6, 8]
    assert collisions > 5


def test_one_slice_is_shown():
    grid = Grid((7, 5, 1), (1.0, 2.0, 4.0))
    array = np.arange(35, dtype=np.float32).reshape(1, 5, 7)
    picture, extent = display_slice(Volume(array, grid))
    # LPS: i grows to the left, j to the back, as a radiological picture does.
    np.testing.assert_array_equal(picture, array[0])
    assert extent == pytest.approx((0.5, -6.5, -9.0, 1.0))


@pytest.mark.parametrize("name", STORED)
def test_the_slice_with_the_most_uptake(name):
    volume = head(**STORED[name])
    mask = volume.with_array(volume.array == BRIGHTNESS["S"])
    for plane, letters in plots.PLANES.items():
        point = choose_slice(mask, plane)
        assert point == pytest.approx(MARKS["S"], abs=RADIUS_MM)
        shown = display_slice(mask, plane, point)[0].sum()
        axis = "RAS".index(letters[0])
        others = np.array(MARKS["S"]) + np.outer(np.arange(-8, 9), np.eye(3)[axis])
        assert shown == max(display_slice(mask, plane, other)[0].sum() for other in others) > 0


def test_more_uptake_wins_and_soft_counts_as_much_as_it_is():
    grid = Grid((4, 4, 4))
    array = np.zeros(grid.shape, np.float32)
    array[1, 0, :3] = 0.2
    array[2, 3, 3] = 0.9
    assert choose_slice(Volume(array, grid)) == pytest.approx((-3, -3, 2))
    array[2, 3, 3] = 0.5
    assert choose_slice(Volume(array, grid)) == pytest.approx((-1, 0, 1))


def test_wrong_requests_are_named():
    volume = head((4.0, 4.0, 4.0))
    with pytest.raises(RequestError, match=r"plane 'axail'. Did you mean 'axial'"):
        display_slice(volume, "axail")
    with pytest.raises(RequestError, match="outside the volume"):
        display_slice(volume, "axial", (0.0, 0.0, 90.0))
    with pytest.raises(RequestError, match="mask is empty"):
        choose_slice(volume.with_array(0 * volume.array))
    with pytest.raises(RequestError, match="at least one panel"):
        slice_figure([])
    with pytest.raises(RequestError, match="at least one profile"):
        plot_profiles({})


def panels() -> list[Panel]:
    volume = head((2.0, 2.0, 2.0))
    picture, extent = display_slice(volume)
    change = np.where(picture > 0, np.linspace(-3, 1, picture.size).reshape(picture.shape), 0)
    return [
        Panel("Pre", picture, extent),
        Panel("Post", 2 * picture, extent, tag="SYNTHETIC"),
        Panel("Difference", change, extent, difference=True, unit="medians"),
        Panel("Uptake", picture, extent, uptake=np.clip(picture / 20, 0, 1) * 0.8),
    ]


def test_grey_panels_share_a_window_and_differences_are_centred():
    figure = slice_figure(panels())
    grey, brighter, difference, overlaid = (axes.images[0] for axes in figure.axes)
    assert grey.get_clim() == brighter.get_clim() == overlaid.get_clim()
    assert grey.get_clim()[0] == 0
    low, high = difference.get_clim()
    assert low == -high < 0
    assert 2 < high <= 3
    # Nothing changed is as black as the background.
    assert difference.cmap(difference.norm(0.0))[:3] == pytest.approx((0, 0, 0), abs=0.02)
    assert [axes.get_title() for axes in figure.axes] == ["Pre", "Post", "Difference", "Uptake"]
    (bar,) = figure.axes[2].child_axes
    assert bar.get_xlabel() == "medians"
    written = {text.get_text() for text in figure.axes[1].texts}
    assert written == {"R", "L", "A", "P", "SYNTHETIC"}
    letters = {text.get_text(): text.get_position() for text in figure.axes[0].texts}
    assert letters["R"][0] < 0.5 < letters["L"][0]
    assert letters["P"][1] < 0.5 < letters["A"][1]


def test_an_own_window_is_kept_and_millimetres_are_square():
    shown = [*panels()[:1], Panel("Own", *display_slice(head((1.0, 3.0, 3.0))), window=(5.0, 9.0))]
    figure = slice_figure(shown, columns=1)
    assert figure.axes[1].images[0].get_clim() == (5.0, 9.0)
    for axes in figure.axes:
        box = axes.get_window_extent()
        width_mm, height_mm = np.ptp(axes.get_xlim()), np.ptp(axes.get_ylim())
        assert box.width / width_mm == pytest.approx(box.height / height_mm, rel=0.03)
        # The patient's right, of larger R, is on the left.
        assert axes.get_xlim()[0] > axes.get_xlim()[1]


def test_pictures_are_png_files():
    distance = np.arange(5.0)
    profile = Profile(distance, np.zeros((5, 3)), np.array([1, 2, np.nan, 3, 4], np.float32))
    figure = plot_profiles({"True": profile, "Synthetic": profile}, "medians")
    assert figure.axes[0].get_ylabel() == "Intensity (medians)"
    assert [line.get_label() for line in figure.axes[0].lines] == ["True", "Synthetic"]
    for shown in (figure, slice_figure(panels(), columns=2)):
        assert figure_png(shown).startswith(b"\x89PNG\r\n\x1a\n")


def test_a_picture_without_signal_is_still_a_picture():
    empty = Panel("Nothing", np.zeros((8, 8)), (4.0, -4.0, -4.0, 4.0), uptake=np.zeros((8, 8)))
    flat = Panel("Flat", np.zeros((8, 8)), (4.0, -4.0, -4.0, 4.0), difference=True)
    assert figure_png(slice_figure([empty, flat])).startswith(b"\x89PNG")


def test_without_matplotlib_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingError, match=r"pip install .*matplotlib"):
        slice_figure(panels())


def test_importing_it_loads_no_matplotlib():
    code = "import sys, ContrastSynthLib.plots.figures; sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
