"""Cases to measure on: prepared ones, folders of pairs, virtual patients; regions of them."""

from __future__ import annotations

import importlib
from types import SimpleNamespace

import numpy as np
import pytest

from ContrastSynthLib.files.images import write_volume
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.volumes import Volume

pytestmark = pytest.mark.usefixtures("training_path")

SIZE = (30, 36, 24)
PATIENT = sample_patient(3, SIZE)
PRE, POST = PATIENT.scans["pre"], PATIENT.scans["post"]
BRAIN = (PRE.array > 0) & (POST.array > 0)
RISE = np.where(BRAIN, POST.array - PRE.array, 0)


@pytest.fixture(scope="module")
def cases():
    return importlib.import_module("evaluation.cases")


@pytest.fixture(scope="module")
def virtual():
    return importlib.import_module("evaluation.virtual")


def test_the_slices_around_the_most_uptake(cases):
    pre = np.ones((12, 14, 14), np.float32)
    pre[0, 0] = 0.5
    post = pre.copy()
    post[7, 2:6, 2:6] = 3
    post[2, 2:4, 2:4] = 3
    grid = Grid((14, 14, 12), (1, 1, 1))
    scans = cases.Scans({"pre": Volume(pre, grid), "post": Volume(post, grid)}, None)
    agent = importlib.import_module("evaluation.post_to_pre").uptake_of(scans)
    assert agent.sum() == 20
    around = importlib.import_module("evaluation.measuring").around_uptake
    found = around(scans, agent, 1)
    assert np.flatnonzero(found.any(axis=(1, 2))).tolist() == [7]
    found = around(scans, agent, 6)
    assert set(np.flatnonzero(found.any(axis=(1, 2)))) == {2, 3, 4, 5, 6, 7}
    assert around(scans, agent, 99).sum() == scans.brain.sum()


def test_prepared_cases_are_read_by_split(cases, tmp_path):
    preparation = importlib.import_module("data.preparation")
    for seed in (3, 4):
        for role, volume in sample_patient(seed, SIZE).scans.items():
            write_volume(volume, tmp_path / f"case{seed}" / f"{role}.nrrd")
    table = tmp_path / "cases.csv"
    table.write_text(
        "case,patient,pre,post,corrupted\n"
        "first,a,case3/pre.nrrd,case3/post.nrrd,case3/low.nrrd\n"
        "second,b,case4/pre.nrrd,case4/post.nrrd,\n"
    )
    out = tmp_path / "out"
    division = preparation.Division(validation=0, test=0)
    preparation.prepare(table, out, "none", division)
    first, second = cases.items_in_folder(out, "train")
    assert (first.name, first.patient, second.patient) == ("first", "1", "2")
    assert set(first.read().scans) == {"pre", "post", "corrupted"}
    assert set(second.read().scans) == {"pre", "post"}
    assert first.read().brain.sum() == BRAIN.sum()
    assert cases.items_in_folder(out, "test") == []


def imagined(parameters):
    """A patient in the place of a virtual one, which takes seconds; its lesion is the nodule."""
    extra = {"low": PRE, "corrupted": POST} if parameters["corruption"] else {"low": PRE}
    lesion = np.zeros(BRAIN.shape, np.uint8)
    lesion[15:18, 20:23, 10:13] = 2
    lesion[3, 3, 3] = 1
    truth = {"brain": BRAIN, "lesion": lesion, "uptake": RISE}
    return SimpleNamespace(scans={"pre": PRE, "post": POST, **extra}, truth=truth)


def test_virtual_patients_are_kept_and_cut_around_the_largest_lesion(
    virtual, tmp_path, monkeypatch
):
    built = []
    monkeypatch.setattr(virtual, "build_patient", lambda p: built.append(p) or imagined(p))

    def slab(**others):
        options = {"slices": 5, "corruption": "zipper", "cache": tmp_path} | others
        (item,) = virtual.virtual_items("different", (5,), **options)
        return item.name, item.read()

    name, scans = slab()
    assert name == "different_5_slab5_zipper"
    for role, volume in (("pre", PRE), ("post", POST), ("corrupted", POST)):
        np.testing.assert_array_equal(scans.scans[role].array, volume.array[14:19])
    assert set(scans.scans) == {"pre", "post", "corrupted"}
    np.testing.assert_array_equal(scans.brain, BRAIN[14:19])
    np.testing.assert_array_equal(scans.truth["rise"], RISE[14:19])
    assert scans.truth["lesion"].max() == 2
    # The first voxel lies where it lay.
    grid = scans.scans["pre"].grid
    np.testing.assert_allclose(
        grid.ras_from_index((0, 2, 3)), PRE.grid.ras_from_index((14, 2, 3)), atol=1e-6
    )
    # Read from the disk, unless it was made with other parameters.
    again = slab()[1]
    assert len(built) == 1
    np.testing.assert_array_equal(again.scans["post"].array, scans.scans["post"].array)
    slab(spacing_mm=7.0)
    assert len(built) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["different_5_slab5_zipper.npz"]
    name, whole = slab(slices=None, corruption=None, cache=None)
    assert name == "different_5_whole"
    assert set(whole.scans) == {"pre", "post"}
    assert whole.brain.shape == BRAIN.shape


