"""The figure of a table's rows: what is drawn where, and what is refused."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.volumes import Volume

pytest.importorskip("matplotlib")
pytestmark = pytest.mark.usefixtures("training_path")
SHAPE = (3, 40, 48)
MADE = ["given: low", "low", "difference", "truth"]


@pytest.fixture(scope="module")
def script():
    return importlib.import_module("picture_rows")


@pytest.fixture
def case():
    """A box of 1, with uptake in the second slice, of which the low dose shows a quarter."""
    cases = importlib.import_module("evaluation.cases")
    brain = np.zeros(SHAPE, "f4")
    brain[:, 5:35, 8:40] = 1
    rise = np.zeros(SHAPE, "f4")
    rise[1, 10:16, 12:18] = 1

    def volume(array):
        return Volume(array.astype("f4"), Grid(SHAPE[::-1]))

    scans = {"pre": brain, "low": brain + rise / 4, "post": brain + rise}
    return cases.Scans({role: volume(array) for role, array in scans.items()}, volume(brain))


@pytest.fixture
def lines(script, case):
    tables = importlib.import_module("evaluation.tables")
    rows = importlib.import_module("evaluation.rows")
    task = tables.TABLES["lip_car_3"].task
    chosen = [rows.Row.parse(text, task) for text in ("low=low", "difference=difference")]
    return lambda below, sigma=0.0: script.lines_of("one", task, chosen, case, sigma, below)


def test_a_line_shows_what_was_given_each_row_and_the_truth(lines):
    (line,) = lines(None)
    assert list(line.images) == MADE
    assert {image.shape for image in line.images.values()} == {(36, 38)}
    assert line.images["truth"].max() == 2
    assert line.images["low"].max() == 1.25


def test_added_noise_is_on_what_is_given_and_not_on_the_truth(lines):
    (clean,), (noisy,) = lines(None), lines(None, 0.1)
    assert np.array_equal(clean.images["truth"], noisy.images["truth"])
    assert np.abs(clean.images["given: low"] - noisy.images["given: low"]).max() > 0.1


def test_errors_are_those_of_the_rows_alone(lines):
    _, errors = lines("error")
    assert [title for title, _ in errors.drawn] == ["low", "difference"]
    assert errors.images["low"].min() == -0.75
    assert np.abs(errors.images["difference"]).max() < 0.1


def test_the_uptake_is_in_the_middle_of_the_zoomed_part(script, lines, monkeypatch):
    monkeypatch.setattr(script, "ZOOM", 5)
    _, zoomed = lines("zoom")
    assert zoomed.images["truth"].shape == (10, 10)
    assert (zoomed.images["truth"] == 2).sum() == 36


def test_the_spectrum_of_the_smaller_error_is_lower(lines):
    _, spectra = lines("spectrum")
    assert spectra.images["low"].max() == 0
    assert spectra.images["difference"].max() < spectra.images["low"].max()
    assert spectra.images["truth"] is None


def test_the_figure_is_a_picture(script, lines):
    figure = script.figure_of(lines("error"))
    assert len(figure.axes) == 2 * len(MADE)
    assert [axes.get_title() for axes in figure.axes[:4]] == MADE


def test_a_row_that_is_not_of_the_table_is_refused(script, tmp_path, capsys):
    words = ["--virtual", "same", "--table", "lip_car_3", "--row", "a=corrupted"]
    assert script.main([*words, "--out", str(tmp_path / "a.png")]) == 2
    assert "corrupted" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_row_that_makes_no_image_is_refused(script, case):
    rows = importlib.import_module("evaluation.rows")
    task = importlib.import_module("evaluation.tables").TABLES["sphere_2"].task
    with pytest.raises(RequestError, match="makes no image to draw"):
        script.lines_of("one", task, [rows.Row.parse("a=reachable", task)], case, 0.0, None)
