"""The tab "Compare", driven as a person drives it, in the test host."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed")
pytest.importorskip("slicer", reason="slicer-core is not installed")

import slicer
from host import close_scene, entries, pick, press, pump, settle, type_text, wheel
from scans import add_volume, settled, show_tab

from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.registry import METHODS
from ContrastSynthLib.volumes import Volume

WIDTH, ARROW = 400, 30
LONGEST_S = 0.1  # that a person does not notice
VOLUME = "vtkMRMLScalarVolumeNode"
RESULT = "SYNTHETIC pre, physics_pre: T1 post"
UPTAKE = "SYNTHETIC uptake, physics_pre: T1 post"
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
    settled(slicer.modules.ContrastSynthWidget.panel)
    slicer.util.setSliceViewerLayers(pre, made["uptake"], foregroundOpacity=0.3)
    for number, (view, composite) in enumerate(views()):
        view.JumpSliceByCentering(5.0, -10.0, 8.0 + number)
        view.SetFieldOfView(200.0 + number, 200.0 + number, 1.0)
        composite.SetLinkedControl(number == 0)
    yield {"input": post, "result": made["pre"], "reference": pre}
    for view, composite in views():
        view.SetOrientationToDefault()
        composite.SetLinkedControl(False)


def views():
    from ContrastSynthPanel.scene import views as slice_views

    return slice_views.slice_views()


def compare(tab, mode):
    """Press a way to compare, and wait for what is computed."""
    press(tab.buttons[mode])
    computed(tab)


def choose(tab, role, node):
    """Choose a volume of the case."""
    pick(tab.box.selectors[role], node)
    computed(tab)


def set_to(tab, combo, text):
    """Choose an entry of a list."""
    pick(combo, text)
    computed(tab)


def computed(tab):
    pump(lambda: not tab.work.running)


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
    (found,) = [n for n in slicer.util.getNodesByClass(VOLUME) if "ifference" in n.GetName()]
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
    assert tab.case.nodes(tab.uses) == nodes
    assert entries(tab.controls.pair_combo) == [
        RESULT_AND_REFERENCE,
        RESULT_AND_INPUT,
        "Input and Reference",
    ]


def test_without_a_reference_input_and_result_are_compared(tab, nodes):
    choose(tab, "reference", None)
    compare(tab, "blend")
    assert entries(tab.controls.pair_combo) == [RESULT_AND_INPUT]
    assert set(layers()) == {(nodes["input"].GetID(), nodes["result"].GetID())}


def test_what_is_missing_is_reported(tab, patient):
    assert tab.buttons["blend"].toolTip == "Choose two volumes at least."
    assert not any(button.enabled for button in tab.buttons.values())
    node = add_volume("T1 pre", patient.scans["pre"])
    for role in ("input", "result"):
        choose(tab, role, node)
    assert tab.buttons["side"].toolTip == "'T1 pre' is chosen twice."
    assert not tab.buttons["side"].enabled


# Ways to compare


def test_side_by_side_shows_each_volume_at_the_same_place(tab, nodes):
    choose(tab, "input", nodes["input"])
    compare(tab, "side")
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
    set_to(tab, tab.controls.orientation_combo, "Coronal")
    assert {view.GetOrientation() for view, _layers in views()} == {"Coronal"}
    assert layers() == expected


def test_side_by_side_has_a_layout_with_a_view_for_each(tab, nodes):
    compare(tab, "side")
    node = slicer.app.layoutManager().layoutLogic().GetLayoutNode()
    for count in (3, 2):
        described = node.GetCurrentLayoutDescription()
        assert described.count("vtkMRMLSliceNode") == count
        choose(tab, "reference", None)


def test_a_move_in_one_view_moves_the_others(tab, nodes):
    compare(tab, "side")
    manager = slicer.app.layoutManager()
    logic = manager.sliceWidget("Yellow").sliceLogic()
    logic.StartSliceOffsetInteraction()
    logic.SetSliceOffset(17.0)
    logic.EndSliceOffsetInteraction()
    for view, _layers in views():
        assert view.GetSliceToRAS().GetElement(2, 3) == pytest.approx(17.0)


def test_the_blend_follows_its_slider(tab, nodes):
    compare(tab, "blend")
    assert set(layers()) == {(nodes["reference"].GetID(), nodes["result"].GetID())}
    assert opacities() == {0.5}
    type_text(tab.controls.opacity, "80")
    assert opacities() == {0.8}
    set_to(tab, tab.controls.pair_combo, RESULT_AND_INPUT)
    assert set(layers()) == {(nodes["input"].GetID(), nodes["result"].GetID())}
    assert opacities() == {0.8}


def test_the_flicker_changes_at_its_rate_and_stops(tab, nodes):
    compare(tab, "flicker")
    type_text(tab.controls.flicker.rate, "3")
    seen = []

    def changed():
        text = opacities(), tab.controls.flicker.now_label.text
        if text not in seen[-1:]:
            seen.append(text)
        return len(seen) > 3

    took = pump(changed, 10.0)
    assert seen[0] == ({0.0}, "T1 pre")
    assert seen[1] == ({1.0}, RESULT[:29] + "\N{HORIZONTAL ELLIPSIS}")
    assert seen[2:4] == seen[:2]
    assert took.elapsed_s > 0.9  # three changes, at three a second
    press(tab.controls.flicker.stop_button)
    stopped = opacities()
    pump(timeout_s=0.5)
    assert opacities() == stopped
    assert tab.controls.flicker.stop_button.text == "Go on"
    press(tab.controls.flicker.stop_button)
    pump(lambda: opacities() != stopped)


def test_no_flicker_is_fast_enough_to_harm(tab, nodes):
    compare(tab, "flicker")
    type_text(tab.controls.flicker.rate, "50")
    assert tab.controls.flicker._timer.interval >= 333


def test_the_difference_is_second_less_first(tab, nodes):
    compare(tab, "difference")
    set_to(tab, tab.controls.normalise_combo, "Not at all")
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
        ("By their medians", np.median, "median"),
        ("By their means", np.mean, "mean"),
    ],
)
def test_the_difference_is_normalised_in_place_and_it_is_reported(
    tab, nodes, patient, title, level, word
):
    compare(tab, "difference")
    node = difference_node()
    set_to(tab, tab.controls.normalise_combo, title)
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
    compare(tab, "difference")
    display = difference_node().GetDisplayNode()
    assert display.GetLevel() == 0.0
    assert display.GetWindow() == pytest.approx(2 * tab.controls.range.value)
    type_text(tab.controls.range, "0.25")
    assert (display.GetWindow(), display.GetLevel()) == (0.5, 0.0)
    table = display.GetColorNode()
    assert table.GetNumberOfColors() == 256
    colours = np.array([table.GetLookupTable().GetTableValue(n)[:3] for n in range(256)])
    np.testing.assert_allclose(colours[127], colours[128])
    assert colours[127].max() == 0
    assert (colours[:120, 2] > colours[:120, 0]).all()
    assert (colours[136:, 0] > colours[136:, 2]).all()


def test_a_range_that_was_set_is_kept_for_its_unit(tab, nodes):
    compare(tab, "difference")
    type_text(tab.controls.range, "0.25")
    set_to(tab, tab.controls.normalise_combo, "Not at all")
    assert tab.controls.range.value > 1
    set_to(tab, tab.controls.normalise_combo, "By their medians")
    assert tab.controls.range.value == 0.25
    assert difference_node().GetDisplayNode().GetWindow() == 0.5


def test_a_difference_is_marked(tab, nodes):
    from ContrastSynthPanel.scene import bridge

    compare(tab, "difference")
    node = difference_node()
    assert node.GetName() == "SYNTHETIC difference: pre, physics_pre: T1 post - T1 pre"
    assert "physics_pre" in node.GetAttribute(bridge.SYNTHETIC)
    assert node.GetDescription() == tab.notice.box.plainText
    node.SetName("as a person calls it")
    nodes["result"].SetName("SYNTHETIC renamed")
    compare(tab, "blend")
    compare(tab, "difference")
    assert node.GetName() == "as a person calls it"
    assert node.GetID() in {second for _first, second in layers()}
    set_to(tab, tab.controls.pair_combo, "Input and Reference")
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
        ("By their medians", np.median, "medians"),
        ("By their means", np.mean, "means"),
    ],
)
def test_all_are_shown_in_the_window_of_the_input(
    tab, nodes, own_windows, mode, title, level, word
):
    array(nodes["result"])[:] *= 7.0  # a gain as a whole
    nodes["result"].Modified()
    compare(tab, mode)
    set_to(tab, tab.controls.normalise_combo, title)
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
    compare(tab, "side")
    set_to(tab, tab.controls.normalise_combo, "Not at all")
    names = {node.GetName() for node in nodes.values()}
    assert {windows()[name] for name in names} == {(900.0, 400.0, False)}
    assert tab.notice.box.plainText.endswith("All in the window of 'T1 post'.")
    press(tab.end_button)
    assert windows() == own_windows


def test_a_volume_that_is_not_compared_any_more_has_its_own_window_again(tab, nodes, own_windows):
    compare(tab, "side")
    assert windows()["T1 pre"] != own_windows["T1 pre"]
    choose(tab, "reference", None)
    assert windows()["T1 pre"] == own_windows["T1 pre"]


def test_a_window_that_cannot_be_scaled_is_left_and_it_is_reported(tab, nodes, own_windows):
    empty = slicer.mrmlScene.AddNewNodeByClass(VOLUME, "empty")
    choose(tab, "result", empty)
    choose(tab, "reference", nodes["reference"])
    compare(tab, "blend")
    assert "Each in its own window. empty has no voxels" in tab.notice.box.plainText
    assert set(layers()) == {(nodes["reference"].GetID(), empty.GetID())}
    assert {name: windows()[name] for name in own_windows} == own_windows


# What is out of date


def erase(node):
    array(node)[:20] = 0
    slicer.util.arrayFromVolumeModified(node)


def move(node):
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    node.SetAndObserveTransformNodeID(transform.GetID())
    matrix = np.eye(4)
    matrix[0, 3] = 0.5
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))


@pytest.mark.parametrize("change", [erase, move])
def test_a_difference_whose_volume_was_changed_is_out_of_date(tab, nodes, change):
    compare(tab, "difference")
    summary = tab.notice.box.plainText
    change(nodes["reference"])
    old = "Out of date: 'T1 pre' was changed since. Press Difference."
    pump(lambda: tab.notice.box.plainText == old)
    compare(tab, "difference")  # computes anew, where else it would end the comparison
    assert tab.buttons["difference"].checked
    if change is move:
        assert "not on the grid" in tab.notice.box.plainText
        return
    assert "divided by its median" in tab.notice.box.plainText
    assert tab.notice.box.plainText != summary
    pump(timeout_s=0.3)
    assert tab.notice.box.plainText != old
    compare(tab, "difference")
    assert tab.mode == ""


def test_a_renamed_volume_or_another_window_is_not_out_of_date(tab, nodes):
    compare(tab, "difference")
    nodes["reference"].SetName("renamed")
    nodes["reference"].GetDisplayNode().SetWindowLevel(1.0, 2.0)
    pump(timeout_s=0.3)
    assert "Out of date" not in tab.notice.box.plainText


def test_the_difference_is_that_of_these_nodes_not_of_others_of_their_names(
    tab, nodes, patient, result
):
    from ContrastSynthPanel.scene import run_results

    compare(tab, "difference")
    first, before = difference_node(), array(difference_node()).copy()
    panel = slicer.modules.ContrastSynthWidget.panel
    post, pre = (add_volume(f"T1 {role}", patient.scans[role]) for role in ("post", "pre"))
    array(pre)[:] *= 2.0
    second = run_results.add_result(slicer.mrmlScene, result, post)["pre"]
    settled(panel)
    press(tab.end_button)
    choose(tab, "result", second)
    choose(tab, "reference", pre)
    compare(tab, "difference")
    set_to(tab, tab.controls.normalise_combo, "Not at all")
    made = [n for n in slicer.util.getNodesByClass(VOLUME) if "ifference" in n.GetName()]
    assert len(made) == 2
    assert len({node.GetName() for node in made}) == 2
    np.testing.assert_array_equal(array(first), before)
    np.testing.assert_allclose(array(made[1]), array(second) - array(pre), rtol=1e-6)


def test_of_two_scans_of_a_virtual_patient_nothing_is_synthetic(tab, patient):
    from ContrastSynthPanel.scene import bridge

    from ContrastSynthLib.phantom.marks import BRAIN

    post, pre = (add_volume(f"T1 {role}", patient.scans[role]) for role in ("post", "pre"))
    for node in (post, pre):
        node.SetAttribute(bridge.SYNTHETIC, BRAIN)
    settled(slicer.modules.ContrastSynthWidget.panel)
    choose(tab, "input", post)
    choose(tab, "reference", pre)
    compare(tab, "difference")
    assert difference_node().GetName() == "Difference: T1 pre - T1 post"


# A series


@pytest.fixture
def series(tab, patient):
    """A series of three phases, each brighter than the one before, and a scan of its own."""
    from dataclasses import replace

    from ContrastSynthPanel.scene import bridge

    scan = patient.scans["post"]
    frames = [
        replace(
            scan, array=scan.array * (1 + n), acquisition=replace(scan.acquisition, time_s=60.0 * n)
        )
        for n in range(3)
    ]
    node = bridge.sequence_from_series(slicer.mrmlScene, frames, "DCE")
    pre = add_volume("T1 pre", patient.scans["pre"])
    settled(slicer.modules.ContrastSynthWidget.panel)
    choose(tab, "input", node)
    choose(tab, "reference", pre)
    return node, pre


def test_of_a_series_the_phase_is_compared_that_its_browser_shows(tab, series):
    from ContrastSynthPanel.scene import bridge, phases

    node, pre = series
    phases.show_phase(node, 1)
    compare(tab, "difference")
    set_to(tab, tab.controls.normalise_combo, "Not at all")
    phase = bridge.shown_volume(node)
    assert difference_node().GetName() == "Difference: T1 pre - DCE, phase 2"
    np.testing.assert_allclose(array(difference_node()), array(pre) - array(phase), rtol=1e-5)
    assert set(layers()) == {(phase.GetID(), difference_node().GetID())}
    phases.show_phase(node, 2)
    pump(lambda: tab.notice.box.plainText.startswith("Out of date: "))
    compare(tab, "difference")
    assert difference_node().GetName() == "Difference: T1 pre - DCE, phase 3"
    np.testing.assert_allclose(array(difference_node()), array(pre) - array(phase), rtol=1e-5)
    compare(tab, "side")
    assert [one for one, _over in layers()][:2] == [phase.GetID(), pre.GetID()]


def test_phases_of_other_times_are_said_to_be(panel, tab, series):
    from ContrastSynthPanel.scene import bridge, phases

    frames = bridge.series_from_sequence_node(series[0])[1:]
    other = bridge.sequence_from_series(slicer.mrmlScene, frames, "another series")
    settled(panel)
    choose(tab, "reference", other)
    for number, apart in ((0, True), (1, False)):
        phases.show_phase(series[0], number)
        for mode in ("blend", "difference"):
            tab.show(mode)
            pump(lambda: not tab.work.running)
            assert ("not taken at the same time" in tab.notice.text) == apart


def test_a_series_that_is_its_own_reference_is_compared_once(tab, series):
    choose(tab, "reference", series[0])
    assert tab.reason.text == "'DCE' is chosen twice."
    assert not tab.buttons["side"].enabled


def test_a_series_and_the_volume_that_shows_it_are_one(panel, tab, series):
    """Its phases are seen through a volume, which can be chosen too."""
    from ContrastSynthPanel.scene import bridge

    choose(tab, "reference", bridge.shown_volume(series[0]))
    assert tab.reason.text == "'DCE' is chosen twice."
    assert panel.trouble.text == ""


# What is under way


def test_it_can_be_cancelled(tab, nodes, monkeypatch):
    from ContrastSynthPanel.scene import difference, levels

    before = looks()
    hold = threading.Event()
    for module, name in ((difference, "difference_of"), (levels, "level_of")):
        monkeypatch.setattr(module, name, lambda *_given: hold.wait(10.0))
    press(tab.buttons["difference"])
    pump(lambda: tab.work.label.text == "Computing the difference")
    press(tab.work.cancel_button)
    assert tab.notice.box.plainText == "Cancelled. Nothing was changed."
    assert looks() == before
    assert not tab.work.widget.isVisible()
    press(tab.buttons["blend"])
    assert set(layers()) == {(nodes["reference"].GetID(), nodes["result"].GetID())}  # at once
    pump(lambda: tab.work.label.text == "Measuring how bright the volumes are: 1 of 3")
    press(tab.work.cancel_button)
    assert tab.notice.box.plainText.endswith(
        "Each in its own window. Measuring their brightness was cancelled."
    )
    assert tab.buttons["blend"].checked
    hold.set()
    pump(timeout_s=0.1)
    press(tab.end_button)
    assert looks() == before


def test_another_way_is_chosen_while_something_is_computed(tab, nodes):
    press(tab.buttons["difference"])
    press(tab.buttons["flicker"])
    press(tab.buttons["blend"])
    computed(tab)
    assert set(layers()) == {(nodes["reference"].GetID(), nodes["result"].GetID())}
    assert "All in the window of 'T1 post'" in tab.notice.box.plainText
    press(tab.buttons["difference"])
    close_scene()
    pump(timeout_s=0.3)
    assert not tab.work.running


def test_no_step_takes_long_on_scans_of_the_usual_size(panel, tab):
    """Processor time of Slicer's thread, on however busy a machine."""
    grid = Grid((240, 240, 155), origin_mm=(-120.0, -120.0, -77.0))
    k, j, i = np.ogrid[-77:78, -120:120, -120:120]
    inside = (k / 70) ** 2 + (j / 85) ** 2 + (i / 70) ** 2 < 1
    noise = np.random.default_rng(0).uniform(90, 110, inside.shape).astype(np.float32)
    for role, factor in {"input": 1.0, "reference": 2.0}.items():
        node = add_volume(f"scan {role}", Volume(noise * inside * factor, grid))
        node.CreateDefaultDisplayNodes()
        node.GetDisplayNode().SetAutoWindowLevel(False)  # Slicer found its window when it loaded it
        settled(panel)
        choose(tab, role, node)
    work, steps = tab.work._work, []

    def timed(run):
        began = time.thread_time()
        run()
        steps.append(time.thread_time() - began)

    work._timer.disconnect("timeout()")
    work._timer.connect("timeout()", lambda: timed(work._step))
    for mode in MODES:
        timed(lambda mode=mode: press(tab.buttons[mode]))
        computed(tab)
    assert "divided by its median" in tab.notice.box.plainText
    timed(tab.look)
    timed(lambda: press(tab.end_button))
    assert max(steps) < LONGEST_S


