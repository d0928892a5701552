"""Workflows: sample data through every tab, several patients, a scene that is closed and opened."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed")
pytest.importorskip("slicer", reason="slicer-core is not installed")

import slicer
import vtk
from host import close_scene, erase_half, pick, press, pump
from host.looks import DEUTERANOPIA
from scans import settled, show_tab

from ContrastSynthLib.registry import METHODS

BRAIN, BREAST, RUN_S = (48, 56, 40), (96, 96, 24), 120.0


@pytest.fixture
def sample(host, panel, monkeypatch):
    """Press a button of the module Sample Data, as a person does; the patients are small."""
    from ContrastSynthLib.phantom import sample as brains
    from ContrastSynthLib.phantom.breast import patient as breasts

    monkeypatch.setattr(brains, "sample_patient", partial(brains.sample_patient, size=BRAIN))
    monkeypatch.setattr(breasts, "breast_patient", partial(breasts.breast_patient, size=BREAST))

    def load(title):
        (source,) = [one for one in host.record.samples if one["sampleName"] == title]
        source["customDownloader"](source)
        settled(panel)

    return load


def apply(panel, method):
    """Run a method; return its result."""
    tab = show_tab(panel, "synthesise")
    pick(tab.form.method_combo, METHODS[method].title)
    press(tab.run.apply_button)
    pump(lambda: not tab.run.running, RUN_S)
    assert tab.run.message.plainText.startswith("Done: "), tab.run.message.plainText
    return panel.box.case.node("result")


def uptake(panel):
    tab = show_tab(panel, "uptake")
    press(tab.action.button)
    pump(lambda: not tab.work.running, RUN_S)
    return tab


def through_every_tab(panel):
    """Press what each tab is for; everything works with what the case holds."""
    tab = uptake(panel)
    assert " ml" in tab.notice.box.plainText
    tab = show_tab(panel, "compare")
    for button in tab.buttons.values():
        press(button)
        pump(lambda: not tab.work.running, RUN_S)
        assert tab.notice._message.kind in ("info", "done", "warning")
    press(tab.end_button)
    tab = show_tab(panel, "profile")
    press(tab.place_button)
    settled(panel)
    for point in ((-30, -10, 0), (30, 10, 5)):
        tab.line_selector.node.AddControlPoint(vtk.vtkVector3d(*point))
    pump(timeout_s=0.6)
    assert tab.results.errors.rowCount > 1
    tab = show_tab(panel, "quality")
    press(tab.run.apply_button)
    pump(lambda: not tab.run.running, RUN_S)
    assert tab.table.rowCount > 10, tab.run.message.plainText


def test_the_sample_brain_through_every_tab(panel, sample):
    from ContrastSynthPanel.scene import sample_data

    sample(sample_data.BRAINS["full"][0])
    apply(panel, "physics_pre")
    through_every_tab(panel)
    assert panel.tabs["uptake"].table.rows
    tab = show_tab(panel, "kinetics")
    assert not tab.measure_button.isEnabled()
    assert "dynamic series" in tab.action.reason.text
    tab = show_tab(panel, "inversion")
    assert "LIP-CAR" in tab.intro.text


def test_the_sample_breast_through_every_tab(panel, sample):
    from ContrastSynthPanel.scene import sample_data

    sample(sample_data.BREAST_TITLE)
    tab = show_tab(panel, "kinetics")
    press(tab.measure_button)
    pump(lambda: not tab.work.running, RUN_S)
    assert tab.results.widget.isVisible()
    result = apply(panel, "physics_dose")
    assert result.IsA("vtkMRMLSequenceNode")
    show_tab(panel, "kinetics")
    press(tab.measure_button)
    pump(lambda: not tab.work.running, RUN_S)
    assert "SYNTHETIC" in tab.results.type_label.text
    # A dose has no true scan of its own: the real series stands for it.
    assert panel.box.case.node("reference") is panel.box.case.node("input")
    tab.phases.slider.setValue(2)  # the first phase is before the agent
    settled(panel)
    through_every_tab(panel)


@pytest.mark.slow
def test_later_phases_of_the_sample_breast_beside_the_real_ones(panel, sample):
    from ContrastSynthPanel.scene import sample_data

    sample(sample_data.BREAST_TITLE)
    result = apply(panel, "iter_unet")
    assert result.IsA("vtkMRMLSequenceNode")
    assert result.GetNumberOfDataNodes() == 4
    tab = show_tab(panel, "kinetics")
    press(tab.measure_button)
    pump(lambda: not tab.work.running, RUN_S)
    assert "SYNTHETIC" in tab.results.type_label.text
    assert tab.results.agreement.isVisible()


def test_three_patients_in_an_afternoon(panel, sample):
    """The scans have equal names; every number belongs to the patient that is chosen."""
    from ContrastSynthPanel.scene import sample_data

    results, volumes = [], []
    for _patient in range(3):
        sample(sample_data.BRAINS["pre"][0])
        scans = slicer.util.getNodes("Virtual T1 post", useLists=True)["Virtual T1 post"]
        panel.box._chosen("input", scans[-1])
        results.append(apply(panel, "physics_pre"))
        volumes.append(uptake(panel).notice.box.plainText.partition(" ml")[0])
    assert len({node.GetName() for node in results}) == 3
    assert len(set(volumes)) == 3
    masks = [
        node
        for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
        if "uptake mask" in node.GetName()
    ]
    assert len({node.GetName() for node in masks}) == len(masks) >= 3
    for result, volume in zip(results, volumes, strict=True):
        pick(panel.box.selectors["result"], result)
        assert uptake(panel).notice.box.plainText.startswith(f"{volume} ml")


def test_a_scene_is_saved_closed_and_opened_again(panel, sample, tmp_path):
    from ContrastSynthPanel.scene import sample_data

    sample(sample_data.BRAINS["pre"][0])
    name = apply(panel, "physics_pre").GetName()
    text = uptake(panel).notice.box.plainText
    path = tmp_path / "afternoon.mrb"
    assert slicer.mrmlScene.WriteToMRB(str(path))
    close_scene()
    settled(panel)
    assert panel.box.case.nodes() == {}
    assert slicer.mrmlScene.ReadFromMRB(str(path))
    pump(lambda: panel.box.case.node("result") is not None)
    settled(panel)
    assert panel.box.case.node("result").GetName() == name
    assert panel.box.case.node("reference").GetName() == "Virtual T1 pre"
    assert panel.tabs["uptake"].notice.box.plainText == text


def test_half_of_the_region_is_erased_after_a_curve(panel, sample):
    from ContrastSynthPanel.scene import sample_data

    sample(sample_data.BREAST_TITLE)
    tab = show_tab(panel, "kinetics")
    press(tab.measure_button)
    pump(lambda: not tab.work.running, RUN_S)
    before = tab.results.region_label.text
    region = panel.box.case.node("region")
    for segment in list(region.GetSegmentation().GetSegmentIDs()):
        erase_half(region, segment)
    pump(lambda: "Out of date" in tab.age.text, 5.0)
    press(tab.measure_button)
    pump(lambda: not tab.work.running, RUN_S)
    assert tab.age.text == ""
    assert tab.results.region_label.text != before


def test_colours_that_the_colour_blind_can_tell_apart():
    """Kinds of enhancement, and the two signs of a difference, without green cones."""
    from ContrastSynthPanel.scene import colours

    def seen(colour):
        return DEUTERANOPIA @ np.asarray(colour, float) ** 2.2

    kinds = [seen(colour) for _title, colour in colours.KINDS.values()]
    signs = [seen(colours.LOWER[1]), seen(colours.HIGHER[1])]
    for several in (kinds, signs):
        for n, one in enumerate(several):
            for other in several[n + 1 :]:
                assert np.abs(one - other).max() > 0.06
