"""Slabs of real pairs with a simulated low dose: what is in them, who is held out, made once."""

from __future__ import annotations

import importlib
import json
import os
import sys
from functools import partial

import numpy as np
import pytest
import SimpleITK as sitk
from training_pairs import scans

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.physics import signal_at_dose, spgr_signal

pytest.importorskip("torch")

from training_slabs import DOSE_ROLES, dose_slab, write_pool

pytestmark = pytest.mark.usefixtures("training_path")


@pytest.fixture(scope="module")
def dose_pairs():
    return importlib.import_module("data.dose_pairs")


@pytest.fixture(scope="module")
def real_pairs():
    return importlib.import_module("data.real_pairs")


@pytest.fixture(scope="module")
def pair(real_pairs, tmp_path_factory):
    """A pair whose post scan has another contrast and gain, and little noise of its own."""
    before, after, brain, *_ = scans()
    noise = np.random.default_rng(1).normal(0, 4, (2, *brain.shape))
    curved = 400 * (after / 500) ** 1.4
    pre, post = (
        (image + more) * brain for image, more in zip((before, curved), noise, strict=True)
    )
    path = tmp_path_factory.mktemp("pair") / "one.npy"
    np.save(path, real_pairs.maps_of_pair(pre.astype("f4"), post.astype("f4")).astype("f2"))
    return real_pairs.RealPair("one", "one", path)


@pytest.fixture
def slab_by(dose_pairs, pair, monkeypatch):
    """A function that returns a slab by role under known settings, and what it was made from."""

    def make(noise: float, gain: float = 1.2, relaxivity: float = 1.1):
        simulation = importlib.import_module("data.dose_simulation").Simulation
        by = simulation(0.006, 15.0, 3.0, relaxivity, gain)
        monkeypatch.setattr(dose_pairs, "draw_simulation", lambda rng: (by, noise))
        # The noise of the pair is left where it is, so that the low dose is known.
        monkeypatch.setattr(dose_pairs, "denoise", lambda image, sigma: image)
        images = dose_pairs.slab_of_pair(pair, np.random.default_rng(3))
        # The same place is drawn again.
        maps = dose_pairs._cut_about(pair, np.random.default_rng(3))
        named = zip(importlib.import_module("data.real_pairs").MAPS, maps, strict=True)
        return dict(zip(DOSE_ROLES, images.astype("f4"), strict=True)), dict(named)

    return make


def test_a_slab_has_the_format_of_virtual_ones(dose_pairs, pair):
    slab = dose_pairs.slab_of_pair(pair, np.random.default_rng(0))
    assert slab.shape == (4, 32, *pair.maps.shape[2:])
    assert slab.dtype == np.float16
    named = dict(zip(DOSE_ROLES, slab.astype("f4"), strict=True))
    brain = named["pre"] > 0
    assert np.median(named["low"][brain]) == pytest.approx(1 / 3, abs=2e-3)
    for role in DOSE_ROLES:
        assert (named[role][~brain] < 0.02).all()


def test_the_low_dose_is_that_of_the_signal_equation(slab_by):
    """Computed here once more; ``pre`` is the pre scan in the contrast of the post scan."""
    images, maps = slab_by(noise=0.0, gain=1.2)
    brain = maps["brain"] > 0
    level = np.median(maps["target"][brain])
    settings = {"repetition_time_s": 0.006, "flip_angle_deg": 15.0}
    density = level / spgr_signal(1 / 1.25, **settings)
    wanted, solved = signal_at_dose(
        *(maps[role].astype("f8") for role in ("target", "post")),
        0.25 * 1.1,
        gain=1.0,
        proton_density=density,
        **settings,
    )
    assert solved[brain].all()
    unit = 3 * np.median(wanted[brain])
    np.testing.assert_allclose(images["low"][brain], wanted[brain] / unit, rtol=2e-3)
    # The gain of the low dose is taken out again.
    quiet = brain & (maps["uptake"] == 0)
    for role, image in (("pre", maps["target"]), ("post", maps["post"])):
        ratio = images[role][quiet] / (image[quiet] / unit)
        assert np.median(ratio) == pytest.approx(1, abs=0.01)
        assert ratio.std() < 0.01
    # A quarter of the dose gives more than a quarter of the rise: the signal saturates.
    agent = brain & (maps["uptake"] > 0.9)
    rise = (images["low"] - images["pre"])[agent].mean()
    assert 0.28 < rise / (images["post"] - images["pre"])[agent].mean() < 0.5


