"""What a node is, and which nodes it belongs to: by attributes and references, not by its name.

A result refers to the scans that it was made from, to the scan that it imitates once somebody
chose that one, and to the run that made it. So it is known after it was renamed, saved, or made
beside the scans of another patient that have the same names. A name counts only for a scan that
nothing is known of yet: there it is a proposal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import slicer

import ContrastSynthLib.methods  # noqa: F401  (declares them)
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.phantom.marks import is_virtual_patient
from ContrastSynthLib.registry import IMAGE, LABELS, MAP, METHODS, Output
from ContrastSynthPanel.scene import bridge, series_names
from ContrastSynthPanel.scene.bridge import LABEL_MAP, METHOD, OUTPUT, SEQUENCE, SYNTHETIC, VOLUME

Node = Any  # of MRML

# Saved scenes hold these names: they are never changed.
INPUT, REFERENCE = "ContrastSynth.Input.", "ContrastSynth.Reference"  # references of nodes
ROLE, RUN, DERIVED = "ContrastSynth.Role", "ContrastSynth.Run", "ContrastSynth.Derived"
SOURCE = "ContrastSynth.Of."  # reference of what was computed from nodes, by what they were to it
PATIENT = "Patient"  # a level of the subject hierarchy


def declared_of(node: Node) -> Output | None:
    """Return what a result is, as its method declares it; None of other nodes."""
    method = METHODS.get(node.GetAttribute(METHOD) or "") if node is not None else None
    return method.outputs.get(node.GetAttribute(OUTPUT) or "") if method is not None else None


def is_computed(node: Node) -> bool:
    """Return whether a method, or a tab, made a node: it is no scan."""
    return bool(node.GetAttribute(METHOD) or node.GetAttribute(DERIVED))


def is_synthetic(node: Node) -> bool:
    """Return whether a node says that it is synthetic. A virtual patient's scan is a scan."""
    shown = bridge.volume_of_sequence(node)  # None of a series without phases
    mark = bridge.acquisition_of(shown)[1] if shown is not None else None
    mark = mark or node.GetAttribute(SYNTHETIC)
    return bool(mark) and not is_virtual_patient(str(mark))


def kind_of(node: Node) -> str:
    """Return whether a node is an image, a map or labels: IMAGE, MAP or LABELS."""
    declared = declared_of(node)
    if declared is not None:
        return declared.kind
    if node.IsA(LABEL_MAP):
        return LABELS
    return MAP if node.GetAttribute(DERIVED) else IMAGE


def role_of(node: Node) -> str:
    """Return what a scan is, pre, post, low ...: what it is known as, else what its name says."""
    known = node.GetAttribute(ROLE) or node.GetAttribute(OUTPUT)
    return known or series_names.role_in_name(node.GetName() or "") or ""


def inputs_of(result: Node) -> dict[str, Node]:
    """Return the nodes, by role, that a result was made from and that are still there."""
    return _referred(result, INPUT)


def sources_of(node: Node) -> dict[str, Node]:
    """Return the nodes, by what they were to it, that something was computed from."""
    return _referred(node, SOURCE)


def _referred(node: Node, prefix: str) -> dict[str, Node]:
    if node is None:
        return {}
    count = node.GetNumberOfNodeReferenceRoles()
    names = [node.GetNthNodeReferenceRole(n) for n in range(count)]
    found = {
        name.removeprefix(prefix): node.GetNodeReference(name)
        for name in names
        if name.startswith(prefix)
    }
    return {role: one for role, one in found.items() if one is not None}


def made_from(result: Node) -> Node | None:
    """Return the scan on whose grid a result lies."""
    inputs = inputs_of(result)
    method = METHODS.get(result.GetAttribute(METHOD) or "") if result is not None else None
    if method is not None and method.reference in inputs:
        return inputs[method.reference]
    return next((one for role, one in inputs.items() if role != "mask"), None)


def relate(nodes: Mapping[str, Node], inputs: Mapping[str, Node], run: str) -> None:
    """Have the results of one run refer to its inputs, whose roles are known from now on."""
    for node in nodes.values():
        node.SetAttribute(RUN, run)
        for role, source in inputs.items():
            node.SetNodeReferenceID(INPUT + role, source.GetID())
    for role, source in inputs.items():
        if source.GetAttribute(ROLE) is None and not is_computed(source):
            source.SetAttribute(ROLE, role)


def of_same_run(node: Node) -> dict[str, Node]:
    """Return the outputs, by role, of the run that made a node, itself among them."""
    run = node.GetAttribute(RUN) if node is not None else None
    if not run:
        return {}
    found = [one for one in volumes_and_series() if one.GetAttribute(RUN) == run]
    return {str(one.GetAttribute(OUTPUT)): one for one in found}


def computed_node(class_name: str, what: str, sources: Mapping[str, Node]) -> Node:
    """Return the node of ``what`` that was computed from these nodes before, else a new one."""
    scene = slicer.mrmlScene
    for node in slicer.util.getNodesByClass(class_name, scene):
        if node.GetAttribute(DERIVED) == what and sources_of(node) == dict(sources):
            return node
    node = scene.AddNewNodeByClass(class_name)
    node.SetAttribute(DERIVED, what)
    for role, source in sources.items():
        node.SetNodeReferenceID(SOURCE + role, source.GetID())
    return node