# What was there before


@pytest.mark.parametrize("mode", MODES)
def test_the_end_puts_the_views_back(tab, nodes, mode):
    before = looks()
    compare(tab, mode)
    assert looks() != before
    assert tab.buttons[mode].checked
    press(tab.end_button)
    assert looks() == before
    assert not tab.buttons[mode].checked
    assert not tab.end_button.enabled
    compare(tab, mode)
    compare(tab, mode)  # the same button again
    assert looks() == before


@pytest.mark.parametrize("mode", MODES)
def test_leaving_puts_the_views_back(host, tab, nodes, mode):
    panel = slicer.modules.ContrastSynthWidget.panel
    before = looks()
    compare(tab, mode)
    panel.tab_widget.setCurrentIndex(0)
    assert looks() == before
    panel.tab_widget.setCurrentIndex(list(panel.tabs).index("compare"))
    compare(tab, mode)
    host.leave_module()
    assert looks() == before
    pump(timeout_s=0.4)
    assert looks() == before
    assert not tab.controls.flicker.running


def test_any_order_of_ways_ends_as_it_began(tab, nodes):
    before = looks()
    for mode in ("blend", "side", "flicker", "difference", "side", "blend"):
        compare(tab, mode)
        assert [key for key, button in tab.buttons.items() if button.checked] == [mode]
        assert tab.controls.flicker.running == (mode == "flicker")
    press(tab.end_button)
    assert looks() == before


