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
from host import close_scene, pick, press, pump, tick
from scans import add_volume, settled, show_tab

from ContrastSynthLib.analysis.profiles import line_profile, profile_error
from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.run import run

WIDTH = 400
VOLUME, LINE = "vtkMRMLScalarVolumeNode", "vtkMRMLMarkupsLineNode"
START, END = (-40.0, -10.0, 0.0), (40.0, 10.0, 5.0)
NAME = "Profile: across"
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
def selectors(panel):
    return panel.box.selectors


@pytest.fixture
def nodes(panel, tab, scans):
    found = {name: add_volume(name, scan) for name, scan in scans.items()}
    settled(panel)
    settle(tab)
    return found


@pytest.fixture
def line(panel, tab, nodes, selectors):
    """A line through the head, with the post-contrast scan as the reference."""
    node = add_line("across", START, END)
    pick(tab.line_selector, node)
    pick(selectors["reference"], nodes["T1 post"])
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
    pump(lambda: not tab._timer.active and not tab.work.running)


def listed(tab):
    return [tab.volume_list.item(n).text() for n in range(tab.volume_list.count)]


def ticked(tab):
    items = [tab.volume_list.item(n) for n in range(tab.volume_list.count)]
    return [item.text() for item in items if item.checkState() == slicer_checked()]


def slicer_checked():
    import qt

    return qt.Qt.Checked


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
    assert rows(tab.results.errors) == [
        ["1", "T1 post", "reference"],
        ["2", "T1 pre", f"{error:.2f}"],
        ["3", "made SYNTHETIC", "0.00"],
    ]
    length = np.linalg.norm(np.subtract(END, START))
    assert (
        tab.results.length_label.text == f"Length {length:.1f} mm, {len(reference.values)} points"
    )
    for label, expected in (("T1 post", reference), ("T1 pre", other)):
        distance, values = plotted(label)
        np.testing.assert_allclose(distance, reference.distance_mm)
        np.testing.assert_allclose(values, expected.values)
    assert chart_of().GetXAxisTitle() == "Distance along the line (mm)"
    tick(tab.volume_list, "T1 pre")
    settle(tab)
    assert [row[1] for row in rows(tab.results.errors)] == ["T1 post", "made SYNTHETIC"]
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
    monkeypatch.setattr(bridge, "reading_volume", lambda *given: 1 / 0)
    line.SetNthControlPointPosition(1, 30.0, 0.0, 0.0)
    settle(tab)
    assert len(rows(tab.results.errors)) == 2


def test_volumes_of_the_same_name_and_label_maps(panel, tab, line, nodes, scans):
    add_volume("T1 post", scans["T1 pre"])
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "colours")
    settled(panel)
    assert listed(tab) == ["T1 pre", "made", "T1 post (2)"]  # and not the reference
    tick(tab.volume_list, "T1 post (2)")
    settle(tab)
    assert [row[1] for row in rows(tab.results.errors)] == ["T1 post", "T1 post (2)"]


def test_patients_tell_scans_of_equal_names_apart(panel, tab, nodes, scans):
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    for patient in ("Anna", "Berta"):
        item = tree.CreateSubjectItem(tree.GetSceneItemID(), patient)
        tree.CreateItem(item, add_volume("FLAIR", scans["T1 pre"]))
    settled(panel)
    assert listed(tab)[-2:] == ["FLAIR (Anna)", "FLAIR (Berta)"]
    assert tab.volume_list.item(tab.volume_list.count - 2).toolTip() == "FLAIR (Anna)"


def test_another_reference_compares_with_the_one_of_before(tab, line, nodes, selectors):
    tick(tab.volume_list, "T1 pre")
    settle(tab)
    assert ticked(tab) == ["T1 pre"]
    pick(selectors["reference"], nodes["T1 pre"])
    settle(tab)
    assert [row[1] for row in rows(tab.results.errors)] == ["T1 pre", "T1 post"], "the input is"
    pick(selectors["reference"], nodes["made"])
    settle(tab)
    labels = [row[1] for row in rows(tab.results.errors)]
    assert labels == ["made SYNTHETIC", "T1 post", "T1 pre"]


