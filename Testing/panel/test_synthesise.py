"""The tab "Synthesise", driven as a person drives it, in the test host, with the real worker."""

from __future__ import annotations

import dataclasses
import json
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed")
pytest.importorskip("slicer", reason="slicer-core is not installed")

import slicer
from host import close_scene, cut_off, entries, fit_height, pick, press, pump, type_text
from scans import add_volume, open_sections, settled

from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.registry import METHODS, declared_parameters
from ContrastSynthLib.registry.parameters import parse
from ContrastSynthLib.running import devices
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.run import run

REPOSITORY = Path(__file__).resolve().parents[2]
WIDTH = 400
RUN_S = 60.0
VOLUME = "vtkMRMLScalarVolumeNode"
PRE = "SYNTHETIC pre, physics_pre: T1 post Gd"
UPTAKE = "SYNTHETIC uptake, physics_pre: T1 post Gd"


@pytest.fixture
def tab(panel):
    return panel.synthesise


@pytest.fixture
def nodes(panel, tab, patient):
    """The sample patient in the scene, under names as scanners give them."""
    names = {"pre": "T1 pre", "post": "T1 post Gd", "low": "T1 low dose", "corrupted": "moved"}
    found = {role: add_volume(name, patient.scans[role]) for role, name in names.items()}
    settled(panel)
    return found


def show(tab, key):
    """Choose a method by its title."""
    pick(tab.form.method_combo, METHODS[key].title)


def apply(tab, timeout_s=RUN_S):
    """Press Apply and wait for the end; return the message."""
    press(tab.run.apply_button)
    pump(lambda: not tab.run.running, timeout_s)
    return tab.run.message.plainText


def result_nodes():
    found = slicer.util.getNodesByClass(VOLUME)
    return {node.GetName(): node for node in found if "SYNTHETIC" in node.GetName()}


def choose_dose(tab, nodes, dose="0.25"):
    show(tab, "physics_dose")
    pick(tab.inputs.selectors["pre"], nodes["pre"])
    pick(tab.inputs.selectors["post"], nodes["post"])
    type_text(tab.parameters.fields["dose"].widget, dose)


# A run


def test_a_dose_is_what_the_library_makes_of_it(tab, nodes):
    from ContrastSynthPanel.scene import bridge

    choose_dose(tab, nodes)
    text = apply(tab)
    given = {role: bridge.volume_from_node(nodes[role]) for role in ("pre", "post")}
    expected = run(Request("physics_dose", given, {"dose": 0.25}))
    ((name, node),) = result_nodes().items()
    assert name == "SYNTHETIC low, dose 0.25, physics_dose: T1 pre"
    array = slicer.util.arrayFromVolume(node)
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, expected.outputs["low"].array)
    for kind in ("Origin", "Spacing"):
        assert getattr(node, f"Get{kind}")() == getattr(nodes["pre"], f"Get{kind}")()
    assert "physics_dose" in node.GetAttribute(bridge.SYNTHETIC)
    assert text.startswith(f"Done: {name}.")
    # It lies over its reference in the slice views.
    for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        assert composite.GetBackgroundVolumeID() == nodes["pre"].GetID()
        assert composite.GetForegroundVolumeID() == node.GetID()
        assert composite.GetForegroundOpacity() == 1.0


STEADY_WORKER = """
import json, sys, time
def say(kind, **content):
    print(json.dumps({"schema_version": 1, "type": kind, **content}), flush=True)
for fraction, message in ((0.1, "Reading"), (0.5, "Computing"), (0.9, "Writing")):
    say("progress", fraction=fraction, message=message)
    time.sleep(0.25)
print("a library warns", file=sys.stderr, flush=True)
say("error", message="It was not to be.", exit_code=2)
sys.exit(2)
"""


