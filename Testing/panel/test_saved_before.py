"""A scene that an earlier version saved opens with its results and settings.

scenes/make_before_13.py made it, with the version before outputs said what they are.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed")
pytest.importorskip("slicer", reason="slicer-core is not installed")

import slicer
from host import pick, press, pump, read_table
from scans import settled, show_tab

from ContrastSynthLib.registry import METHODS
from ContrastSynthLib.weights.bundles import RENAMED

SCENE = Path(__file__).with_name("scenes") / "before_13.mrb"
RESULTS = {
    "T1 pre low SYNTHETIC": ("physics_dose", "low"),
    "T1 low dose post SYNTHETIC": ("lip_car", "post"),
    "T1 post Gd pre SYNTHETIC": ("sphere", "pre"),
    "T1 post Gd uptake SYNTHETIC": ("sphere", "uptake"),
    "T1 post Gd hyperintensity SYNTHETIC": ("sphere", "hyperintensity"),
}
WEIGHTS = "sphere-1.4-5aa6aab4"
PRESENT = RENAMED[WEIGHTS]


@pytest.fixture
def opened(panel):
    """The panel once the scene is opened in it."""
    assert slicer.mrmlScene.ReadFromMRB(str(SCENE))
    pump(lambda: panel.synthesise.method.key == "sphere")
    settled(panel)
    return panel


def named(name):
    return slicer.mrmlScene.GetFirstNodeByName(name)


def test_the_results_are_there_with_their_provenance(opened):
    from ContrastSynthPanel.scene import bridge
    from ContrastSynthPanel.scene.run_results import provenance_of

    for name, (method, role) in RESULTS.items():
        node = named(name)
        assert node.GetClassName() == bridge.VOLUME
        assert slicer.util.arrayFromVolume(node).shape == (16, 24, 20)
        assert slicer.util.arrayFromVolume(node).std() > 0
        assert node.GetAttribute(bridge.METHOD) == method
        assert node.GetAttribute(bridge.OUTPUT) == role
        assert "for research only" in node.GetAttribute(bridge.SYNTHETIC)
        assert provenance_of(node)["method"]["key"] == method
    dose = provenance_of(named("T1 pre low SYNTHETIC"))["parameters"]["dose"]
    assert dose == {"value": 0.25, "source": "given"}
    (weights,) = provenance_of(named("T1 post Gd pre SYNTHETIC"))["weights"]
    assert weights["id"] == WEIGHTS
    mask = named("T1 post Gd uptake SYNTHETIC mask")
    inside = bridge.mask_from_segmentation(mask, named("T1 post Gd")).array
    soft = slicer.util.arrayFromVolume(named("T1 post Gd uptake SYNTHETIC"))
    np.testing.assert_array_equal(inside > 0, soft > 0.5)


def test_synthesise_is_set_as_it_was(opened):
    tab = opened.synthesise
    assert tab.inputs.nodes() == {"post": named("T1 post Gd")}
    assert opened.box.case.node("mask") is named("brain")
    assert tab.parameters.preset == "fast"
    assert tab.form.weights.chosen == {"sphere": PRESENT}
    combo = tab.form.weights.combos["sphere"]
    assert combo.itemData(combo.currentIndex) == PRESENT
    assert tab.form.weights.label.text.startswith("Used: sphere_virtual 1.4")
    assert tab.form.device.chosen == "cpu"
    assert tab.run.apply_button.enabled
    assert tab._given["physics_dose"] == (None, {"dose": 0.25})
    assert tab._given["lip_car"] == ("physics", {"iterations": 6})


def test_the_other_tabs_are_set_as_they_were(opened):
    shown = list(opened.tabs)[opened.tab_widget.currentIndex]
    assert shown == "inversion"
    uptake = opened.tabs["uptake"].state()
    assert uptake["thresholds"]["difference"] == 0.2
    assert uptake["results"]["mask"].GetName().startswith("Uptake: T1 post Gd")
    assert len(uptake["lesions"]) == 28
    assert opened.tabs["quality"].normalise == "none"


def test_an_inversion_is_shown_and_an_iterate_chosen(opened):
    tab = opened.tabs["inversion"]
    assert opened.box.case.node("result") is named("T1 low dose post SYNTHETIC")
    assert opened.box.case.node("input") is named("T1 low dose")
    assert tab.kept == 3
    assert len(tab.history["iteration"]) == 6
    rows = {row[0]: row[1:] for row in read_table(tab.table)}
    assert rows["Iteration"] == ["1", "6"]
    assert {"Objective", "Fidelity (residual)", "Prior x alpha"} <= set(rows)


def test_it_can_be_run_on_and_is_saved_in_the_present_form(opened):
    tab = show_tab(opened, "synthesise")
    pick(opened.box.selectors["mask"], named("brain"))
    assert tab.state()["weights"] == {"sphere": PRESENT}
    pick(tab.form.method_combo, METHODS["physics_dose"].title)
    assert tab.parameters.fields["dose"].value() == 0.25
    press(tab.run.apply_button)
    pump(lambda: not tab.run.running, 90.0)
    assert tab.run.message.plainText.startswith("Done"), tab.run.message.plainText
    again, before = opened.box.case.node("result"), named("T1 pre low SYNTHETIC")
    assert again is not before
    np.testing.assert_allclose(
        *map(slicer.util.arrayFromVolume, (again, before)), rtol=1e-3, atol=0.1
    )
