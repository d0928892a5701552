"""The result in the slice views while a slider moves: what it shows, and that nothing is left."""

from __future__ import annotations

import time

import numpy as np
import pytest

pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed")
pytest.importorskip("slicer", reason="slicer-core is not installed")

import slicer
from host import close_scene, entries, pick, press, pump, type_text
from scans import add_volume, open_sections, settled

from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.registry import METHODS
from ContrastSynthLib.running.preview import voxels_near_plane
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.run import run
from ContrastSynthLib.volumes import Volume

VOLUME = "vtkMRMLScalarVolumeNode"
SLIDER = {"physics_dose": "dose", "physics_pre": "sensitivity"}
VALUES = {"physics_dose": 0.25, "physics_pre": 7.0}
USUAL_SIZE = (240, 240, 155)
LONGEST_S = 0.1  # that a person does not notice


@pytest.fixture
def tab(panel):
    return panel.synthesise


@pytest.fixture
def nodes(panel, tab, patient):
    """Two scans in the scene, the slice views at their middle."""
    names = {"pre": "T1 pre", "post": "T1 post Gd"}
    found = {role: add_volume(name, patient.scans[role]) for role, name in names.items()}
    settled(panel)
    for view in slice_views():
        view.JumpSliceByCentering(0.3, 0.2, 0.1)
    return found


def slice_views():
    layout = slicer.app.layoutManager()
    return [layout.sliceWidget(name).mrmlSliceNode() for name in layout.sliceViewNames()]


def composites():
    layout = slicer.app.layoutManager()
    return [layout.sliceWidget(name).mrmlSliceCompositeNode() for name in layout.sliceViewNames()]


def preview_nodes():
    found = slicer.util.getNodesByClass("vtkMRMLNode")
    return [node for node in found if "preview" in (node.GetName() or "")]


def drag(tab, key="physics_dose", value=None):
    """Move the slider of a method, through other values, and wait for the picture."""
    pick(tab.form.method_combo, METHODS[key].title)
    slider = tab.parameters.fields[SLIDER[key]].widget
    value = VALUES[key] if value is None else value
    for step in (0.5, 0.8, 1.0):
        slider.value = value * step
        pump(timeout_s=0.01)
    wait(tab)
    return tab.preview.shown.node


def wait(tab):
    pump(lambda: not tab.preview.shown.busy, 20.0)


def shown_voxels(grid):
    """Return the voxels that the slice views show, as an index."""
    near = []
    for view in slice_views():
        matrix = slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS())
        near.append(voxels_near_plane(grid, matrix[:3, 3], matrix[:3, 2]))
    return tuple(np.concatenate(indices) for indices in zip(*near, strict=True))


def expected_of(key, nodes, value=None):
    from ContrastSynthPanel.scene import bridge

    inputs = {role: bridge.volume_from_node(nodes[role]) for role in METHODS[key].inputs}
    given = {SLIDER[key]: VALUES[key] if value is None else value}
    result = run(Request(key, inputs, given))
    return next(iter(result.outputs.values()))


def computed(node):
    from ContrastSynthPanel.scene.slice_preview import LOWEST_SHOWN

    return slicer.util.arrayFromVolume(node) > LOWEST_SHOWN


# What it shows


@pytest.mark.parametrize("key", list(SLIDER))
def test_it_is_what_a_run_makes_of_the_slices_in_view(tab, nodes, key):
    node = drag(tab, key)
    whole = expected_of(key, nodes)
    array, which = slicer.util.arrayFromVolume(node), shown_voxels(whole.grid)
    np.testing.assert_array_equal(array[which], whole.array[which])
    expected = np.zeros(array.shape, bool)
    expected[which] = True
    np.testing.assert_array_equal(computed(node), expected)
    assert array[which].std() > 0
    assert tab.preview.label.text == "SYNTHETIC preview, shown until Apply."


