"""The curve of the voxel under the mouse, in the chart of the tab "Kinetics"."""

from __future__ import annotations

import time

import numpy as np
import pytest

pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed")
pytest.importorskip("slicer", reason="slicer-core is not installed")

import slicer
from dynamic import (
    PERSISTENT,
    WASHOUT,
    add_synthetic,
    computed,
    lesion_of,
    lines_of,
    measure,
    phases_of,
)
from host import hover, press, pump
from scans import settled, show_tab

from ContrastSynthLib.analysis.kinetic_maps import curve_at


def place_of(patient):
    """A place in the lesion, RAS in mm."""
    k, j, i = np.argwhere(lesion_of(patient).array > 0)[3]
    grid = patient.scans["pre"].grid
    return (grid.index_to_ras @ (i, j, k, 1.0))[:3]


def chart_in_view():
    return slicer.mrmlScene.GetNodeByID(
        slicer.app.layoutManager().plotWidget(0).mrmlPlotViewNode().GetPlotChartNodeID()
    )


def values(line):
    return slicer.util.arrayFromTableColumn(line.GetTableNode(), line.GetYColumnName())


def wait(tab):
    pump(lambda: tab.cursor._timer.active, timeout_s=2)
    pump(lambda: not tab.cursor._timer.active)


def test_the_curve_at_the_cursor_follows_the_mouse(panel, tab, series, patient):
    add_synthetic(panel, patient)
    press(tab.cursor.tick_box)
    chart = chart_in_view()
    assert chart.GetTitle() == "Curve at the cursor"
    assert list(lines_of(chart)) == ["cursor", "cursor SYNTHETIC"]
    ras = place_of(patient)
    hover("Red", ras)
    wait(tab)
    lines = lines_of(chart)
    for name, shares in (("cursor", WASHOUT), ("cursor SYNTHETIC", PERSISTENT)):
        wanted = curve_at(phases_of(patient, shares), ras).enhancement_percent
        np.testing.assert_allclose(values(lines[name]), wanted, rtol=1e-4, atol=1e-3)
    assert "Real up to" in tab.cursor.label.text
    hover("Red", (5000.0, 0.0, 0.0))
    wait(tab)
    assert "outside of the series" in tab.cursor.label.text
    assert np.isnan(values(lines["cursor"])).all()


def test_it_is_a_further_line_of_what_was_measured(tab, series, patient):
    measure(tab)
    press(tab.cursor.tick_box)
    chart = computed("kinetics")
    assert chart_in_view() is chart
    assert list(lines_of(chart)) == ["dynamic", "cursor"]
    hover("Red", place_of(patient))
    wait(tab)
    assert np.isfinite(values(lines_of(chart)["cursor"])).all()
    measure(tab)  # draws the chart anew
    assert list(lines_of(chart)) == ["dynamic", "cursor"]
    press(tab.cursor.tick_box)
    assert list(lines_of(chart)) == ["dynamic"]
    assert len(slicer.util.getNodesByClass("vtkMRMLPlotSeriesNode")) == 1


def test_a_moving_mouse_is_followed_ten_times_a_second(tab, series, patient, monkeypatch):
    from ContrastSynthPanel.scene import cursor_curve

    press(tab.cursor.tick_box)
    asked, curve_in = [], cursor_curve.curve_in
    monkeypatch.setattr(
        cursor_curve, "curve_in", lambda *given: asked.append(given) or curve_in(*given)
    )
    place = place_of(patient)
    moves = iter(range(1000))

    def move():
        hover("Red", place + np.array([0, 0.001 * next(moves), 0]))

    began = time.monotonic()
    while time.monotonic() - began < 0.55:
        move()
        pump(timeout_s=0.01)
    assert 2 <= len(asked) <= 6


def test_nothing_is_asked_while_it_is_off(panel, tab, series, patient):
    hover("Red", place_of(patient))
    assert not tab.cursor._timer.active
    press(tab.cursor.tick_box)
    show_tab(panel, "compare")
    hover("Red", place_of(patient))
    assert not tab.cursor._timer.active
    assert not slicer.util.getNodesByClass("vtkMRMLPlotSeriesNode")
    show_tab(panel, "kinetics")
    assert list(lines_of(chart_in_view())) == ["cursor"]


def test_its_lines_are_not_saved(tab, series, patient, tmp_path):
    from host import close_scene

    measure(tab)
    press(tab.cursor.tick_box)
    path = str(tmp_path / "scene.mrb")
    assert slicer.mrmlScene.WriteToMRB(path)
    press(tab.cursor.tick_box)
    close_scene()
    assert slicer.mrmlScene.ReadFromMRB(path)
    pump(lambda: tab.results.widget.isVisible())
    pump(timeout_s=0.1)
    assert list(lines_of(computed("kinetics"))) == ["dynamic"]


def test_a_series_that_is_moved_or_deleted(panel, tab, series, patient):
    from ContrastSynthPanel.scene import bridge

    press(tab.cursor.tick_box)
    move = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = np.eye(4)
    matrix[0, 3] = 1000.0
    move.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    bridge.shown_volume(series).SetAndObserveTransformNodeID(move.GetID())
    hover("Red", place_of(patient) + np.array([1000.0, 0.0, 0.0]))
    wait(tab)
    wanted = curve_at(phases_of(patient, WASHOUT), place_of(patient)).enhancement_percent
    line = lines_of(chart_in_view())["cursor"]
    np.testing.assert_allclose(values(line), wanted, rtol=1e-4, atol=1e-3)
    slicer.mrmlScene.RemoveNode(series)
    settled(panel)
    assert not tab.cursor.widget.isVisible()
    hover("Red", place_of(patient))
