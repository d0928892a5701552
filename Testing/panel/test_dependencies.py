"""What is not installed: shown, installed only when asked for, and nothing else is changed."""

from __future__ import annotations

import json
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed")
pytest.importorskip("slicer", reason="slicer-core is not installed")

import slicer
from host import pick, press, pump
from scans import open_sections, settled

from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.registry import METHODS
from ContrastSynthLib.running.run import run  # noqa: F401 - declares the methods

LACKING = {"torch": None, "monai": None, "safetensors": None, "scikit-image": None}
HERE = {"pydicom": "3.0.1", "numpy": "2.4.0", "scipy": "1.17.0", "SimpleITK": "2.5.2"}


@pytest.fixture
def versions(host, monkeypatch):
    """What is installed: a fresh Slicer, and all that this test's installations would bring."""
    host.load_module()
    from ContrastSynthPanel import dependencies

    known = {**HERE, **LACKING}

    def text(name):
        for requirement in (one for call in host.record.installed for one in call):
            if requirement.partition(">=")[0] == name:
                return "99"
        if known.get(name) is None:
            raise PackageNotFoundError(name)
        return known[name]

    monkeypatch.setattr(dependencies, "version", text)
    return known


@pytest.fixture
def tab(host, versions):
    from ContrastSynthPanel.scene import bridge

    panel = host.open_module().panel
    opened = panel.synthesise
    for role, name in {"pre": "T1 pre", "post": "T1 post Gd"}.items():
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
        volume = sample_patient(size=(24, 28, 20)).scans[role]
        bridge.fill_node(node, volume, volume.grid.index_to_ras, None)
    settled(panel)
    opened.form.advanced.collapsed = False
    show(opened, "sphere")
    yield opened
    host.leave_module()


def show(tab, key):
    pick(tab.form.method_combo, METHODS[key].title)


def test_what_is_missing_is_reported_where_it_is_missing(tab):
    assert tab.dependencies.widget.isVisible()
    text = "Not installed: torch, monai, safetensors. Needed for this method."
    assert tab.dependencies.label.text == text
    assert tab.run.apply_button.toolTip == text
    assert not tab.run.apply_button.enabled
    show(tab, "physics_pre")
    assert tab.dependencies.label.text.startswith("Not installed: scikit-image. Some scans")
    assert tab.run.apply_button.enabled


def test_all_that_is_missing_is_installed_after_one_question_each(host, tab):
    host.add_pytorch_extension()
    host.record.answer(True, True)
    press(tab.dependencies.button)
    torch, others = host.record.texts("question")
    assert "PyTorch" in torch
    assert others == "ContrastSynth: install monai>=1.4, safetensors>=0.4, scikit-image>=0.24?"
    assert host.record.installed == [
        ["torch>=2.4"],
        ["monai>=1.4", "safetensors>=0.4", "scikit-image>=0.24"],
    ]
    assert "torch==99" in host.record.constraints  # what the extension has just brought
    assert tab.run.message.plainText == "Installed: torch, monai, safetensors, scikit-image."
    assert not tab.dependencies.widget.isVisible()
    assert tab.run.apply_button.enabled


def test_slicers_own_packages_keep_their_versions(host, tab, versions):
    versions["torch"] = "2.9.1+cpu"
    tab._edited()
    host.record.answer(True)
    press(tab.dependencies.button)
    kept = ["numpy==2.4.0", "scipy==1.17.0", "SimpleITK==2.5.2", "torch==2.9.1+cpu"]
    assert host.record.constraints == kept
    named = {one.partition(">=")[0].lower() for call in host.record.installed for one in call}
    assert named == {"monai", "safetensors", "scikit-image"}


def test_a_package_that_is_too_old_is_missing_and_not_kept(host, tab, versions):
    versions |= {"torch": "2.9.0", "monai": "1.4.0", "safetensors": "0.6", "scikit-image": "0.20"}
    show(tab, "physics_pre")
    assert "scikit-image" in tab.dependencies.label.text
    show(tab, "sphere")
    assert tab.run.apply_button.enabled
    versions["monai"] = "1.3"
    tab._edited()
    assert tab.dependencies.label.text.startswith("Not installed: monai.")