def test_it_lies_over_the_scan_in_all_slice_views(tab, nodes):
    from ContrastSynthPanel.scene import bridge

    node = drag(tab)
    for composite in composites():
        assert composite.GetForegroundVolumeID() == node.GetID()
        assert composite.GetForegroundOpacity() == 1.0
        assert composite.GetBackgroundVolumeID() == nodes["pre"].GetID()
    np.testing.assert_allclose(
        bridge.world_grid(node).index_to_lps, bridge.world_grid(nodes["pre"]).index_to_lps
    )
    display = node.GetDisplayNode()
    like = nodes["pre"].GetDisplayNode()
    assert (display.GetWindow(), display.GetLevel()) == (like.GetWindow(), like.GetLevel())
    nodes["post"].CreateDefaultDisplayNodes()  # the dose is in the units of this scan
    nodes["post"].GetDisplayNode().SetAutoWindowLevel(False)
    nodes["post"].GetDisplayNode().SetWindowLevel(700.0, 350.0)
    tab.parameters.fields["dose"].widget.value = 0.9
    wait(tab)
    assert (display.GetWindow(), display.GetLevel()) == (700.0, 350.0)
    assert display.GetApplyThreshold()
    assert display.GetLowerThreshold() > -1e30


def test_it_is_marked_and_hidden_and_not_saved(tab, nodes, tmp_path):
    from ContrastSynthPanel.scene import bridge

    node = drag(tab)
    assert node.GetName() == "SYNTHETIC low preview: T1 pre"
    assert "preview" in node.GetAttribute(bridge.SYNTHETIC)
    assert "physics_dose" in node.GetAttribute(bridge.SYNTHETIC)
    assert node.GetHideFromEditors()
    assert node.GetName() not in entries(tab.inputs.selectors["pre"])
    path = tmp_path / "scene.mrml"
    slicer.mrmlScene.SetURL(str(path))
    assert slicer.mrmlScene.Commit()
    text = path.read_text(encoding="utf-8")
    assert "T1 post Gd" in text
    assert f'name="{node.GetName()}"' not in text
    assert f'id="{node.GetDisplayNodeID()}"' not in text


def test_it_follows_the_slices_and_the_slider(tab, nodes):
    node = drag(tab)
    before = computed(node)
    for view in slice_views():
        view.JumpSliceByCentering(10.0, -10.0, 20.0)
    wait(tab)
    after, whole = computed(node), expected_of("physics_dose", nodes)
    expected = np.zeros(after.shape, bool)
    expected[shown_voxels(whole.grid)] = True
    np.testing.assert_array_equal(after, expected)
    assert (before & ~after).any()
    type_text(tab.parameters.fields["dose"].widget, "0.75")
    wait(tab)
    whole = expected_of("physics_dose", nodes, 0.75)
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(node)[after], whole.array[after])
    assert preview_nodes() == [node]


def test_a_mask_and_a_preset_count_as_in_a_run(tab, nodes, patient):
    from ContrastSynthPanel.scene import bridge

    brain = patient.scans["pre"].with_array(patient.brain & (np.arange(48) < 30))
    mask = bridge.mask_to_segmentation(slicer.mrmlScene, brain, nodes["pre"], "brain")
    pick(tab.form.method_combo, METHODS["physics_pre"].title)
    pick(tab.box.selectors["mask"], mask)
    open_sections(tab)
    pick(tab.parameters.preset_combo, "As in the paper")
    wait(tab)
    given = {"post": bridge.volume_from_node(nodes["post"]), "mask": brain}
    whole = run(Request("physics_pre", given, preset="paper")).outputs["pre"]
    inside = computed(tab.preview.shown.node)
    array = slicer.util.arrayFromVolume(tab.preview.shown.node)
    np.testing.assert_array_equal(array[inside], whole.array[inside])


# When it ends


def leave(host, tab):
    host.leave_module()


def choose_another_method(host, tab):
    pick(tab.form.method_combo, METHODS["sphere"].title)


def choose_another_input(host, tab):
    pick(tab.inputs.selectors["post"], slicer.util.getNode("T1 other"))


def change_the_voxels(host, tab):
    node = slicer.util.getNode("T1 pre")
    slicer.util.updateVolumeFromArray(node, slicer.util.arrayFromVolume(node) * 2)
    tab._pick()  # what any later choice leads to


def switch_it_off(host, tab):
    press(tab.preview.box)


def have_the_scans_registered(host, tab):
    pick(tab.inputs.align_combo, "Register, rigid")


