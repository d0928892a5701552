"""The tab "Profile", driven as a person drives it, in the test host."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed")
pytest.importorskip("slicer", reason="slicer-core is not installed")

import slicer
import vtk
from host import close_scene, entries, pick, press, pump, tick
from scans import add_volume, show_tab

from ContrastSynthLib.analysis.profiles import line_profile, profile_error
from ContrastSynthLib.phantom.sample import sample_patient

WIDTH = 400
VOLUME, LINE = "vtkMRMLScalarVolumeNode", "vtkMRMLMarkupsLineNode"
START, END = (-40.0, -10.0, 0.0), (40.0, 10.0, 5.0)
NAME = "ContrastSynth profile"
CONVENTIONAL = slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView


@pytest.fixture(scope="module")
def scans():
    patient = sample_patient(size=(24, 28, 20))
    made = replace(patient.scans["post"], synthetic="by a test")
    return {"T1 post": patient.scans["post"], "T1 pre": patient.scans["pre"], "made": made}


@pytest.fixture
def tab(panel):
    return show_tab(panel, "profile")


@pytest.fixture
def nodes(tab, scans):
    found = {name: add_volume(name, scan) for name, scan in scans.items()}
    settle(tab)
    return found


@pytest.fixture
def line(tab, nodes):
    """A line through the head, with the post-contrast scan as the reference."""
    node = add_line("across", START, END)
    pick(tab.line_selector, node)
    pick(tab.reference_selector, nodes["T1 post"])
    settle(tab)
    return node


def add_line(name, *points):
    node = slicer.mrmlScene.AddNewNodeByClass(LINE, name)
    for point in points:
        node.AddControlPoint(vtk.vtkVector3d(*point))
    return node


def add_shift(mm):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = np.eye(4)
    matrix[0, 3] = mm
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    return node


def settle(tab):
    pump(lambda: not tab._timer.active)


def rows(table):
    columns = range(table.columnCount)
    return [[table.item(row, column).text() for column in columns] for row in range(table.rowCount)]


def chart_of():
    charts = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
    return next((node for node in charts if node.GetName() == NAME), None)


def plotted(label):
    """The values that the chart draws under a label, and the distances."""
    chart = chart_of()
    lines = [chart.GetNthPlotSeriesNode(n) for n in range(chart.GetNumberOfPlotSeriesNodes())]
    one = next(line for line in lines if line.GetName() == label)
    table = one.GetTableNode()
    columns = one.GetXColumnName(), one.GetYColumnName()
    return [slicer.util.arrayFromTableColumn(table, column) for column in columns]


# Profiles


def test_profiles_and_errors_are_the_librarys(tab, line, scans):
    tick(tab.volume_list, "T1 pre")
    tick(tab.volume_list, "made")
    settle(tab)
    reference = line_profile(scans["T1 post"], START, END)
    other = line_profile(scans["T1 pre"], START, END, len(reference.values))
    error = profile_error(reference, other)
    assert error > 10
    assert rows(tab.errors) == [
        ["1", "T1 post", "reference"],
        ["2", "T1 pre", f"{error:.2f}"],
        ["3", "made SYNTHETIC", "0.00"],
    ]
    length = np.linalg.norm(np.subtract(END, START))
    assert tab.length_label.text == f"Length {length:.1f} mm, {len(reference.values)} points"
    for label, expected in (("T1 post", reference), ("T1 pre", other)):
        distance, values = plotted(label)
        np.testing.assert_allclose(distance, reference.distance_mm)
        np.testing.assert_allclose(values, expected.values)
    assert chart_of().GetXAxisTitle() == "Distance along the line (mm)"
    tick(tab.volume_list, "T1 pre")
    settle(tab)
    assert [row[1] for row in rows(tab.errors)] == ["T1 post", "made SYNTHETIC"]
    assert chart_of().GetNumberOfPlotSeriesNodes() == 2


def test_the_plot_follows_an_end_that_is_dragged(tab, line, scans):
    """Moved every few milliseconds, without a pause, it is drawn meanwhile, but not each time."""
    tick(tab.volume_list, "T1 pre")
    settle(tab)
    lengths, moves = set(), []

    def drag():
        moves.append(END[0] - 0.2 * len(moves))
        line.SetNthControlPointPosition(1, moves[-1], *END[1:])
        lengths.add(plotted("T1 post")[0][-1])
        return len(moves) == 80

    text = pump(drag)
    assert text.longest_block_s < 0.5
    assert 3 <= len(lengths) <= text.elapsed_s / 0.045 + 2
    settle(tab)
    last = line_profile(scans["T1 post"], START, (moves[-1], *END[1:]))
    np.testing.assert_allclose(plotted("T1 post")[1], last.values)


def test_parent_transforms_of_line_and_volumes_count(tab, line, nodes, scans):
    before = plotted("T1 post")[1]
    shift = add_shift(12.0)
    line.SetAndObserveTransformNodeID(shift.GetID())
    settle(tab)
    start, end = (START[0] + 12.0, *START[1:]), (END[0] + 12.0, *END[1:])
    moved = line_profile(scans["T1 post"], start, end).values
    np.testing.assert_allclose(plotted("T1 post")[1], moved)
    assert abs(moved - before).max() > 10
    nodes["T1 post"].SetAndObserveTransformNodeID(shift.GetID())
    settle(tab)
    np.testing.assert_allclose(plotted("T1 post")[1], before, rtol=1e-4)


def test_changed_voxels_are_shown(tab, line, nodes):
    before = plotted("T1 post")[1]
    slicer.util.arrayFromVolume(nodes["T1 post"])[:] *= 2.0
    slicer.util.arrayFromVolumeModified(nodes["T1 post"])
    settle(tab)
    np.testing.assert_allclose(plotted("T1 post")[1], 2.0 * before, rtol=1e-5)


def test_unchanged_voxels_are_not_read_again(tab, line, nodes, monkeypatch):
    from ContrastSynthPanel.scene import bridge

    tick(tab.volume_list, "T1 pre")
    settle(tab)
    monkeypatch.setattr(bridge, "volume_from_node", lambda *given: 1 / 0)
    line.SetNthControlPointPosition(1, 30.0, 0.0, 0.0)
    settle(tab)
    assert len(rows(tab.errors)) == 2


def test_volumes_of_the_same_name_and_label_maps(tab, line, nodes, scans):
    add_volume("T1 post", scans["T1 pre"])
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "colours")
    settle(tab)
    listed = [tab.volume_list.item(n).text() for n in range(tab.volume_list.count)]
    assert listed == ["T1 pre", "made", "T1 post"]  # and not the reference
    assert {"labels", "colours"} & set(entries(tab.reference_selector)) == set()
    tick(tab.volume_list, "T1 post")
    settle(tab)
    assert [row[1] for row in rows(tab.errors)] == ["T1 post", "T1 post (2)"]


def test_another_reference_compares_with_the_one_of_before(tab, line, nodes):
    tick(tab.volume_list, "T1 pre")
    pick(tab.reference_selector, nodes["T1 pre"])
    settle(tab)
    assert [row[1:] for row in rows(tab.errors)] == [["T1 pre", "reference"]]
    tick(tab.volume_list, "T1 post")
    pick(tab.reference_selector, nodes["made"])
    settle(tab)
    assert [row[1] for row in rows(tab.errors)] == ["made SYNTHETIC", "T1 post", "T1 pre"]


# The line


def test_a_line_is_drawn_with_the_mouse(tab, nodes):
    assert tab.message.text == "Choose a line, or draw a new one."
    press(tab.place_button)
    settle(tab)
    drawn = tab.line_selector.currentNode()
    logic = slicer.app.applicationLogic()
    interaction, selection = logic.GetInteractionNode(), logic.GetSelectionNode()
    assert interaction.GetCurrentInteractionMode() == interaction.Place
    assert not interaction.GetPlaceModePersistence()
    assert selection.GetActivePlaceNodeID() == drawn.GetID()
    assert selection.GetActivePlaceNodeClassName() == LINE
    assert drawn.GetDisplayNode() is not None
    drawn.AddControlPoint(vtk.vtkVector3d(*START))
    settle(tab)
    assert tab.message.text == "Click the two ends of 'Profile' in a slice view."
    assert chart_of() is None
    drawn.AddControlPoint(vtk.vtkVector3d(*END))
    settle(tab)
    assert tab.message.text == "Choose a reference volume."
    pick(tab.reference_selector, nodes["T1 pre"])
    settle(tab)
    assert tab.message.text == ""
    assert not tab.message.widget.isVisible()
    assert len(plotted("T1 pre")[1]) > 10
    press(tab.place_button)
    assert tab.line_selector.currentNode() is not drawn


def test_the_volume_that_one_draws_on_becomes_the_reference(tab, nodes):
    slicer.util.setSliceViewerLayers(background=nodes["T1 pre"])
    press(tab.place_button)
    assert tab.reference_selector.currentNode() is nodes["T1 pre"]
    pick(tab.reference_selector, nodes["made"])
    press(tab.place_button)
    assert tab.reference_selector.currentNode() is nodes["made"]


def test_the_mouse_is_given_back_when_the_tab_is_left(panel, tab, nodes):
    interaction = slicer.app.applicationLogic().GetInteractionNode()
    press(tab.place_button)
    show_tab(panel, "synthesise")
    assert interaction.GetCurrentInteractionMode() == interaction.ViewTransform
    interaction.SwitchToSinglePlaceMode()  # somebody places something else
    show_tab(panel, "profile")
    show_tab(panel, "synthesise")
    assert interaction.GetCurrentInteractionMode() == interaction.Place
    interaction.SwitchToViewTransformMode()


def test_a_line_outside_is_reported(tab, line, nodes, scans):
    tick(tab.volume_list, "T1 pre")
    nodes["T1 pre"].SetAndObserveTransformNodeID(add_shift(5000.0).GetID())
    settle(tab)
    assert tab.message.text.startswith("T1 pre: The line from (-40, -10, 0) mm RAS to")
    assert "does not meet the volume" in tab.message.text
    assert rows(tab.errors) == [["1", "T1 post", "reference"], ["2", "T1 pre", "none"]]
    nodes["T1 pre"].SetAndObserveTransformNodeID(add_shift(100.0).GetID())
    settle(tab)
    assert "% of the line lies outside and does not count" in tab.message.text
    assert "T1 post" not in tab.message.text
    line.SetAndObserveTransformNodeID(add_shift(-5000.0).GetID())
    settle(tab)
    assert "does not meet the volume" in tab.message.text
    assert not tab.errors.isVisible()
    assert not tab.export_button.enabled
    line.SetAndObserveTransformNodeID(None)
    nodes["T1 pre"].SetAndObserveTransformNodeID(None)
    settle(tab)
    assert tab.message.text == ""


def test_a_line_without_length_is_reported(tab, line):
    line.SetNthControlPointPosition(1, *START)
    settle(tab)
    assert tab.message.text.startswith("The line has no length")


def test_a_volume_without_voxels_is_reported(tab, line):
    slicer.mrmlScene.AddNewNodeByClass(VOLUME, "empty")
    settle(tab)
    tick(tab.volume_list, "empty")
    settle(tab)
    assert tab.message.text.startswith("empty: empty has no voxels")
    assert [row[2] for row in rows(tab.errors)] == ["reference", "none"]


def test_a_deleted_volume_or_line_leaves_a_usable_tab(tab, line, nodes):
    tick(tab.volume_list, "T1 pre")
    settle(tab)
    slicer.mrmlScene.RemoveNode(nodes["T1 pre"])
    settle(tab)
    assert [row[1] for row in rows(tab.errors)] == ["T1 post"]
    slicer.mrmlScene.RemoveNode(chart_of())
    line.SetNthControlPointPosition(1, 30.0, 0.0, 0.0)
    settle(tab)
    assert chart_of() is not None
    slicer.mrmlScene.RemoveNode(line)
    settle(tab)
    assert tab.message.text == "Choose a line, or draw a new one."
    assert not tab.errors.isVisible()


# Values


def test_values_are_shown_and_exported(host, tab, line, scans, tmp_path):
    tick(tab.volume_list, "made")
    settle(tab)
    assert not tab.values.isVisible()
    tab.values_section.collapsed = False
    profile = line_profile(scans["T1 post"], START, END)
    shown = rows(tab.values)
    assert len(shown) == len(profile.values)
    assert shown[3] == [f"{profile.distance_mm[3]:.1f}", *[f"{profile.values[3]:.1f}"] * 2]
    path = tmp_path / "a profile é.csv"
    host.record.answers.append(str(path))
    press(tab.export_button)
    assert tab.message.text == f"Written: {path}"
    with path.open(encoding="utf-8-sig", newline="") as file:
        head, *lines = csv.reader(file)
    assert head == ["distance_mm", "r_mm", "a_mm", "s_mm", "T1 post", "made SYNTHETIC"]
    table = np.array(lines, dtype=float)
    np.testing.assert_allclose(table[:, 0], profile.distance_mm, rtol=1e-5)
    np.testing.assert_allclose(table[:, 1:4], profile.ras_mm, atol=1e-5)
    np.testing.assert_allclose(table[:, 4], profile.values, rtol=1e-6)


def test_what_lies_outside_is_empty_in_the_file(host, tab, line, tmp_path):
    line.SetNthControlPointPosition(1, 400.0, 0.0, 0.0)
    settle(tab)
    host.record.answers.append(str(tmp_path / "profile.csv"))
    press(tab.export_button)
    last = (tmp_path / "profile.csv").read_text(encoding="utf-8").splitlines()[-1]
    assert last.endswith(",")


def test_a_file_that_cannot_be_written_is_reported(host, tab, line, tmp_path):
    host.record.answers.append("")  # cancelled
    press(tab.export_button)
    assert tab.message.text == ""
    host.record.answers.append(str(tmp_path / "nowhere" / "profile.csv"))
    press(tab.export_button)
    assert "cannot be written (No such file or directory)" in tab.message.text
    assert tab.export_button.enabled


# Layout, scene, state


def test_the_plot_stands_beside_the_slices_and_the_layout_comes_back(panel, tab, line):
    layout = slicer.app.layoutManager()
    with_plot = slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalPlotView
    assert layout.layout == with_plot
    assert layout.plotWidget(0).mrmlPlotViewNode().GetPlotChartNodeID() == chart_of().GetID()
    show_tab(panel, "synthesise")
    assert layout.layout == CONVENTIONAL
    before = plotted("T1 post")[0][-1]
    line.SetNthControlPointPosition(1, 0.0, 0.0, 0.0)
    settle(tab)
    assert layout.layout == CONVENTIONAL  # unseen, it neither computes nor changes the views
    assert plotted("T1 post")[0][-1] == before
    show_tab(panel, "profile")
    assert layout.layout == with_plot
    assert plotted("T1 post")[0][-1] < before
    chosen = slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView
    layout.setLayout(chosen)  # by hand; the plot that follows the line does not change it back
    line.SetNthControlPointPosition(1, 10.0, 0.0, 0.0)
    settle(tab)
    assert layout.layout == chosen
    show_tab(panel, "synthesise")
    assert layout.layout == chosen


def test_the_scene_is_closed(tab, line):
    close_scene()
    settle(tab)
    assert not tab.errors.isVisible()
    assert tab.message.text == "Choose a line, or draw a new one."
    assert slicer.app.layoutManager().layout == CONVENTIONAL


def test_nothing_is_heard_after_the_panel_is_closed(host, tab, line):
    assert tab.Observations
    host.app.moduleManager()._close_all()
    assert tab.Observations == []
    line.SetNthControlPointPosition(1, 0.0, 0.0, 0.0)
    assert not tab._timer.active


def test_the_state_is_saved_and_restored_with_the_scene(tab, line, nodes, tmp_path):
    tick(tab.volume_list, "T1 pre")
    tick(tab.volume_list, "made")
    settle(tab)
    before = rows(tab.errors)
    path = str(tmp_path / "scene.mrb")
    assert slicer.mrmlScene.WriteToMRB(path)
    close_scene()
    settle(tab)
    assert slicer.mrmlScene.ReadFromMRB(path)
    pump(lambda: tab.errors.isVisible())
    assert rows(tab.errors) == before
    assert tab.line_selector.currentNode().GetName() == "across"
    assert len(slicer.util.getNodesByClass("vtkMRMLPlotChartNode")) == 1
    tick(tab.volume_list, "made")
    settle(tab)
    assert len(rows(tab.errors)) == 2


def test_nothing_is_cut_off_in_a_narrow_panel(tab, line, nodes):
    nodes["T1 pre"].SetName("a long name as scanners and people give them, 2026")
    for n in range(tab.volume_list.count):
        tick(tab.volume_list, tab.volume_list.item(n).text())
    tab.values_section.collapsed = False
    settle(tab)
    tab.message.show("failed", "x" * 500)
    whole = tab.widget.window()
    assert whole.minimumSizeHint.width() <= WIDTH
    whole.resize(WIDTH, 1000)
    pump(timeout_s=0.05)
    for table in (tab.errors, tab.values):
        for column in range(table.columnCount):
            assert table.columnWidth(column) >= table.horizontalHeader().sectionSizeHint(column)
