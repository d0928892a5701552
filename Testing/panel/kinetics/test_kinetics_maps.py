"""Kinetic maps in the slice views, with a legend, of the series that they show."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed")
pytest.importorskip("slicer", reason="slicer-core is not installed")

import slicer
from dynamic import (
    PERSISTENT,
    TIMES,
    WASHOUT,
    add_series,
    add_synthetic,
    backgrounds,
    lesion_of,
    named,
    phases_of,
)
from host import erase_half, pick, press, pump
from scans import settled, show_tab

from ContrastSynthLib.analysis.kinetic_maps import kinetic_maps

SER, TYPE = "Signal enhancement ratio (SER)", "Type of curve"


def choose_map(tab, title):
    pick(tab.maps.kind_combo, title)
    pump(lambda: not tab.maps.work.running)


def over(layer="Foreground"):
    """The names of the nodes in a layer of the slice views."""
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    ids = {getattr(node, f"Get{layer}VolumeID")() for node in composites}
    return {slicer.mrmlScene.GetNodeByID(one).GetName() if one else None for one in ids}


def test_a_map_of_the_region_is_what_the_library_computes(tab, series, patient):
    from ContrastSynthPanel.scene import bridge

    choose_map(tab, SER)
    assert tab.maps.message.text == ""
    assert over() == {"SER: dynamic"}
    assert backgrounds() == {bridge.shown_volume(series).GetID()}
    found = slicer.util.arrayFromVolume(slicer.util.getNode("SER: dynamic"))
    wanted = kinetic_maps(phases_of(patient, WASHOUT), lesion_of(patient))
    np.testing.assert_allclose(found, wanted["signal_enhancement_ratio"].array, rtol=1e-5)
    assert tab.maps.legend.widget.isVisible()
    assert "Over the region 'lesion'" in tab.maps.legend.text.text
    assert [label.text for label in tab.maps.legend.scale.ends] == ["0", "1", "2"]


def test_the_views_show_the_map_of_the_series_that_they_show(panel, tab, series, patient):
    add_synthetic(panel, patient)
    choose_map(tab, SER)
    assert over() == {"SER: dynamic"}
    pick(tab.phases.shown_combo, "made SYNTHETIC")
    assert over() == {"SYNTHETIC SER: made"}
    tab.phases.slider.setValue(2)
    assert over() == {"SYNTHETIC SER: made"}
    made = slicer.util.getNode("SYNTHETIC SER: made")
    assert "synthetic volume: by a test" in made.GetAttribute("ContrastSynth.Synthetic")
    inside = lesion_of(patient).array > 0
    assert slicer.util.arrayFromVolume(made)[inside].mean() < 1  # persistent
    real = slicer.util.getNode("SER: dynamic")
    assert slicer.util.arrayFromVolume(real)[inside].mean() > 1  # washes out


def test_types_are_labels_in_their_colours(tab, series, patient):
    choose_map(tab, TYPE)
    assert over("Label") == {"curve type: dynamic"}
    assert over() == {None}
    node = slicer.util.getNode("curve type: dynamic")
    inside = lesion_of(patient).array > 0
    assert set(np.unique(slicer.util.arrayFromVolume(node)[inside])) == {3}
    colours = node.GetDisplayNode().GetColorNode()
    assert colours.GetColorName(3) == "III, washout"
    for title in ("persistent", "plateau", "washout"):
        assert title in tab.maps.legend.types.text
    choose_map(tab, SER)
    assert over("Label") == {None}


def test_a_map_of_all_tissue_needs_no_region(panel, tab, patient):
    add_series(patient, "dynamic", WASHOUT)
    settled(panel)
    choose_map(tab, SER)
    assert tab.maps.message.text.startswith("Choose a segmentation or a label map")
    assert over() == {None}
    pick(tab.maps.over_combo, "All tissue")
    pump(lambda: not tab.maps.work.running)
    assert over() == {"SER: dynamic"}
    assert "Over all tissue" in tab.maps.legend.text.text
    found = slicer.util.arrayFromVolume(slicer.util.getNode("SER: dynamic"))
    assert np.count_nonzero(found) > np.count_nonzero(lesion_of(patient).array)


def test_a_map_with_a_phase_missing_in_the_synthetic_series(panel, tab, series, patient):
    add_synthetic(panel, patient, PERSISTENT[2:], TIMES[2:])
    choose_map(tab, "Delayed change")
    assert tab.maps.message.text == ""
    node = slicer.util.getNode("SYNTHETIC delayed change: made")
    inside = lesion_of(patient).array > 0
    assert slicer.util.arrayFromVolume(node)[inside].mean() > 0


def test_an_edited_region_makes_the_map_old(tab, series):
    choose_map(tab, SER)
    left = erase_half(named("vtkMRMLSegmentationNode", "lesion"), "mask")
    pump(lambda: tab.maps.again_button.isVisible())
    assert tab.maps.message.text.startswith("Out of date: 'lesion' was changed since.")
    assert not tab.maps.legend.widget.isEnabled()
    press(tab.maps.again_button)
    pump(lambda: not tab.maps.work.running)
    assert tab.maps.message.text == ""
    assert not tab.maps.again_button.isVisible()
    array = slicer.util.arrayFromVolume(slicer.util.getNode("SER: dynamic"))
    assert np.count_nonzero(array) == left
    assert len(slicer.util.getNodes("SER: dynamic*")) == 1


def test_the_views_are_put_back(panel, tab, series, patient):
    from scans import add_volume

    volume, above = (add_volume(name, patient.scans["pre"]) for name in ("one", "two"))
    slicer.util.setSliceViewerLayers(background=volume, foreground=above)
    choose_map(tab, SER)
    assert over() == {"SER: dynamic"}
    show_tab(panel, "compare")
    assert over() == {"two"}
    assert backgrounds() == {volume.GetID()}
    show_tab(panel, "kinetics")
    assert over() == {"SER: dynamic"}
    pick(tab.maps.kind_combo, "None")
    assert over() == {None}
    assert not tab.maps.legend.widget.isVisible()
    show_tab(panel, "compare")
    assert over() == {"two"}


def test_a_scene_saved_while_a_map_is_shown(panel, tab, series, patient, tmp_path):
    from host import close_scene
    from scans import add_volume

    volume = add_volume("one", patient.scans["pre"])
    slicer.util.setSliceViewerLayers(background=volume)
    choose_map(tab, SER)
    path = str(tmp_path / "scene.mrb")
    assert slicer.mrmlScene.WriteToMRB(path)
    close_scene()
    assert not tab.maps.legend.widget.isVisible()
    assert slicer.mrmlScene.ReadFromMRB(path)
    settled(panel)
    assert over("Background") == {"one"}
    assert over() == {None}
    pump(lambda: tab.maps.kind_combo.isEnabled())
    choose_map(tab, SER)
    assert len(slicer.util.getNodes("SER: dynamic*")) == 1  # found again


def test_cancel_and_a_deleted_map(tab, series):
    pick(tab.maps.kind_combo, SER)
    press(tab.maps.work.cancel_button)
    assert tab.maps.message.text == "Cancelled. No map is shown."
    assert tab.maps.kind_combo.currentText == "None"
    choose_map(tab, SER)
    slicer.mrmlScene.RemoveNode(slicer.util.getNode("SER: dynamic"))
    pump(lambda: tab.maps.again_button.isVisible())
    assert "the map was deleted" in tab.maps.message.text


def test_no_agent_no_map(panel, tab, series, patient):
    flat = add_series(patient, "flat", (0.0, 0.0, 0.01, 0.0, 0.0))
    settled(panel)
    pick(panel.box.selectors["input"], flat)
    choose_map(tab, SER)
    assert tab.maps.message.kind == "failed"
    assert "No agent arrives" in tab.maps.message.text


def test_opacity(tab, series):
    choose_map(tab, SER)
    tab.maps.opacity.value = 30
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    assert {node.GetForegroundOpacity() for node in composites} == {0.3}


def test_colours_can_be_told_apart_without_green_cones():
    """Every fifth of a scale is another shade, to a person without green cones too."""
    from ContrastSynthPanel.scene import kinetic_maps as maps
    from host.looks import DEUTERANOPIA

    for kind in maps.KINDS:
        found = [colour for _title, colour in maps.colours_of(kind) if colour is not None]
        step = 1 if kind == "type" else len(found) // 5
        seen = np.array(found[::step]) ** 2.2 @ DEUTERANOPIA.T
        apart = np.linalg.norm(np.diff(np.clip(seen, 0, 1) ** (1 / 2.2), axis=0), axis=1)
        assert apart.min() > 0.12, (kind, apart)


def test_the_region_is_outlined_while_a_map_is_shown(panel, tab, series):
    """Filled, the segmentation would hide the map of its voxels."""
    display = named("vtkMRMLSegmentationNode", "lesion").GetDisplayNode()
    choose_map(tab, SER)
    assert not display.GetVisibility2DFill()
    show_tab(panel, "compare")
    assert display.GetVisibility2DFill()
    show_tab(panel, "kinetics")
    assert not display.GetVisibility2DFill()
    pick(tab.maps.kind_combo, "None")
    assert display.GetVisibility2DFill()
