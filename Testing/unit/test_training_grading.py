"""The grade of a pair, and the target that prepare_data.py keeps of it: where both are known."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import binary_erosion
from training_pairs import scans

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.images import read_volume, write_volume
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.volumes import Volume

pytestmark = pytest.mark.usefixtures("training_path")

ONE_MM = (1.0, 1.0, 1.0)
PRE, POST, BRAIN, LESION, VESSEL = scans()
QUIET = BRAIN & ~LESION & ~VESSEL
INNER = binary_erosion(BRAIN, iterations=2)


@pytest.fixture(scope="module")
def grading():
    return importlib.import_module("data.grading")


@pytest.fixture(scope="module")
def script():
    return importlib.import_module("data.preparation")


def grade(grading, pre, post, brain=BRAIN):
    return grading.matched_and_graded(pre.astype("f4"), post.astype("f4"), brain, ONE_MM)


# ---- grades


def test_one_sequence_without_noise_is_an_a(grading):
    target, found = grade(grading, PRE, POST)
    assert found.grade == "A"
    assert found.median_difference < 0.01
    assert found.curve_departure < 0.02
    # In the unit of the post scan, which is the pre scan times 5/3 where nothing enhances.
    assert np.median(target[QUIET] / PRE[QUIET]) == pytest.approx(5 / 3, rel=0.02)
    assert target[LESION].mean() == pytest.approx(500, rel=0.05)


def test_the_unit_of_the_scans_does_not_matter(grading):
    target, found = grade(grading, 0.01 * PRE, 7 * POST)
    first, known = grade(grading, PRE, POST)
    assert found.record() == pytest.approx(known.record(), abs=1e-4)
    np.testing.assert_allclose(target, 7 * first, rtol=1e-4)


def test_another_sequence_is_a_b(grading):
    # Tissues lie closer together, as in a sequence of another weighting.
    wide = PRE * np.where(BRAIN, (PRE / 300) ** 3, 0)
    found = grade(grading, wide, POST)[1]
    assert found.grade == "B"
    assert found.curve_departure > grading.MOST_CURVED
    assert found.gain_spread < grading.MOST_SHADED


@pytest.mark.parametrize(("spread", "expected"), [(0.02, "A"), (0.06, "B")])
def test_strong_shading_is_a_b(grading, spread, expected):
    """The gain is given: what a smooth one can follow in a ball this small is weak."""
    matched = importlib.import_module("data.matched")
    slope = np.broadcast_to(np.linspace(-1, 1, PRE.shape[2]), PRE.shape)
    gain = np.exp(spread * slope / slope[BRAIN].std())
    post = POST / POST[BRAIN].mean()
    fit = matched.Matched(post, matched.LEVELS, gain)
    found = grading.grade_of(fit, PRE, post, BRAIN)
    assert found.gain_spread == pytest.approx(spread, rel=1e-3)
    assert found.curve_departure == pytest.approx(0, abs=1e-6)
    assert found.grade == expected


def test_what_differs_by_more_than_the_worst_is_a_c(grading):
    noise = np.random.default_rng(0).normal(size=PRE.shape)
    # The median of |noise| is 0.67 of its deviation.
    for share, expected in ((0.07, "A"), (0.11, "C")):
        found = grade(grading, PRE, np.where(BRAIN, POST + share * 500 * noise, 0))[1]
        assert found.grade == expected
        assert found.median_difference == pytest.approx(0.67 * share, rel=0.2)


def test_the_surface_does_not_count(grading):
    uneven = np.where(INNER, POST, 1.6 * POST)
    assert grade(grading, PRE, uneven)[1].median_difference < 0.02


def test_scans_that_cannot_be_compared_have_no_target(grading):
    few = np.zeros_like(BRAIN)
    few[18:22, 28:32, 22:26] = True
    dark = np.where(np.random.default_rng(0).random(PRE.shape) < 0.4, PRE, 0)
    for found in (grade(grading, PRE, POST, few), grade(grading, dark, POST)):
        assert found[0] is None
        assert found[1].record() == {
            "grade": "C",
            "median_difference": None,
            "curve_departure": None,
            "gain_spread": None,
        }


def test_the_departure_of_a_parabola_from_a_line():
    matched = importlib.import_module("data.matched")
    x = np.random.default_rng(0).uniform(0, 1, 200_000)
    # Of x^2 from 3/4 x, in 0 to 1: sqrt(1/80).
    assert matched.curve_departure(matched.LEVELS**2, x) == pytest.approx(80**-0.5, rel=0.05)
    assert matched.curve_departure(0.6 * matched.LEVELS, x) == pytest.approx(0, abs=1e-6)


# ---- in a prepared folder


def prepare(script, folder: Path, depth: int = 40, spacing=ONE_MM):
    """Prepare one case of the slices in the middle, as (i, j, k) mm; return its record."""
    middle = slice((40 - depth) // 2, (40 + depth) // 2)
    grid = Grid(PRE[middle].shape[::-1], spacing)
    for role, array in (("pre", PRE), ("post", POST)):
        write_volume(Volume(array[middle].astype("f4"), grid), folder / f"{role}.nrrd")
    (folder / "cases.csv").write_text("case,patient,pre,post\none,a,pre.nrrd,post.nrrd\n")
    division = script.Division(validation=0, test=0)
    return script.prepare(folder / "cases.csv", folder / "out", "none", division)["one"]


def stored(folder: Path, role: str) -> Volume:
    return read_volume(folder / "out" / "one" / f"{role}.nrrd")


def test_a_prepared_case_has_its_target_and_its_grade(script, tmp_path, capsys):
    record = prepare(script, tmp_path)
    assert json.loads((tmp_path / "out" / "cases.json").read_text())["cases"]["one"] == record
    assert record["grade"] == "A"
    assert "one: train, grade A" in capsys.readouterr().out
    target, post = stored(tmp_path, "target"), stored(tmp_path, "post")
    assert record["sha256"]["outputs"]["target"] == target.sha256()
    assert target.grid.is_same(post.grid)
    assert np.median(target.array[QUIET] / post.array[QUIET]) == pytest.approx(1, abs=0.01)
    assert (post.array - target.array)[LESION].mean() > 0.7
    # In means of the brain, not in the unit of what is stored, whose gain is divided out.
    away = np.abs(post.array - target.array) / post.array[BRAIN].mean()
    assert record["median_difference"] == pytest.approx(np.median(away[INNER]), rel=1e-3)
    (case,) = importlib.import_module("data.prepared_cases").read_cases(tmp_path / "out", "train")
    assert case.grade == "A"
    np.testing.assert_array_equal(case.target.array, target.array)


def test_the_spacing_is_that_of_the_axes_of_the_array(script, tmp_path, monkeypatch):
    seen = []
    original = script.matched_and_graded
    monkeypatch.setattr(script, "matched_and_graded", lambda *a: seen.append(a[3]) or original(*a))
    prepare(script, tmp_path, spacing=(0.9, 1.1, 2.5))
    assert seen == [(2.5, 1.1, 0.9)]


def test_a_few_slices_are_prepared_without_a_target(script, tmp_path, capsys):
    record = prepare(script, tmp_path, depth=4)
    assert (record["grade"], record["median_difference"]) == ("C", None)
    assert set(record["sha256"]["outputs"]) == {"pre", "post", "mask"}
    assert not (tmp_path / "out" / "one" / "target.nrrd").exists()
    assert "has no target and the grade C" in capsys.readouterr().err
    (case,) = importlib.import_module("data.prepared_cases").read_cases(tmp_path / "out", "train")
    assert case.target is None


def test_a_damaged_target_is_made_again(script, tmp_path):
    record = prepare(script, tmp_path)
    path = tmp_path / "out" / "one" / "target.nrrd"
    whole = path.read_bytes()
    path.unlink()
    assert prepare(script, tmp_path) == record
    assert path.read_bytes() == whole


def test_a_folder_of_an_older_version_is_refused_and_stays_as_it_is(script, tmp_path):
    prepare(script, tmp_path)
    path = tmp_path / "out" / "cases.json"
    listed = json.loads(path.read_text())
    listed["schema_version"] = 1
    del listed["cases"]["one"]["grade"]
    path.write_text(json.dumps(listed))
    before = path.read_bytes()
    with pytest.raises(RequestError, match=r"version 1; .* reads 2\. Prepare the data again in an"):
        prepare(script, tmp_path)
    assert path.read_bytes() == before
    assert (
        importlib.import_module("prepare_data").main(
            [str(tmp_path / "cases.csv"), str(tmp_path / "out"), "--align", "none"]
        )
        == 2
    )
