"""Slabs for the high-resolution FCN: units, what is left out, virtual patients and real pairs."""

from __future__ import annotations

import importlib
import json
import sys

import numpy as np
import pytest
import SimpleITK as sitk
from training_pairs import write_pairs

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("training_path")


@pytest.fixture(scope="module")
def module():
    return importlib.import_module("data.enhance_slabs")


@pytest.fixture
def scans():
    """Tissue of 50 to 150, a block of which rises by 60; the post scan has twice the gain."""
    rng = np.random.default_rng(0)
    brain = np.zeros((12, 48, 48), bool)
    brain[:, 4:44, 4:44] = True
    t1 = np.where(brain, rng.uniform(50, 150, brain.shape), 7).astype("f4")
    post = t1.copy()
    post[4:8, 20:28, 20:28] += 60
    return {"t1": t1, "post": 2 * post, "t2": 300 - t1}, brain


def test_scans_are_in_0_to_1_and_the_full_dose_has_the_unit_of_t1(module, scans):
    given, brain = scans
    slab = dict(zip(module.ROLES, module.as_slab(given, brain).astype("f4"), strict=True))
    assert set(slab) == {"t1", "t2", "flair", "adc", "post"}
    for role in ("t1", "t2"):
        assert np.percentile(slab[role][brain], 99.9) == pytest.approx(1, abs=0.01)
        assert not slab[role][~brain].any()
    assert not slab["flair"].any()
    assert not slab["adc"].any()
    rise, unit = slab["post"] - slab["t1"], np.percentile(given["t1"][brain], 99.9)
    block = np.zeros(brain.shape, bool)
    block[4:8, 20:28, 20:28] = True
    assert rise[block].mean() == pytest.approx(60 / unit, rel=0.05)
    assert np.abs(rise[brain & ~block]).mean() < 0.02


def test_some_scans_are_left_out_but_never_all(module):
    rng = np.random.default_rng(0)
    shown = [module.shown(rng, ("t1", "t2", "adc")) for _ in range(2000)]
    assert all(shown)
    for role in ("t1", "t2", "adc"):
        missing = np.mean([role not in kept for kept in shown])
        assert missing == pytest.approx(module.LEFT_OUT[role], abs=0.03)
    assert module.shown(rng, ()) == set()
    assert {module.shown(rng, ("flair",)).pop() for _ in range(20)} == {"flair"}


@pytest.fixture
def files(module, scans, tmp_path):
    paths = [tmp_path / f"{name}.npy" for name in ("virtual", "real")]
    np.save(paths[0], module.as_slab(*scans))
    np.save(paths[1], 0.5 * module.as_slab(*scans))
    return [[path] for path in paths]


def test_examples_are_slices_of_both_sources(module, files):
    stream = iter(module.EnhanceSlices(*files, real=0.5, depth=3, crop=32, roles=("t1", "t2")))
    real, agents, counts = 0, 0, []
    for _, example in zip(range(80), stream, strict=False):
        assert example["scans"].shape == (2, 3, 32, 32)
        assert example["t1"].shape == example["post"].shape == (1, 3, 32, 32)
        real += bool(example["t1"].max() < 0.7)
        agents += bool((example["post"] - example["t1"] > 0.08).any())
        counts.append(int((example["scans"].abs().sum(dim=(1, 2, 3)) > 0).sum()))
    assert 20 < real < 60
    assert agents > 40
    assert set(counts) == {1, 2}


def test_without_slabs_nothing_is_learnt(module, files):
    with pytest.raises(SystemExit, match="--for hrfcn"):
        module.EnhanceSlices(files[0], [], real=0.5, depth=3, crop=32)
    module.EnhanceSlices([], files[1], real=1.0, depth=3, crop=32)


def test_virtual_patients_have_every_scan(module):
    slab = next(module.make_slabs(7)).astype("f4")
    assert slab.shape[0] == len(module.ROLES)
    assert all(image.any() for image in slab)
    named = dict(zip(module.ROLES, slab, strict=True))
    assert (named["post"] - named["t1"])[named["post"] > 0].mean() > 0


def test_the_slabs_of_pairs_are_kept_apart_by_patient(monkeypatch, module, tmp_path):
    folder = write_pairs(tmp_path / "pairs")
    listed = json.loads((folder / "cases.json").read_text())
    t2 = sitk.ReadImage(str(folder / "case_0" / "t1.nii.gz"))
    sitk.WriteImage(t2, folder / "case_0" / "t2.nii.gz")
    listed["case_0"]["t2"] = "t2.nii.gz"
    (folder / "cases.json").write_text(json.dumps(listed))
    words = f"{tmp_path / 'out'} --for hrfcn --pairs {folder} --held-out 1 --processes 1"
    monkeypatch.setattr(sys, "argv", ["make_slabs.py", *words.split()])
    importlib.import_module("make_slabs").main()
    learnt = {path.stem for path in (tmp_path / "out").glob("*.npy")}
    held_out = {path.stem for path in (tmp_path / "out" / "held_out").glob("*.npy")}
    assert (len(learnt), len(held_out)) == (2, 1)
    assert learnt | held_out == set(listed)
    (one,) = (tmp_path / "out").rglob("case_0.npy")
    (other,) = (tmp_path / "out").rglob("case_1.npy")
    which = module.ROLES.index("t2")
    assert np.load(one)[which].any()
    assert not np.load(other)[which].any()