def test_another_way_shows_the_same_place(tab, nodes):
    compare(tab, "side")
    for view, _layers in views():
        view.JumpSliceByCentering(20.0, 21.0, 22.0)
    compare(tab, "blend")
    for view, _layers in views():
        place = slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS())[:3, 3]
        np.testing.assert_allclose(place, [20.0, 21.0, 22.0])
    assert len({view.GetOrientation() for view, _layers in views()}) == 3


def test_what_a_person_changed_meanwhile_stays(tab, nodes, own_windows):
    compare(tab, "side")
    layout, pre = slicer.app.layoutManager(), nodes["reference"].GetDisplayNode()
    pre.SetWindowLevel(61.0, 31.0)
    layout.setLayout(3)
    for view, _layers in views():
        view.JumpSliceByCentering(20.0, 21.0, 22.0)
    press(tab.end_button)
    assert windows() == {**own_windows, "T1 pre": (61.0, 31.0, False)}
    assert layout.layout == 3
    assert [view.GetOrientation() for view, _layers in views()] == ["Axial", "Sagittal", "Coronal"]
    for view, _layers in views():
        place = slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS())[:3, 3]
        np.testing.assert_allclose(place, [20.0, 21.0, 22.0])


def test_views_go_to_a_patient_who_lies_elsewhere_and_back(tab, nodes, patient):
    before = looks()
    for role in ("input", "reference"):
        node = add_volume(f"far {role}", patient.scans["post"])
        node.SetOrigin(900.0, 900.0, 900.0)
        settled(slicer.modules.ContrastSynthWidget.panel)
        choose(tab, role, node)
    bounds = [0.0] * 6
    tab.case.node("input").GetRASBounds(bounds)
    for mode in MODES:
        compare(tab, mode)
        for view, _layers in views()[: 2 if mode == "side" else 3]:
            place = slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS())[:3, 3]
            assert (np.array(bounds[::2]) < place).all()
            assert (place < np.array(bounds[1::2])).all()
    press(tab.end_button)
    assert looks() == before


