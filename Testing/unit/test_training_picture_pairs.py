"""Pictures of pairs: which slices, which images in which order, scales, text that does not meet."""

from __future__ import annotations

import importlib
import json
from itertools import combinations

import numpy as np
import pytest

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.images import write_volume
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.volumes import Volume

pytest.importorskip("matplotlib")
pytestmark = pytest.mark.usefixtures("training_path")

SHAPE = (40, 52, 46)
# Array axes to superior, anterior, left in the first; the second is upside down.
UPRIGHT = np.diag([1.0, -1.0, 1.0, 1.0])
UPSIDE_DOWN = np.diag([1.0, -1.0, -1.0, 1.0])
AXES = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
BRAIN = sum(axis**2 for axis in AXES) < 0.55
LESION = sum((a - c) ** 2 for a, c in zip(AXES, (-0.3, 0.2, 0.3), strict=True)) < 0.06
TRUTH = np.where(BRAIN, 200 + 60 * AXES[1], 0)
POST = TRUTH + 150 * LESION


@pytest.fixture(scope="module")
def script():
    return importlib.import_module("picture_pairs")


def grid_of(matrix):
    return Grid.from_index_to_lps(SHAPE[::-1], matrix)


@pytest.fixture(scope="module")
def made(script):
    """A case and two results: one with half of the lesion, one dark by 20 everywhere."""
    grid = grid_of(UPRIGHT)
    cases = importlib.import_module("evaluation.cases")
    post = Volume(POST, grid)
    scans = cases.Scans({"pre": post, "post": post}, None, {"unenhanced": TRUTH})
    scans = script.MATCHED_PAIRS.prepare(scans)
    results = {"old": Volume(TRUTH + 75 * LESION, grid), "new": Volume(TRUTH - 20, grid)}
    return scans, script.panels_of(scans, results)


def test_the_panels_of_both_slices_in_their_order(made):
    _, (upper, lower) = made
    titles = ["post scan", "synthetic: old", "synthetic: new", "real pre scan, matched"]
    assert [panel.title for panel in upper] == [*titles, "error of old", "error of new"]
    assert [panel.error for panel in upper] == [False] * 4 + [True] * 2
    post, old, _, target, of_old, of_new = (panel.image for panel in upper)
    np.testing.assert_allclose(of_old, old - target, atol=1e-5)
    unit = POST[BRAIN].mean()
    assert of_old.max() == pytest.approx(75 / unit, rel=1e-4)
    assert of_new.min() == pytest.approx(-20 / unit, rel=1e-4)
    assert (post - target).max() == pytest.approx(150 / unit, rel=1e-4)
    # The second slice does not meet the lesion.
    assert lower[4].image.max() == pytest.approx(0, abs=1e-5)
    assert lower[0].image.any()
    # Cut to the brain with a margin, alike in all panels.
    assert len({panel.image.shape for row in made[1] for panel in row}) == 1
    assert max(upper[0].image.shape) < 52


@pytest.mark.parametrize(("matrix", "up"), [(UPRIGHT, 1), (UPSIDE_DOWN, -1)])
def test_the_slices_are_the_one_with_most_uptake_and_a_healthy_one_above(script, matrix, up):
    matched = importlib.import_module("evaluation.matched_pairs")
    cases = importlib.import_module("evaluation.cases")
    grid, flip = grid_of(matrix), slice(None, None, up)
    post = Volume(POST[flip], grid)
    truth = {"unenhanced": TRUTH[flip]}
    scans = matched.with_target(cases.Scans({"pre": post, "post": post}, None, truth))
    case = matched.Compared.of(scans)
    first, second = (
        round(grid.index_from_ras(point)[0]) for point in script.slices_to_show(case, post)
    )
    if up < 0:
        first, second = len(POST) - 1 - first, len(POST) - 1 - second
    agent = LESION.sum(axis=(1, 2))
    assert agent[first] == agent.max()
    # In the upper half of the brain, away from the first, through much of the brain.
    assert second >= 20
    assert second - first >= 15
    areas = BRAIN.sum(axis=(1, 2))
    assert areas[second] > 0.3 * areas.max()


def test_what_the_pre_scan_does_not_cover_is_no_lesion(script):
    """A slice that is dark before and not after has the most uptake, a lesion is in another."""
    matched = importlib.import_module("evaluation.matched_pairs")
    cases = importlib.import_module("evaluation.cases")
    brain = sum(axis**2 for axis in AXES) < 0.98
    lesion = sum((a - c) ** 2 for a, c in zip(AXES, (0.3, 0, 0.2), strict=True)) < 0.04
    without = np.where(brain, 200, 0) * np.where(AXES[0] < -0.3, 0.05, 1)
    post = Volume(np.where(brain, 200, 0) + 150 * lesion, grid_of(UPRIGHT))
    truth = {"unenhanced": without}
    scans = matched.with_target(cases.Scans({"pre": post, "post": post}, None, truth))
    case = matched.Compared.of(scans)
    assert case.uptake.sum(axis=(1, 2)).argmax() < 14
    point = script.slices_to_show(case, post)[0]
    assert lesion[round(post.grid.index_from_ras(point)[0])].any()