# What the case says


@pytest.fixture
def result(panel, nodes, scans):
    """A synthetic pre-contrast scan, and its map, of the post-contrast one."""
    return add_result(panel, nodes["T1 post"], scans["T1 post"])


def add_result(panel, node, scan):
    from ContrastSynthPanel.scene import run_results

    made = run(Request("physics_pre", {"post": scan}))
    made = run_results.add_result(slicer.mrmlScene, made, node)["pre"]
    settled(panel)
    return made


def test_input_and_result_are_compared_until_a_person_ticks_otherwise(panel, tab, result, scans):
    assert tab.reference_label.text == "The reference is 'T1 pre'."
    assert listed(tab) == ["T1 post", "made", result.GetName()], "and no map"
    assert ticked(tab) == ["T1 post", result.GetName()]
    tick(tab.volume_list, "T1 post")
    tick(tab.volume_list, "made")
    assert ticked(tab) == ["made", result.GetName()]
    add_volume("late", scans["T1 pre"])
    settled(panel)
    assert ticked(tab) == ["made", result.GetName()]


def test_without_a_reference_the_input_is_one(panel, tab, result, selectors):
    pick(selectors["reference"], None)
    text = "The reference is 'T1 post', the input: no other is chosen."
    assert tab.reference_label.text == text
    pick(tab.line_selector, add_line("across", START, END))
    settle(tab)
    assert plotted("T1 post")[1].std() > 0


def test_another_patient_s_scans_are_not_compared_any_more(panel, tab, nodes, result, scans):
    tick(tab.volume_list, "made")
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = tree.CreateSubjectItem(tree.GetSceneItemID(), "Berta")
    own = {name: add_volume(name, scans[name]) for name in ("T1 post", "T1 pre")}
    for node in own.values():
        tree.CreateItem(item, node)
    other = add_result(panel, own["T1 post"], scans["T1 post"])
    pick(panel.box.selectors["result"], other)
    settled(panel)
    assert tab.reference_label.text == "The reference is 'T1 pre (Berta)'."
    assert ticked(tab) == ["T1 post (Berta)", other.GetName()]


def test_each_line_has_a_chart_of_its_own(panel, tab, line):
    second = add_line("across", START, (0.0, 30.0, 0.0))
    first_chart, before = chart_of(), plotted("T1 post")[0][-1]
    pick(tab.line_selector, second)
    settle(tab)
    charts = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
    assert len(charts) == 2
    assert len({one.GetName() for one in charts}) == 2
    assert plotted("T1 post")[0][-1] == before, "the first is as it was"
    view = slicer.app.layoutManager().plotWidget(0).mrmlPlotViewNode()
    assert view.GetPlotChartNode() is not first_chart
    first_chart.SetName("for the paper")
    line.SetName("through the tumour")
    pick(tab.line_selector, line)
    settle(tab)
    assert view.GetPlotChartNode() is first_chart, "known by its line, whatever it is called"
    assert first_chart.GetName() == "for the paper"
    assert len(slicer.util.getNodesByClass("vtkMRMLPlotChartNode")) == 2


def test_a_deleted_line_is_not_replaced_by_its_neighbour(panel, tab, line):
    add_line("another", START, END)
    slicer.mrmlScene.RemoveNode(line)
    settle(tab)
    assert tab.line_selector.node is None
    assert tab.message.text == "Choose a line, or draw a new one."


@pytest.mark.slow  # a time: on a busy machine it means nothing; make panel-times measures it
def test_large_volumes_are_read_beside_slicers_own_thread(panel, tab):
    """240 x 240 x 155 voxels, as a brain is scanned."""
    for name in ("T1 post", "T1 pre"):
        node = slicer.mrmlScene.AddNewNodeByClass(VOLUME, name)
        slicer.util.updateVolumeFromArray(node, np.ones((155, 240, 240), np.float32))
    settled(panel)
    pick(tab.line_selector, add_line("across", (1.0, 1.0, 1.0), (200.0, 200.0, 100.0)))
    took = pump(lambda: len(rows(tab.results.errors)) == 2)
    assert took.longest_block_s < 0.1


