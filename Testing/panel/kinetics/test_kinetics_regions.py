"""Several regions at once in the tab "Kinetics", and what is written as CSV."""

from __future__ import annotations

import csv

import numpy as np
import pytest

pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed")
pytest.importorskip("slicer", reason="slicer-core is not installed")

import slicer
from dynamic import (
    TIMES,
    WASHOUT,
    add_label_map,
    add_mask,
    add_series,
    add_synthetic,
    cells,
    computed,
    heads,
    lesion_of,
    lines_of,
    measure,
    named,
)
from host import cut_off, fit_height, pick, press, pump
from scans import settled


@pytest.fixture
def series(panel, tab, patient):
    node = add_series(patient, "dynamic", WASHOUT)
    add_lesions(patient)
    settled(panel)
    return node


def halves_of(patient):
    """The lesion in two parts."""
    whole = lesion_of(patient).array > 0
    first = whole & (np.cumsum(whole).reshape(whole.shape) <= whole.sum() // 3)
    return [
        patient.scans["pre"].with_array(part.astype(np.float32)) for part in (first, whole ^ first)
    ]


def add_lesions(patient):
    """A segmentation of two lesions, in a colour each."""
    first, second = halves_of(patient)
    node, other = add_mask(patient, "lesions", first), add_mask(patient, "other", second)
    segmentation = node.GetSegmentation()
    segmentation.GetNthSegment(0).SetName("left")
    segmentation.GetNthSegment(0).SetColor(0.9, 0.6, 0.1)
    added = other.GetSegmentation().GetNthSegment(0)
    added.SetName("right")
    segmentation.AddSegment(added, "second")
    slicer.mrmlScene.RemoveNode(other)
    return node


def each(tab):
    pump(lambda: tab.each_box.isVisible())
    press(tab.each_box)


def test_each_segment_has_its_curve_type_and_measures(panel, tab, series, patient):
    add_synthetic(panel, patient)
    each(tab)
    assert measure(tab) == ""
    results = tab.results
    assert heads(results.regions) == ["Region", "Real", "SYNTHETIC"]
    assert cells(results.regions) == [
        ["left", "III, washout", "I, persistent"],
        ["right", "III, washout", "I, persistent"],
    ]
    counts = [int(part.array.sum()) for part in halves_of(patient)]
    assert f"'left': {counts[0]} voxels" in results.region_label.text
    results.regions.setCurrentCell(1, 0)
    assert f"'right': {counts[1]} voxels" in results.region_label.text
    assert heads(tab.phases.table)[2:] == ["Real (%)", "SYNTHETIC (%)"]
    lines = lines_of(computed("kinetics"))
    assert list(lines) == ["left, Real", "left, SYNTHETIC", "right, Real", "right, SYNTHETIC"]
    dash = slicer.vtkMRMLPlotSeriesNode.LineStyleDash
    assert [line.GetLineStyle() == dash for line in lines.values()] == [False, True, False, True]
    assert lines["left, Real"].GetColor() == pytest.approx((0.9, 0.6, 0.1))
    assert lines["left, SYNTHETIC"].GetColor() == pytest.approx((0.9, 0.6, 0.1))
    table = computed("kinetics measures").GetTable()
    assert table.GetColumnName(0) == "Region"


def test_together_they_are_one_region(tab, series, patient):
    assert measure(tab) == ""
    assert not tab.results.regions.isVisible()
    count = int(lesion_of(patient).array.sum())
    assert f"'lesions': {count} voxels" in tab.results.region_label.text
    each(tab)
    assert "measured otherwise" in tab.age.text


def test_a_hidden_segment_is_left_out(tab, series):
    node = named("vtkMRMLSegmentationNode", "lesions")
    each(tab)
    node.GetDisplayNode().SetSegmentVisibility("second", False)
    pump(timeout_s=0.15)
    assert measure(tab) == ""
    assert "Region 'left'" in tab.results.region_label.text
    assert not tab.results.regions.isVisible()


def test_a_region_that_cannot_be_measured_keeps_the_others(tab, series, patient):
    node = named("vtkMRMLSegmentationNode", "lesions")
    node.GetSegmentation().AddEmptySegment("nothing", "nothing")
    each(tab)
    assert measure(tab) == ""
    assert [row[0] for row in cells(tab.results.regions)] == ["left", "right"]
    assert "'nothing':" in tab.results.notes.text


def test_each_label_of_a_label_map(panel, tab, series, patient):
    first, second = halves_of(patient)
    both = add_label_map(first.with_array(first.array + 3 * second.array), "painted")
    both.CreateDefaultDisplayNodes()
    both.GetDisplayNode().SetAndObserveColorNodeID("vtkMRMLColorTableNodeLabels")
    pick(panel.box.selectors["region"], both)
    each(tab)
    assert measure(tab) == ""
    names = [row[0] for row in cells(tab.results.regions)]
    assert [name.split(":")[0] for name in names] == ["label 1", "label 3"]


def test_curves_and_measures_as_csv(panel, host, tab, series, patient, tmp_path):
    add_synthetic(panel, patient, (0.5, 0.6, 0.8, 1.0), TIMES[1:])
    each(tab)
    measure(tab)
    host.record.answers.append(str(tmp_path / "curves"))
    press(tab.curves_button)
    assert tab.message.text == f"Saved as {tmp_path / 'curves.csv'}."
    rows = list(csv.DictReader((tmp_path / "curves.csv").open()))
    assert len(rows) == 2 * (5 + 4)
    assert {row["series"] for row in rows} == {"real", "SYNTHETIC"}
    host.record.answers.append(str(tmp_path / "measures.csv"))
    press(tab.measures_button)
    rows = list(csv.DictReader((tmp_path / "measures.csv").open()))
    assert [(row["region"], row["type"]) for row in rows[:2]] == [("left", "III"), ("left", "I")]
    host.record.answers.append(str(tmp_path / "nowhere" / "measures.csv"))
    press(tab.measures_button)
    assert tab.message.kind == "failed"
    assert "could not be written" in tab.message.text
    host.record.answers.append("")  # the dialog is cancelled
    press(tab.measures_button)


def test_a_virtual_patient_is_the_truth(panel, tab, patient):
    from ContrastSynthLib.phantom.marks import BREAST

    add_series(patient, "virtual", WASHOUT, synthetic=BREAST)
    add_mask(patient, "lesion")
    settled(panel)
    assert measure(tab) == ""
    assert tab.results.type_label.text == "Real: type III, washout"


def test_what_is_no_series_is_left_out_in_words(panel, tab, series, patient):
    from scans import add_volume

    scan = add_volume("T1 pre", patient.scans["pre"])
    settled(panel)
    pick(panel.box.selectors["result"], scan)
    assert tab.hint_label.text == (
        "The result 'T1 pre' is a single volume: only the input series is measured."
    )
    assert measure(tab) == ""
    pick(panel.box.selectors["result"], None)
    pick(panel.box.selectors["input"], scan)
    assert tab.action.reason.text.startswith("'T1 pre' is a single volume. Choose a dynamic series")


def test_the_volume_through_which_a_series_is_seen_stands_for_it(panel, tab, series):
    from ContrastSynthPanel.scene import bridge

    shown = bridge.shown_volume(series)
    settled(panel)
    pick(panel.box.selectors["input"], shown)
    assert measure(tab) == ""
    tab.phases.slider.setValue(3)
    pump(timeout_s=0.15)
    assert tab.age.text == ""


def test_nothing_is_cut_off_with_several_regions(panel, tab, series, patient):
    add_synthetic(panel, patient)
    each(tab)
    measure(tab)
    fit_height(tab.widget.window(), 400)
    assert cut_off(tab.results.widget) == []
