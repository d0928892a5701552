"""The slices that LIP-CAR's networks are trained on: from virtual patients, and from own cases."""

from __future__ import annotations

import csv
import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from ContrastSynthLib.files.images import write_volume
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.preprocessing.normalisation import radiometric_gain
from ContrastSynthLib.volumes import Volume
from ContrastSynthLib.weights.bundles import read_bundle

torch = pytest.importorskip("torch")

from training_slabs import DEPTH, DOSE_ROLES, SIZE, dose_scans, dose_slab, write_pool

pytestmark = pytest.mark.usefixtures("training_path")


@pytest.fixture(scope="module")
def doses():
    return importlib.import_module("data.dose_slices")


@pytest.fixture(scope="module")
def pool(tmp_path_factory) -> Path:
    return write_pool(tmp_path_factory.mktemp("pool"), dose_slab)


def test_scans_come_to_the_gain_and_the_unit_of_the_low_dose(doses):
    given, brain, agent = dose_scans(0)
    images = doses.as_examples(given, brain)
    assert images.shape == (4, DEPTH, SIZE, SIZE)
    assert images.dtype == np.float16
    assert doses.ROLES == DOSE_ROLES
    found = dict(zip(DOSE_ROLES, images.astype(np.float32), strict=True))
    assert np.median(found["low"][brain]) == pytest.approx(1 / 3, abs=1e-3)
    # They were at 1.3 and 0.8 of it.
    plain = brain & ~agent
    for role in ("pre", "post"):
        assert radiometric_gain(found["low"], found[role], brain) == pytest.approx(1, abs=0.01)
        assert np.median(found[role][plain]) == pytest.approx(
            np.median(found["low"][plain]), rel=0.02
        )
    # What the agent adds is left: nothing, 0.2 and 0.8 of the tissue.
    before = found["pre"][agent].mean()
    for role, rise in (("low", 0.2), ("post", 0.8)):
        assert found[role][agent].mean() / before == pytest.approx(1 + rise, rel=0.03)
    assert all((image[~brain] == 0).all() for image in found.values())
    assert given["low"][~brain].min() > 100


def test_examples_do_not_depend_on_the_units_of_the_scans(doses):
    given, brain, _ = dose_scans(0)
    other = {
        role: scan * unit for (role, scan), unit in zip(given.items(), (9, 0.1, 3), strict=True)
    }
    np.testing.assert_allclose(
        doses.as_examples(other, brain), doses.as_examples(given, brain), rtol=3e-3, atol=1e-4
    )


def test_forward_operators_aim_at_less_noise(doses):
    given, brain, _ = dose_scans(0, noise=40)
    low, denoised = (doses.as_examples(given, brain)[n].astype(np.float32) for n in (1, 3))
    truth = doses.as_examples(dose_scans(0, noise=0)[0], brain)[1].astype(np.float32)
    before, after = (np.std((image - truth)[brain]) for image in (low, denoised))
    assert before == pytest.approx(40 / 800 / 3, rel=0.1)
    assert after < 0.6 * before


@pytest.mark.parametrize("crop", [32, 48, 64])
def test_examples_have_the_documented_roles_and_shapes(doses, pool, crop):
    batch = next(doses.batches(str(pool), crop=crop, batch=3, seed=1, workers=0))
    assert tuple(batch) == DOSE_ROLES
    for image in batch.values():
        assert image.shape == (3, 1, crop, crop)
        assert image.dtype == torch.float32
        inside = image[batch["low"] > 0]
        assert 0.25 < inside.median() < 0.45
    # All roles are cut alike.
    for role in ("pre", "post"):
        assert torch.equal(batch[role] > 0, batch["low"] > 0)
    # A slice that is smaller than the crop stands amid zeros.
    if crop == 64:
        for image in batch.values():
            assert (image[..., :8, :] == 0).all()
            assert (image[..., -8:] == 0).all()
            assert image[..., 8:-8, 8:-8].abs().sum() == image.abs().sum()


def test_the_same_seed_gives_the_same_examples(doses, pool):
    first, again, other = (
        next(doses.batches(str(pool), crop=32, batch=6, seed=seed, workers=0)) for seed in (3, 3, 4)
    )
    assert all(torch.equal(first[role], again[role]) for role in DOSE_ROLES)
    assert not torch.equal(first["low"], other["low"])


def test_crops_lie_in_the_slice_and_half_of_them_have_left_as_right(doses, tmp_path):
    """A slab whose values tell where they come from, as far as half precision counts."""
    slab = np.empty((4, 1, SIZE, SIZE), np.float16)
    slab[:2] = np.arange(1, SIZE + 1)[:, None]
    slab[2:] = np.arange(1, SIZE + 1)
    np.save(tmp_path / "00000_0.npy", slab)
    found = next(doses.batches(str(tmp_path), crop=16, batch=200, seed=0, workers=0))
    rows, cols = found["low"][:, 0].numpy(), found["post"][:, 0].numpy()
    assert (np.diff(rows, axis=1) == 1).all()
    steps = np.diff(cols, axis=2)
    turned = steps[:, 0, 0] < 0
    assert (steps == np.where(turned, -1, 1)[:, None, None]).all()
    assert 0.4 < turned.mean() < 0.6
    # All of the slice is seen.
    for places in (rows, cols):
        assert (places.min(), places.max()) == (1, SIZE)