def test_reading_can_be_cancelled(panel, tab):
    scan = slicer.mrmlScene.AddNewNodeByClass(VOLUME, "T1 post")
    slicer.util.updateVolumeFromArray(scan, np.ones((155, 240, 240), np.float32))
    settled(panel)
    pick(tab.line_selector, add_line("across", (1.0, 1.0, 1.0), (200.0, 200.0, 100.0)))
    pump(lambda: tab.work.label.text == "Reading 'T1 post'")
    press(tab.work.cancel_button)
    assert tab.message.text.startswith("Cancelled: not all scans are read.")
    assert not tab.work.widget.isVisible()
    assert tab.results.export.reason.text == "Nothing is plotted."
    tab.line_selector.node.SetNthControlPointPosition(1, 100.0, 100.0, 100.0)
    pump(lambda: len(rows(tab.results.errors)) == 1)


# The line


def test_a_line_is_drawn_with_the_mouse(panel, tab, selectors, scans):
    scan = add_volume("scan", scans["T1 pre"])
    settled(panel)
    settle(tab)
    assert tab.message.text == "Choose a line, or draw a new one."
    press(tab.place_button)
    settle(tab)
    drawn = tab.line_selector.node
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
    assert slicer.util.getNodesByClass("vtkMRMLPlotChartNode") == []
    drawn.AddControlPoint(vtk.vtkVector3d(*END))
    settle(tab)
    assert tab.message.text == "Choose an input or a reference above."
    pick(selectors["input"], scan)
    settle(tab)
    assert tab.message.text == ""
    assert not tab.message.widget.isVisible()
    assert len(tab.results.found[0].profile.values) > 10
    press(tab.place_button)
    assert tab.line_selector.node is not drawn


def test_the_volume_that_one_draws_on_is_the_input_where_none_is(panel, tab, selectors, scans):
    first, second = (add_volume(name, scans["T1 pre"]) for name in ("one", "two"))
    settled(panel)
    assert selectors["input"].node is None
    slicer.util.setSliceViewerLayers(background=first)
    press(tab.place_button)
    assert selectors["input"].node is first
    slicer.util.setSliceViewerLayers(background=second)
    press(tab.place_button)
    assert selectors["input"].node is first


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
    assert rows(tab.results.errors) == [["1", "T1 post", "reference"], ["2", "T1 pre", "none"]]
    nodes["T1 pre"].SetAndObserveTransformNodeID(add_shift(100.0).GetID())
    settle(tab)
    assert "% of the line lies outside and does not count" in tab.message.text
    assert "T1 post" not in tab.message.text
    line.SetAndObserveTransformNodeID(add_shift(-5000.0).GetID())
    settle(tab)
    assert "does not meet the volume" in tab.message.text
    assert not tab.results.errors.isVisible()
    assert not tab.results.export.button.enabled
    line.SetAndObserveTransformNodeID(None)
    nodes["T1 pre"].SetAndObserveTransformNodeID(None)
    settle(tab)
    assert tab.message.text == ""


def test_a_line_without_length_is_reported(tab, line):
    line.SetNthControlPointPosition(1, *START)
    settle(tab)
    assert tab.message.text.startswith("The line has no length")


def test_a_volume_without_voxels_is_reported(panel, tab, line):
    slicer.mrmlScene.AddNewNodeByClass(VOLUME, "empty")
    settled(panel)
    tick(tab.volume_list, "empty")
    settle(tab)
    assert tab.message.text.startswith("empty: empty has no voxels")
    assert [row[2] for row in rows(tab.results.errors)] == ["reference", "none"]


