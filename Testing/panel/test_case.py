"""The case that all tabs share: known by attributes and references, never by names."""

from __future__ import annotations

import pytest

pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed")
pytest.importorskip("slicer", reason="slicer-core is not installed")

import slicer
from host import close_scene, pick, pump
from scans import add_volume, settled, show_tab

from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.run import run

SMALL = (24, 28, 20)
NAMES = {"pre": "T1 pre", "post": "T1 post Gd"}


@pytest.fixture
def box(panel):
    return panel.box


def add_patient(panel, number, folder=None):
    """Add a patient whose scans are named as those of every other one, in a place of their own."""
    from ContrastSynthPanel.scene import sample_data

    scans = sample_patient(seed=number, size=SMALL).scans
    nodes = {}
    for role, name in NAMES.items():
        nodes[role] = add_volume(name, scans[role])
        nodes[role].SetOrigin(200.0 * number, 0.0, 0.0)
        if folder is not None:
            sample_data.put_into(folder, nodes[role])
    settled(panel)
    return nodes


def add_result(panel, nodes, method="physics_pre", **given):
    """Add what a method makes of a patient, as a run does; return the image."""
    from ContrastSynthPanel.scene import bridge, run_results

    roles = {"physics_pre": ("post",), "physics_dose": ("pre", "post")}[method]
    inputs = {role: nodes[role] for role in roles}
    volumes = {role: bridge.volume_from_node(node) for role, node in inputs.items()}
    made = run(Request(method, volumes, given))
    reference = inputs[roles[0]]
    added = run_results.add_result(slicer.mrmlScene, made, reference, inputs)
    settled(panel)
    return next(iter(added.values()))


def shown(box):
    return {role: node for role, node in box.case.nodes().items() if role != "region"}


def test_a_result_brings_its_input_and_its_reference(panel, box):
    nodes = add_patient(panel, 0)
    made = add_result(panel, nodes)
    assert shown(box) == {"input": nodes["post"], "result": made, "reference": nodes["pre"]}


def test_three_patients_of_equal_names(panel, box):
    patients = [add_patient(panel, n) for n in range(3)]
    made = [add_result(panel, nodes) for nodes in patients]
    assert len({node.GetName() for node in made}) == 3
    assert not any(node.GetName().endswith(("_1", "_2")) for node in made)
    for nodes, result in zip(patients, made, strict=True):
        box._chosen("result", result)
        assert shown(box) == {
            "input": nodes["post"],
            "result": result,
            "reference": nodes["pre"],
        }


def test_the_patient_of_the_hierarchy_stands_in_the_name(panel, box):
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    names = []
    for number, patient in enumerate(("Miller", "Brown")):
        folder = tree.CreateSubjectItem(tree.GetSceneItemID(), patient)
        names.append(add_result(panel, add_patient(panel, number, folder)).GetName())
    assert names[1] == "SYNTHETIC pre, physics_pre: Brown, T1 post Gd"


def test_renamed_nodes_stay_what_they_are(panel, box):
    nodes = add_patient(panel, 0)
    made = add_result(panel, nodes)
    before = shown(box)
    for number, node in enumerate((*nodes.values(), made)):
        node.SetName(f"series {number}")
    add_volume("T1 pre", sample_patient(seed=5, size=SMALL).scans["pre"])
    settled(panel)
    assert shown(box) == before


def test_a_deleted_result_gives_way_to_the_one_before(panel, box):
    nodes = add_patient(panel, 0)
    first = add_result(panel, nodes)
    second = add_result(panel, nodes, "physics_dose", dose=0.25)
    box.look_at(second)
    assert box.case.node("result") is second
    slicer.mrmlScene.RemoveNode(second)
    settled(panel)
    assert box.case.node("result") is first
    slicer.mrmlScene.RemoveNode(nodes["post"])
    settled(panel)
    pump(timeout_s=0.1)
    assert box.case.node("input") is not nodes["post"]
    assert box.selectors["input"].widget.currentNode() is box.case.node("input")


def test_a_reference_that_a_person_chose_comes_back_with_the_result(panel, box):
    nodes = add_patient(panel, 0)
    other = add_volume("another pre scan", sample_patient(seed=3, size=SMALL).scans["pre"])
    made, dose = add_result(panel, nodes), add_result(panel, nodes, "physics_dose", dose=0.5)
    box._chosen("result", made)
    box._chosen("reference", other)
    box._chosen("result", dose)
    assert box.case.node("reference") is not other
    box._chosen("result", made)
    assert box.case.node("reference") is other


def test_another_input_brings_a_reference_of_its_own(panel, box):
    first, second = (add_patient(panel, n) for n in range(2))
    for nodes in (first, second, first):
        box._chosen("input", nodes["post"])
        assert shown(box) == {"input": nodes["post"], "reference": nodes["pre"]}


