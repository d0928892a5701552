"""Measures of later phases, the rows that need no network, and the table."""

from __future__ import annotations

import csv
import importlib

import numpy as np
import pytest

from ContrastSynthLib.acquisition import Acquisition
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.images import write_volume
from ContrastSynthLib.files.series import write_series
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.volumes import Series, Volume

pytestmark = pytest.mark.usefixtures("training_path")
TIMES = (-20.0, 0.0, 20.0, 40.0, 85.0, 155.0, 225.0)
TAU = 50.0


@pytest.fixture(scope="module")
def script():
    return importlib.import_module("evaluate_series")


@pytest.fixture(scope="module")
def phases():
    return importlib.import_module("evaluation.later_phases")


@pytest.fixture
def case(phases):
    """A lesion that rises as 1 - exp(-t / TAU) from 100 to 300, in tissue of 100."""
    shape, lesion = (4, 24, 24), np.zeros((4, 24, 24), bool)
    lesion[1:3, 8:16, 8:16] = True
    rng = np.random.default_rng(0)
    volumes = []
    for time in TIMES:
        image = 100 + rng.normal(0, 0.5, shape)
        image[lesion] += 200 * (1 - np.exp(-max(time, 0) / TAU))
        volumes.append(
            Volume(image.astype("f4"), Grid(shape[::-1]), Acquisition(time_s=float(time)))
        )
    body = np.ones(shape, bool)
    return phases.Case("one", Series(tuple(volumes)), 4, (5, 6), (lesion,), body)


def real(case):
    return np.stack([case.series.volumes[frame].array for frame in case.wanted])


def test_the_true_phases_have_no_error(phases, case):
    found = phases.measured(case, real(case))
    assert (found["last"], found["all"], found["dtw"], found["same_type"]) == (0, 0, 0, 1)
    assert found["rho"] == pytest.approx(1)
    held = phases.measured(case, phases.held(case))
    assert held["last"] > held["all"] > 0
    assert held["psnr_db"] < 40


def test_each_phase_is_measured_by_itself(phases, case):
    pytest.importorskip("skimage")
    made = real(case)
    made[1] *= 0.8
    first, second = phases.measured_by_phase(case, made)
    assert (first["error"], first["ssim"]) == (0, pytest.approx(1))
    assert second["error"] == pytest.approx(phases.measured(case, made)["last"])
    assert second["ssim"] < 1


def test_an_exponential_is_found_from_its_beginning(phases, case):
    assert case.before == 2
    fitted, held = (phases.measured(case, f(case)) for f in (phases.exponential, phases.held))
    assert fitted["last"] < 0.02 * held["last"]


def test_the_population_rises_first_and_then_stays_or_falls(phases, case, monkeypatch):
    monkeypatch.setattr(phases, "OTHERS", range(900, 902))
    phases.population_course.cache_clear()
    times, course = phases.population_course()
    assert course[0] == 0
    assert 40 <= times[course.argmax()] <= 400
    made = phases.population(case)
    shares = np.interp([155, 225], times, course) / np.interp(85, times, course)
    rise = (case.series.volumes[4].array - case.pre.array)[case.lesions[0]].mean()
    found = [(frame - case.pre.array)[case.lesions[0]].mean() / rise for frame in made]
    assert found == pytest.approx(shares, rel=1e-3)
    phases.population_course.cache_clear()


def test_the_agreement_over_lesions(phases, case):
    pairs = phases.curves_of(case, real(case))
    assert "| same | 1 |" in phases.agreement({"same": pairs})
    other = phases.curves_of(case, 0.7 * real(case))
    rows = phases.agreement({"both": [*pairs, *other]}).splitlines()
    assert rows[-1].startswith("| both | 2 | 0.00 |")
    assert "| -" in rows[-1], "the synthetic ones wash out"


@pytest.mark.parametrize("text", ["weights", "=x", "a=", "a=b,later"])
def test_a_wrong_row_is_refused(script, text):
    with pytest.raises(RequestError, match="a row is NAME=WEIGHTS"):
        script.Row.parse(text)


def test_rows_ask_the_network_for_the_phases_of_their_mode(script, case, monkeypatch):
    asked = []

    def made(self, case, given, wanted):
        asked.append((given, list(wanted)))
        return np.zeros((len(wanted), *case.body.shape), "f4")

    monkeypatch.setattr(script.Row, "_made", made)
    for text in ("a=w", "a=w,forced", "a=w,once"):
        assert script.Row.parse(text).make(case).shape == (2, 4, 24, 24)
    assert asked == [(4, [5, 6]), (4, [5]), (5, [6]), (4, [5]), (4, [6])]


def test_the_table_of_virtual_patients_and_of_a_file(script, case, tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(script, "SIZE", (48, 48, 16))
    words = ["--virtual", "2", "--seed", "5", "--row", "held=held"]
    assert script.main([*words, "--csv", str(tmp_path / "kept.csv")]) == 0
    with (tmp_path / "kept.csv").open(newline="") as stream:
        kept = list(csv.DictReader(stream))
    assert [line["phase"] for line in kept[:5]] == ["all", "155", "225", "295", "365"]
    assert kept[4]["error"] == kept[0]["last"]
    assert {line["patient"] for line in kept} == {"5", "6"}
    assert "| 2 patients | (error of the last phase)² ↓ |" in capsys.readouterr().out
    write_series(list(case.series), tmp_path / "dce.seq.nrrd")
    lesion = Volume(case.lesions[0].astype("f4"), case.series.grid)
    write_volume(lesion, tmp_path / "lesion.nrrd")
    words = ["--series", str(tmp_path / "dce.seq.nrrd"), "--row", "fit=exponential"]
    assert script.main(words) != 0
    assert "needs --mask and --interval" in capsys.readouterr().err
    words += ["--mask", str(tmp_path / "lesion.nrrd"), "--interval", "20", "--injection", "20"]
    words += ["--early", "60", "--times", "80", "100", "--plot", str(tmp_path / "curve.png")]
    assert script.main(words) == 0
    assert "| fit |" in capsys.readouterr().out
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