def test_a_deleted_volume_or_line_leaves_a_usable_tab(panel, tab, line, nodes):
    tick(tab.volume_list, "T1 pre")
    settle(tab)
    slicer.mrmlScene.RemoveNode(nodes["T1 pre"])
    settled(panel)
    settle(tab)
    assert [row[1] for row in rows(tab.results.errors)] == ["T1 post"]
    slicer.mrmlScene.RemoveNode(chart_of())
    line.SetNthControlPointPosition(1, 30.0, 0.0, 0.0)
    settle(tab)
    assert chart_of() is not None
    slicer.mrmlScene.RemoveNode(line)
    settled(panel)
    settle(tab)
    assert tab.message.text == "Choose a line, or draw a new one."
    assert not tab.results.errors.isVisible()


# Values


def test_values_are_shown_and_exported(host, tab, line, scans, tmp_path):
    tick(tab.volume_list, "made")
    settle(tab)
    assert not tab.results.values.isVisible()
    tab.results.values_section.collapsed = False
    profile = line_profile(scans["T1 post"], START, END)
    shown = rows(tab.results.values)
    assert len(shown) == len(profile.values)
    assert shown[3] == [f"{profile.distance_mm[3]:.1f}", *[f"{profile.values[3]:.1f}"] * 2]
    path = tmp_path / "a profile é.csv"
    host.record.answers.append(str(path))
    press(tab.results.export.button)
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
    press(tab.results.export.button)
    last = (tmp_path / "profile.csv").read_text(encoding="utf-8").splitlines()[-1]
    assert last.endswith(",")


def test_a_file_that_cannot_be_written_is_reported(host, tab, line, tmp_path):
    host.record.answers.append("")  # cancelled
    press(tab.results.export.button)
    assert tab.message.text == ""
    host.record.answers.append(str(tmp_path / "nowhere" / "profile.csv"))
    press(tab.results.export.button)
    assert "cannot be written (No such file or directory)" in tab.message.text
    assert tab.results.export.button.enabled


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
    assert not tab.results.errors.isVisible()
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
    before = rows(tab.results.errors)
    path = str(tmp_path / "scene.mrb")
    assert slicer.mrmlScene.WriteToMRB(path)
    close_scene()
    settle(tab)
    assert slicer.mrmlScene.ReadFromMRB(path)
    pump(lambda: tab.results.errors.isVisible())
    assert rows(tab.results.errors) == before
    assert tab.line_selector.node.GetName() == "across"
    assert len(slicer.util.getNodesByClass("vtkMRMLPlotChartNode")) == 1
    settle(tab)
    tick(tab.volume_list, "made")
    settle(tab)
    assert len(rows(tab.results.errors)) == 2


def test_the_chart_of_an_older_scene_becomes_that_of_the_line(tab, line):
    from ContrastSynthPanel.scene import tables

    for node in slicer.util.getNodesByClass("vtkMRMLPlotChartNode"):
        slicer.mrmlScene.RemoveNode(node)
    old = tables.plot_lines(
        slicer.mrmlScene, "ContrastSynth profile", [0, 1], {"T1 post": [1, 2]}, "mm", "a.u."
    )
    line.SetNthControlPointPosition(1, 30.0, 0.0, 0.0)
    settle(tab)
    assert slicer.util.getNodesByClass("vtkMRMLPlotChartNode") == [old]
    assert old.GetName() == NAME
    assert len(plotted("T1 post")[1]) > 10


def test_nothing_is_cut_off_in_a_narrow_panel(tab, line, nodes):
    nodes["T1 pre"].SetName("a long name as scanners and people give them, 2026")
    for n in range(tab.volume_list.count):
        tick(tab.volume_list, tab.volume_list.item(n).text())
    tab.results.values_section.collapsed = False
    settle(tab)
    tab.message.show("failed", "x" * 500)
    whole = tab.widget.window()
    assert whole.minimumSizeHint.width() <= WIDTH
    whole.resize(WIDTH, 1000)
    pump(timeout_s=0.05)
    for table in (tab.results.errors, tab.results.values):
        for column in range(table.columnCount):
            assert table.columnWidth(column) >= table.horizontalHeader().sectionSizeHint(column)