def test_the_same_run_again_changes_its_result_in_place(panel, box):
    nodes = add_patient(panel, 0)
    first = add_result(panel, nodes, "physics_dose", dose=0.25)
    again = add_result(panel, nodes, "physics_dose", dose=0.25)
    other = add_result(panel, nodes, "physics_dose", dose=0.5)
    assert again is first
    assert first.GetName() == "SYNTHETIC low, dose 0.25, physics_dose: T1 pre"
    assert other.GetName() == "SYNTHETIC low, dose 0.5, physics_dose: T1 pre"
    first.SetName("for the board")
    assert add_result(panel, nodes, "physics_dose", dose=0.25).GetName() == "for the board"


def test_hidden_segments_are_left_out(panel, box):
    from ContrastSynthPanel.scene import sample_data

    node = sample_data.load_breast(size=(32, 32, 10))
    settled(panel)
    assert box.case.node("input") is node
    region = box.case.node("region")
    assert region.GetName() == sample_data.LESIONS
    before = box.case.segment_choices("region")
    hidden = next(iter(before))
    region.GetDisplayNode().SetSegmentVisibility(hidden, False)
    pump(timeout_s=0.2)
    assert box.case.segment_choices("region") == {k: v for k, v in before.items() if k != hidden}
    assert box.segments["region"].findData(hidden) < 0


def test_a_closed_scene_leaves_an_empty_case(panel, box):
    add_result(panel, add_patient(panel, 0))
    close_scene()
    assert box.case.nodes() == {}
    assert all(selector.node is None for selector in box.selectors.values())


def test_the_whole_name_is_the_tooltip(panel, box):
    made = add_result(panel, add_patient(panel, 0))
    assert made.GetName() in box.selectors["result"].widget.toolTip


def test_a_virtual_patients_scan_is_a_truth(panel, box):
    from ContrastSynthPanel.scene import relations, sample_data

    nodes = sample_data.load_brain(size=SMALL)
    settled(panel)
    assert all(not relations.is_synthetic(node) for node in nodes.values())
    made = add_result(panel, nodes)
    assert shown(box) == {"input": nodes["post"], "result": made, "reference": nodes["pre"]}


def test_a_series_without_phases_hinders_nobody(panel, box, capfd):
    scans = add_patient(panel, 1)
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "empty")
    settled(panel)
    assert box.case.node("input") is scans["post"]
    tab = show_tab(panel, "compare")
    pick(box.selectors["input"], empty)
    pick(box.selectors["result"], scans["post"])
    assert tab.reason.text == "'empty' has no phases. Choose another one."
    for key in panel.tabs:
        show_tab(panel, key)
        pump(timeout_s=0.1)
    assert panel.trouble.text == ""
    show_tab(panel, "uptake")
    pick(box.selectors["result"], None)
    assert show_tab(panel, "uptake").action.button.toolTip.startswith("'empty' has no phases.")
    assert "is out of range" not in capfd.readouterr().err  # no error of MRML, many a second


def test_an_image_of_another_program_is_no_truth_of_itself(panel, box):
    """Nothing is known of it: neither it nor another scan without a role is what it imitates."""
    scans = add_patient(panel, 1)
    made = add_volume("model output", sample_patient(seed=1, size=SMALL).scans["pre"])
    made.SetOrigin(200.0, 0.0, 0.0)
    settled(panel)
    tab = show_tab(panel, "uptake")
    pick(box.selectors["result"], made)
    assert box.case.node("reference") is None
    pick(tab.form.input_is, "The pre-contrast scan")
    assert box.case.node("reference") is scans["pre"]


def test_the_mask_of_one_patient_is_not_that_of_the_next(panel, box):
    """Of neither is more known than the patient under whom the subject hierarchy has it."""
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    folders = [tree.CreateSubjectItem(tree.GetSceneItemID(), who) for who in ("Miller", "Brown")]
    first, second = (add_patient(panel, n, folder) for n, folder in enumerate(folders))
    mask = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "brain")
    region = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "lesion")
    tree.CreateItem(folders[0], region)
    settled(panel)
    show_tab(panel, "uptake")
    pick(box.selectors["input"], first["post"])
    pick(box.selectors["mask"], mask)
    pick(box.selectors["input"], first["pre"])  # the same patient
    assert box.case.node("mask") is mask
    assert box.case.node("region") is region
    pick(box.selectors["input"], second["post"])
    assert box.case.node("mask") is None
    assert box.case.node("region") is None
    pick(box.selectors["mask"], mask)  # a person says so
    settled(panel)
    assert box.case.node("mask") is mask
