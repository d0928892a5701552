"""No number of the tab "Kinetics" outlives what it was measured of."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed")
pytest.importorskip("slicer", reason="slicer-core is not installed")

import slicer
from dynamic import (
    TIMES,
    WASHOUT,
    add_series,
    add_synthetic,
    cells,
    computed,
    index_of,
    measure,
    named,
)
from host import close_scene, erase_half, pick, press, pump, type_cell
from scans import settled


@pytest.fixture
def series(tab, series):
    """The series, measured."""
    assert measure(tab) == ""
    return series


def old(tab):
    """Wait until the tab says that its numbers are out of date; return what it says."""
    pump(lambda: tab.age.widget.isVisible())
    assert not tab.results.widget.isEnabled()
    assert not tab.curves_button.isEnabled()
    assert "out of date" in computed("kinetics").GetTitle()
    assert cells(tab.phases.table)[0] == ["1", "0"]  # no enhancement
    return tab.age.text


def test_an_edited_segment(tab, series):
    """Erasing in the Segment Editor does not move the segmentation's modified time."""
    before = tab.results.region_label.text
    left = erase_half(named("vtkMRMLSegmentationNode", "lesion"), "mask")
    assert old(tab) == "Out of date: 'lesion' was changed since. Press Measure."
    assert measure(tab) == ""
    assert not tab.age.widget.isVisible()
    assert tab.results.widget.isEnabled()
    assert tab.results.region_label.text != before
    assert f" {left} voxels" in tab.results.region_label.text
    assert computed("kinetics").GetTitle() == "Kinetics of 'lesion'"


def test_an_edit_in_another_module(host, tab, series):
    host.leave_module()
    erase_half(named("vtkMRMLSegmentationNode", "lesion"), "mask")
    host.open_module()
    assert "'lesion' was changed" in old(tab)


def test_a_corrected_time(tab, series):
    type_cell(tab.phases.table, 1, 1, "90")
    assert old(tab) == "Out of date: 'dynamic' was changed since. Press Measure."
    assert "90 s instead of 60 s" in tab.message.text


def test_other_voxels_of_a_phase(tab, series):
    frame = series.GetNthDataNode(2)
    slicer.util.arrayFromVolume(frame)[:] *= 2
    slicer.util.arrayFromVolumeModified(frame)
    assert "'dynamic' was changed" in old(tab)


def test_a_moved_series(tab, series):
    from ContrastSynthPanel.scene import bridge

    move = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    bridge.shown_volume(series).SetAndObserveTransformNodeID(move.GetID())
    matrix = np.eye(4)
    matrix[0, 3] = 3.0
    move.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    assert "'dynamic' was changed" in old(tab)


def test_a_changed_synthetic_series(panel, tab, series, patient):
    made = add_synthetic(panel, patient)
    assert "another synthetic series is chosen" in old(tab)
    measure(tab)
    frame = made.GetNthDataNode(1)
    slicer.util.arrayFromVolume(frame)[:] *= 2
    slicer.util.arrayFromVolumeModified(frame)
    assert "'made SYNTHETIC' was changed" in old(tab)


def test_a_hidden_segment(tab, series):
    node = named("vtkMRMLSegmentationNode", "lesion")
    node.GetDisplayNode().SetSegmentVisibility("mask", False)
    assert "'lesion' was changed" in old(tab)
    assert measure(tab) == (
        "'lesion' has no segment that is visible. Show one in the Segment Editor."
    )


def test_browsing_windowing_and_renaming_change_nothing(panel, tab, series, patient):
    """Slicer's lists tell of a renamed node, and of a deleted one before it, as of a choice."""
    from ContrastSynthPanel.scene import bridge

    earlier = add_series(patient, "earlier", WASHOUT)
    settled(panel)
    pick(panel.box.selectors["input"], series)
    assert measure(tab) == ""
    shown = cells(tab.results.measures), cells(tab.phases.table)
    tab.phases.slider.setValue(3)
    bridge.shown_volume(series).GetDisplayNode().SetWindowLevel(10, 5)
    series.SetName("renamed")
    slicer.mrmlScene.RemoveNode(earlier)
    named("vtkMRMLSegmentationNode", "lesion").SetName("tumour")
    settled(panel)
    pump(timeout_s=0.2)
    assert tab.age.text == ""
    assert tab.results.widget.isEnabled()
    assert (cells(tab.results.measures), cells(tab.phases.table)) == shown
    assert panel.box.case.node("input") is series


def test_another_patient_of_equal_names(panel, tab, series, patient):
    """The second patient's curves do not replace the first one's."""
    first = computed("kinetics")
    second = add_series(patient, "dynamic", (0.0, 0.5, 0.6, 0.8, 1.0))
    settled(panel)
    pick(panel.box.selectors["input"], second)
    assert "another series is chosen" in old(tab)
    measure(tab)
    assert tab.results.type_label.text == "Real: type I, persistent"
    charts = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
    assert len(charts) == 2
    assert first in charts
    pick(panel.box.selectors["input"], series)
    measure(tab)
    assert len(slicer.util.getNodesByClass("vtkMRMLPlotChartNode")) == 2


def test_age_is_saved_with_the_scene(panel, tab, series, tmp_path):
    erase_half(named("vtkMRMLSegmentationNode", "lesion"), "mask")
    old(tab)
    path = str(tmp_path / "scene.mrb")
    assert slicer.mrmlScene.WriteToMRB(path)
    close_scene()
    assert slicer.mrmlScene.ReadFromMRB(path)
    pump(lambda: tab.results.widget.isVisible())
    assert old(tab) == "Out of date: 'lesion' was changed since. Press Measure."
    assert measure(tab) == ""
    assert not tab.age.widget.isVisible()


def test_a_cancelled_measurement_keeps_what_was_there(tab, series):
    shown = cells(tab.results.measures)
    press(tab.measure_button)
    press(tab.work.cancel_button)
    assert tab.message.text == "Cancelled. Nothing was measured."
    assert cells(tab.results.measures) == shown
    assert tab.measure_button.isEnabled()


def test_a_series_deleted_while_it_is_measured(tab, series):
    press(tab.measure_button)
    slicer.mrmlScene.RemoveNode(series)
    assert tab.message.text == "Stopped: what was measured was deleted."
    pump(timeout_s=0.2)
    assert not tab.work.running


def test_the_unit_of_minutes_and_a_phase_that_is_missing(panel, tab, series, patient):
    made = add_synthetic(panel, patient, (0.5, 0.6, 1.0), (60.0, 120.0, 360.0))
    for node in (series, made):
        for value in index_of(node):
            if float(value):
                node.UpdateIndexValue(value, f"{float(value) / 60:g}")
        node.SetIndexUnit("min")
    pump(timeout_s=0.15)
    assert measure(tab) == ""
    assert [row[1] for row in cells(tab.phases.table)] == [f"{t:g}" for t in TIMES]
    assert cells(tab.phases.table)[3][3] == "\N{EN DASH}"  # it has no such phase
    assert "no phase at 0, 240 s" in tab.results.notes.text