def test_a_result_is_looked_at_after_its_run(tab, nodes, result, patient):
    from ContrastSynthPanel.scene import run_results

    far = add_volume("far", patient.scans["post"])
    far.SetOrigin(900.0, 900.0, 900.0)
    made = run_results.add_result(slicer.mrmlScene, result, far)
    declared = METHODS["physics_pre"].outputs
    run_results.show_nodes(made, declared, far, {"post": far})
    bounds = [0.0] * 6
    far.GetRASBounds(bounds)
    for view, _layers in views():
        place = slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS())[:3, 3]
        np.testing.assert_allclose(place, np.add(bounds[::2], bounds[1::2]) / 2, atol=2.0)


def test_the_module_is_reloaded_meanwhile(host, tab, nodes):
    before = looks()
    compare(tab, "flicker")
    host.app.moduleManager().reload("ContrastSynth")
    assert looks() == before
    assert not tab.controls.flicker.running


def test_a_compared_volume_is_deleted_meanwhile(tab, nodes):
    compare(tab, "flicker")
    slicer.mrmlScene.RemoveNode(nodes["result"])
    assert not tab.controls.flicker.running
    text = f"The comparison was ended: '{RESULT}' was deleted."
    assert tab.notice.box.plainText == text
    assert set(layers())
    settled(slicer.modules.ContrastSynthWidget.panel)
    assert tab.notice.box.plainText == text


