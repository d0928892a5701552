"""From two scans to a low dose: simulated cases of pairs, measures by hand, and the table."""

from __future__ import annotations

import importlib
import json
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest

from ContrastSynthLib.acquisition import Acquisition
from ContrastSynthLib.files.images import write_volume
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.running.run import run
from ContrastSynthLib.volumes import Volume

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("training_path")
DOSES = (0.1, 0.33)


@pytest.fixture(scope="module")
def task():
    return importlib.import_module("evaluation.any_dose")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    here = tmp_path_factory.mktemp("pairs")
    (here / "one").mkdir()
    scans = sample_patient(4, size=(64, 76, 52)).scans
    for role in ("pre", "post"):
        write_volume(scans[role], here / "one" / f"{role}.nrrd")
    listed = {"one": {"pre": "pre.nrrd", "post": "post.nrrd"}}
    (here / "cases.json").write_text(json.dumps(listed), encoding="utf-8")
    return here


@pytest.fixture(scope="module")
def simulated(task, folder):
    """A function that returns the pair with a low dose, six slices of it."""
    items = importlib.import_module("evaluation.cases").items_in_folder(folder, "test")

    @cache
    def made(dose):
        (item,) = task.doses_of_pairs(items, "mismatched", dose, slices=6)
        return item.read()

    return made


def made_by(text, task, scans):
    rows = importlib.import_module("evaluation.rows")
    return rows.synthesise(rows.Row.parse(text, task.ANY_DOSE), task.ANY_DOSE, scans, scans)


def test_a_simulated_dose_says_itself_and_rises_with_it(task, simulated):
    rises = []
    for dose in DOSES:
        case = simulated(dose)
        assert case["low"].array.shape[0] == 6
        assert task.dose_of(case) == dose
        found = task.measure(case, {"low": case["low"]}, case.brain)
        assert (found["mae_ce"], found["mae_sigma"], found["sigma_ratio"]) == (0, 0, 1)
        assert found["noise_ratio"] == 1
        rises.append(found["rise"])
    assert 0.02 < rises[0] < 0.6 * rises[1]


def test_rows_get_the_dose_of_the_case(task, simulated):
    """The signal equation has no linear rise; with the right dose it is ahead at each."""
    for dose in DOSES:
        case = simulated(dose)
        linear, equation = (
            task.measure(case, made_by(f"a={row}", task, case), case.brain)
            for row in ("linear", "physics_dose")
        )
        assert equation["mae_ce"] < linear["mae_ce"]
    wrong = made_by("a=physics_dose,dose=1", task, case)
    assert task.measure(case, wrong, case.brain)["mae_ce"] > 2 * equation["mae_ce"]


def test_a_low_dose_from_the_post_scan_alone_does_not_look_at_the_native_one(
    task, simulated, monkeypatch
):
    """With a sphere that were right it is what the signal equation makes of both scans."""
    case = simulated(0.33)
    seen = []

    def right_sphere(request):
        seen.append(request)
        if request.method == "sphere":
            return SimpleNamespace(outputs={"pre": case["pre"]})
        return run(request)

    monkeypatch.setattr(importlib.import_module("evaluation.any_dose"), "run", right_sphere)
    blind = case.with_scan("pre", case["post"])
    alone = made_by("a=post_alone", task, blind)["low"].array
    equation = made_by("a=physics_dose", task, case)["low"].array
    np.testing.assert_array_equal(alone, equation)
    assert [request.method for request in seen] == ["sphere", "physics_dose"]
    assert set(seen[0].inputs) <= {"post", "mask"}


@pytest.fixture
def case():
    """Noise of 2 about 100, a block of which rises by 50, at the low dose by 10; other gains."""
    rng = np.random.default_rng(0)
    rise = np.zeros((6, 64, 64))
    rise[:, 24:32, 24:32] = 50
    grid = Grid((64, 64, 6))
    images = {
        role: (gain * (100 + share * rise + rng.normal(0, 2, rise.shape))).astype(np.float32)
        for role, share, gain in (("pre", 0, 1), ("low", 0.2, 1.3), ("post", 1, 0.7))
    }
    scans = {
        role: Volume(image, grid, acquisition=Acquisition(dose_fraction=0.2))
        for role, image in images.items()
    }
    brain = Volume(np.ones(rise.shape, np.float32), grid)
    return importlib.import_module("evaluation.cases").Scans(scans, brain)


