"""The tab "Compare", driven as a person drives it, in the test host."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed")
pytest.importorskip("slicer", reason="slicer-core is not installed")

import slicer
from host import close_scene, entries, pick, press, pump, settle, type_text
from scans import add_volume, show_tab

from ContrastSynthLib.phantom.sample import sample_patient

WIDTH, ARROW = 400, 30
VOLUME = "vtkMRMLScalarVolumeNode"
MODES = ("side", "blend", "flicker", "difference")
RESULT_AND_REFERENCE, RESULT_AND_INPUT = "Reference and Result", "Input and Result"


@pytest.fixture
def tab(panel):
    return show_tab(panel, "compare")


@pytest.fixture
def nodes(tab, patient, result):
    """Input, result and reference, picked, and slice views that show something else."""
    from ContrastSynthPanel.scene import run_results

    post, pre = (add_volume(f"T1 {role}", patient.scans[role]) for role in ("post", "pre"))
    made = run_results.add_result(slicer.mrmlScene, result, post)
    pump(lambda: not tab.inputs.timer.active)
    slicer.util.setSliceViewerLayers(pre, made["uptake"], foregroundOpacity=0.3)
    for number, (view, composite) in enumerate(views()):
        view.JumpSliceByCentering(5.0, -10.0, 8.0 + number)
        view.SetFieldOfView(200.0 + number, 210.0, 1.0)
        composite.SetLinkedControl(number == 0)
    yield {"input": post, "result": made["pre"], "reference": pre}
    for view, composite in views():
        view.SetOrientationToDefault()
        composite.SetLinkedControl(False)


def views():
    from ContrastSynthPanel.scene import views as slice_views

    return slice_views.slice_views()


def looks():
    """Return all that a person sees of the slice views and their layout."""
    found = [slicer.app.layoutManager().layout]
    for view, composite in views():
        found += [
            composite.GetBackgroundVolumeID(),
            composite.GetForegroundVolumeID(),
            composite.GetForegroundOpacity(),
            composite.GetLinkedControl(),
            view.GetOrientation(),
            view.GetFieldOfView(),
            view.GetDimensions(),
            slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS()).round(6).tolist(),
        ]
    return found


def layers():
    return [
        (composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID())
        for _view, composite in views()
    ]


def opacities():
    return {composite.GetForegroundOpacity() for _view, composite in views()}


def array(node):
    return slicer.util.arrayFromVolume(node)


def difference_node():
    (found,) = [n for n in slicer.util.getNodesByClass(VOLUME) if "Difference" in n.GetName()]
    return found


def windows():
    """Return window, level and whether it is automatic, by the names of the volumes."""
    displays = {n.GetName(): n.GetDisplayNode() for n in slicer.util.getNodesByClass(VOLUME)}
    return {
        name: (round(one.GetWindow(), 2), round(one.GetLevel(), 2), bool(one.GetAutoWindowLevel()))
        for name, one in displays.items()
        if one is not None
    }


# Volumes


def test_the_newest_result_its_input_and_the_true_scan_are_picked(tab, nodes):
    assert tab.inputs.nodes() == nodes
    assert entries(tab.pair_combo) == [
        RESULT_AND_REFERENCE,
        RESULT_AND_INPUT,
        "Input and Reference",
    ]


def test_without_a_reference_input_and_result_are_compared(tab, nodes):
    pick(tab.inputs.selectors["reference"], None)
    press(tab.buttons["blend"])
    assert entries(tab.pair_combo) == [RESULT_AND_INPUT]
    assert set(layers()) == {(nodes["input"].GetID(), nodes["result"].GetID())}


def test_what_is_missing_is_reported(tab, patient):
    assert tab.buttons["blend"].toolTip == "Choose two volumes at least."
    assert not any(button.enabled for button in tab.buttons.values())
    node = add_volume("T1 pre", patient.scans["pre"])
    for role in ("input", "result"):
        pick(tab.inputs.selectors[role], node)
    assert tab.buttons["side"].toolTip == "'T1 pre' is chosen twice."
    assert not tab.buttons["side"].enabled


# Ways to compare


def test_side_by_side_shows_each_volume_at_the_same_place(tab, nodes):
    pick(tab.inputs.selectors["input"], nodes["input"])
    press(tab.buttons["side"])
    expected = [(nodes[role].GetID(), None) for role in ("input", "result", "reference")]
    assert layers() == expected
    seen = [slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS()) for view, _layers in views()]
    for matrix in seen:
        np.testing.assert_allclose(matrix, seen[0])
        np.testing.assert_allclose(matrix[:3, 3], [5.0, -10.0, 8.0])
    assert {view.GetOrientation() for view, _layers in views()} == {"Axial"}
    assert all(composite.GetLinkedControl() for _view, composite in views())
    steps = {view.GetFieldOfView()[0] / view.GetDimensions()[0] for view, _layers in views()}
    assert steps == {200.0 / views()[0][0].GetDimensions()[0]}  # as it was in the first
    pick(tab.orientation_combo, "Coronal")
    assert {view.GetOrientation() for view, _layers in views()} == {"Coronal"}
    assert layers() == expected


def test_side_by_side_has_a_layout_with_a_view_for_each(tab, nodes):
    press(tab.buttons["side"])
    node = slicer.app.layoutManager().layoutLogic().GetLayoutNode()
    for count in (3, 2):
        described = node.GetCurrentLayoutDescription()
        assert described.count("vtkMRMLSliceNode") == count
        pick(tab.inputs.selectors["reference"], None)


def test_a_move_in_one_view_moves_the_others(tab, nodes):
    press(tab.buttons["side"])
    manager = slicer.app.layoutManager()
    logic = manager.sliceWidget("Yellow").sliceLogic()
    logic.StartSliceOffsetInteraction()
    logic.SetSliceOffset(17.0)
    logic.EndSliceOffsetInteraction()
    for view, _layers in views():
        assert view.GetSliceToRAS().GetElement(2, 3) == pytest.approx(17.0)


def test_the_blend_follows_its_slider(tab, nodes):
    press(tab.buttons["blend"])
    assert set(layers()) == {(nodes["reference"].GetID(), nodes["result"].GetID())}
    assert opacities() == {0.5}
    type_text(tab.opacity, "80")
    assert opacities() == {0.8}
    pick(tab.pair_combo, RESULT_AND_INPUT)
    assert set(layers()) == {(nodes["input"].GetID(), nodes["result"].GetID())}
    assert opacities() == {0.8}


def test_the_flicker_changes_at_its_rate_and_stops(tab, nodes):
    press(tab.buttons["flicker"])
    type_text(tab.flicker.rate, "3")
    seen = []

    def changed():
        text = opacities(), tab.flicker.now_label.text
        if text not in seen[-1:]:
            seen.append(text)
        return len(seen) > 3

    took = pump(changed, 10.0)
    assert seen[0] == ({0.0}, "T1 pre")
    assert seen[1] == ({1.0}, "T1 post pre SYNTHETIC")
    assert seen[2:4] == seen[:2]
    assert took.elapsed_s > 0.9  # three changes, at three a second
    press(tab.flicker.stop_button)
    stopped = opacities()
    pump(timeout_s=0.5)
    assert opacities() == stopped
    assert tab.flicker.stop_button.text == "Go on"
    press(tab.flicker.stop_button)
    pump(lambda: opacities() != stopped)


def test_no_flicker_is_fast_enough_to_harm(tab, nodes):
    press(tab.buttons["flicker"])
    type_text(tab.flicker.rate, "50")
    assert tab.flicker._timer.interval >= 333


def test_the_difference_is_second_less_first(tab, nodes):
    press(tab.buttons["difference"])
    pick(tab.normalise_combo, "Not at all")
    node = difference_node()
    expected = array(nodes["result"]) - array(nodes["reference"])
    np.testing.assert_allclose(array(node), expected, rtol=1e-6)
    assert "Not normalised" in tab.notice.box.plainText
    assert set(layers()) == {(nodes["reference"].GetID(), node.GetID())}
    assert opacities() == {1.0}
    assert node.GetSpacing() == nodes["reference"].GetSpacing()


@pytest.mark.parametrize(
    ("title", "level", "word"),
    [
        ("By medians of the brain", np.median, "median"),
        ("By means of the brain", np.mean, "mean"),
    ],
)
def test_the_difference_is_normalised_in_place_and_it_is_reported(
    tab, nodes, patient, title, level, word
):
    press(tab.buttons["difference"])
    node = difference_node()
    pick(tab.normalise_combo, title)
    assert difference_node() is node
    first, second = array(nodes["reference"]), array(nodes["result"])
    brain = (first > 0) & (second > 0)
    levels = [float(level(one[brain].astype(float))) for one in (second, first)]
    np.testing.assert_allclose(array(node), second / levels[0] - first / levels[1], atol=2e-3)
    text = tab.notice.box.plainText
    assert f"divided by its {word} in the brain" in text
    assert text.endswith(".")
    for one in levels:
        assert f"{one:.4g}" in text


def test_the_colours_of_the_difference_are_symmetric_about_zero(tab, nodes):
    press(tab.buttons["difference"])
    display = difference_node().GetDisplayNode()
    assert display.GetLevel() == 0.0
    assert display.GetWindow() == pytest.approx(2 * tab.range.value)
    type_text(tab.range, "0.25")
    assert (display.GetWindow(), display.GetLevel()) == (0.5, 0.0)
    table = display.GetColorNode()
    assert table.GetNumberOfColors() == 256
    colours = np.array([table.GetLookupTable().GetTableValue(n)[:3] for n in range(256)])
    np.testing.assert_allclose(colours[127], colours[128])
    assert colours[127].max() == 0
    assert (colours[:120, 2] > colours[:120, 0]).all()
    assert (colours[136:, 0] > colours[136:, 2]).all()


def test_a_range_that_was_set_is_kept_for_its_unit(tab, nodes):
    press(tab.buttons["difference"])
    type_text(tab.range, "0.25")
    pick(tab.normalise_combo, "Not at all")
    assert tab.range.value > 1
    pick(tab.normalise_combo, "By medians of the brain")
    assert tab.range.value == 0.25
    assert difference_node().GetDisplayNode().GetWindow() == 0.5


def test_a_difference_is_marked(tab, nodes):
    from ContrastSynthPanel.scene import bridge, difference

    press(tab.buttons["difference"])
    node = difference_node()
    assert node.GetName() == "Difference: T1 post pre SYNTHETIC - T1 pre"
    assert "physics_pre" in node.GetAttribute(bridge.SYNTHETIC)
    assert node.GetAttribute(difference.DERIVED).startswith("T1 post pre SYNTHETIC - T1 pre")
    nodes["result"].SetName("renamed")
    press(tab.buttons["blend"])
    press(tab.buttons["difference"])
    assert slicer.util.getNode("Difference: renamed - T1 pre SYNTHETIC")
    pick(tab.pair_combo, "Input and Reference")
    of_scans = slicer.util.getNode("Difference: T1 pre - T1 post")
    assert "synthetic volume" not in of_scans.GetAttribute(bridge.SYNTHETIC)


# The windows


@pytest.fixture
def own_windows(nodes):
    """Each volume has a window of its own: set by hand, or automatic."""
    for node in nodes.values():
        node.CreateDefaultDisplayNodes()
    for role, window in {"input": (900.0, 400.0), "reference": (50.0, 30.0)}.items():
        nodes[role].GetDisplayNode().SetAutoWindowLevel(False)
        nodes[role].GetDisplayNode().SetWindowLevel(*window)
    nodes["result"].GetDisplayNode().SetAutoWindowLevel(True)
    found = windows()
    assert {automatic for *_window, automatic in found.values()} == {True, False}
    return found


@pytest.mark.parametrize("mode", ["side", "blend", "flicker"])
@pytest.mark.parametrize(
    ("title", "level", "word"),
    [
        ("By medians of the brain", np.median, "medians"),
        ("By means of the brain", np.mean, "means"),
    ],
)
def test_all_are_shown_in_the_window_of_the_input(
    tab, nodes, own_windows, mode, title, level, word
):
    array(nodes["result"])[:] *= 7.0  # a gain as a whole
    nodes["result"].Modified()
    press(tab.buttons[mode])
    pick(tab.normalise_combo, title)
    of_input = level(array(nodes["input"])[array(nodes["input"]) > 0].astype(float))
    for node in nodes.values():
        ratio = level(array(node)[array(node) > 0].astype(float)) / of_input
        *window, automatic = windows()[node.GetName()]
        np.testing.assert_allclose(window, (900.0 * ratio, 400.0 * ratio), rtol=1e-3)
        assert not automatic
    text = f"All in the window of 'T1 post', scaled by their {word} in the brain."
    assert tab.notice.box.plainText.endswith(text)
    press(tab.end_button)
    assert windows() == own_windows


def test_as_they_are_all_have_the_same_window(tab, nodes, own_windows):
    press(tab.buttons["side"])
    pick(tab.normalise_combo, "Not at all")
    names = {node.GetName() for node in nodes.values()}
    assert {windows()[name] for name in names} == {(900.0, 400.0, False)}
    assert tab.notice.box.plainText.endswith("All in the window of 'T1 post'.")
    press(tab.end_button)
    assert windows() == own_windows


def test_a_volume_that_is_not_compared_any_more_has_its_own_window_again(tab, nodes, own_windows):
    press(tab.buttons["side"])
    assert windows()["T1 pre"] != own_windows["T1 pre"]
    pick(tab.inputs.selectors["reference"], None)
    assert windows()["T1 pre"] == own_windows["T1 pre"]


def test_a_window_that_cannot_be_scaled_is_left_and_it_is_reported(tab, nodes, own_windows):
    empty = slicer.mrmlScene.AddNewNodeByClass(VOLUME, "empty")
    pick(tab.inputs.selectors["result"], empty)
    press(tab.buttons["blend"])
    assert "Each in its own window. empty has no voxels" in tab.notice.box.plainText
    assert set(layers()) == {(nodes["reference"].GetID(), empty.GetID())}
    assert {name: windows()[name] for name in own_windows} == own_windows


# What was there before


@pytest.mark.parametrize("mode", MODES)
def test_the_end_puts_the_views_back(tab, nodes, mode):
    before = looks()
    press(tab.buttons[mode])
    assert looks() != before
    assert tab.buttons[mode].checked
    press(tab.end_button)
    assert looks() == before
    assert not tab.buttons[mode].checked
    assert not tab.end_button.enabled
    press(tab.buttons[mode])
    press(tab.buttons[mode])  # the same button again
    assert looks() == before


@pytest.mark.parametrize("mode", MODES)
def test_leaving_puts_the_views_back(host, tab, nodes, mode):
    panel = slicer.modules.ContrastSynthWidget.panel
    before = looks()
    press(tab.buttons[mode])
    panel.tab_widget.setCurrentIndex(0)
    assert looks() == before
    panel.tab_widget.setCurrentIndex(list(panel.tabs).index("compare"))
    press(tab.buttons[mode])
    host.leave_module()
    assert looks() == before
    pump(timeout_s=0.4)
    assert looks() == before
    assert not tab.flicker.running


def test_any_order_of_ways_ends_as_it_began(tab, nodes):
    before = looks()
    for mode in ("blend", "side", "flicker", "difference", "side", "blend"):
        press(tab.buttons[mode])
        assert [key for key, button in tab.buttons.items() if button.checked] == [mode]
        assert tab.flicker.running == (mode == "flicker")
    press(tab.end_button)
    assert looks() == before


def test_another_way_shows_the_same_place(tab, nodes):
    press(tab.buttons["side"])
    for view, _layers in views():
        view.JumpSliceByCentering(20.0, 21.0, 22.0)
    press(tab.buttons["blend"])
    for view, _layers in views():
        place = slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS())[:3, 3]
        np.testing.assert_allclose(place, [20.0, 21.0, 22.0])
    assert len({view.GetOrientation() for view, _layers in views()}) == 3


def test_the_module_is_reloaded_meanwhile(host, tab, nodes):
    before = looks()
    press(tab.buttons["flicker"])
    host.app.moduleManager().reload("ContrastSynth")
    assert looks() == before
    assert not tab.flicker.running


def test_a_compared_volume_is_deleted_meanwhile(tab, nodes):
    press(tab.buttons["flicker"])
    slicer.mrmlScene.RemoveNode(nodes["result"])
    assert not tab.flicker.running
    text = "The comparison was ended: 'T1 post pre SYNTHETIC' was deleted."
    assert tab.notice.box.plainText == text
    assert set(layers())
    pump(lambda: not tab.inputs.timer.active)
    assert tab.notice.box.plainText == text


def test_a_shown_volume_is_deleted_meanwhile(tab, nodes):
    uptake = slicer.util.getNode("T1 post uptake SYNTHETIC")
    press(tab.buttons["blend"])
    slicer.mrmlScene.RemoveNode(uptake)
    press(tab.end_button)
    assert set(layers()) == {(nodes["reference"].GetID(), None)}


def test_the_scene_is_closed_meanwhile(tab, nodes):
    layout = slicer.app.layoutManager().layout
    press(tab.buttons["side"])
    close_scene()
    assert slicer.app.layoutManager().layout == layout
    assert tab.inputs.nodes() == {}
    assert not tab.end_button.enabled
    assert not tab.buttons["side"].enabled


# What goes wrong


def test_other_grids_are_reported_and_can_be_resampled(tab, nodes):
    before = looks()
    coarse = add_volume("coarse", sample_patient(size=(40, 48, 32)).scans["pre"])
    pick(tab.inputs.selectors["result"], coarse)
    press(tab.buttons["difference"])
    assert tab.notice.box.plainText == "'coarse': not on the grid of 'T1 pre'."
    assert "size, voxels" in tab.notice.box.toolTip
    assert looks() == before
    press(tab.notice.resample_button)
    node = difference_node()
    assert array(node).shape == array(nodes["reference"]).shape
    assert "'coarse' was resampled by its position." in tab.notice.box.plainText
    pump(lambda: not tab.inputs.timer.active)
    pick(tab.normalise_combo, "Not at all")
    assert "resampled" in tab.notice.box.plainText
    press(tab.buttons["side"])
    assert coarse.GetID() in {first for first, _second in layers()}
    press(tab.end_button)
    assert looks() == before


def test_an_empty_volume_is_reported_and_the_tab_stays_usable(tab, nodes):
    before = looks()
    empty = slicer.mrmlScene.AddNewNodeByClass(VOLUME, "empty")
    pick(tab.inputs.selectors["result"], empty)
    press(tab.buttons["difference"])
    assert "empty has no voxels" in tab.notice.box.plainText
    assert not tab.notice.resample_button.isVisible()
    assert looks() == before
    pick(tab.inputs.selectors["result"], nodes["result"])
    assert "divided by its median" in tab.notice.box.plainText
    press(tab.end_button)
    assert looks() == before


def test_equal_volumes_have_a_difference_of_zero(tab, nodes, patient):
    pick(tab.inputs.selectors["result"], add_volume("again", patient.scans["pre"]))
    press(tab.buttons["difference"])
    assert not array(difference_node()).any()
    assert difference_node().GetDisplayNode().GetWindow() > 0


def test_a_colour_image_is_not_offered(tab, nodes):
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "colours")
    assert "colours" not in entries(tab.inputs.selectors["result"])


# What a scene keeps


def test_the_state_is_saved_and_restored_with_the_scene(tab, nodes, tmp_path):
    pick(tab.inputs.selectors["reference"], nodes["input"])
    pick(tab.inputs.selectors["input"], nodes["reference"])
    press(tab.buttons["difference"])
    pick(tab.pair_combo, RESULT_AND_INPUT)
    type_text(tab.range, "0.25")
    press(tab.buttons["flicker"])
    type_text(tab.flicker.rate, "2")
    press(tab.buttons["blend"])
    type_text(tab.opacity, "80")
    before, shown = named(tab.state()), windows()
    assert before["levels"] != []
    scene, path = slicer.mrmlScene, str(tmp_path / "scene.mrml")
    for number, node in enumerate(slicer.util.getNodesByClass(VOLUME)):
        storage = scene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
        storage.SetFileName(str(tmp_path / f"{number}.nrrd"))
        node.SetAndObserveStorageNodeID(storage.GetID())
        assert storage.WriteData(node)
    scene.SetURL(path)
    assert scene.Commit()
    press(tab.end_button)
    views_before, windows_before = without_ids(looks()), windows()
    assert windows_before != shown
    close_scene()
    pump(timeout_s=0.3)
    scene.SetURL(path)
    scene.Import()
    pump(lambda: tab.inputs.nodes() != {})
    pump(lambda: not tab.inputs.timer.active)
    assert without_ids(looks()) == views_before  # though it was saved with a blend
    assert set(layers()) == {
        tuple(slicer.util.getNode(name).GetID() for name in ("T1 pre", "T1 post uptake SYNTHETIC"))
    }
    assert windows() == windows_before
    assert named(tab.state()) == {**before, "before": None, "levels": []}
    assert before["before"] is not None
    press(tab.buttons["blend"])
    assert opacities() == {0.8}


def without_ids(seen):
    """Return what is seen without the IDs of nodes, which differ in another scene."""
    return [one for one in seen if not (isinstance(one, str) and one.startswith("vtkMRML"))]


def named(state):
    """Return a state with the names of its nodes in their places."""
    if isinstance(state, dict):
        return {key: named(value) for key, value in state.items()}
    if isinstance(state, list):
        return [named(value) for value in state]
    return state.GetName() if isinstance(state, slicer.vtkMRMLNode) else state


@pytest.mark.parametrize("mode", MODES)
def test_nothing_is_cut_off_in_a_narrow_panel(tab, nodes, mode):
    for node in nodes.values():
        node.SetName(node.GetName() + "_a_long_name_of_a_series_without_any_spaces_SYNTHETIC")
    press(tab.buttons[mode])
    whole = tab.widget.window()
    assert whole.minimumSizeHint.width() <= WIDTH
    whole.resize(WIDTH, 800)
    settle()
    for combo in (tab.pair_combo, tab.orientation_combo, tab.normalise_combo):
        widest = max(combo.fontMetrics().horizontalAdvance(text) for text in entries(combo))
        assert not combo.isVisible() or widest <= combo.width - ARROW