def test_a_shown_volume_is_deleted_meanwhile(tab, nodes):
    uptake = slicer.util.getNode(UPTAKE)
    compare(tab, "blend")
    slicer.mrmlScene.RemoveNode(uptake)
    press(tab.end_button)
    assert set(layers()) == {(nodes["reference"].GetID(), None)}


def test_the_scene_is_closed_meanwhile(tab, nodes):
    layout = slicer.app.layoutManager().layout
    compare(tab, "side")
    close_scene()
    assert slicer.app.layoutManager().layout == layout
    assert tab.case.nodes(tab.uses) == {}
    assert not tab.end_button.enabled
    assert not tab.buttons["side"].enabled


# What goes wrong


def test_other_grids_are_reported_and_can_be_resampled(tab, nodes):
    before = looks()
    coarse = add_volume("coarse", sample_patient(size=(40, 48, 32)).scans["pre"])
    choose(tab, "result", coarse)
    choose(tab, "reference", nodes["reference"])
    compare(tab, "difference")
    assert tab.notice.box.plainText == "'coarse': not on the grid of 'T1 pre'."
    assert "size, voxels" in tab.notice.box.toolTip
    assert looks() == before
    press(tab.notice.resample_button)
    computed(tab)
    node = difference_node()
    assert array(node).shape == array(nodes["reference"]).shape
    assert "'coarse' was resampled by its position." in tab.notice.box.plainText
    settled(slicer.modules.ContrastSynthWidget.panel)
    set_to(tab, tab.controls.normalise_combo, "Not at all")
    assert "resampled" in tab.notice.box.plainText
    compare(tab, "side")
    assert coarse.GetID() in {first for first, _second in layers()}
    press(tab.end_button)
    assert looks() == before