def save_the_scene(host, tab):
    slicer.mrmlScene.InvokeEvent(slicer.mrmlScene.StartSaveEvent)


def reload(host, tab):
    host.app.moduleManager().reload("ContrastSynth")


@pytest.mark.parametrize(
    "end",
    [
        leave,
        choose_another_method,
        choose_another_input,
        change_the_voxels,
        switch_it_off,
        have_the_scans_registered,
        save_the_scene,
        reload,
    ],
)
def test_it_ends_and_the_slice_views_are_as_before(host, tab, nodes, patient, end):
    other = add_volume("T1 other", patient.scans["low"])
    settled(slicer.modules.ContrastSynthWidget.panel)
    for composite in composites():
        composite.SetBackgroundVolumeID(nodes["post"].GetID())
        composite.SetForegroundVolumeID(other.GetID())
        composite.SetForegroundOpacity(0.4)
    drag(tab)
    end(host, tab)
    assert preview_nodes() == []
    for composite in composites():
        assert composite.GetBackgroundVolumeID() == nodes["post"].GetID()
        assert composite.GetForegroundVolumeID() == other.GetID()
        assert composite.GetForegroundOpacity() == 0.4
    count = slicer.mrmlScene.GetNumberOfNodes()
    for view in slice_views():  # nothing listens any more
        view.JumpSliceByCentering(5.0, 5.0, 5.0)
    pump(timeout_s=0.1)
    assert slicer.mrmlScene.GetNumberOfNodes() == count


def test_it_ends_while_it_is_being_prepared(tab, nodes):
    pick(tab.form.method_combo, METHODS["physics_dose"].title)
    type_text(tab.parameters.fields["dose"].widget, "0.5")
    assert tab.preview.label.text == "The preview is being prepared."
    pick(tab.form.method_combo, METHODS["physics_pre"].title)
    pump(timeout_s=0.5)
    assert preview_nodes() == []
    assert not tab.preview.label.isVisible()


def test_apply_ends_it_and_shows_the_result(tab, nodes):
    nodes["post"].CreateDefaultDisplayNodes()
    nodes["post"].GetDisplayNode().SetAutoWindowLevel(False)
    nodes["post"].GetDisplayNode().SetWindowLevel(700.0, 350.0)
    drag(tab)
    press(tab.run.apply_button)
    assert preview_nodes() == []
    pump(lambda: not tab.run.running, 60.0)
    (composite, *_) = composites()
    shown = slicer.mrmlScene.GetNodeByID(composite.GetForegroundVolumeID())
    assert shown.GetName() == "SYNTHETIC low, dose 0.25, physics_dose: T1 pre"
    assert shown.GetDisplayNode().GetWindow() == 700.0


def test_the_scene_is_closed_meanwhile(tab, nodes):
    drag(tab)
    close_scene()
    pump(timeout_s=0.3)
    assert preview_nodes() == []
    assert tab.preview.shown.node is None


def test_a_person_deletes_it_or_shows_something_else(tab, nodes):
    node = drag(tab)
    for composite in composites():
        composite.SetForegroundVolumeID(nodes["post"].GetID())
    slicer.mrmlScene.RemoveNode(node)
    tab.parameters.fields["dose"].widget.value = 0.5
    wait(tab)
    assert [one.GetName() for one in preview_nodes()] in ([], ["SYNTHETIC low preview: T1 pre"])
    tab.parameters.fields["dose"].widget.value = 0.6
    wait(tab)
    assert len(preview_nodes()) == 1


def test_deleted_or_replaced_it_leaves_the_views_to_the_person(tab, nodes, patient):
    other = add_volume("T1 other", patient.scans["low"])
    for composite in composites():
        composite.SetBackgroundVolumeID(nodes["post"].GetID())
        composite.SetForegroundVolumeID(other.GetID())
    node = drag(tab)
    mine, *rest = composites()
    mine.SetForegroundVolumeID(nodes["pre"].GetID())
    slicer.mrmlScene.RemoveNode(node)
    press(tab.preview.box)
    assert mine.GetForegroundVolumeID() == nodes["pre"].GetID()
    assert {one.GetForegroundVolumeID() for one in rest} == {other.GetID()}


