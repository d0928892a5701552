"""The uncertainty of a result over it in the slice views, switched on and off by a person."""

from __future__ import annotations

import sys
from functools import partial

import numpy as np
import pytest

pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed")
pytest.importorskip("slicer", reason="slicer-core is not installed")

import slicer
from host import close_scene, pick, press, pump, type_text
from scans import add_volume, open_sections, settled, show_tab
from uptakes import NAMES, add_result, composites

from ContrastSynthLib.registry import METHODS

VOLUME, SEGMENTATION = "vtkMRMLScalarVolumeNode", "vtkMRMLSegmentationNode"
PRE, MAP = (f"SYNTHETIC {role}, sphere: T1 post Gd" for role in ("pre", "uncertainty"))
OTHER = "SYNTHETIC pre, physics_pre: T1 post Gd"
RED_ENDS = "vtkMRMLColorTableNodeIron"  # the colours of the uptake


@pytest.fixture
def tab(panel):
    return panel.synthesise


@pytest.fixture
def box(tab):
    return tab.uncertainty


@pytest.fixture
def nodes(panel, patient):
    found = {role: add_volume(name, patient.scans[role]) for role, name in NAMES.items()}
    settled(panel)
    return found


@pytest.fixture
def made(panel, nodes, uncertain):
    """A result with a map of uncertainty in the scene, by role, and the post scan in the views."""
    slicer.util.setSliceViewerLayers(background=nodes["post"], foreground=None)
    return add_result(panel, nodes["post"], uncertain)


WORKER = """
import json, shutil, sys
(out,) = [word.removeprefix("--out=") for word in sys.argv if word.startswith("--out=")]
shutil.copytree({made!r}, out, dirs_exist_ok=True)
print(json.dumps(dict(schema_version=1, type="result", outputs={{}}, warnings=[])), flush=True)
"""


@pytest.fixture
def gives(tmp_path, monkeypatch):
    """Let a run give out a result that is made already, or another one from now on."""
    from ContrastSynthPanel.widgets import run_section

    job = run_section.Job

    def use(result):
        folder = tmp_path / f"made {len(list(tmp_path.iterdir()))}"
        result.write(folder)
        script = folder / "worker.py"
        script.write_text(WORKER.format(made=str(folder)), encoding="utf-8")
        monkeypatch.setattr(run_section, "Job", partial(job, sys.executable, [str(script)]))

    return use


def apply(tab):
    """Choose the method, press Apply, and wait for the end; return the message."""
    pick(tab.form.method_combo, METHODS["sphere"].title)
    press(tab.run.apply_button)
    pump(lambda: not tab.run.running, 30.0)
    return tab.run.message.plainText


def named(name):
    node = slicer.mrmlScene.GetFirstNodeByName(name)
    assert node is not None, name
    return node


def layers():
    """What all slice views show, by name, and how opaque the upper one is."""

    def name(identifier):
        return slicer.mrmlScene.GetNodeByID(identifier).GetName() if identifier else None

    (found,) = {
        (
            name(one.GetBackgroundVolumeID()),
            name(one.GetForegroundVolumeID()),
            one.GetForegroundOpacity(),
        )
        for one in composites()
    }
    return found


# On and off


def test_after_a_run_it_is_switched_on_and_off(tab, box, nodes, uncertain, gives):
    gives(uncertain)
    assert not box.widget.isVisible()
    assert MAP in apply(tab)
    assert box.box.isVisible()
    assert not box.box.checked
    assert not box.details.isVisible()
    before = ("T1 post Gd", PRE, 1.0)
    assert layers() == before
    press(box.box)
    assert layers() == (PRE, MAP, 0.5)
    type_text(box.opacity, "80")
    assert layers() == (PRE, MAP, 0.8)
    press(box.box)
    assert layers() == before
    press(box.box)
    assert layers() == (PRE, MAP, 0.8)