def test_an_empty_volume_is_reported_and_the_tab_stays_usable(tab, nodes):
    before = looks()
    empty = slicer.mrmlScene.AddNewNodeByClass(VOLUME, "empty")
    choose(tab, "result", empty)
    choose(tab, "reference", nodes["reference"])
    compare(tab, "difference")
    assert "empty has no voxels" in tab.notice.box.plainText
    assert not tab.notice.resample_button.isVisible()
    assert looks() == before
    choose(tab, "result", nodes["result"])
    assert "divided by its median" in tab.notice.box.plainText
    press(tab.end_button)
    assert looks() == before


def test_equal_volumes_have_a_difference_of_zero(tab, nodes, patient):
    choose(tab, "result", add_volume("again", patient.scans["pre"]))
    choose(tab, "reference", nodes["reference"])
    compare(tab, "difference")
    assert not array(difference_node()).any()
    assert difference_node().GetDisplayNode().GetWindow() > 0


def test_a_colour_image_is_not_offered(tab, nodes):
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "colours")
    assert "colours" not in entries(tab.box.selectors["result"])


def test_where_scikit_image_is_missing_it_can_be_installed(host, tab, nodes, monkeypatch):
    from ContrastSynthPanel import dependencies
    from ContrastSynthPanel.scene import difference

    from ContrastSynthLib.errors import MissingError

    def missing(*_given):
        raise MissingError("The outline of a head is found with scikit-image.")

    monkeypatch.setattr(dependencies, "lacking", lambda *groups: ["scikit-image>=0.24"])
    monkeypatch.setattr(difference, "brain_of", missing)
    compare(tab, "difference")
    assert "found with scikit-image" in tab.notice.box.plainText
    monkeypatch.undo()
    host.record.answer(True)
    press(tab.dependencies.button)
    computed(tab)
    assert host.record.installed == [["scikit-image>=0.24"]]
    assert "divided by its median" in tab.notice.box.plainText
    assert not tab.dependencies.widget.isVisible()