def volumes_and_series() -> list[Node]:
    """Return volumes, label maps and series that a person sees, oldest first."""
    kinds = (VOLUME, LABEL_MAP, SEQUENCE)
    nodes = dict.fromkeys(one for kind in kinds for one in slicer.util.getNodesByClass(kind))
    seen = [one for one in nodes if not one.GetHideFromEditors()]
    order = slicer.mrmlScene.GetNodes().IndexOfFirstOccurrence
    return sorted(seen, key=order)


def scans() -> list[Node]:
    """Return what was acquired, or stands for it as a virtual patient: volumes, oldest first."""
    return [
        one
        for one in volumes_and_series()
        if one.GetClassName() == VOLUME and not is_computed(one) and not is_synthetic(one)
    ]


def all_series() -> list[Node]:
    """Return the dynamic series of volumes that were acquired, oldest first."""
    found = [one for one in slicer.util.getNodesByClass(SEQUENCE) if _holds_volumes(one)]
    return [one for one in found if not is_computed(one) and not is_synthetic(one)]


def _holds_volumes(sequence: Node) -> bool:
    first = sequence.GetNthDataNode(0) if sequence.GetNumberOfDataNodes() else None
    return first is None or bool(first.IsA(VOLUME))


def only_series(like: Node | None) -> Node | None:
    """Return the one series of a patient, of all where nobody is asked for; None if in doubt."""
    found = all_series()
    if like is not None and len(found) > 1:
        found = of_patient(found, like)
    return found[0] if len(found) == 1 else None


def result_images() -> list[Node]:
    """Return the images, no maps and no labels, that methods made, oldest first."""
    made = [one for one in volumes_and_series() if one.GetAttribute(METHOD)]
    shown = [bridge.volume_of_sequence(one) for one in made if one.IsA(SEQUENCE)]
    return [one for one in made if kind_of(one) == IMAGE and one not in shown]


def series_of(node: Node) -> Node | None:
    """Return the series of which a node is, or shows a phase; None of a single scan."""
    if node is None or node.IsA(SEQUENCE):
        return node
    for browser in slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode"):
        sequence = browser.GetSequenceNode(node)
        if sequence is not None:
            return sequence
    return None


def scan_of_role(role: str, like: Node | None, without: Iterable[Node] = ()) -> Node | None:
    """Return the one scan of a role that belongs to the patient of ``like``; None if in doubt."""
    left_out = set(without)
    found = [one for one in scans() if one not in left_out and role_of(one) == role]
    if role == "pre" and not found:  # mere T1: no other is
        found = [one for one in scans() if one not in left_out and role_of(one) == "t1"]
    if like is not None:
        found = of_patient(found, like)
    return found[0] if len(found) == 1 else None


def of_patient(nodes: list[Node], like: Node) -> list[Node]:
    """Return those nodes that belong to the same patient, as far as it is known."""
    group = patient_of(like)
    if group:
        return [one for one in nodes if patient_of(one) == group]
    nodes = [one for one in nodes if not patient_of(one)]
    if len(nodes) > 1:  # nothing says whose they are: those on the same grid go together
        nodes = [one for one in nodes if lies_like(one, like)]
    return nodes


def patient_of(node: Node) -> str:
    """Return the patient, or else the folder, under which the subject hierarchy has a node."""
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    shown = bridge.volume_of_sequence(node) or node  # a series without phases is itself listed
    item = tree.GetItemByDataNode(shown) if tree is not None else 0
    if not item:
        return ""
    group = tree.GetItemAncestorAtLevel(item, PATIENT) or tree.GetItemParent(item)
    return "" if group in (0, tree.GetSceneItemID()) else f"{tree.GetItemName(group)} {group}"


def patient_name(node: Node) -> str:
    """Return the name of the patient or folder of a node; nothing where it is in none."""
    return patient_of(node).rpartition(" ")[0]


def lies_like(node: Node, other: Node) -> bool:
    """Return whether two volumes have the same grid in the world."""
    try:
        grids = [bridge.world_grid(bridge.volume_of_sequence(one)) for one in (node, other)]
    except RequestError:
        return False
    return grids[0].is_same(grids[1])


def adopt_old_results() -> None:
    """Have results that older versions saved refer to their input, which their name begins with."""
    by_name: dict[str, Node] = {}
    for node in scans():
        by_name.setdefault(node.GetName(), node)
    for node in volumes_and_series():
        method = METHODS.get(node.GetAttribute(METHOD) or "")
        told = series_names.result_in_name(node.GetName() or "")
        if method is None or told is None or inputs_of(node) or told[0] not in by_name:
            continue
        node.SetNodeReferenceID(INPUT + str(method.reference), by_name[told[0]].GetID())
        if node.GetAttribute(OUTPUT) is None:
            node.SetAttribute(OUTPUT, told[1])