def test_the_colours_are_explained_with_their_unit(box, made):
    press(box.box)
    assert box.details.isVisible()
    assert [label.text for label in box.scale.ends] == ["0", "0.15", "0.3 and more"]
    assert "mean absolute error to expect" in box.text.text
    assert "in means of the brain" in box.text.text
    assert "0.1 on" in box.text.text  # what counts as uptake
    assert made["pre"].GetName() in box.box.toolTip


def test_it_does_not_look_like_the_uptake(made):
    display, uptake = (made[role].GetDisplayNode() for role in ("uncertainty", "uptake"))
    assert uptake.GetColorNodeID() == RED_ENDS
    table = display.GetColorNode()
    assert table.GetName() == "Uncertainty"
    assert not display.GetAutoWindowLevel()
    assert (display.GetWindow(), display.GetLevel()) == pytest.approx((0.3, 0.15))
    rgba = [0.0] * 4
    table.GetColor(0, rgba)
    assert rgba[3] == 0.0  # outside of the brain the scan is seen


def test_its_colours_rise_in_even_steps_to_everybody():
    """Every twentieth is lighter than the last by about as much, without green cones too."""
    from ContrastSynthPanel.scene import scales
    from host.looks import DEUTERANOPIA

    linear = scales.scale(scales.VIRIDIS) ** 2.2
    for seen in (linear, np.clip(linear @ DEUTERANOPIA.T, 0, 1)):
        luminance = seen @ [0.2126, 0.7152, 0.0722]
        lightness = 116 * np.cbrt(luminance) - 16
        steps = np.diff(lightness[:: len(lightness) // 20])
        assert steps.min() > 2.0
        assert steps.max() < 2.5 * steps.min()


def test_a_segmentation_is_outlined_meanwhile(box, made, nodes):
    """Filled, the mask of the uptake would hide the map where the agent was."""
    from ContrastSynthPanel.scene import run_results

    run_results.add_uptake_mask(made, nodes["post"])
    (mask,) = slicer.util.getNodesByClass(SEGMENTATION)
    display = mask.GetDisplayNode()
    display.SetVisibility2DFill(True)
    press(box.box)
    assert (display.GetVisibility2DFill(), display.GetVisibility2DOutline()) == (0, 1)
    press(box.box)
    assert display.GetVisibility2DFill()


def test_nothing_is_said_where_a_method_gives_none(panel, box, nodes, result):
    made = add_result(panel, nodes["post"], result)
    assert panel.box.case.node("result") is made["pre"]
    assert not box.widget.isVisible()


# What it is of


def test_a_replaced_result_replaces_it(tab, box, nodes, uncertain, gives):
    gives(uncertain)
    apply(tab)
    press(box.box)
    count, node = slicer.mrmlScene.GetNumberOfNodes(), named(MAP)
    twice = np.float32(2) * uncertain.outputs["uncertainty"].array
    gives(changed(uncertain, twice))
    apply(tab)
    assert slicer.mrmlScene.GetNumberOfNodes() == count
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(node), twice)
    assert box.box.checked
    assert layers() == (PRE, MAP, 0.5)
    press(box.box)
    assert layers() == ("T1 post Gd", PRE, 1.0)


def test_a_run_shows_its_result_as_if_there_were_none(tab, box, made, gives, uncertain):
    slicer.util.setSliceViewerLayers(foreground=made["uptake"], foregroundOpacity=0.2)
    press(box.box)
    type_text(box.opacity, "100")
    gives(uncertain)
    apply(tab)
    press(box.box)
    assert layers() == ("T1 post Gd", PRE, 1.0)


def test_a_second_result_has_one_of_its_own(tab, box, nodes, uncertain, gives):
    gives(uncertain)
    apply(tab)
    press(box.box)
    open_sections(tab)
    pick(tab.form.output.combo, "Always a new one")
    apply(tab)
    image, node, _opacity = layers()
    assert image != PRE
    assert node != MAP
    assert image.replace(" pre", " uncertainty") == node
    press(box.box)
    assert layers() == ("T1 post Gd", image, 1.0)


def changed(result, error):
    from dataclasses import replace

    made = result.outputs["uncertainty"].with_array(error)
    return replace(result, outputs=result.outputs | {"uncertainty": made})


def test_another_result_is_shown_without_it(panel, box, made, nodes, result):
    other = add_result(panel, nodes["post"], result)["pre"]
    panel.box.look_at(made["pre"])
    assert box.widget.isVisible()
    press(box.box)
    show_tab(panel, "compare")
    pick(panel.box.selectors["result"], other)
    show_tab(panel, "synthesise")
    assert not box.widget.isVisible()
    assert layers()[:2] == ("T1 post Gd", None)
    show_tab(panel, "compare")
    pick(panel.box.selectors["result"], made["pre"])
    show_tab(panel, "synthesise")
    assert box.widget.isVisible()
    assert layers() == (PRE, MAP, 0.5)


@pytest.mark.parametrize("role", ["uncertainty", "pre"])
def test_a_deleted_map_or_result_leaves_the_views_as_they_were(panel, box, made, role):
    press(box.box)
    slicer.mrmlScene.RemoveNode(made[role])
    settled(panel)
    assert not box.widget.isVisible()
    assert layers()[:2] == ("T1 post Gd", None)


# What others do with the views


def test_other_tabs_and_modules_see_the_views_as_they_were(host, panel, box, made):
    press(box.box)
    show_tab(panel, "profile")
    assert layers()[:2] == ("T1 post Gd", None)
    show_tab(panel, "synthesise")
    assert layers() == (PRE, MAP, 0.5)
    host.leave_module()
    assert layers()[:2] == ("T1 post Gd", None)
    host.open_module()
    settled(panel)
    assert box.box.checked
    assert layers() == (PRE, MAP, 0.5)
    press(box.box)
    assert layers()[:2] == ("T1 post Gd", None)


def test_what_a_person_shows_meanwhile_stays(box, made, nodes):
    press(box.box)
    slicer.util.setSliceViewerLayers(foreground=nodes["pre"], foregroundOpacity=0.9)
    press(box.box)
    assert layers() == ("T1 post Gd", "T1 pre", 0.9)


def test_a_preview_and_it_do_not_get_into_each_others_way(tab, box, made):
    pick(tab.form.method_combo, METHODS["physics_dose"].title)
    press(box.box)
    type_text(tab.parameters.fields["dose"].widget, "0.4")
    pump(lambda: "preview" in layers()[1])
    press(box.box)
    assert layers()[:2] == ("T1 post Gd", None)
    press(box.box)
    type_text(tab.parameters.fields["dose"].widget, "0.6")
    pump(lambda: "preview" in layers()[1])
    press(tab.preview.box)
    assert layers() == (PRE, MAP, 0.5)


# What a scene keeps


def test_a_scene_is_saved_and_opened_with_it(panel, box, made, tmp_path):
    press(box.box)
    type_text(box.opacity, "30")
    path = str(tmp_path / "scene.mrb")
    assert slicer.mrmlScene.WriteToMRB(path)
    close_scene()
    assert not box.widget.isVisible()
    assert not box.box.checked
    assert slicer.mrmlScene.ReadFromMRB(path)
    settled(panel)
    assert box.widget.isVisible()
    assert box.box.checked
    assert layers() == (PRE, MAP, 0.3)
    display = named(MAP).GetDisplayNode()
    assert display.GetColorNode().GetName() == "Uncertainty"
    assert (display.GetWindow(), display.GetLevel()) == pytest.approx((0.3, 0.15))
    press(box.box)
    assert layers()[:2] == ("T1 post Gd", None)


def test_a_closed_scene_leaves_nothing_of_it(box, made):
    press(box.box)
    close_scene()
    pump(timeout_s=0.1)
    assert not box.widget.isVisible()
    assert not box.box.checked