def test_measures_do_not_depend_on_gains(task, case):
    q = np.quantile(case["pre"].array, 0.95)
    native = task.measure(case, made_by("a=native", task, case), case.brain)
    assert native["rise"] == 0
    assert native["mae_ce"] == pytest.approx(10 / q, rel=0.1)
    assert native["rise_error"] == pytest.approx(10 / q, rel=0.05)
    assert native["sigma_ratio"] == 0
    assert native["noise_ratio"] == pytest.approx(1, rel=0.03)
    assert native["mae_sigma"] == pytest.approx(2 * 2**0.5 / q, rel=0.1)
    linear = task.measure(case, made_by("a=linear", task, case), case.brain)
    assert linear["rise"] == pytest.approx(10 / q, rel=0.05)
    # 0.2 of the difference of two noises, where that of the low dose is a difference of two.
    assert linear["sigma_ratio"] == pytest.approx(0.2, rel=0.1)
    assert linear["noise_ratio"] == pytest.approx((0.8**2 + 0.2**2) ** 0.5, rel=0.03)


def test_a_region_that_rises_in_neither_scan_is_invented(task, case):
    assert task.measure(case, {"low": case["low"]}, case.brain)["invented"] == 0
    wrong = case["low"].array.copy()
    wrong[:, 40:46, 40:46] *= 1.2
    other = {"low": case["low"].with_array(wrong, "test")}
    assert task.measure(case, other, case.brain)["invented"] == 1


def test_without_enhancement_what_it_would_be_measured_in_is_undefined(task, case):
    quiet = case.with_scan("post", case["pre"])
    found = task.measure(quiet, {"low": quiet["low"]}, quiet.brain)
    assert found["mae_ce"] is None
    assert found["sigma_ratio"] == pytest.approx(1, abs=1e-6)


def test_the_table_is_printed_for_a_folder_and_for_virtual_patients(folder, tmp_path, capsys):
    script = importlib.import_module("evaluate")
    rows = ["--row", "linear=linear", "--row", "equation=physics_dose"]
    words = ["--table", "any_dose", "--dose", "0.1", "--slab", "4", *rows]
    words += ["--csv", str(tmp_path / "measured.csv")]
    assert script.main(["--cases", str(folder), *words]) == 0
    printed = capsys.readouterr().out
    assert "mismatched low dose, 4 slices, dose 0.1, whole" in printed
    assert "MAE_CE" in printed
    assert script.main(["--cases", str(folder), *words, "--noise", "0.1"]) != 0
    assert "--noise is of no use" in capsys.readouterr().err


def test_differences_are_tested_and_the_spread_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    tables = importlib.import_module("evaluation.tables")
    table = importlib.import_module("evaluation.table")
    labels = ("linear", "network", "same")
    lines = [
        {
            **{"label": label, "case": str(n), "patient": str(n)},
            **{"mae_ce": f"{0.02 + n / 1000 + more}", "mae_sigma": "0.01"},
            **{"rise": f"{0.1 + more}", "true_rise": f"{0.1 + n / 1000}"},
            **{"deviation": f"{0.05 + n / 1000}", "true_deviation": ""},
        }
        for label, more in zip(labels, (0, -0.01, 0), strict=True)
        for n in range(8)
    ]
    # Eight of eight are lower: 2 of the 256 signs are as extreme.
    assert table.p_value(lines, "linear", "network", "mae_ce") == f"{2 / 256:.3g}"
    assert table.p_value(lines, "linear", "same", "mae_ce") == "–"
    text = table.markdown(lines, labels, {"mae_ce": "MAE_CE"}, tested=True)
    assert "| p of that, Wilcoxon |" in text
    tables.TABLES["any_dose"].plot(lines, labels, tmp_path / "drawn.png")
    assert (tmp_path / "drawn.png").read_bytes().startswith(b"\x89PNG")