def test_what_nobody_expected_is_shown_to_the_person(host, panel, tab, nodes, monkeypatch):
    from ContrastSynthPanel.scene import difference

    def broken(*_given):
        raise ZeroDivisionError("nobody expected this")

    before = looks()
    monkeypatch.setattr(difference, "difference_of", broken)
    compare(tab, "difference")
    assert "ZeroDivisionError: nobody expected this" in panel.trouble.text
    assert looks() == before
    monkeypatch.undo()
    compare(tab, "difference")  # once more
    assert difference_node() is not None


def test_a_list_without_the_focus_lets_the_wheel_pass_and_a_comma_is_a_point(tab, nodes):
    compare(tab, "blend")
    wheel(tab.controls.pair_combo, 1)
    assert tab.controls.pair == ("reference", "result")
    compare(tab, "flicker")
    type_text(tab.controls.flicker.rate, "0,7")
    assert tab.state()["rate_hz"] == 0.7


# What a scene keeps


@pytest.mark.parametrize("flickers", [False, True])
def test_the_state_is_saved_and_restored_with_the_scene(tab, nodes, patient, tmp_path, flickers):
    choose(tab, "reference", add_volume("T1 low", patient.scans["low"]))
    compare(tab, "difference")
    set_to(tab, tab.controls.pair_combo, RESULT_AND_INPUT)
    type_text(tab.controls.range, "0.25")
    compare(tab, "flicker")
    type_text(tab.controls.flicker.rate, "2")
    compare(tab, "blend")
    type_text(tab.controls.opacity, "80")
    if flickers:
        compare(tab, "flicker")
        pump(lambda: opacities() == {1.0})
    before, shown = named(tab.state()), windows()
    assert {one["name"] for one in before["before"]} >= {"background", "foreground", "window"}
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
    pump(lambda: tab.case.nodes(tab.uses) != {})
    settled(slicer.modules.ContrastSynthWidget.panel)
    assert without_ids(looks()) == views_before  # though it was saved during a comparison
    assert set(layers()) == {
        tuple(slicer.util.getNode(name).GetID() for name in ("T1 pre", UPTAKE))
    }
    assert windows() == windows_before
    assert named(tab.state()) == {**before, "before": []}
    assert tab.case.node("reference") is slicer.util.getNode("T1 low")
    compare(tab, "blend")
    assert opacities() == {0.8}


