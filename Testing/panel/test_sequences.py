"""A sequence in, a sequence out: the methods on a dynamic series, from the panel."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed")
pytest.importorskip("slicer", reason="slicer-core is not installed")

import slicer
from host import pick, press, pump, type_text
from scans import settled

from ContrastSynthLib.registry import METHODS
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.run import run

RUN_S = 60.0


@pytest.fixture
def breast(panel):
    from ContrastSynthPanel.scene import sample_data

    node = sample_data.load_breast(size=(32, 32, 10))
    settled(panel)
    return node


def apply(tab):
    press(tab.run.apply_button)
    pump(lambda: not tab.run.running, RUN_S)
    return tab.run.message.plainText


def frames(sequence):
    count = sequence.GetNumberOfDataNodes()
    return [slicer.util.arrayFromVolume(sequence.GetNthDataNode(n)) for n in range(count)]


def test_a_series_is_both_scans_of_a_dose(panel, breast):
    from ContrastSynthPanel.scene import bridge

    tab = panel.synthesise
    pick(tab.form.method_combo, METHODS["physics_dose"].title)
    assert tab.inputs.nodes() == {"pre": breast, "post": breast}
    assert tab.form.output.phases_row.isVisible()
    assert apply(tab).startswith("Done: ")
    result = panel.box.case.node("result")
    assert result.IsA("vtkMRMLSequenceNode")
    assert panel.box.case.node("input") is breast
    assert result.GetName() == "SYNTHETIC low, dose 0.33, physics_dose: Virtual breast phases"
    phases = bridge.series_from_sequence_node(breast)
    expected = run(Request("physics_dose", {"pre": phases[0], "post": phases[2]}))
    # The first phase is the scan before the agent; the others have a dose.
    np.testing.assert_array_equal(frames(result)[1], expected.outputs["low"].array)
    assert bridge.times_of_sequence_node(result) == bridge.times_of_sequence_node(breast)[1:]


def test_a_choice_of_phases(panel, breast):
    tab = panel.synthesise
    pick(tab.form.method_combo, METHODS["physics_pre"].title)
    type_text(tab.form.output.phases_edit, "2,4-5")
    assert apply(tab).startswith("Done: ")
    result = panel.box.case.node("result")
    assert result.GetNumberOfDataNodes() == 3
    wanted = [breast.GetNthIndexValue(n) for n in (1, 3, 4)]
    found = [result.GetNthIndexValue(n) for n in range(3)]
    assert [float(one) for one in found] == [float(one) for one in wanted]


@pytest.mark.parametrize(("typed", "told"), [("9", "Phase 9 was asked for"), ("a", "no phases")])
def test_wrong_phases_are_told_beside_apply(panel, breast, typed, told):
    tab = panel.synthesise
    type_text(tab.form.output.phases_edit, typed)
    assert not tab.run.apply_button.enabled
    assert told in tab.run.action.reason.text
    assert tab.run.action.reason.isVisible()
