"""What a person sees of the four toys in the panel; started by test_own_methods.py."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import slicer
from host import cut_off, entries, fit_height, pick, press, pump, read_table, type_text
from scans import add_volume, open_sections, settled, show_tab

from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.registry import METHODS
from ContrastSynthLib.volumes import Volume

SIZE = (24, 28, 20)
TIMES_S = (0.0, 60.0, 120.0)
WIDTH = 400
CLASSES, DISTANCE = (f"SYNTHETIC {n}, toy_labels_map: T1 post Gd" for n in ("classes", "distance"))


@pytest.fixture(scope="module")
def small():
    return sample_patient(size=SIZE).scans


@pytest.fixture
def tab(panel):
    open_sections(panel.synthesise)
    return panel.synthesise


@pytest.fixture
def nodes(panel, tab, small):
    names = {"pre": "T1 pre", "post": "T1 post Gd"}
    found = {role: add_volume(name, small[role]) for role, name in names.items()}
    settled(panel)
    return found


def show(tab, key):
    pick(tab.form.method_combo, METHODS[key].title)


def apply(tab):
    press(tab.run.apply_button)
    pump(lambda: not tab.run.running, 120.0)
    return tab.run.message.plainText


def result(name):
    node = slicer.mrmlScene.GetFirstNodeByName(name)
    assert node is not None, [n.GetName() for n in slicer.util.getNodesByClass("vtkMRMLVolumeNode")]
    return node


def marks(node):
    from ContrastSynthPanel.scene import bridge

    return [node.GetAttribute(name) for name in (bridge.METHOD, bridge.OUTPUT, bridge.SYNTHETIC)]


def foregrounds():
    found = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    return {slicer.mrmlScene.GetNodeByID(one.GetForegroundVolumeID() or "") for one in found}


# A series


@pytest.fixture
def series(tab, small):
    """A dynamic series in the scene, from pre to post and back."""
    from ContrastSynthPanel.scene import bridge

    arrays = [small["pre"].array, small["post"].array, small["pre"].array]
    volumes = [
        Volume(array, small["pre"].grid, replace(small["pre"].acquisition, time_s=time))
        for array, time in zip(arrays, TIMES_S, strict=True)
    ]
    node = bridge.sequence_from_series(slicer.mrmlScene, volumes, "dynamic")
    show(tab, "toy_series_times")
    pick(tab.inputs.selectors["phase"], node)
    return node


def test_a_series_becomes_a_series(panel, tab, series, small):
    from ContrastSynthPanel.scene import bridge

    type_text(tab.parameters.fields["times"].widget, "30, 75")
    assert apply(tab) == "Done: SYNTHETIC phases, times 30 75, toy_series_times: dynamic."
    (node,) = [n for n in slicer.util.getNodesByClass(bridge.SEQUENCE) if n is not series]
    assert node.GetName() == "SYNTHETIC phases, times 30 75, toy_series_times: dynamic"
    assert node.GetIndexUnit() == "s"
    assert bridge.times_of_sequence_node(node) == [30.0, 75.0]
    key, role, mark = marks(node)
    assert (key, role) == ("toy_series_times", "phases")
    assert "for research only" in mark
    provenance = json.loads(node.GetAttribute(bridge.PROVENANCE))
    assert provenance["outputs"]["phases"]["times_s"] == [30.0, 75.0]
    shown = bridge.shown_volume(node)
    assert "SYNTHETIC" in shown.GetName()
    assert marks(shown) == [key, role, mark]
    assert foregrounds() == {shown}
    made = bridge.series_from_sequence_node(node)
    assert all(volume.synthetic for volume in made)
    pre, post = (small[name].array for name in ("pre", "post"))
    np.testing.assert_allclose(made[0].array, (pre + post) / 2, rtol=1e-5)
    np.testing.assert_allclose(made[1].array, 0.75 * post + 0.25 * pre, rtol=1e-5)
    assert made[0].grid.is_same(small["pre"].grid)
    show_tab(panel, "kinetics")
    assert panel.box.selectors["result"].currentNode() is node


def test_a_result_moves_with_the_series_that_it_was_made_from(tab, series):
    from ContrastSynthPanel.scene import bridge

    move = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = np.eye(4)
    matrix[:3, 3] = 10.0, -20.0, 5.0
    move.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    bridge.shown_volume(series).SetAndObserveTransformNodeID(move.GetID())
    assert apply(tab).startswith("Done")
    node = result("SYNTHETIC phases, toy_series_times: dynamic")
    assert bridge.shown_volume(node).GetParentTransformNode() is move
    browser = bridge.browser_of(node)
    browser.SetSelectedItemNumber(1)
    assert bridge.shown_volume(node).GetParentTransformNode() is move
    made, given = (bridge.series_from_sequence_node(one)[0] for one in (node, series))
    assert made.grid.is_same(given.grid)


def test_a_list_that_is_none_is_refused_before_a_run(tab, series):
    field = tab.parameters.fields["times"]
    assert field.widget.text == "45, 90"
    type_text(field.widget, "30, x")
    assert not tab.run.apply_button.enabled
    assert "is not a list of numbers" in tab.run.apply_button.toolTip
    assert "is not a list of numbers" in field.widget.toolTip
    assert tab.parameters.given == {}
    type_text(field.widget, "30 5000")
    assert "out of range" in tab.run.apply_button.toolTip
    type_text(field.widget, "30 60,90.5")
    assert tab.run.apply_button.enabled
    assert tab.parameters.resolved().values.times == (30.0, 60.0, 90.5)
    press(tab.parameters.reset_button)
    assert field.widget.text == "45, 90"


def test_a_sequence_without_times_is_refused_before_a_run(tab, series):
    series.SetIndexUnit("")
    tab._edited()
    assert "Expected times in one of" in tab.run.apply_button.toolTip


def test_a_series_alone_has_no_preview(tab, series):
    assert not tab.preview.box.isVisible()


# Random numbers and two networks


def test_random_pair_shows_and_takes_a_seed(host, tab, nodes):
    show(tab, "physics_pre")
    assert not tab.form.seed.widget.isVisible()
    show(tab, "toy_random_pair")
    assert tab.form.seed.widget.isVisible()
    assert not tab.form.seed.label.isVisible()
    first = apply(tab)
    used = tab.form.seed.state()["toy_random_pair"]["used"]
    assert f"Seed: {used}." in first
    assert tab.form.seed.label.text == f"The last run used {used}."
    type_text(tab.form.seed.edit, str(used))
    name = f"SYNTHETIC low, seed {used}, toy_random_pair: T1 post Gd"
    drawn = np.array(slicer.util.arrayFromVolume(result(name)))
    slicer.util.arrayFromVolume(result(name))[:] = 0.0
    count = len(slicer.util.getNodesByClass("vtkMRMLVolumeNode"))
    apply(tab)
    assert len(slicer.util.getNodesByClass("vtkMRMLVolumeNode")) == count
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(result(name)), drawn)
    type_text(tab.form.seed.edit, "-3")
    assert not tab.run.apply_button.enabled
    assert "is not one whole number from 0" in tab.run.apply_button.toolTip
    type_text(tab.form.seed.edit, "7")
    assert tab.run.apply_button.enabled
    host.app.moduleManager().reload("ContrastSynth")
    again = host.open_module().panel.synthesise
    assert again.form.seed.edit.text == "7"
    assert again.form.seed.label.text == f"The last run used {used}."


def test_random_pair_has_weights_for_each_network(tab, nodes):
    show(tab, "toy_random_pair")
    assert list(tab.form.weights.combos) == ["smoother", "dropper"]
    assert entries(tab.form.weights.combos["smoother"])[1:] == ["toy_smoother 1.0"]
    assert entries(tab.form.weights.combos["dropper"])[1:] == ["toy_dropper 1.0"]
    assert tab.form.weights.label.text == "Used: toy_smoother 1.0; toy_dropper 1.0."
    pick(tab.form.weights.combos["dropper"], "toy_dropper 1.0")
    (chosen,) = tab.form.weights.chosen.items()
    assert chosen[0] == "dropper"
    assert chosen[1].startswith("toy_dropper-1.0-")
    fit_height(tab.widget.window(), WIDTH)
    assert cut_off(tab.widget) == []
    pick(tab.parameters.fields["dropout"].widget, "Off")
    assert list(tab.form.weights.combos) == ["smoother"]
    assert tab.form.weights.chosen is None
    assert tab.run.apply_button.enabled
    pick(tab.parameters.fields["dropout"].widget, "On")
    assert tab.form.weights.chosen == dict([chosen])
    combo = tab.form.weights.combos["dropper"]
    assert combo.itemData(combo.currentIndex) == chosen[1]


# Slabs with an optional input


def test_slab_runs_with_its_optional_input(tab, nodes, small):
    from ContrastSynthPanel.scene.run_results import provenance_of

    show(tab, "toy_slab")
    assert tab.inputs.nodes() == {"pre": nodes["pre"]}
    assert tab.run.apply_button.enabled
    t2 = add_volume("T2", small["post"])
    pump(lambda: tab.inputs.nodes().get("t2") is t2)
    assert apply(tab).startswith("Done: SYNTHETIC post, toy_slab: T1 pre.")
    node = result("SYNTHETIC post, toy_slab: T1 pre")
    assert set(provenance_of(node)["inputs"]) == {"pre", "t2"}
    assert not tab.form.seed.widget.isVisible()


# Labels and a map, by iterations


@pytest.fixture
def classes(panel, tab, nodes):
    show(tab, "toy_labels_map")
    press(tab.run.apply_button)
    show_tab(panel, "inversion")
    pump(lambda: not tab.run.running, 60.0)
    return result(CLASSES)


def test_labels_are_a_label_map_with_named_colours(tab, classes):
    from ContrastSynthPanel.scene import bridge

    assert classes.GetClassName() == bridge.LABEL_MAP
    assert marks(classes)[:2] == ["toy_labels_map", "classes"]
    assert set(np.unique(slicer.util.arrayFromVolume(classes))) == {0, 1, 2, 3}
    colours = classes.GetDisplayNode().GetColorNode()
    assert [colours.GetColorName(n) for n in range(1, 4)] == ["dark", "medium", "bright"]
    views = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    assert {view.GetLabelVolumeID() for view in views} == {classes.GetID()}
    text = tab.run.message.plainText
    assert f"'{CLASSES}': Labels: 1 dark, 2 medium, 3 bright." in text
    assert f"'{DISTANCE}': Map, from 0 medians." in text


def test_a_map_has_its_range_and_unit(tab, classes):
    from ContrastSynthPanel.scene import bridge, run_results

    distance = result(DISTANCE)
    assert distance.GetClassName() == bridge.VOLUME
    assert distance.GetAttribute(bridge.UNIT) == "medians"
    display = distance.GetDisplayNode()
    assert display.GetColorNodeID() == run_results.MAP_COLOURS
    assert not display.GetAutoWindowLevel()
    assert display.GetWindowLevelMin() == pytest.approx(0.0, abs=1e-6)
    highest = slicer.util.arrayFromVolume(distance).max()
    assert display.GetWindowLevelMax() == pytest.approx(highest, rel=1e-5)
    assert foregrounds() == {distance}


def test_a_map_and_labels_are_no_image_to_measure(panel, tab, classes):
    quality = show_tab(panel, "quality")
    settled(panel)
    for made in (classes, result(DISTANCE)):
        pick(panel.box.selectors["result"], made)
        assert "not an image of the patient" in quality.run.action.blocked


def test_the_iterations_are_shown_as_declared(panel, tab, classes):
    inversion = panel.tabs["inversion"]
    assert panel.box.selectors["result"].currentNode() in (classes, result(DISTANCE))
    rows = read_table(inversion.table)
    assert [row[0] for row in rows] == ["Iteration", "Mean distance (medians)"]
    assert rows[0][1:] == ["1", "8"]
    assert "Mean distance (medians)" in inversion.plots.legends[0].text
    assert inversion.plots.pictures[0].isVisible()
    assert not inversion.again_button.isVisible()
    assert "Toy: classes of brightness" in inversion.intro.text or not inversion.intro.isVisible()
    press(inversion.chart_button)
    chart = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLPlotChartNode")
    assert chart.GetYAxisTitle() == "Distance"