def test_progress_log_and_failure_are_shown(tab, nodes, tmp_path, monkeypatch):
    from ContrastSynthPanel.widgets import run_section

    script = tmp_path / "worker.py"
    script.write_text(STEADY_WORKER, encoding="utf-8")
    steady = partial(run_section.Job, sys.executable, [str(script)])
    monkeypatch.setattr(run_section, "Job", steady)
    choose_dose(tab, nodes)
    seen = []

    def over():
        text = tab.run.progress_label.text.partition(" (")[0]
        if tab.run.progress_bar.isVisible() and (tab.run.progress_bar.value, text) not in seen:
            seen.append((tab.run.progress_bar.value, text))
        return not tab.run.running

    press(tab.run.apply_button)
    pump(over, 20.0)
    assert seen[:2] == [(0, "Reading the scans"), (0, "Starting")]
    assert seen[2:] == [(10, "Reading"), (50, "Computing"), (90, "Writing")]
    assert not tab.run.progress_bar.isVisible()
    assert tab.run.message.plainText == "It was not to be."
    assert tab.run.log.plainText == "a library warns"
    monkeypatch.undo()
    assert apply(tab).startswith("Done")
    assert "a library warns" not in tab.run.log.plainText


def test_warnings_of_a_run_are_shown(tab, nodes):
    from ContrastSynthPanel.scene import bridge

    choose_dose(tab, {"pre": nodes["post"], "post": nodes["pre"]})  # swapped
    text = apply(tab)
    (node,) = result_nodes().values()
    warnings = json.loads(node.GetAttribute(bridge.PROVENANCE))["warnings"]
    assert warnings
    assert text.split("\n\N{BULLET} ") == [f"Done: {node.GetName()}.", *warnings]


def test_slicer_stays_usable_and_a_second_run_beside_the_first_is_impossible(tab, nodes):
    choose_dose(tab, nodes)
    press(tab.run.apply_button)
    assert not tab.run.apply_button.enabled
    assert tab.run.apply_button.toolTip == "A run is under way."
    first = tab.run._job
    tab._apply()  # what a shortcut or a script would do
    assert tab.run._job is first
    type_text(tab.parameters.fields["dose"].widget, "0.5")  # to prepare the next is possible
    assert not tab.run.apply_button.enabled
    assert pump(lambda: not tab.run.running, RUN_S).longest_block_s < 1.0
    assert len(result_nodes()) == 1
    assert tab.run.apply_button.enabled


