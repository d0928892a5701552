"""Pairs of real scans: their table, the patients held out, the maps that are kept."""

from __future__ import annotations

import importlib
import json

import numpy as np
import pytest
import SimpleITK as sitk
from training_pairs import scans

from ContrastSynthLib.errors import RequestError

pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("training_path")


@pytest.fixture(scope="module")
def pairs():
    return importlib.import_module("data.real_pairs")


@pytest.fixture
def folder(tmp_path):
    files = {"pre": "t1.nii.gz", "post": "t1c.nii.gz"}
    cases = {"a": files, "b": files, "late_b": files, "bad": files, "lone": {"pre": "t1.nii.gz"}}
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    (tmp_path / "index.csv").write_text(
        "case,median_difference,grade\na,0.02,A\nb,0.05,B\nbad,0.08,B\n"
    )
    return tmp_path


def test_the_table_leaves_out_poor_and_incomplete_pairs(pairs, folder):
    table = pairs.read_table(folder)
    assert list(table) == ["a", "b", "late_b"]
    assert table["a"] == {
        "pre": str(folder / "a" / "t1.nii.gz"),
        "post": str(folder / "a" / "t1c.nii.gz"),
        "patient": "a",
    }


def test_two_dates_are_one_patient(pairs, folder):
    table = pairs.read_table(folder, [("late_b", "b")])
    assert {row["patient"] for row in table.values()} == {"a", "b"}
    with pytest.raises(RequestError, match="no case 'c'"):
        pairs.read_table(folder, [("b", "c")])


def test_a_folder_without_a_table_is_refused(pairs, tmp_path):
    with pytest.raises(RequestError, match=r"cases\.json"):
        pairs.read_table(tmp_path)


def test_who_is_held_out_depends_on_names_alone(pairs):
    names = [f"patient {n}" for n in range(30)]
    chosen = pairs.drawn(names, 8)
    assert len(chosen) == 8
    assert chosen == pairs.drawn(reversed(names + names), 8)
    assert chosen < pairs.drawn(names, 9)
    assert chosen != pairs.drawn(names, 8, seed=1)


def test_the_maps_of_a_pair(pairs):
    pre, post, brain, lesion, vessel = scans()
    maps = pairs.maps_of_pair(pre.astype("f4"), post.astype("f4"))
    named = dict(zip(pairs.MAPS, maps, strict=True))
    inside = named["brain"] > 0
    assert inside.sum() == brain.sum()
    assert named["post"][inside].mean() == pytest.approx(1, abs=1e-3)
    assert (named["post"][~inside] == 0).all()
    cut = tuple(slice(max(c.start - 4, 0), c.stop + 4) for c in _box(brain))
    assert named["uptake"][lesion[cut]].mean() > 0.95
    assert named["uptake"][vessel[cut] & ~lesion[cut]].mean() > 0.5
    quiet = inside & ~lesion[cut] & ~vessel[cut]
    assert np.median(named["uptake"][quiet]) == 0
    # The lesion is one, with its surroundings; the vessel is too thin.
    assert named["lesion"][lesion[cut]].min() > 0.95
    assert named["lesion"][vessel[cut] & (np.indices(maps.shape[1:])[2] < 8)].max(initial=0) < 0.1


def _box(mask):
    from scipy.ndimage import find_objects

    return find_objects(mask.astype(np.uint8))[0]


def test_dark_fluid_of_another_sequence_is_no_uptake(pairs):
    pre, post, brain, *_ = scans()
    fluid = np.zeros_like(brain)
    fluid[15:25, 38:46, 20:30] = True
    pre, post = np.where(fluid, 30, pre), np.where(fluid, 200, post)
    maps = pairs.maps_of_pair(pre.astype("f4"), post.astype("f4"))
    cut = tuple(slice(max(c.start - 4, 0), c.stop + 4) for c in _box(brain))
    assert maps[pairs.MAPS.index("uptake")][fluid[cut]].mean() < 0.05


def test_no_common_brain_is_refused(pairs):
    with pytest.raises(ValueError, match="no voxel"):
        pairs.largest_part(np.zeros((4, 4, 4), bool))


def test_a_scan_from_the_other_side_is_turned(pairs, tmp_path):
    array = np.random.default_rng(0).random((6, 7, 8)).astype("f4")
    straight = sitk.GetImageFromArray(array)
    other = sitk.GetImageFromArray(np.ascontiguousarray(array[:, ::-1, ::-1]))
    other.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    for name, image in (("one", straight), ("two", other)):
        sitk.WriteImage(image, tmp_path / f"{name}.nii.gz")
    one, two = (pairs.read_axial(tmp_path / f"{name}.nii.gz") for name in ("one", "two"))
    np.testing.assert_array_equal(one, array)
    np.testing.assert_array_equal(two, array)


def test_pairs_are_kept_and_made_once(pairs, folder, monkeypatch):
    pre, post, *_ = scans()
    for case in ("a", "b"):
        (folder / case).mkdir()
        for name, array in (("t1", pre), ("t1c", post)):
            image = sitk.GetImageFromArray(array.astype("f4"))
            sitk.WriteImage(image, folder / case / f"{name}.nii.gz")
    table = {name: row for name, row in pairs.read_table(folder).items() if name != "late_b"}
    made = pairs.prepare_pairs(table, folder / "kept")
    assert [pair.name for pair in made] == ["a", "b"]
    assert made[0].maps.dtype == np.float16
    assert made[0].maps.shape[0] == len(pairs.MAPS)
    assert len(made[0].lesions)
    assert len(made[0].places)
    assert len(made[0].inside)
    monkeypatch.setattr(pairs, "maps_of_pair", None)
    again = pairs.prepare_pairs(table, folder / "kept")
    np.testing.assert_array_equal(again[1].maps, made[1].maps)
