"""From the low to the full dose: simulated cases, measures by hand, the tables of LIP-CAR."""

from __future__ import annotations

import importlib
import json
from functools import cache

import numpy as np
import pytest

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.images import write_volume
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.metrics import ssim
from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.volumes import Volume

torch = pytest.importorskip("torch")


pytestmark = pytest.mark.usefixtures("training_path")


@pytest.fixture(scope="module")
def low_dose():
    return importlib.import_module("evaluation.low_dose")


@pytest.fixture(scope="module")
def task():
    return importlib.import_module("evaluation.low_to_full")


@pytest.fixture(scope="module")
def script():
    return importlib.import_module("evaluate")


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


@pytest.fixture(scope="module")
def simulated(low_dose, folder):
    """A function that returns the pair with a low dose, three slices of it; each made once."""
    cases = importlib.import_module("evaluation.cases")

    @cache
    def made(simulation: str = "matched", noise: float = 0.0):
        items = cases.items_in_folder(folder, "test")
        (item,) = low_dose.simulated_items(items, simulation, noise, slices=3)
        return item.read()

    return made


def result_of(text: str, task, given, clean=None):
    """What a row, as of ``--row``, makes of a case."""
    rows = importlib.import_module("evaluation.rows")
    row = rows.Row.parse(text, task.LOW_TO_FULL)
    return rows.synthesise(row, task.LOW_TO_FULL, given, clean or given)


def test_a_simulated_low_dose_lies_between_the_scans(low_dose, task, simulated):
    case = simulated()
    assert case["low"].array.shape[0] == 3
    pre, low, full = low_dose.pre_like_low(case), case["low"].array, case["post"].array
    where = task.uptake_of(case)
    assert where.sum() > 50
    rise = (low - pre)[where].mean() / (full - pre)[where].mean()
    # A quarter of the dose gives more than a quarter of the rise: the signal saturates.
    assert 0.25 < rise < 0.6


def test_the_mismatched_one_is_not_what_the_solver_assumes(low_dose, task, simulated):
    assert low_dose.SIMULATIONS["matched"] != low_dose.SIMULATIONS["mismatched"]
    matched, mismatched = (simulated(which) for which in low_dose.SIMULATIONS)
    assert not np.allclose(matched["low"].array, mismatched["low"].array, rtol=0.02)
    # Both have the same truth, up to their gain.
    gain = low_dose.SIMULATIONS["mismatched"].gain
    np.testing.assert_allclose(mismatched["post"].array, gain * matched["post"].array, rtol=1e-5)
    row = "a=lip_car,forward=physics,prior=gentv,guess=pre,iterations=40"
    left = [
        task.measure(case, result_of(row, task, case), case.brain)["uptake_mae"]
        for case in (matched, mismatched)
    ]
    nothing = task.measure(mismatched, {"post": mismatched["low"]}, mismatched.brain)["uptake_mae"]
    assert left[0] < left[1] < 0.7 * nothing


def test_noise_is_rician_and_of_the_deviation_asked_for(simulated):
    clean, noisy = (simulated("matched", noise) for noise in (0.0, 0.05))
    low, brain = clean["low"].array, clean.brain
    bright = brain & (low > np.median(low[brain]))
    level = np.median(clean["pre"].array[brain])
    deviation = (noisy["low"].array - low)[bright].std() / level
    assert deviation == pytest.approx(0.05, rel=0.1)
    assert noisy["low"].array.min() >= 0


def test_measures_are_in_the_unit_of_low_dose(task):
    rng = np.random.default_rng(0)
    low = rng.uniform(80, 120, (2, 24, 24)).astype(np.float32)
    full = low * np.where(np.arange(24) > 16, 1.5, 1.0).astype(np.float32)
    grid, brain = Grid((24, 24, 2)), np.ones(low.shape, np.float32)
    images = {"pre": low, "low": low, "post": full}
    scans = {role: Volume(image, grid) for role, image in images.items()}
    case = importlib.import_module("evaluation.cases").Scans(scans, Volume(brain, grid))
    unit = 3 * np.median(low)
    found = task.measure(case, {"post": case["low"]}, case.brain)
    assert found["uptake_mae"] == pytest.approx((full - low)[..., 17:].mean() / unit, rel=1e-4)
    assert found["outside_mae"] == pytest.approx(0, abs=1e-6)
    by_hand = ssim(full / unit, low / unit, data_range=1.0, mask=brain > 0, dimensions=2)
    assert found["ssim"] == pytest.approx(by_hand, rel=1e-4)
    # Without uptake there is no error in it.
    assert (
        task.measure(case.with_scan("post", case["low"]), {"post": case["low"]}, case.brain)[
            "uptake_mae"
        ]
        is None
    )


