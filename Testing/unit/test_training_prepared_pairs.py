"""Pairs to learn from in a folder that prepare_data.py wrote: who, which images, which voxels."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from training_pairs import scans

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.images import read_volume, write_volume
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.volumes import Volume

pytestmark = pytest.mark.usefixtures("training_path")

PRE, POST, BRAIN, LESION, _ = scans()
SHARES = {"validation": 0.3, "test": 0.3}


@pytest.fixture(scope="module")
def pairs():
    return importlib.import_module("data.real_pairs")


@pytest.fixture(scope="module")
def preparation():
    return importlib.import_module("data.preparation")


def blank(seed: int) -> np.ndarray:
    """What makes a patient differ from the others: a dark half ball."""
    places = np.indices(PRE.shape)
    middle = np.random.default_rng(seed).uniform(10, 30, 3)
    away = sum((p - m) ** 2 for p, m in zip(places, middle, strict=True))
    return np.where(away < 8**2, 0.7, 1.0)


def prepare(preparation, folder: Path, cases, *, grid=None, mask=None, shares=SHARES) -> Path:
    """Prepare cases, given as {name: (patient, pre, post)}; return the prepared folder."""
    lines = ["case,patient,pre,post,mask"]
    for case, (patient, *arrays) in cases.items():
        given = dict(zip(("pre", "post"), arrays, strict=True)) | (
            {} if mask is None else {"mask": mask}
        )
        for role, array in given.items():
            where = grid or Grid(array.shape[::-1])
            write_volume(Volume(array.astype("f4"), where), folder / f"{case}_{role}.nrrd")
        last = "" if mask is None else f"{case}_mask.nrrd"
        lines.append(f"{case},{patient},{case}_pre.nrrd,{case}_post.nrrd,{last}")
    (folder / "cases.csv").write_text("\n".join(lines) + "\n")
    division = preparation.Division(**shares)
    preparation.prepare(folder / "cases.csv", folder / "out", "none", division)
    return folder / "out"


@pytest.fixture(scope="module")
def six(preparation, tmp_path_factory):
    """Two patients of each split, as case 'train0' and so on; prepared once."""
    division = preparation.Division(**SHARES)
    names: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for n in range(100):
        names[division.split_of(f"p{n}")].append(f"p{n}")
    cases = {}
    for seed, (split, n) in enumerate((s, n) for s in names for n in (0, 1)):
        shape = blank(seed)
        cases[f"{split}{n}"] = (names[split][n], PRE * shape, POST * shape)
    return prepare(preparation, tmp_path_factory.mktemp("six"), cases)


@pytest.fixture
def listed(six, tmp_path):
    """A function that changes cases of the list in a copy of the prepared folder."""

    def change(version=2, **cases):
        content = json.loads((six / "cases.json").read_text())
        content["schema_version"] = version
        for case, changes in cases.items():
            content["cases"][case] |= changes
        (tmp_path / "cases.json").write_text(json.dumps(content))
        return tmp_path

    return change


def one(preparation, folder: Path, pre=PRE, post=POST, **options) -> Path:
    """Prepare one case to train on."""
    shares = {"validation": 0, "test": 0}
    return prepare(preparation, folder, {"one": ("a", pre, post)}, shares=shares, **options)


def maps_of(pairs, prepared: Path, kept: Path) -> dict[str, np.ndarray]:
    (pair,) = pairs.prepare_pairs(pairs.read_table(prepared), kept)
    return dict(zip(pairs.MAPS, np.asarray(pair.maps, dtype=np.float32), strict=True))


# ---- who


def test_train_and_validation_are_read_and_validation_is_held_out(pairs, six):
    table = pairs.read_table(six)
    assert {case: row["split"] for case, row in table.items()} == {
        "train0": "train",
        "train1": "train",
        "validation0": "validation",
        "validation1": "validation",
    }
    patients = {case: row["patient"] for case, row in table.items()}
    assert patients == {"train0": "1", "train1": "2", "validation0": "3", "validation1": "4"}
    files = {
        role: str(six / "train1" / f"{role}.nrrd") for role in ("pre", "post", "mask", "target")
    }
    assert table["train1"] == {**files, "patient": "2", "split": "train", "grade": "A"}
    assert pairs.held_out_of(table, 1) == {"3", "4"}
    alone = {case: row for case, row in table.items() if row["split"] == "train"}
    assert pairs.held_out_of(alone, 1) == set()


def test_of_a_plain_folder_as_many_are_held_out_as_asked_for(pairs):
    table = {f"case{n}": {"patient": f"p{n // 2}"} for n in range(20)}
    names = [f"p{n}" for n in range(10)]
    assert pairs.held_out_of(table, 3) == pairs.drawn(names, 3)
    assert pairs.held_out_of(table, 3, seed=1) == pairs.drawn(names, 3, seed=1)


def test_what_is_not_to_be_learnt_from_is_left_out(pairs, listed):
    folder = listed(train0={"grade": "C"}, train1={"grade": "B"}, validation1={"grade": "C"})
    assert list(pairs.read_table(folder)) == ["train1", "validation0"]
    without = {"sha256": {"outputs": {"pre": "", "post": "", "mask": ""}}}
    assert list(pairs.read_table(listed(validation0=without))) == [
        "train0",
        "train1",
        "validation1",
    ]
    with pytest.raises(RequestError, match="no pair of the split 'train' that is better than C"):
        pairs.read_table(listed(train0={"grade": "C"}, train1={"grade": "C"}))


def test_dates_of_one_patient_must_have_one_number(pairs, six, listed):
    with pytest.raises(RequestError, match=r"patients 1, 3 in .*one patient in the table of cases"):
        pairs.read_table(six, [("train0", "validation0")])
    with pytest.raises(RequestError, match="no case 'trian0'"):
        pairs.read_table(six, [("trian0", "train1")])
    assert pairs.read_table(six, [("train0",)]) == pairs.read_table(six)
    folder = listed(train1={"patient": 1})
    assert len(pairs.read_table(folder, [("train0", "train1")])) == 4


def test_an_older_prepared_folder_is_refused(pairs, listed):
    with pytest.raises(RequestError, match=r"version 1; .* reads 2\. Prepare the data again"):
        pairs.read_table(listed(version=1))


# ---- which images


def test_a_prepared_pair_has_the_maps_of_a_plain_one(pairs, preparation, tmp_path):
    found = maps_of(pairs, one(preparation, tmp_path), tmp_path / "kept")
    plain = pairs.maps_of_pair(PRE.astype("f4"), POST.astype("f4"))
    for role, expected in zip(pairs.MAPS, plain, strict=True):
        np.testing.assert_allclose(found[role], expected, atol=2e-3, err_msg=role)


def test_target_and_mask_are_those_that_are_stored(pairs, preparation, tmp_path, monkeypatch):
    """Of heads: without the mask, the bone and the air would be taken for brain."""
    half = BRAIN.copy()
    half[..., 30:] = False
    head = np.random.default_rng(1).uniform(50, 900, PRE.shape)
    pre, post = (np.where(BRAIN, scan, head * gain) for scan, gain in ((PRE, 1), (POST, 1.5)))
    prepared = one(preparation, tmp_path, pre, post, mask=half)
    monkeypatch.setattr(pairs, "match_to_post", None)
    found = maps_of(pairs, prepared, tmp_path / "kept")
    box = pairs._box_about(half)
    np.testing.assert_array_equal(found["brain"] > 0, half[box])
    for role in pairs.MAPS:
        assert (found[role][~half[box]] == 0).all()
    stored = {
        role: read_volume(prepared / "one" / f"{role}.nrrd").array for role in ("post", "target")
    }
    assert found["post"][half[box]].mean() == pytest.approx(1, abs=1e-3)
    for role, image in stored.items():
        expected = (image / stored["post"][half].mean())[half]
        np.testing.assert_allclose(found[role][half[box]], expected, atol=2e-3)


def test_what_the_post_scan_does_not_reach_is_no_brain(pairs):
    post = POST.astype("f4")
    post[:12] = 0
    post[20:22, 30:32, 10:12] = 0
    maps = pairs.maps_of_matched(post, PRE.astype("f4"), BRAIN)
    reached = BRAIN.copy()
    reached[:12] = False
    # A hole is no end of the field of view.
    np.testing.assert_array_equal(maps[-1] > 0, reached[pairs._box_about(reached)])
    with pytest.raises(ValueError, match="no voxel above 0 in the mask"):
        pairs.maps_of_matched(np.zeros_like(post), post, BRAIN)


def test_maps_are_made_again_when_a_case_was_prepared_again(pairs, preparation, tmp_path):
    prepared, kept = one(preparation, tmp_path), tmp_path / "kept"
    first = maps_of(pairs, prepared, kept)
    (kept / "one.npy").touch()
    again = kept / "one.npy"
    made = again.stat().st_mtime_ns
    maps_of(pairs, prepared, kept)
    assert again.stat().st_mtime_ns == made
    one(preparation, tmp_path, pre=PRE * blank(3), post=POST * blank(3))
    later = again.stat().st_mtime + 5
    os.utime(prepared / "one" / "target.nrrd", (later, later))
    assert np.abs(maps_of(pairs, prepared, kept)["post"] - first["post"]).max() > 0.1


def test_a_missing_target_is_refused_and_leaves_no_maps(pairs, preparation, tmp_path):
    prepared = one(preparation, tmp_path)
    (prepared / "one" / "target.nrrd").unlink()
    with pytest.raises(RequestError, match=r"target\.nrrd: cannot be read as a scan"):
        maps_of(pairs, prepared, tmp_path / "kept")
    assert list((tmp_path / "kept").iterdir()) == []


# ---- which voxels


@pytest.mark.parametrize("spacing", [(0.5, 2.0, 1.3), (0.8, 0.8, 5.0)])
def test_a_scan_of_other_voxels_is_resampled_to_1_mm(pairs, tmp_path, spacing):
    size = [round(60 / mm) for mm in spacing]
    image = sitk.Image(size, sitk.sitkFloat32)
    image.SetSpacing(spacing)
    # A ramp along each axis of the patient is left as it is by linear interpolation.
    k, j, i = np.indices(size[::-1])
    ramp = 1000 + sum(
        w * (n + 0.5) * mm for w, n, mm in zip((1, 2, 3), (i, j, k), spacing, strict=True)
    )
    image = sitk.GetImageFromArray(ramp.astype("f4"))
    image.SetSpacing(spacing)
    sitk.WriteImage(image, tmp_path / "scan.nrrd")
    found = pairs.read_axial(tmp_path / "scan.nrrd")
    mm = [n * s for n, s in zip(size, spacing, strict=True)]
    assert found.shape == tuple(round(length) for length in mm[::-1])
    k, j, i = np.indices(found.shape) + 0.5
    inside = tuple(slice(3, -3) for _ in range(3))
    np.testing.assert_allclose(found[inside], (1000 + i + 2 * j + 3 * k)[inside], rtol=1e-4)


def test_scans_of_about_1_mm_are_not_interpolated(pairs, tmp_path):
    array = np.random.default_rng(0).random((6, 7, 8)).astype("f4")
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((1.004, 0.997, 1.0))
    sitk.WriteImage(image, tmp_path / "scan.nrrd")
    np.testing.assert_array_equal(pairs.read_axial(tmp_path / "scan.nrrd"), array)


def test_maps_of_thick_slices_have_the_size_of_the_brain(pairs, preparation, tmp_path):
    """Sagittal slices of 2 mm, with pixels of 0.5 mm: what lies where is as in the patient."""
    fine = [
        np.repeat(np.repeat(a, 2, 0), 2, 1).reshape(80, 120, 25, 2).mean(3) for a in (PRE, POST)
    ]
    # Slices to the left, rows to the posterior, columns to the superior.
    pre, post = (np.ascontiguousarray(a.transpose(2, 1, 0)) for a in fine)
    matrix = np.eye(4)
    matrix[:3, :3] = [[0, 0, 2.0], [0, 0.5, 0], [0.5, 0, 0]]
    grid = Grid.from_index_to_lps(pre.shape[::-1], matrix)
    prepared = one(preparation, tmp_path, pre, post, grid=grid)
    found = maps_of(pairs, prepared, tmp_path / "kept")
    mask = read_volume(prepared / "one" / "mask.nrrd")
    volume_mm3 = mask.array.sum() * 1000 * grid.voxel_volume_ml
    assert found["brain"].sum() == pytest.approx(volume_mm3, rel=0.01)
    expected = pairs.maps_of_pair(PRE.astype("f4"), POST.astype("f4"))[pairs.MAPS.index("lesion")]
    places = [np.argwhere(lesion > 0.5).mean(0) for lesion in (found["lesion"], expected)]
    np.testing.assert_allclose(places[0], places[1], atol=1)
    assert (found["lesion"] > 0.5).sum() == pytest.approx((expected > 0.5).sum(), rel=0.25)