def test_uptake_becomes_a_segmentation(tab, nodes):
    from ContrastSynthPanel.scene import bridge

    show(tab, "physics_pre")
    apply(tab)
    assert set(result_nodes()) == {PRE, UPTAKE}
    (mask,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    assert mask.GetName() == f"{UPTAKE} mask"
    assert "physics_pre" in mask.GetAttribute(bridge.SYNTHETIC)
    inside = bridge.mask_from_segmentation(mask, nodes["post"]).array
    soft = slicer.util.arrayFromVolume(result_nodes()[UPTAKE])
    np.testing.assert_array_equal(inside > 0, soft > 0.5)
    assert inside.any()


def test_cancel_leaves_nothing_and_another_run_is_possible(tab, nodes):
    choose_dose(tab, nodes)
    press(tab.run.apply_button)
    press(tab.run.cancel_button)
    pump(lambda: not tab.run.running, 20.0)
    assert tab.run.message.plainText == "Cancelled. Nothing was kept."
    assert result_nodes() == {}
    assert not tab.run.cancel_button.enabled
    assert apply(tab).startswith("Done")


@pytest.mark.parametrize("kind", ["vtkMRMLSegmentationNode", "vtkMRMLLabelMapVolumeNode"])
def test_an_empty_mask_is_reported_and_the_panel_stays_usable(panel, tab, nodes, kind):
    choose_dose(tab, nodes)
    mask = slicer.mrmlScene.AddNewNodeByClass(kind, "empty")
    if kind == "vtkMRMLLabelMapVolumeNode":
        slicer.util.updateVolumeFromArray(mask, np.zeros((40, 56, 48), np.uint8))
        mask.CopyOrientation(nodes["pre"])
    pick(panel.box.selectors["mask"], mask)
    if kind == "vtkMRMLSegmentationNode":  # that it has no segment is seen before a run
        assert not tab.run.apply_button.enabled
        assert "'empty' has no segment that is visible" in tab.run.action.reason.text
    else:
        text = apply(tab)
        assert text
        assert not text.startswith("Done")
        assert tab.run.message.isVisible()
    assert result_nodes() == {}
    pick(panel.box.selectors["mask"], None)
    assert tab.run.apply_button.enabled


def test_a_mask_is_taken(panel, tab, nodes, patient):
    from ContrastSynthPanel.scene import bridge

    brain = patient.scans["pre"].with_array(patient.brain.astype(np.float32))
    mask = bridge.mask_to_segmentation(slicer.mrmlScene, brain, nodes["pre"], "brain")
    choose_dose(tab, nodes)
    pick(panel.box.selectors["mask"], mask)
    assert apply(tab).startswith("Done")
    (node,) = result_nodes().values()
    assert '"source": "given"' in node.GetAttribute(bridge.PROVENANCE)


# What happens meanwhile


def test_the_scene_is_closed_while_it_runs(tab, nodes):
    choose_dose(tab, nodes)
    press(tab.run.apply_button)
    close_scene()
    assert not tab.run.running
    assert tab.run.message.plainText == "The scene was closed, and the run with it."
    pump(timeout_s=0.5)
    assert result_nodes() == {}
    assert tab.inputs.nodes() == {}
    assert not tab.run.apply_button.enabled


def test_the_input_is_deleted_while_it_runs(tab, nodes):
    choose_dose(tab, nodes)
    press(tab.run.apply_button)
    slicer.mrmlScene.RemoveNode(nodes["pre"])
    pump(lambda: not tab.run.running, RUN_S)
    assert tab.run.message.plainText == "The run was stopped: its input was deleted."
    assert result_nodes() == {}


def test_the_module_is_reloaded_while_it_runs(host, tab, nodes):
    choose_dose(tab, nodes)
    press(tab.run.apply_button)
    job = tab.run._job
    host.app.moduleManager().reload("ContrastSynth")
    assert job.over
    assert not job.folder.exists()
    again = host.open_module().panel.synthesise
    assert again is not tab
    settled(host.open_module().panel)
    assert again.parameters.given == {"dose": 0.25}
    assert again.run.apply_button.enabled


def test_another_method_is_chosen_while_it_runs(tab, nodes):
    show(tab, "physics_pre")
    press(tab.run.apply_button)
    show(tab, "physics_dose")
    pump(lambda: not tab.run.running, RUN_S)
    assert UPTAKE in result_nodes()
    assert slicer.util.getNodesByClass("vtkMRMLSegmentationNode")


def test_what_goes_wrong_with_a_result_is_reported(host, tab, nodes, monkeypatch):
    from ContrastSynthPanel.scene import run_results

    choose_dose(tab, nodes)
    monkeypatch.setattr(run_results, "adding_result", lambda *given: 1 / 0)
    text = apply(tab)
    assert text == "The result could not be taken into the scene: division by zero"
    assert tab.run.apply_button.enabled


# What a run needs


def test_apply_says_what_is_missing(tab, patient):
    show(tab, "physics_dose")
    button = tab.run.apply_button
    assert not button.enabled
    assert button.toolTip == "Choose a volume for 'Pre-contrast'."
    add_volume("T1 pre", patient.scans["pre"])
    pump(lambda: "Post" in button.toolTip)
    assert button.toolTip == "Choose a volume for 'Post-contrast, full dose'."
    add_volume("T1 post", patient.scans["post"])
    pump(lambda: button.enabled)
    assert button.toolTip == "Run the method."
    pick(tab.inputs.selectors["post"], tab.inputs.nodes()["pre"])
    assert button.toolTip == "'T1 pre' is chosen twice."


def test_what_is_no_scan_is_refused_before_a_run(tab, nodes):
    choose_dose(tab, nodes)
    slicer.util.updateVolumeFromArray(nodes["post"], np.ones((8, 8, 8)))
    bend = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLBSplineTransformNode")
    nodes["post"].SetAndObserveTransformNodeID(bend.GetID())
    tab._pick()
    assert "its transform is not linear" in tab.run.apply_button.toolTip
    colours = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "colours")
    assert "colours" not in entries(tab.inputs.selectors["post"])
    assert colours.GetName() not in entries(tab.inputs.selectors["pre"])


