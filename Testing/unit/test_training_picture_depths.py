"""Errors by the depth below the surface of the brain: rims left bright, surfaces darkened."""

from __future__ import annotations

import importlib
import json

import numpy as np
import pytest

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.images import write_volume
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.volumes import Volume

pytest.importorskip("matplotlib")
pytestmark = pytest.mark.usefixtures("training_path")

SHAPE = (40, 48, 44)
PLACES = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in SHAPE), indexing="ij")
RADIUS_MM = np.sqrt(sum(place**2 for place in PLACES))
BRAIN, LESION = RADIUS_MM < 18, RADIUS_MM < 9
SURFACE = BRAIN & (RADIUS_MM > 15)
TRUTH = np.where(BRAIN, 100.0, 0)
POST = TRUTH + 60 * LESION


@pytest.fixture(scope="module")
def script():
    return importlib.import_module("picture_depths")


@pytest.fixture(scope="module")
def case():
    cases, matched = (
        importlib.import_module(f"evaluation.{m}") for m in ("cases", "matched_pairs")
    )
    post = Volume(POST, Grid(SHAPE[::-1]))
    scans = cases.Scans({"pre": post, "post": post}, None, {"unenhanced": TRUTH})
    return matched.Compared.of(matched.with_target(scans))


def test_a_dark_surface_lies_below_zero_and_a_rest_of_agent_above(script, case):
    made = (TRUTH + 30 * LESION - 20 * SURFACE).astype("f4") / np.float32(case.unit)
    up, elsewhere = script.curves_of(case, {"post": case.post, "made": made}, (1, 1, 1))
    shallow, deep = elsewhere["made"][1], elsewhere["made"][4:]
    assert shallow == pytest.approx(-20 / case.unit, rel=0.05)
    assert np.nanmax(np.abs(deep)) < 1e-3
    assert np.isnan(up["made"][:4]).all()
    found = ~np.isnan(up["made"])
    np.testing.assert_allclose(up["made"][found], 30 / case.unit, rtol=1e-3)
    np.testing.assert_allclose(up["post"][found], 60 / case.unit, rtol=1e-3)


def test_depths_are_in_mm(script, case):
    mean = script.mean_by_depth(RADIUS_MM, script.depth_below(case.brain, (2, 2, 2)), case.inside)
    known = np.flatnonzero(~np.isnan(mean))
    middle = np.mean([script.EDGES_MM[known[2]], script.EDGES_MM[known[2] + 1]])
    assert 18 - mean[known[2]] == pytest.approx(middle / 2, abs=0.8)
    assert (np.diff(mean[known]) < 0).all()


def test_a_few_voxels_make_no_mean(script, case):
    where = np.zeros_like(case.brain)
    where[20, 24, 20:25] = True
    assert np.isnan(script.mean_by_depth(case.post, RADIUS_MM, where)).all()


def test_without_uptake_there_is_nothing_to_plot(script):
    matched = importlib.import_module("evaluation.matched_pairs")
    image = (TRUTH / 100).astype("f4")
    nothing = matched.Compared(image, image, BRAIN, BRAIN, 1.0, 100.0)
    with pytest.raises(RequestError, match="No voxel takes up agent"):
        script.curves_of(nothing, {"post": image}, (1, 1, 1))


def test_two_results_become_one_plot(script, tmp_path, capsys):
    from PIL import Image

    folder, grid = tmp_path / "pairs", Grid(SHAPE[::-1])
    for role, array in (("t1", TRUTH + 3 * PLACES[2] * BRAIN), ("t1c", POST)):
        write_volume(Volume(array, grid), folder / "one" / f"{role}.nrrd")
    (folder / "cases.json").write_text(json.dumps({"one": {"pre": "t1.nrrd", "post": "t1c.nrrd"}}))
    words = ["--cases", str(folder), "--case", "one", "--before", "clamp=clamp"]
    words += ["--after", "none=nothing", "--out", str(tmp_path / "out" / "depths.png")]
    assert script.main(words) == 0
    with Image.open(tmp_path / "out" / "depths.png") as picture:
        assert picture.height > picture.width > 300
    assert capsys.readouterr().out.strip() == "one"
    words[words.index("one")] = "two"
    assert script.main(words) == 2
    assert "Unknown case 'two'" in capsys.readouterr().err