def test_scans_share_a_window_and_errors_a_symmetric_scale(script, made):
    figure = script.figure_of(made[1])
    images = [
        axes.images[0]
        for axes in figure.axes
        if axes.images and axes.images[0].get_array().ndim == 2
    ]
    panels = [image for image in images if image.get_array().shape == made[1][0][0].image.shape]
    assert len(panels) == 12
    limits = {image.get_clim() for image in panels}
    assert len(limits) == 2
    (grey,) = [pair for pair in limits if pair[0] == 0]
    (error,) = [pair for pair in limits if pair[0] != 0]
    assert error[0] == -error[1] < 0
    assert grey[1] > 1
    text = [axes.get_xlabel() for axes in figure.axes if axes.get_xlabel()]
    assert text == ["intensity (means of the brain)", "result - real pre scan (means of the brain)"]


def test_no_text_meets_another_or_leaves_the_figure(script, made):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    scans, _ = made
    results = {
        "a result with quite a long name, weights of May, averaged over three directions": scans[
            "post"
        ],
        "another one, three directions, mirrored": scans["target"],
    }
    figure = script.figure_of(script.panels_of(scans, results))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    width, height = canvas.get_width_height()
    assert width <= 1400
    titles = [axes.title for axes in figure.axes if axes.title.get_text()]
    assert len(titles) == 6
    assert [title.get_text()[:10] == "synthetic:" for title in titles] == [0, 1, 1, 0, 0, 0]
    bars = [axes for axes in figure.axes if axes.get_xlabel()]
    ticks = [text for axes in bars for text in (axes.xaxis.label, *axes.get_xticklabels())]
    texts = [text for text in (*figure.texts, *titles, *ticks) if text.get_text()]
    assert len(texts) > 18
    boxes = [tuple_of(text.get_window_extent()) for text in texts]
    for x0, y0, x1, y1 in boxes:
        assert x0 >= -1
        assert x1 <= width + 1
        assert y0 >= -1
        assert y1 <= height + 1
    for (a0, b0, a1, b1), (c0, d0, c1, d1) in combinations(boxes, 2):
        assert not (a0 < c1 and c0 < a1 and b0 < d1 and d0 < b1)


def tuple_of(box):
    return (box.x0, box.y0, box.x1, box.y1)


@pytest.fixture
def pairs(tmp_path):
    folder = tmp_path / "pairs"
    pre, grid = np.where(BRAIN, 100 + 30 * AXES[1], 0), grid_of(UPRIGHT)
    for role, array in (("t1", pre), ("t1c", POST)):
        write_volume(Volume(array, grid), folder / "one" / f"{role}.nrrd")
    (folder / "cases.json").write_text(json.dumps({"one": {"pre": "t1.nrrd", "post": "t1c.nrrd"}}))
    write_volume(Volume(TRUTH, grid), tmp_path / "results" / "one" / "pre.nrrd")
    return folder


def test_a_row_and_a_folder_of_results_become_one_small_file(script, pairs, tmp_path, capsys):
    from PIL import Image

    out, words = tmp_path / "out", ["--cases", str(pairs), "--case", "one"]
    words += ["--before", "the clamp=clamp", "--after", f"kept={tmp_path / 'results'}"]
    assert script.main([*words, "--out", str(out)]) == 0
    (file,) = out.iterdir()
    assert file.name == "one.png"
    assert file.stat().st_size < 250_000
    with Image.open(file) as picture:
        assert picture.mode == "P"
        assert 1000 < picture.width <= 1400
    assert capsys.readouterr().out.strip() == str(file)


@pytest.mark.parametrize(
    ("case", "after", "message"),
    [
        ("two", "b=nothing", "Unknown case 'two'"),
        ("one", "b=reachable", "makes no image to draw"),
        ("one", "a=nothing", "Both results are named 'a'"),
        ("one", "b=nobody", "Unknown method 'nobody'"),
        ("one", "b=.", "there is none of"),
    ],
)
def test_what_cannot_be_drawn_is_refused(script, pairs, tmp_path, capsys, case, after, message):
    words = ["--cases", str(pairs), "--case", case, "--before", "a=clamp", "--after", after]
    assert script.main([*words, "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_result_on_another_grid_is_refused(script, pairs, tmp_path):
    write_volume(Volume(TRUTH, grid_of(UPSIDE_DOWN)), tmp_path / "results" / "one" / "pre.nrrd")
    items = importlib.import_module("evaluation.cases").items_in_folder(pairs, "test")
    with pytest.raises(RequestError, match="different grids"):
        script.Result.parse(str(tmp_path / "results")).make("one", items[0].read())