def test_a_message_of_the_worker_names_the_node_and_no_temporary_file(tab, nodes):
    choose_dose(tab, nodes)
    array = slicer.util.arrayFromVolume(nodes["post"])
    array[:] = 7.0
    slicer.util.arrayFromVolumeModified(nodes["post"])
    press(tab.run.apply_button)
    pump(lambda: not tab.run.running, 60.0)
    message = tab.run.message.plainText
    assert "every voxel is 7" in message
    assert nodes["post"].GetName() in message
    for text in (message, tab.run.log.plainText):
        assert ".nrrd" not in text
        assert str(slicer.app.temporaryPath) not in text


def test_other_grids_need_a_choice_of_alignment(tab, nodes, patient):
    other = sample_patient(size=(40, 48, 32)).scans["post"]
    node = add_volume("T1 post coarse", other)
    choose_dose(tab, nodes)
    assert not tab.inputs.align_label.isVisible()
    pick(tab.inputs.selectors["post"], node)
    assert not tab.run.apply_button.enabled
    text = "'Post-contrast, full dose': not on the grid of 'Pre-contrast'. Choose under 'Align' "
    assert tab.run.apply_button.toolTip == text + "what to do."
    assert tab.inputs.align_label.isVisible()
    assert "size, voxels" in tab.inputs.align_label.toolTip
    pick(tab.inputs.align_combo, "Resample by their positions")
    assert apply(tab).startswith("Done")
    (result,) = result_nodes().values()
    assert result.GetImageData().GetDimensions() == nodes["pre"].GetImageData().GetDimensions()


def test_names_pick_volumes_but_not_over_a_persons_choice(panel, tab, nodes, patient):
    show(tab, "physics_dose")
    assert tab.inputs.nodes() == {"pre": nodes["pre"], "post": nodes["post"]}
    pick(tab.inputs.selectors["post"], nodes["corrupted"])
    add_volume("FLAIR", patient.scans["low"])
    settled(panel)
    assert tab.inputs.nodes()["post"] is nodes["corrupted"]
    show(tab, "physics_pre")
    assert tab.inputs.nodes() == {"post": nodes["corrupted"]}
    slicer.mrmlScene.RemoveNode(nodes["corrupted"])
    settled(panel)
    assert tab.inputs.nodes() == {"post": nodes["post"]}


# The form


@pytest.mark.parametrize("key", list(METHODS))
def test_every_declared_parameter_has_a_widget_with_its_default(tab, key):
    show(tab, key)
    classes = {
        "float": "ctkSliderWidget",
        "int": "QSpinBox",
        "bool": "QCheckBox",
        "str": "QComboBox",
        "numbers": "QLineEdit",
    }
    declared = declared_parameters(METHODS[key])
    assert list(tab.parameters.fields) == list(declared)
    for name, entry in declared.items():
        field = tab.parameters.fields[name]
        assert parse(key, entry, field.value()) == entry.default
        spin = key == "lip_car" and name.startswith("alpha")  # 1e-5 to 1: no slider is that long
        assert field.widget.inherits("QDoubleSpinBox" if spin else classes[entry.kind])
        assert entry.param.help in field.widget.toolTip
        if entry.kind == "float":
            assert (field.widget.minimum, field.widget.maximum) == (
                entry.param.low,
                entry.param.high,
            )
    assert list(tab.inputs.selectors) == list(METHODS[key].inputs)
    assert METHODS[key].intended_use in tab.form.about_label.text