def test_a_state_of_an_older_version_opens_and_puts_back_what_it_can(tab, nodes, own_windows):
    from ContrastSynthPanel.scene.view_keeper import PROPERTIES

    before = looks()
    saved = {
        "layout": slicer.app.layoutManager().layout,
        "views": {view.GetLayoutName(): as_once_saved(view, *one) for view, *one in views()},
    }
    kept = [
        {"node": nodes["input"], "window": 900.0, "level": 400.0, "auto": False},
        {"node": None, "window": 1.0, "level": 2.0, "auto": True},
    ]
    compare(tab, "side")
    state = {"before": saved, "levels": kept, "pair": "input result", "nodes": {}, "chosen": []}
    changed = [(one["node"], one["name"]) for one in tab.keeper.kept]
    shown = {(node, name): PROPERTIES[name][0](node) for node, name in changed}
    press(tab.end_button)
    for (node, name), value in shown.items():  # what was saved with the scene
        PROPERTIES[name][1](node, value)
    assert looks() != before
    tab.restore(state)
    assert looks() == before
    assert windows()["T1 post"] == own_windows["T1 post"]
    assert tab.controls.pair == ("input", "result")


def as_once_saved(view, composite):
    """Return a view as versions up to 0.1 saved it before a comparison."""
    found = {
        layer: slicer.mrmlScene.GetNodeByID(getattr(composite, f"Get{layer}VolumeID")() or "")
        for layer in ("Background", "Foreground", "Label")
    }
    return {
        "layers": found,
        "foreground_opacity": composite.GetForegroundOpacity(),
        "label_opacity": composite.GetLabelOpacity(),
        "linked": composite.GetLinkedControl(),
        "outline": view.GetUseLabelOutline(),
        "slice_to_ras": slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS()).tolist(),
        "dimensions": list(view.GetDimensions()),
        "field_mm": list(view.GetFieldOfView()),
    }


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
    compare(tab, mode)
    whole = tab.widget.window()
    assert whole.minimumSizeHint.width() <= WIDTH
    whole.resize(WIDTH, 800)
    settle()
    set_ = tab.controls
    for combo in (set_.pair_combo, set_.orientation_combo, set_.normalise_combo):
        widest = max(combo.fontMetrics().horizontalAdvance(text) for text in entries(combo))
        assert not combo.isVisible() or widest <= combo.width - ARROW


@pytest.mark.parametrize("mode", MODES)
def test_labels_of_another_tab_are_off_the_views_meanwhile(tab, nodes, mode):
    labels = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "missed")
    slicer.util.updateVolumeFromArray(labels, np.ones((40, 56, 48), np.uint8))
    slicer.util.setSliceViewerLayers(label=labels)
    shown = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    compare(tab, mode)
    assert {one.GetLabelVolumeID() for one in shown} == {None}
    press(tab.end_button)
    assert {one.GetLabelVolumeID() for one in shown} == {labels.GetID()}
