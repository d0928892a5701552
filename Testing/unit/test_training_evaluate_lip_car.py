"""The tables of LIP-CAR: cases without an inverse crime, measures by hand, a kept record."""

from __future__ import annotations

import importlib
import json

import numpy as np
import pytest
from ContrastSynthLib.files.images import write_volume

from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.metrics import ssim
from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.volumes import Volume

pytest.importorskip("torch")

pytestmark = pytest.mark.usefixtures("training_path")


@pytest.fixture(scope="module")
def cases():
    return importlib.import_module("low_dose_cases")


@pytest.fixture(scope="module")
def script():
    return importlib.import_module("evaluate_lip_car")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of one pair, as users have them."""
    here = tmp_path_factory.mktemp("pairs")
    (here / "one").mkdir()
    scans = sample_patient(4, size=(64, 76, 52)).scans
    for role in ("pre", "post"):
        write_volume(scans[role], here / "one" / f"{role}.nrrd")
    listed = {"one": {"pre": "pre.nrrd", "post": "post.nrrd"}, "other": {"pre": "pre.nrrd"}}
    (here / "cases.json").write_text(json.dumps(listed))
    return here


def test_a_simulated_low_dose_lies_between_the_scans(cases, folder):
    (item,) = cases.real_cases(folder, "matched", 0.0, slices=6)
    case = item.read()
    assert case.low.array.shape[0] == 6
    pre, low, full = case.pre_as_low, case.low.array, case.full.array
    where = case.uptake
    assert where.sum() > 50
    rise = (low - pre)[where].mean() / (full - pre)[where].mean()
    # A quarter of the dose gives more than a quarter of the rise: the signal saturates.
    assert 0.25 < rise < 0.6


def test_the_mismatched_one_is_not_what_the_solver_assumes(cases, script, folder):
    assert cases.SIMULATIONS["matched"] != cases.SIMULATIONS["mismatched"]
    matched, mismatched = (
        cases.real_cases(folder, which, 0.0, slices=6)[0].read() for which in cases.SIMULATIONS
    )
    assert not np.allclose(matched.low.array, mismatched.low.array, rtol=0.02)
    # Both tell the same truth, up to their gain.
    gain = cases.SIMULATIONS["mismatched"].gain
    np.testing.assert_allclose(mismatched.full.array, gain * matched.full.array, rtol=1e-5)
    approach = script.FULL_DOSE["LIP-physics-GenTV(pre)"]
    left = [script.measure(case, approach(case))["uptake_mae"] for case in (matched, mismatched)]
    nothing = script.measure(mismatched, mismatched.low.array)["uptake_mae"]
    assert left[0] < left[1] < 0.7 * nothing


def test_noise_is_rician_and_of_the_deviation_asked_for(cases, folder):
    clean, noisy = (cases.real_cases(folder, "matched", n, slices=6)[0].read() for n in (0, 0.05))
    brain = clean.brain & (clean.low.array > np.median(clean.low.array[clean.brain]))
    level = np.median(clean.pre.array[clean.brain])
    deviation = (noisy.low.array - clean.low.array)[brain].std() / level
    assert deviation == pytest.approx(0.05, rel=0.1)
    assert noisy.low.array.min() >= 0


def test_measures_are_in_the_unit_of_low_dose(cases, script):
    rng = np.random.default_rng(0)
    low = rng.uniform(80, 120, (2, 24, 24)).astype(np.float32)
    full = low * np.where(np.arange(24) > 16, 1.5, 1.0).astype(np.float32)
    grid = Grid((24, 24, 2))
    brain = np.ones(low.shape, bool)
    case = cases.LowDoseCase(*(Volume(i, grid) for i in (low, low, full)), brain)
    unit = 3 * np.median(low)
    found = script.measure(case, low)
    assert found["uptake_mae"] == pytest.approx((full - low)[..., 17:].mean() / unit, rel=1e-4)
    assert found["outside_mae"] == pytest.approx(0, abs=1e-6)
    by_hand = ssim(full / unit, low / unit, data_range=1.0, mask=brain, dimensions=2)
    assert found["ssim"] == pytest.approx(by_hand, rel=1e-4)


def test_added_noise_is_white_and_has_its_sigma(cases, script, folder):
    (item,) = cases.real_cases(folder, "matched", 0.0, slices=6)
    case = item.read()
    noisy = script.with_noise(case, 0.04)
    unit = 3 * np.median(case.low.array[case.brain])
    added = (noisy.low.array - case.low.array)[case.brain] / unit
    assert added.std() == pytest.approx(0.04, rel=0.03)
    assert abs(added.mean()) < 0.002
    assert script.with_noise(case, 0.0) is case


def test_a_table_is_printed_and_not_measured_twice(script, folder, tmp_path, capsys, monkeypatch):
    arguments = ["--cases", str(folder), "--slab", "4", "--csv", str(tmp_path / "kept.csv")]
    arguments += ["--approach", "low-dose", "--approach", "scaled difference"]
    assert script.main(arguments) == 0
    first = capsys.readouterr().out
    assert "| low-dose |" in first
    assert "mismatched, noise 0.03" in first

    def fail(case):
        raise AssertionError("measured again")

    monkeypatch.setitem(script.FULL_DOSE, "low-dose", fail)
    assert script.main(arguments) == 0
    assert capsys.readouterr().out == first
    assert script.main([*arguments, "--approach", "lowdose"]) == 2
    assert "Known: pre-dose" in capsys.readouterr().err


def test_the_stability_is_drawn(script, tmp_path):
    rows = [
        {
            "approach": name,
            "sigma": f"{sigma:g}",
            "ssim": f"{0.9 - sigma - n / 100}",
            "case": str(n),
        }
        for name in ("NN-L2H", "LIP-H2L-TV")
        for sigma in script.SIGMAS
        for n in range(3)
    ]
    script.plot_stability(rows, tmp_path / "stability.png")
    assert (tmp_path / "stability.png").read_bytes().startswith(b"\x89PNG")


def test_every_table_names_what_there_is(script):
    for names, sigmas in script.TABLES.values():
        assert list(sigmas) == sorted(sigmas)
        for name in names:
            assert name in script.FULL_DOSE or name.split("/")[0] in script.OPERATORS