@pytest.mark.parametrize("key", list(METHODS))
def test_nothing_is_cut_off_in_a_narrow_panel(tab, nodes, key):
    show(tab, key)
    open_sections(tab)
    tab.run.show_message("failed", "x" * 500)
    whole = tab.widget.window()
    assert whole.minimumSizeHint.width() <= WIDTH
    fit_height(whole, WIDTH)
    assert whole.width == WIDTH
    assert cut_off(tab.widget) == []


@pytest.mark.parametrize(
    ("key", "preset"), [(m.key, preset) for m in METHODS.values() for preset in m.presets]
)
def test_a_preset_sets_the_widgets(tab, key, preset):
    show(tab, key)
    combo = tab.parameters.preset_combo
    combo.setCurrentIndex(combo.findData(preset))
    declared, fields = declared_parameters(METHODS[key]), tab.parameters.fields
    values = {name: parse(key, declared[name], field.value()) for name, field in fields.items()}
    assert METHODS[key].presets[preset].items() <= values.items()
    assert tab.parameters.preset == preset
    assert tab.parameters.given == {}


def test_changes_over_a_preset_and_back(tab):
    tab.form.advanced.collapsed = False
    show(tab, "physics_pre")
    pick(tab.parameters.preset_combo, "As in the paper")
    sensitivity = tab.parameters.fields["sensitivity"]
    assert sensitivity.value() == 5.0
    type_text(sensitivity.widget, "7")
    assert (tab.parameters.given, tab.parameters.preset) == ({"sensitivity": 7.0}, "paper")
    press(tab.parameters.reset_button)
    assert sensitivity.value() == 5.0
    assert tab.parameters.given == {}


def test_the_settings_of_a_scan_are_shown_and_not_sent(tab, nodes):
    choose_dose(tab, nodes)
    field = tab.parameters.fields["repetition_time_s"]
    assert field.value() == 0.0082
    assert "from the scan" in field.widget.toolTip
    assert tab.parameters.given == {"dose": 0.25}
    pick(tab.inputs.selectors["post"], None)
    assert field.value() == 0.0067
    assert "the default" in field.widget.toolTip


def test_methods_stand_under_their_tasks_by_title(tab):
    titles = entries(tab.form.method_combo)
    assert {method.title for method in METHODS.values()} < set(titles)
    assert titles.index("Pre-contrast from post-contrast") == 0
    assert not set(METHODS) & set(titles)
    model = tab.form.method_combo.model()
    assert not model.flags(model.index(0, 0))
    assert model.flags(model.index(1, 0))


def test_weights_are_listed_with_what_they_were_trained_on(tab):
    tab.form.advanced.collapsed = False
    show(tab, "physics_dose")
    assert not tab.form.weights.widget.isVisible()
    show(tab, "sphere")
    assert tab.form.weights.widget.isVisible()
    own, *listed = entries(tab.form.weights.combos["sphere"])
    assert own == "The method's own"
    assert listed
    assert all(text.startswith(("sphere ", "sphere_virtual ", "sphere_paper ")) for text in listed)
    assert "of 25 real and virtual patients" in tab.form.weights.label.text
    assert any(text.endswith("trained on virtual patients") for text in listed)
    assert not tab.form.weights.card.isVisible()
    press(tab.form.weights.card_button)
    assert tab.form.weights.card.isVisible()
    assert "Not for diagnosis" in tab.form.weights.card.plainText
    pick(tab.form.weights.combos["sphere"], listed[0])
    assert tab.form.weights.chosen["sphere"].startswith("sphere-")