def test_added_noise_is_white_and_has_its_sigma(task, simulated):
    case = simulated()
    noisy = task.with_noise(case, 0.04)
    unit = 3 * np.median(case["low"].array[case.brain])
    added = (noisy["low"].array - case["low"].array)[case.brain] / unit
    assert added.std() == pytest.approx(0.04, rel=0.03)
    assert abs(added.mean()) < 0.002
    assert task.with_noise(case, 0.0) is case


def test_the_papers_alpha_grows_with_the_added_noise(task, simulated, monkeypatch):
    rows, asked = importlib.import_module("evaluation.rows"), []

    def noted(request):
        asked.append(request.parameters["alpha"])
        raise RequestError("enough")

    monkeypatch.setattr(rows, "run", noted)
    case = simulated()
    for sigma in (0.0, 0.033, 0.066):
        noisy = task.with_noise(case, sigma)
        with pytest.raises(RequestError, match="enough"):
            result_of("a=lip_car@paper_ph2l_tv,alpha=schedule", task, noisy, case)
    assert asked == pytest.approx([3e-3, (3e-3 * 1e-2) ** 0.5, 1e-2])
    with pytest.raises(RequestError, match="needs a preset with an alpha"):
        result_of("a=lip_car,alpha=schedule", task, case)


def test_a_forward_operator_is_compared_with_the_low_dose(task, simulated):
    """Denoised where that is asked for; added noise is on what it sees, never on the target."""
    case = simulated()
    as_scanned = result_of("a=h2l", task, case)
    np.testing.assert_array_equal(as_scanned["aim"].array, case["low"].array * case.brain)
    denoised = result_of("a=h2l,denoiser=nlm", task, case)
    assert not np.array_equal(denoised["aim"].array, as_scanned["aim"].array)
    np.testing.assert_array_equal(denoised["low"].array, as_scanned["low"].array)
    noisy = result_of("a=h2l,denoiser=nlm", task, task.with_noise(case, 0.1), case)
    np.testing.assert_array_equal(noisy["aim"].array, denoised["aim"].array)
    assert not np.allclose(noisy["low"].array, as_scanned["low"].array, rtol=0.01)
    errors = [task.measure(case, o, case.brain)["ssim"] for o in (as_scanned, noisy)]
    assert errors[0] > errors[1]


def test_a_table_is_printed_and_not_measured_twice(script, task, folder, tmp_path, capsys):
    options = ["--cases", str(folder), "--slab", "4", "--csv", str(tmp_path / "kept.csv")]
    options += ["--table", "lip_car_3", "--only", "low-dose", "--only", "scaled difference"]
    assert script.main(options) == 0
    first = capsys.readouterr()
    assert "| low-dose |" in first.out
    assert "| NN-L2H |" not in first.out
    assert "mismatched low dose, noise 0.03, 4 slices" in first.out
    assert first.err.count("one: ") == 2
    assert script.main(options) == 0
    again = capsys.readouterr()
    assert again.out == first.out
    assert "one: " not in again.err
    assert script.main([*options, "--only", "lowdose"]) == 2
    assert "Did you mean 'low-dose'" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["lip_car_stability", "lip_car_2"])
def test_what_noise_does_is_drawn(tmp_path, name):
    pytest.importorskip("matplotlib")
    table = importlib.import_module("evaluation.tables").TABLES[name]
    labels = ("NN-L2H", "LIP-H2L-TV")
    lines = [
        {
            **{"label": label, "noise": f"{sigma:g}", "case": str(n)},
            **{"ssim": f"{0.9 - sigma - n / 100}", "relative_error": f"{sigma + n / 100}"},
        }
        for label in labels
        for sigma in table.noise
        for n in range(3)
    ]
    table.plot(lines, labels, tmp_path / "drawn.png")
    assert (tmp_path / "drawn.png").read_bytes().startswith(b"\x89PNG")


def test_the_rows_of_every_table_can_be_measured():
    """Methods, parameters and weights are there: what a table names must not be forgotten."""
    rows = importlib.import_module("evaluation.rows")
    for table in importlib.import_module("evaluation.tables").TABLES.values():
        assert list(table.noise) == sorted(table.noise)
        assert set(table.headings) == set(table.measures)
        parsed = [rows.Row.parse(text, table.task) for text in table.rows]
        assert len({row.name for row in parsed}) == len(parsed)
        for row in parsed:
            networks = row.method.endswith("2l") or row.method.endswith("2h")
            if networks or dict(row.parameters).get("forward") in ("h2l", "ph2l"):
                assert row.weights_id(table.task)