def test_it_is_not_there_unless_wanted(host, tab, nodes):
    pick(tab.form.method_combo, METHODS["physics_dose"].title)
    press(tab.preview.box)
    type_text(tab.parameters.fields["dose"].widget, "0.5")
    pump(timeout_s=0.2)
    assert preview_nodes() == []
    assert tab.state()["preview"] is False
    tab.preview.box.blockSignals(True)
    tab.preview.box.checked = True  # what a scene that is loaded finds
    tab.preview.box.blockSignals(False)
    host.leave_module()
    host.open_module()
    assert not tab.preview.box.checked
    assert preview_nodes() == []
    press(tab.preview.box)
    wait(tab)
    assert len(preview_nodes()) == 1
    pick(tab.form.method_combo, METHODS["sphere"].title)
    assert not tab.preview.box.isVisible()


# What keeps it from being shown


def test_why_there_is_none_is_reported(tab, nodes, patient):
    coarse = add_volume("T1 post coarse", sample_patient(size=(40, 48, 32)).scans["post"])
    pick(tab.form.method_combo, METHODS["physics_dose"].title)
    pick(tab.inputs.align_combo, "Register, rigid")
    type_text(tab.parameters.fields["dose"].widget, "0.5")
    assert tab.preview.label.text == "No preview: the scans are to be registered first."
    pick(tab.inputs.align_combo, "Resample by their positions")
    pick(tab.inputs.selectors["post"], coarse)
    type_text(tab.parameters.fields["dose"].widget, "0.6")
    assert tab.preview.label.text == "No preview: the scans lie on different grids."
    assert preview_nodes() == []
    assert tab.run.apply_button.enabled


def test_what_goes_wrong_with_it_is_reported_and_no_obstacle(tab, nodes):
    slicer.util.updateVolumeFromArray(nodes["pre"], np.full((40, 56, 48), -1.0))
    pick(tab.form.method_combo, METHODS["physics_dose"].title)
    type_text(tab.parameters.fields["dose"].widget, "0.5")
    pump(lambda: tab.preview.label.text.startswith("No preview"), 20.0)
    assert "No voxel is above 0 in all scans" in tab.preview.label.text
    assert preview_nodes() == []
    assert tab.run.apply_button.enabled
    pick(tab.form.method_combo, METHODS["physics_pre"].title)
    drag(tab, "physics_pre")
    assert len(preview_nodes()) == 1


# How long Slicer is busy with it


def test_no_step_takes_long_on_scans_of_the_usual_size(panel, tab):
    """Processor time of Slicer's thread, on however busy a machine."""
    for name, scan in zip(("T1 pre", "T1 post Gd"), brains_of_usual_size(), strict=True):
        add_volume(name, scan)
    settled(panel)
    for view in slice_views():
        view.JumpSliceByCentering(0.3, 0.2, 0.1)
    work, steps = tab.preview.shown._work, []

    def timed():
        began = time.thread_time()
        work._step()
        steps.append(time.thread_time() - began)

    work._timer.disconnect("timeout()")
    work._timer.connect("timeout()", timed)
    drag(tab)
    tab.parameters.fields["dose"].widget.value = 0.4
    wait(tab)
    assert computed(tab.preview.shown.node).any()
    assert max(steps) < LONGEST_S


def brains_of_usual_size():
    axes = [np.arange(n, dtype=np.float32) - n / 2 for n in USUAL_SIZE[::-1]]
    k, j, i = np.meshgrid(*axes, indexing="ij", sparse=True)
    inside = (k / 70) ** 2 + (j / 85) ** 2 + (i / 70) ** 2 < 1
    noise = np.random.default_rng(0).uniform(90, 110, USUAL_SIZE[::-1]).astype(np.float32)
    middle = Grid(USUAL_SIZE).index_to_lps[:3, :3] @ (np.array(USUAL_SIZE) / 2)
    grid = Grid(USUAL_SIZE, origin_mm=tuple(-middle))
    pre = Volume(noise * inside, grid)
    return pre, pre.with_array(pre.array * np.where(k**2 + j**2 + i**2 < 400, 1.8, 1.05))