def test_weights_that_are_not_there_are_reported(tab, nodes, monkeypatch):
    tab.form.advanced.collapsed = False
    from ContrastSynthPanel.widgets import weights_box

    from ContrastSynthLib.weights import bundles

    monkeypatch.setattr(bundles, "known_weights", dict)
    for module in (bundles, weights_box):
        monkeypatch.setattr(module, "shipped_and_imported", list)
    show(tab, "lip_car")
    text = "The weights 'ph2l', 'pl2h' are not on this machine."
    assert tab.form.weights.label.text.startswith(text)
    assert tab.run.apply_button.toolTip == tab.form.weights.label.text
    pick(tab.parameters.preset_combo, "Signal equation")
    assert tab.form.weights.label.text == "None are used."
    assert tab.run.apply_button.enabled


# Devices and torch


def test_devices_are_listed_when_their_section_is_opened(tab, monkeypatch):
    tab.form.advanced.collapsed = False
    found = [
        {"device": "cpu", "usable": True, "reason": None},
        {"device": "cuda:0", "usable": True, "reason": None, "name": "A100"},
        {"device": "mps", "usable": False, "reason": "not an Apple GPU"},
    ]
    asked = []
    monkeypatch.setattr(devices, "list_devices", lambda: asked.append(1) or found)
    assert entries(tab.form.device.combo) == ["Automatic: a GPU if there is one", "CPU"]
    for collapsed in (False, True, False):
        tab.form.device.widget.collapsed = collapsed
    assert asked == [1]
    assert entries(tab.form.device.combo)[1:] == [
        "CPU",
        "NVIDIA GPU: A100",
        "Apple GPU (cannot be used)",
    ]
    assert tab.form.device.label.text == "Apple GPU: not an Apple GPU"
    pick(tab.form.device.combo, "NVIDIA GPU: A100")
    assert tab.state()["device"] == "cuda:0"


# What a scene keeps


def test_the_state_is_saved_and_restored_with_the_scene(host, panel, tab, nodes, tmp_path):
    tab.form.advanced.collapsed = False
    show(tab, "physics_pre")
    pick(tab.parameters.preset_combo, "As in the paper")
    choose_dose(tab, nodes)
    pick(tab.inputs.selectors["post"], nodes["low"])
    pick(tab.inputs.align_combo, "Register, rigid")
    pick_device(tab, "cpu")
    before = tab.state()
    names = {role: node.GetName() for role, node in before["nodes"].items()}
    scene, path = slicer.mrmlScene, str(tmp_path / "scene.mrml")
    for node in nodes.values():
        storage = scene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
        storage.SetFileName(str(tmp_path / f"{node.GetName()}.nrrd"))
        node.SetAndObserveStorageNodeID(storage.GetID())
        assert storage.WriteData(node)
    scene.SetURL(path)
    assert scene.Commit()
    close_scene()
    show(tab, "sphere")
    pick_device(tab, "auto")
    pump(timeout_s=0.3)
    scene.SetURL(path)
    scene.Import()
    tab._edited()  # as a selector that sees the new nodes before the state is shown
    pump(lambda: tab.method.key == "physics_dose")
    settled(panel)
    after = tab.state()
    assert {role: node.GetName() for role, node in after["nodes"].items()} == names
    assert {**after, "nodes": None} == {**before, "nodes": None}
    assert tab.parameters.fields["dose"].value() == 0.25
    assert tab.run.apply_button.enabled
    show(tab, "physics_pre")
    assert tab.parameters.preset == "paper"


def test_the_state_is_there_again_when_the_module_is_entered(host, tab, nodes):
    from ContrastSynthPanel.scene import saved_state

    choose_dose(tab, nodes)
    host.leave_module()
    node = slicer.modules.ContrastSynthWidget.logic.getParameterNode()
    state = saved_state.load_state(node)
    state["synthesise"]["parameters"]["physics_dose"]["given"]["dose"] = 0.75
    saved_state.save_state(node, state)
    host.open_module()
    assert tab.parameters.fields["dose"].value() == 0.75
    assert tab.inputs.nodes() == {"pre": nodes["pre"], "post": nodes["post"]}