def test_noise_is_added_to_the_low_dose_alone(slab_by):
    (clean, maps), (noisy, _) = (slab_by(noise) for noise in (0.0, 0.04))
    core = maps["brain"] > 0
    core[:2] = False
    added = 3 * (noisy["low"] - clean["low"])[core & (clean["low"] > 0.3)]
    assert added.std() == pytest.approx(0.04, rel=0.15)
    for role in ("pre", "post"):
        np.testing.assert_allclose(noisy[role], clean[role], atol=0.01)
    left = 3 * (noisy["denoised"] - clean["low"])[core]
    assert left.std() < 0.7 * added.std()


def test_the_noise_of_the_pair_is_reduced_in_the_low_dose(
    dose_pairs, real_pairs, pair, tmp_path, monkeypatch
):
    clean = np.asarray(pair.maps, "f4")
    noise = np.random.default_rng(0).normal(0, 0.08, (2, *clean.shape[1:]))
    noisy = clean.copy()
    noisy[:2] += noise * clean[4]
    np.save(tmp_path / "noisy.npy", noisy)
    given, simulated = [], dose_pairs.simulated_low_dose

    def spy(*values):
        given.extend(values[:3])
        return simulated(*values)

    monkeypatch.setattr(dose_pairs, "simulated_low_dose", spy)
    monkeypatch.setattr(dose_pairs, "SLAB_SLICES", len(clean[0]))
    grainy = real_pairs.RealPair("one", "one", tmp_path / "noisy.npy")
    slab = dose_pairs.slab_of_pair(grainy, np.random.default_rng(3)).astype("f4")
    # The scans themselves keep it.
    for role, scan in (("pre", noisy[1]), ("post", noisy[0])):
        kept = np.corrcoef(slab[DOSE_ROLES.index(role)][given[2]], scan[given[2]])[0, 1]
        assert kept > 0.99
    post, target = clean[:2]
    for image, truth in zip(given[:2], (target, post), strict=True):
        assert (image - truth)[given[2]].std() < 0.7 * 0.08


def test_settings_differ_within_their_ranges(dose_pairs):
    drawn = [dose_pairs.draw_simulation(np.random.default_rng(seed)) for seed in range(300)]
    for values, (low, high) in (
        ([by.repetition_time_s for by, _ in drawn], dose_pairs.REPETITION_TIME_S),
        ([by.flip_angle_deg for by, _ in drawn], dose_pairs.FLIP_ANGLE_DEG),
        ([by.relaxivity for by, _ in drawn], dose_pairs.RELAXIVITY),
        ([by.gain for by, _ in drawn], dose_pairs.GAIN),
        ([noise for _, noise in drawn], dose_pairs.NOISE),
    ):
        assert low <= min(values) < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < max(values) <= high
    assert {by.field_strength_t for by, _ in drawn} == {1.5, 3.0}


# ---- a folder of slabs