def test_without_the_pytorch_extension_it_is_named(host, tab):
    press(tab.dependencies.button)
    assert "extension 'PyTorch'" in tab.run.message.plainText
    assert "Extensions Manager" in tab.run.message.plainText
    assert host.record.installed == []
    assert not tab.run.apply_button.enabled
    show(tab, "physics_pre")
    assert tab.run.apply_button.enabled


@pytest.mark.parametrize("answers", [(False,), (True, False)], ids=["torch", "the rest"])
def test_a_no_leaves_a_message_and_a_usable_panel(host, tab, answers):
    host.add_pytorch_extension()
    host.record.answer(*answers)
    press(tab.dependencies.button)
    assert "not installed. What does not need it works as before." in tab.run.message.plainText
    assert tab.dependencies.widget.isVisible()
    show(tab, "physics_dose")
    assert tab.run.apply_button.enabled


def test_a_failed_installation_is_reported(host, tab, versions, monkeypatch):
    versions["torch"] = "2.9.0"
    tab._edited()

    def fails(*given, **options):
        raise RuntimeError("PythonSlicer executable not found")

    monkeypatch.setattr(slicer.packaging, "pip_ensure", fails)
    press(tab.dependencies.button)
    assert "could not be installed: PythonSlicer executable" in tab.run.message.plainText
    assert tab.dependencies.button.enabled


def test_slicer_before_5_11_is_asked_by_us(host, tab, versions, monkeypatch):
    versions["torch"] = "2.9.0"
    tab._edited()
    given = []

    def pip_install(arguments):
        given.extend(arguments)
        assert "numpy==2.4.0" in Path(arguments[1]).read_text(encoding="utf-8").split()
        host.record.installed.append(arguments[2:])

    monkeypatch.setitem(sys.modules, "slicer.packaging", None)
    monkeypatch.setattr(slicer.util, "pip_install", pip_install)
    host.record.answer(False)
    press(tab.dependencies.button)
    assert given == []
    host.record.answer(True)
    press(tab.dependencies.button)
    assert given[0] == "--constraint"
    assert given[2:] == ["monai>=1.4", "safetensors>=0.4", "scikit-image>=0.24"]
    assert tab.run.apply_button.enabled


def test_lip_car_by_the_signal_equation_needs_torch_and_no_more(tab, versions):
    show(tab, "lip_car")
    assert tab.dependencies.label.text.startswith("Not installed: torch, monai, safetensors.")
    open_sections(tab)
    pick(tab.parameters.preset_combo, "Signal equation")
    assert tab.dependencies.label.text == "Not installed: torch. Needed for this method."
    assert not tab.run.apply_button.enabled


def test_versions_and_devices_are_copied(host, tab):
    tab.run.log_section.collapsed = False
    host.app.clipboard().setText("")
    press(tab.run.environment.button)
    assert not tab.run.environment.button.enabled
    assert pump(lambda: tab.run.environment.button.enabled, 60.0).longest_block_s < 0.5
    report = json.loads(host.app.clipboard().text())
    assert report["slicer"] == "5.10.0"
    assert report["software"]["numpy"] == version("numpy")
    assert {entry["device"] for entry in report["devices"]} >= {"cpu", "mps"}
    assert str(Path.home()) not in host.app.clipboard().text()
    assert "On the clipboard:" in tab.run.message.plainText


def test_a_report_that_cannot_be_made_is_reported(tab, monkeypatch):
    from ContrastSynthPanel import environment_report

    monkeypatch.setattr(environment_report, "find_python", lambda: "/nowhere/python")
    tab.run.log_section.collapsed = False
    press(tab.run.environment.button)
    assert "The report could not be made" in tab.run.message.plainText
    assert tab.run.environment.button.enabled