@pytest.mark.parametrize(
    "damage",
    [
        {"method": "of_tomorrow"},
        {"parameters": {"physics_dose": {"preset": None, "given": {"of_tomorrow": 1}}}},
        {"parameters": {"physics_dose": {"preset": "of_tomorrow", "given": {}}}},
        {"align": "of_tomorrow", "weights": "of_tomorrow-1.0-00000000"},
    ],
)
def test_a_state_of_another_version_is_no_obstacle(host, tab, nodes, damage):
    from ContrastSynthPanel.scene import saved_state

    choose_dose(tab, nodes)
    host.leave_module()
    node = slicer.modules.ContrastSynthWidget.logic.getParameterNode()
    saved_state.save_state(node, {"synthesise": tab.state() | damage})
    host.open_module()
    assert tab.run.apply_button.enabled
    assert ("of_tomorrow" in tab.run.message.plainText) == ("align" not in damage)


def pick_device(tab, device):
    tab.form.device.widget.collapsed = False
    pick(
        tab.form.device.combo,
        tab.form.device.combo.itemText(tab.form.device.combo.findData(device)),
    )


# One method, then the next


@pytest.fixture
def chained(monkeypatch, tab):
    """A dose by the signal equation, which LIP-CAR brings back."""
    monkeypatch.setitem(
        METHODS, "physics_dose", dataclasses.replace(METHODS["physics_dose"], then="lip_car")
    )
    show(tab, "physics_pre")


def test_a_result_goes_on_to_the_next_method_at_one_press(tab, nodes, chained):
    from ContrastSynthPanel.scene import relations, run_results

    assert not tab.then.button.isVisible()
    choose_dose(tab, nodes)
    assert tab.then.button.isVisible()
    assert METHODS["lip_car"].title in tab.then.button.text
    press(tab.then.button)
    pump(lambda: tab.method.key == "lip_car" and not tab.run.running, 2 * RUN_S)
    low, full = (name for name in result_nodes())
    assert low == "SYNTHETIC low, dose 0.25, physics_dose: T1 pre"
    assert full.startswith("SYNTHETIC post, ")
    made_of = relations.inputs_of(result_nodes()[full])
    assert {role: node.GetName() for role, node in made_of.items()} == {
        "low": low,
        "pre": "T1 pre",
    }
    # The low scan says its dose.
    provenance = run_results.provenance_of(result_nodes()[full])
    assert provenance["parameters"]["dose"] == {"value": 0.25, "source": "scan 'low'"}
    assert tab.run.message.plainText.startswith("Done: SYNTHETIC post")
    # Apply alone runs one.
    choose_dose(tab, nodes, "0.3")
    apply(tab)
    assert tab.method.key == "physics_dose"


def test_nothing_goes_on_where_the_first_run_failed_or_was_cancelled(
    tab, nodes, chained, tmp_path, monkeypatch
):
    from ContrastSynthPanel.widgets import run_section

    script = tmp_path / "worker.py"
    script.write_text(STEADY_WORKER, encoding="utf-8")
    steady = partial(run_section.Job, sys.executable, [str(script)])
    choose_dose(tab, nodes)
    with monkeypatch.context() as patched:
        patched.setattr(run_section, "Job", steady)
        press(tab.then.button)
        assert not tab.then.button.enabled
        pump(lambda: not tab.run.running, RUN_S)
    assert "It was not to be." in tab.run.message.plainText
    assert tab.method.key == "physics_dose"
    assert tab.then.button.enabled
    # What failed is forgotten: the next run alone does not go on.
    apply(tab)
    assert tab.method.key == "physics_dose"
    assert len(result_nodes()) == 1
