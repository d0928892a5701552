"""The module as Slicer sees it: help, sample data, reload, the self test."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed")
pytest.importorskip("slicer", reason="slicer-core is not installed")

import slicer
from host import settle
from scans import settled

from ContrastSynthLib.registry import METHODS
from ContrastSynthLib.running.run import run  # noqa: F401 - declares the methods

SMALL, SMALL_BREAST = (48, 56, 40), (32, 32, 10)


@pytest.fixture
def small(monkeypatch):
    """Small virtual patients under the sample data."""
    from functools import partial

    from ContrastSynthLib.phantom import sample
    from ContrastSynthLib.phantom.breast import patient as breast

    monkeypatch.setattr(sample, "sample_patient", partial(sample.sample_patient, size=SMALL))
    smaller = partial(breast.breast_patient, size=SMALL_BREAST)
    monkeypatch.setattr(breast, "breast_patient", smaller)


def press_sample(host, title):
    """Press a button of the module Sample Data, which calls the source's own function."""
    (source,) = [one for one in host.record.samples if one["sampleName"] == title]
    source["customDownloader"](source)


def test_the_help_names_every_tab(host):
    from ContrastSynthPanel.panel import TABS

    module = host.load_module()._metadata
    for tab in TABS.values():
        assert f"<b>{tab.title}</b>" in module.helpText
    assert 'href="https://github.com/' in module.helpText


def test_sample_data_fills_the_inputs_of_each_task(host, small):
    from ContrastSynthPanel.scene import bridge, sample_data

    panel = host.open_module().panel
    tab = panel.synthesise
    tasks = {method.task for method in METHODS.values()}
    assert tasks == {*sample_data.BRAINS, sample_data.BREAST_TASK}
    for task, (title, roles) in sample_data.BRAINS.items():
        slicer.mrmlScene.Clear(0)
        press_sample(host, title)
        nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        assert len(nodes) == len(roles)
        for node in nodes:
            assert "virtual" in node.GetAttribute(bridge.SYNTHETIC)
            assert node.GetName().startswith("Virtual")
        for method in METHODS.values():
            if method.task == task:
                assert set(method.required) <= set(roles)
                methods = tab.form.method_combo
                methods.setCurrentIndex(methods.findData(method.key))
                settled(panel)
                picked = tab.inputs.nodes()
                for role in method.required:
                    assert picked[role].GetName() == sample_data.BRAIN_NAMES[role]


def test_the_dynamic_sample_is_a_sequence_with_times(host, small):
    from ContrastSynthPanel.scene import bridge, sample_data

    host.load_module()
    press_sample(host, sample_data.BREAST_TITLE)
    (sequence,) = slicer.util.getNodesByClass("vtkMRMLSequenceNode")
    phases = bridge.series_from_sequence_node(sequence)
    times = [volume.acquisition.time_s for volume in phases]
    assert times == sorted(times)
    assert len(times) > 3
    assert all("virtual" in volume.synthetic for volume in phases)
    background = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    shown = slicer.mrmlScene.GetNodeByID(background.GetBackgroundVolumeID())
    assert shown.GetName() == sample_data.BREAST_NAME
    tab = host.open_module().panel.synthesise
    methods = tab.form.method_combo
    methods.setCurrentIndex(methods.findData("iter_unet"))
    settled(host.open_module().panel)
    assert tab.inputs.nodes() == {"pre": sequence, "phase": sequence}


def test_nothing_is_downloaded_and_each_sample_has_a_picture(host):
    host.load_module()
    assert host.record.samples
    for source in host.record.samples:
        assert source["category"] == "ContrastSynth"
        assert list(source["uris"]) == []
        assert Path(source["thumbnailFileName"]).is_file()


@pytest.fixture
def own_modules():
    """What is imported of ours, afterwards as before: other tests hold classes of it."""

    def ours():
        names = ("ContrastSynth", "ContrastSynthPanel", "ContrastSynthLib")
        return {n: m for n, m in sys.modules.items() if n.partition(".")[0] in names}

    before = ours()
    yield
    for name in ours():
        del sys.modules[name]
    sys.modules.update(before)


def test_a_reload_reads_the_panel_and_the_library_again(host, own_modules):
    widget = host.open_module()
    old_panel, old_timer = type(widget.panel), widget.panel._look_timer
    old_library = sys.modules["ContrastSynthLib.registry"]
    widget.onReload()
    settle()
    again = host.open_module()
    assert again is not widget
    assert type(again.panel) is not old_panel
    assert type(again.panel) is sys.modules["ContrastSynthPanel.panel"].Panel
    assert sys.modules["ContrastSynthLib.registry"] is not old_library
    assert not old_timer.active
    assert again.panel.synthesise.form.method_combo.isVisible()
    host.app.moduleManager()._close_all()


def test_the_self_test_runs_in_the_host(host, small):
    """That it passes in Slicer is for a person to see."""
    host.load_module()
    sys.modules["ContrastSynth"].ContrastSynthTest().runTest()
    names = [node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")]
    assert "SYNTHETIC low, dose 0.33, physics_dose: Virtual T1 pre" in names