def write_pair(folder, seed):
    before, after, brain, *_ = scans((36, 48, 44))
    noise = np.random.default_rng(seed).normal(0, 5, (2, *brain.shape))
    folder.mkdir(parents=True)
    for name, image, more in zip(("t1", "t1c"), (before, after), noise, strict=True):
        sitk.WriteImage(
            sitk.GetImageFromArray(((image + more) * brain).astype("f4")),
            folder / f"{name}.nii.gz",
        )


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A folder of four pairs of three patients."""
    folder = tmp_path_factory.mktemp("source")
    names = ["a", "b", "b_later", "c"]
    for number, name in enumerate(names):
        write_pair(folder / name, number)
    files = {"pre": "t1.nii.gz", "post": "t1c.nii.gz"}
    (folder / "cases.json").write_text(json.dumps(dict.fromkeys(names, files)))
    return folder


@pytest.fixture
def few(dose_pairs, monkeypatch):
    """Two slabs of a pair, and one of one held out."""
    monkeypatch.setattr(dose_pairs, "SLABS_PER_PAIR", 2)
    monkeypatch.setattr(dose_pairs, "SLABS_HELD_OUT", 1)


def make_slabs(monkeypatch, folder, *options):
    words = ["make_slabs.py", folder, "--for", "lip_car", "--processes", 1, *options]
    monkeypatch.setattr(sys, "argv", [str(word) for word in words])
    importlib.import_module("make_slabs").main()


@pytest.fixture
def of_source(monkeypatch, source, few):
    given = ("--pairs", source, "--matched", source / "matched", "--same-patient", "b,b_later")
    return partial(_with, monkeypatch, given)


def _with(monkeypatch, given, folder, *options):
    make_slabs(monkeypatch, folder, *given, *options)


def names_in(folder):
    return sorted(path.name for path in folder.glob("*.npy"))


def test_patients_are_held_out_by_the_rule_of_train_sphere_real(
    dose_pairs, real_pairs, source, of_source, tmp_path
):
    of_source(tmp_path / "doses", "--held-out", 1)
    table = real_pairs.read_table(source, [("b", "b_later")])
    (other,) = real_pairs.held_out_of(table, 1)
    out = [name for name, row in table.items() if row["patient"] == other]
    record = dose_pairs.PairSlabs.read(tmp_path / "doses")
    assert set(record.held_out.values()) == {other}
    assert sorted(record.held_out) == sorted(out)
    assert sorted(record.learnt) == sorted(set(table) - set(out))
    assert names_in(tmp_path / "doses") == sorted(
        f"{n}_{k}.npy" for n in record.learnt for k in "01"
    )
    assert names_in(tmp_path / "doses" / "held_out") == sorted(f"{name}_0.npy" for name in out)
    record.check_whole(tmp_path / "doses")
    # What is learnt from does not see the folder within.
    kept = importlib.import_module("data.slabs").KeptSlabs(tmp_path / "doses")
    assert len(kept.slabs) == 2 * len(record.learnt)


def test_a_seed_decides_and_other_pairs_do_not(dose_pairs, pair, tmp_path, few):
    record = dose_pairs.PairSlabs({"one": "one"}, {}, seed=0)
    for folder, made in (
        ("first", record),
        ("again", dose_pairs.PairSlabs({"zero": "zero", "one": "one"}, {}, seed=0)),
        ("other", dose_pairs.PairSlabs({"one": "one"}, {}, seed=1)),
    ):
        (tmp_path / folder).mkdir()
        made.write(tmp_path / folder, pair)
    first, again, other = (
        [np.load(tmp_path / folder / f"one_{n}.npy") for n in range(2)]
        for folder in ("first", "again", "other")
    )
    for n in range(2):
        np.testing.assert_array_equal(first[n], again[n])
        assert not np.array_equal(first[n], other[n])
    assert not np.array_equal(*first)


def test_slabs_are_made_once_and_again_for_new_maps(dose_pairs, pair, tmp_path, few, monkeypatch):
    record = dose_pairs.PairSlabs({"one": "one"}, {}, seed=0)
    record.write(tmp_path, pair)
    made = []
    monkeypatch.setattr(
        dose_pairs, "slab_of_pair", lambda pair, rng: made.append(pair) or np.zeros(1)
    )
    record.write(tmp_path, pair)
    assert made == []
    (tmp_path / "one_1.npy").unlink()
    record.write(tmp_path, pair)
    assert len(made) == 1
    newer = importlib.import_module("data.real_pairs").RealPair("one", "one", tmp_path / "maps")
    np.save(tmp_path / "maps.npy", np.zeros(1))
    (tmp_path / "maps.npy").rename(newer.path)
    for n in range(2):
        os.utime(tmp_path / f"one_{n}.npy", (0, 0))
    record.write(tmp_path, newer)
    assert len(made) == 3


def test_a_folder_of_others_is_refused(dose_pairs, source, of_source, monkeypatch, tmp_path):
    of_source(tmp_path / "doses", "--held-out", 1)
    before = names_in(tmp_path / "doses")
    of_source(tmp_path / "doses", "--held-out", 1)
    for options in (("--held-out", 2), ("--held-out", 1, "--first-seed", 5)):
        with pytest.raises(RequestError, match="Give another folder"):
            of_source(tmp_path / "doses", *options)
    assert names_in(tmp_path / "doses") == before
    with pytest.raises(RequestError, match="holds slabs of pairs"):
        make_slabs(monkeypatch, tmp_path / "doses", "--patients", 2)
    (tmp_path / "virtual").mkdir()
    write_pool(tmp_path / "virtual", dose_slab)
    with pytest.raises(RequestError, match="holds slabs of virtual patients"):
        of_source(tmp_path / "virtual", "--held-out", 1)
    (tmp_path / "doses" / before[0]).unlink()
    with pytest.raises(RequestError, match=f"lacks slabs of {before[0].rsplit('_', 1)[0]}"):
        dose_pairs.PairSlabs.read(tmp_path / "doses").check_whole(tmp_path / "doses")


def test_a_record_of_another_version_is_refused(dose_pairs, tmp_path):
    dose_pairs.PairSlabs({"a": "a"}, {}, 0, schema_version=99).enter(tmp_path)
    with pytest.raises(RequestError, match="version 99, not 1"):
        dose_pairs.PairSlabs.read(tmp_path)
    with pytest.raises(RequestError, match="is no record"):
        dose_pairs.PairSlabs.read(tmp_path / "held_out")


def test_pairs_are_for_lip_car_alone(monkeypatch, source, tmp_path, capsys):
    words = ["make_slabs.py", str(tmp_path / "no"), "--pairs", str(source)]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as refusal:
        importlib.import_module("make_slabs").main()
    assert refusal.value.code == 2
    assert "--for lip_car" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()