def test_slices_with_little_brain_are_passed_over(doses, tmp_path):
    slab = np.zeros((4, 3, SIZE, SIZE), np.float16)
    side = int(np.sqrt(doses.LEAST_BRAIN))
    slab[:, 0, :side, : side - 1] = 0.2
    slab[:, 1, :side, : side + 1] = 0.3
    np.save(tmp_path / "00000_0.npy", slab)
    found = next(doses.batches(str(tmp_path), crop=48, batch=20, seed=0, workers=0))
    assert found["low"].amax(dim=(1, 2, 3)).tolist() == pytest.approx([0.3] * 20, abs=1e-3)


def test_slabs_are_made_with_a_low_dose_and_kept_once(doses, monkeypatch, tmp_path):
    """The virtual patients have tests of their own: here it counts what is asked of them."""
    asked = []

    def brain_slabs(seed, **options):
        asked.append((seed, options))
        while True:
            given, brain, _ = dose_scans(seed)
            yield {**given, "brain": brain.astype(np.float32)}

    monkeypatch.setattr(doses, "brain_slabs", brain_slabs)
    importlib.import_module("data.slabs").write_slabs(tmp_path, 3, doses.make_slabs)
    ((seed, options),) = asked
    assert seed == 3
    assert options["doses"] == (0.25,)
    assert set(options["roles"]) == {"pre", "low", "post", "brain"}
    kept = [np.load(path) for path in sorted(tmp_path.glob("*.npy"))]
    assert len(kept) == doses.SLABS_PER_SEED
    given, brain, _ = dose_scans(3)
    assert np.array_equal(kept[0], doses.as_examples(given, brain))


def test_an_empty_folder_is_refused(doses, tmp_path):
    with pytest.raises(SystemExit, match="holds no slabs"):
        doses.batches(str(tmp_path), crop=32, batch=1, seed=0, workers=0)


# ---- a hospital's own cases


@pytest.fixture
def prepared(tmp_path):
    """A function that prepares cases, each with or without a low-dose scan."""

    def prepare(*with_low: bool) -> Path:
        given = importlib.import_module("data.preparation")
        rows = []
        for seed, has_low in enumerate(with_low):
            row = {"case": f"case{seed}", "patient": f"Doe^{seed}"}
            found, brain, _ = dose_scans(seed)
            for role in ("pre", "post", *(("low",) if has_low else ())):
                row[role] = f"{role}{seed}.nrrd"
                grid = Grid((SIZE, SIZE, DEPTH), (1.0, 1.0, 1.0))
                write_volume(Volume(found[role] * brain, grid), tmp_path / row[role])
            rows.append(row)
        with (tmp_path / "cases.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, ["case", "patient", "pre", "post", "low"], restval="")
            writer.writeheader()
            writer.writerows(rows)
        division = given.Division(validation=0, test=0)
        given.prepare(tmp_path / "cases.csv", tmp_path / "prepared", "none", division)
        return tmp_path / "prepared"

    return prepare


def from_cases(folder: Path):
    """The source of slabs that ``batches`` takes for a prepared folder."""
    doses = importlib.import_module("data.dose_slices")
    slabs = importlib.import_module("data.slabs")
    return slabs.PreparedSlabs(folder, doses.slab_of_case, needs=("low",))


def test_prepared_cases_are_examples(doses, prepared):
    """On their way the scans were divided by means and gains, which must not be seen."""
    slab = from_cases(prepared(True)).draw(np.random.default_rng(0))
    assert slab.spacing_mm == 1
    given, brain, _ = dose_scans(0)
    wanted = doses.as_examples(given, brain)
    assert slab.images.dtype == np.float16
    assert slab.images.shape[:2] == (4, DEPTH)
    # The plan of slices cuts and fills up about the brain.
    (_, shown), (_, there) = ((image, image[1, 2] > 0) for image in (slab.images, wanted))
    assert shown.sum() == there.sum()
    for n, role in enumerate(DOSE_ROLES):
        found, expected = (
            np.asarray(images[n, 2][seen], np.float32)
            for images, seen in ((slab.images, shown), (wanted, there))
        )
        np.testing.assert_allclose(found, expected, rtol=0.02, err_msg=role)


def test_only_cases_with_a_low_dose_are_taken(doses, prepared):
    folder = prepared(False, True)
    assert [case.name for case in from_cases(folder).cases] == ["case1"]
    batch = next(doses.batches(str(folder), crop=32, batch=4, seed=0, workers=0))
    assert tuple(batch) == DOSE_ROLES
    assert batch["low"].shape == (4, 1, 32, 32)


def test_cases_without_a_low_dose_are_refused(doses, prepared):
    folder = prepared(False, False)
    with pytest.raises(SystemExit, match="no cases with the scans low of the split 'train'"):
        doses.batches(str(folder), crop=32, batch=1, seed=0, workers=0)


def test_weights_of_ones_own_cases_are_not_called_virtual(prepared, tmp_path, monkeypatch):
    for package in ("monai", "lightning_fabric", "safetensors", "tensorboard"):
        pytest.importorskip(package)
    out = tmp_path / "run"
    small = ("--width", 2, "--crop", 32, "--batch", 2, "--threads", 1, "--steps", 2)
    words = ("train_lip_car.py", "--task", "ph2l", "--data", prepared(True), "--out", out, *small)
    monkeypatch.setattr(sys, "argv", [str(word) for word in words])
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    importlib.import_module("train_lip_car").main()
    # Fabric leaves its seed behind.
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    card = read_bundle(out / "bundle").metadata
    assert card["training"]["data"] == "pairs of scans"
    assert card["trained_on_virtual_patients"] is False
    assert str(tmp_path) not in json.dumps(card)
    assert "/" not in json.dumps(card["training"]["options"])