def test_a_virtual_patient_is_measured(virtual):
    pytest.importorskip("nilearn")
    options = {"slices": 12, "corruption": "motion", "cache": None, "spacing_mm": 5.0}
    scans = virtual.virtual_items("same", (1,), **options)[0].read()
    assert scans.scans["pre"].array.shape == (12, 42, 35)
    task = importlib.import_module("evaluation.post_to_pre")
    found = task.measure(scans, {"pre": scans["corrupted"]}, scans.brain)
    assert found["psnr_db"] > 5
    assert found["outside_change"] > 0


def test_a_virtual_patient_has_the_post_scan_without_agent(virtual, tmp_path):
    pytest.importorskip("nilearn")
    options = {"slices": 12, "cache": tmp_path, "spacing_mm": 5.0}
    (item,) = virtual.virtual_items("same", (1,), unenhanced=True, **options)
    assert item.name == "same_1_slab12_unenhanced"
    scans = item.read()
    post, without = scans["post"].array, scans.truth["unenhanced"]
    assert without.shape == post.shape
    rise = (post - without) / np.median(post[scans.brain])
    # Alike, noise included, but for what the agent adds.
    strong, weak = scans.truth["rise"] > 0.2, scans.brain & (scans.truth["rise"] < 0.01)
    assert strong.sum() > 20
    assert np.median(rise[strong]) > 0.15
    assert np.median(np.abs(rise[weak])) < 0.01
    assert np.median(np.abs(scans["pre"].array - without)[weak]) > 0.01 * np.median(without[weak])
    # Read from the disk the second time.
    np.testing.assert_array_equal(item.read().truth["unenhanced"], without)
    (other,) = virtual.virtual_items("same", (1,), **options)
    assert set(other.read().truth) == {"rise", "lesion"}


@pytest.mark.parametrize(
    ("lesion_at", "slices", "expected"),
    [
        ((), 4, (3, 7)),
        ((0, 1), 4, (0, 4)),
        ((9,), 3, (7, 10)),
        ((5,), 3, (4, 7)),
        ((5,), 99, (0, 10)),
    ],
)
def test_a_slab_stays_inside_the_volume(virtual, lesion_at, slices, expected):
    brain = np.zeros((10, 4, 4), bool)
    brain[1:9] = True
    lesion = np.zeros(brain.shape, np.uint8)
    lesion[list(lesion_at), 1:3] = 2
    lesion[4, 0, 0] = 1 if lesion_at else 0
    assert virtual._slab(lesion, brain, slices) == expected
    assert virtual._slab(lesion, brain, None) == (0, 10)


def test_a_slab_with_a_low_dose_starts_as_the_published_ones_did(virtual):
    """Half a slice earlier than the middle of the lesion, (first + last - slices) // 2."""
    brain, lesion = np.zeros((2, 20, 4, 4), np.uint8)
    brain[:] = 1
    for last in (9, 10):
        lesion[5 : last + 1] = 1
        for slices in (3, 4):
            first, end = virtual._slab(lesion, brain > 0, slices, early=True)
            assert (first, end - first) == ((5 + last - slices) // 2, slices)


def test_virtual_patients_of_both_kinds_are_held_out_alike(virtual):
    made = [
        virtual.virtual_items(k, (7,), slices=1, corruption=None, cache=None)
        for k in ("same", "different")
    ]
    same, different = (items[0].read.args[0] for items in made)
    assert (same["kind"], different["kind"]) == ("training", "different")
    assert same["seed"] == different["seed"] == 7
    assert same["corruption"] is None
