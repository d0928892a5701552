"""Workflows: runs one after another, and what happens to scans and scene meanwhile."""

from __future__ import annotations

import os
import signal
import sys
from functools import partial

import numpy as np
import pytest

pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed")
pytest.importorskip("slicer", reason="slicer-core is not installed")

import slicer
from host import close_scene, pick, press, pump, type_text
from scans import add_volume, settled

from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.registry import METHODS

SMALL, RUN_S = (24, 28, 20), 60.0
DOSES = ("0.1", "0.25", "0.5")


@pytest.fixture
def tab(panel):
    return panel.synthesise


def add_patient(panel):
    scans = sample_patient(size=SMALL).scans
    found = {r: add_volume(n, scans[r]) for r, n in {"pre": "T1 pre", "post": "T1 post"}.items()}
    settled(panel)
    return found


@pytest.fixture
def nodes(panel, tab):
    found = add_patient(panel)
    pick(tab.form.method_combo, METHODS["physics_dose"].title)
    return found


def over(tab):
    pump(lambda: not tab.run.running, RUN_S)
    return tab.run.message.plainText


def apply(tab):
    press(tab.run.apply_button)
    return over(tab)


def results():
    found = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    return [node for node in found if node.GetName().startswith("SYNTHETIC")]


def test_three_doses_in_a_row(panel, tab, nodes):
    for dose in DOSES:
        type_text(tab.parameters.fields["dose"].widget, dose)
        assert apply(tab).startswith("Done: ")
        assert f"dose {dose}," in panel.box.case.node("result").GetName()
    names = [node.GetName() for node in results()]
    assert names == [f"SYNTHETIC low, dose {dose}, physics_dose: T1 pre" for dose in DOSES]
    means = [slicer.util.arrayFromVolume(node).mean() for node in results()]
    assert means == sorted(set(means))


def test_the_same_again_is_one_result_and_a_new_one_is_asked_for(panel, tab, nodes):
    apply(tab)
    apply(tab)
    assert len(results()) == 1
    tab.form.advanced.collapsed = False
    pick(tab.form.output.combo, "Always a new one")
    apply(tab)
    first, second = results()
    assert first.GetName() != second.GetName()
    assert not second.GetName().endswith("_1")


def test_a_result_is_replaced_by_another_dose(panel, tab, nodes):
    apply(tab)
    (before,) = results()
    tab.form.advanced.collapsed = False
    pump(timeout_s=0.1)
    pick(tab.form.output.combo, f"Replace: {before.GetName()}")
    type_text(tab.parameters.fields["dose"].widget, "0.75")
    apply(tab)
    assert results() == [before]
    assert before.GetName() == "SYNTHETIC low, dose 0.75, physics_dose: T1 pre"


def test_an_input_is_renamed_and_moved_during_a_run(panel, tab, nodes):
    press(tab.run.apply_button)
    pump(lambda: tab.run._text != "Reading the scans", RUN_S)
    nodes["pre"].SetName("first scan")
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.diag([-1, -1, 1, 1])))
    nodes["pre"].SetAndObserveTransformNodeID(transform.GetID())
    assert over(tab).startswith("Done: ")
    (result,) = results()
    assert result.GetName().endswith(": first scan")
    # It lies where its input lay when it was read.
    assert result.GetParentTransformNode() is None
    assert panel.box.case.node("input") is nodes["pre"]


def test_another_input_is_deleted_during_a_run(panel, tab, nodes):
    """The result belongs to the pre scan, which is still there."""
    press(tab.run.apply_button)
    slicer.mrmlScene.RemoveNode(nodes["post"])
    assert over(tab).startswith("Done: ")
    assert len(results()) == 1
    settled(panel)
    assert tab.inputs.selectors["post"].node is None
    assert not tab.run.apply_button.enabled
    assert "Post-contrast" in tab.run.action.reason.text


def test_the_neighbour_of_a_deleted_scan_is_not_taken_for_it(panel, tab, nodes):
    add_volume("FLAIR", sample_patient(size=SMALL).scans["low"])
    settled(panel)
    slicer.mrmlScene.RemoveNode(nodes["pre"])
    settled(panel)
    pump(timeout_s=0.1)
    assert tab.inputs.selectors["pre"].node is None
    assert tab.inputs.selectors["pre"].widget.currentNode() is None
    assert not tab.run.apply_button.enabled


def test_the_scene_is_closed_during_a_run_and_another_one_is_worked_on(panel, tab, nodes):
    press(tab.run.apply_button)
    pump(timeout_s=0.1)
    close_scene()
    assert not tab.run.running
    again = add_patient(panel)
    assert tab.inputs.nodes() == again
    assert apply(tab).startswith("Done: ")
    assert len(results()) == 1


@pytest.mark.parametrize("after_s", [0.0, 0.3, 1.0])
def test_cancelled_at_any_time(panel, tab, nodes, after_s):
    press(tab.run.apply_button)
    pump(timeout_s=max(after_s, 0.001))
    if tab.run.running:
        press(tab.run.cancel_button)
        assert over(tab) == "Cancelled. Nothing was kept."
        assert results() == []
    assert apply(tab).startswith("Done: ")


@pytest.mark.parametrize("whole", [False, True])
def test_cancelled_while_the_result_is_taken_in(panel, tab, nodes, whole):
    from ContrastSynthPanel.scene.relations import RUN

    press(tab.run.apply_button)
    pump(lambda: tab.run._text == "Taking the result into the scene", RUN_S)
    if whole:  # it is there, and about to be shown
        pump(lambda: any(node.GetAttribute(RUN) for node in results()), RUN_S)
    tab.run.cancel()
    assert not tab.run.running
    assert results() == []
    assert apply(tab).startswith("Done: ")


def test_a_killed_worker(tab, nodes):
    press(tab.run.apply_button)
    pump(lambda: tab.run._job._process is not None, RUN_S)
    os.killpg(tab.run._job._process.pid, signal.SIGKILL)
    text = over(tab)
    assert "was killed, most often because memory ran out" in text
    assert results() == []
    assert apply(tab).startswith("Done: ")


FULL_DISK = """
import json, sys
print(json.dumps({"schema_version": 1, "type": "error", "exit_code": 1,
    "message": "result/low.nrrd: No space left on device"}), flush=True)
sys.exit(1)
"""


def test_a_full_disk(tab, nodes, tmp_path, monkeypatch):
    from ContrastSynthPanel.widgets import run_section

    script = tmp_path / "full.py"
    script.write_text(FULL_DISK, encoding="utf-8")
    full = partial(run_section.Job, sys.executable, [str(script)])
    monkeypatch.setattr(run_section, "Job", full)
    text = apply(tab)
    assert "is full: free some space." in text
    assert tab.run.apply_button.enabled


def test_inputs_that_cannot_be_written(tab, nodes, monkeypatch):
    from ContrastSynthPanel.scene import bridge

    def refuse(*_given, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bridge.images, "write_volume", refuse)
    text = apply(tab)
    assert "No space left on device" in text
    assert not tab.run.running
    monkeypatch.undo()
    assert apply(tab).startswith("Done: ")


def test_an_error_that_nobody_expected_is_told(host, panel, tab, nodes, monkeypatch):
    monkeypatch.setattr(type(tab), "_nodes", lambda _tab: 1 / 0)
    press(tab.run.apply_button)
    assert "division by zero" in panel.trouble.text
    assert panel.trouble.widget.isVisible()
    host.record.errors.clear()
