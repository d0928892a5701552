"""The figure of later phases: what is drawn where, and what is refused."""

from __future__ import annotations

import importlib
from dataclasses import replace

import numpy as np
import pytest

from ContrastSynthLib.acquisition import Acquisition
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.volumes import Series, Volume

pytest.importorskip("matplotlib")
pytestmark = pytest.mark.usefixtures("training_path")
SHAPE = (3, 40, 48)
PLACE = (1, slice(10, 16), slice(20, 28))
"""Of the lesion, in the second slice."""


@pytest.fixture(scope="module")
def script():
    return importlib.import_module("picture_phases")


@pytest.fixture
def case():
    """A body of 1 with a lesion that rises to 3 and falls to 2.5 and 2."""
    body = np.zeros(SHAPE, bool)
    body[:, 5:35, 8:40] = True
    lesion = np.zeros(SHAPE, bool)
    lesion[PLACE] = True
    volumes = []
    for time_s, level in zip((0.0, 85.0, 155.0, 365.0), (1, 3, 2.5, 2), strict=True):
        image = np.where(lesion, level, body).astype("f4")
        volumes.append(Volume(image, Grid(SHAPE[::-1]), Acquisition(time_s=time_s)))
    phases = importlib.import_module("evaluation.later_phases")
    return phases.Case("one", Series(tuple(volumes)), 1, (2, 3), (lesion,), body)


@pytest.fixture
def made(case):
    return {"held": np.stack([case.series.volumes[1].array] * 2)}


def test_what_is_given_is_shown_once_and_each_phase_in_each_line(script, case, made):
    true, held = script.lines_of(case, made, zoom=False)
    assert list(true.images) == list(held.images) == ["given: 85 s", "155 s", "365 s"]
    assert [image.max() for image in true.images.values()] == [3, 2.5, 2]
    assert held.images["given: 85 s"] is None
    assert [held.images[title].max() for title in ("155 s", "365 s")] == [3, 3]
    assert (true.name, held.name) == ("one, type III: true", "one, type III: held")
    assert true.window == held.window == (0, 3)


def test_it_is_the_body_or_what_is_about_the_lesion(script, case, made):
    whole, _ = script.lines_of(case, made, zoom=False)
    assert {image.shape for image in whole.images.values()} == {(36, 38)}
    part, _ = script.lines_of(case, made, zoom=True)
    shown = part.images["given: 85 s"]
    assert max(shown.shape) <= 2 * script.ZOOM
    assert (shown == 3).sum() == case.lesions[0].sum()


def test_a_case_without_a_lesion_is_refused(script, case, made):
    nothing = replace(case, lesions=(np.zeros(SHAPE, bool),))
    with pytest.raises(RequestError, match="no voxel is a lesion"):
        script.lines_of(nothing, made, zoom=False)


def test_the_figure_of_a_virtual_patient_is_written(script, tmp_path, monkeypatch):
    series = importlib.import_module("evaluate_series")
    monkeypatch.setattr(series, "SIZE", (96, 96, 32))
    words = ["--virtual", "1", "--row", "held=held", "--zoom"]
    assert script.main([*words, "--out", str(tmp_path / "phases.png")]) == 0
    assert (tmp_path / "phases.png").read_bytes().startswith(b"\x89PNG")


def test_wrong_rows_are_told(script, tmp_path, capsys):
    out = tmp_path / "phases.png"
    assert script.main(["--virtual", "1", "--row", "held", "--out", str(out)]) == 2
    assert "a row is NAME=WEIGHTS" in capsys.readouterr().err
    assert not out.exists()
