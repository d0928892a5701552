"""What a saved scene keeps of the panel: JSON in a parameter node, nodes as its references."""

from __future__ import annotations

import json
from typing import Any

import slicer

Node = Any  # of MRML
# Saved scenes hold these names: they are never changed.
STATE, NODE_KEY = "ContrastSynth.State", "mrml_node"


def save_state(parameter_node: Node, state: dict) -> None:
    """Keep ``state``, JSON with nodes anywhere in it, in a parameter node of a scene.

    Nodes become references. Raises TypeError or ValueError for other values, changing nothing.
    """
    nodes = []

    def as_reference(value: Any) -> dict:
        if not isinstance(value, slicer.vtkMRMLNode):
            raise TypeError(f"A state holds JSON and nodes, not {type(value).__name__}.")
        nodes.append(value)
        return {NODE_KEY: f"{STATE}.{len(nodes) - 1}"}

    text = json.dumps({"schema_version": 1, "state": state}, default=as_reference, allow_nan=False)
    for n in reversed(range(parameter_node.GetNumberOfNodeReferenceRoles())):
        if (role := parameter_node.GetNthNodeReferenceRole(n)).startswith(STATE):
            parameter_node.RemoveNodeReferenceIDs(role)
    for n, node in enumerate(nodes):
        parameter_node.SetNodeReferenceID(f"{STATE}.{n}", node.GetID())
    parameter_node.SetParameter(STATE, text)


def load_state(parameter_node: Node) -> dict:
    """Return what save_state kept, {} where nothing is; None for a node that is gone."""

    def resolved(value: dict) -> Any:
        return parameter_node.GetNodeReference(value[NODE_KEY]) if NODE_KEY in value else value

    text = parameter_node.GetParameter(STATE)
    return json.loads(text, object_hook=resolved)["state"] if text else {}


def case_before(state: dict, shown: str) -> dict:
    """Return the case of a scene that was saved when each tab chose for itself.

    The ``shown`` tab counts first. In the shape of Case.restore; {} where nothing was chosen.
    """
    inversion, compare = state.get("inversion", {}), state.get("compare", {}).get("nodes", {})
    kinetics = state.get("kinetics", {})
    results = {
        "inversion": inversion.get("node"),
        "compare": compare.get("result"),
        "quality": state.get("quality", {}).get("nodes", {}).get("synthetic"),
        "kinetics": kinetics.get("nodes", {}).get("synthetic"),
    }
    ordered = [results.get(shown), *results.values()]
    found = {
        "result": next(filter(None, ordered), None),
        "mask": state.get("synthesise", {}).get("nodes", {}).get("mask"),
        "region": kinetics.get("nodes", {}).get("region"),
    }
    nodes = {role: node for role, node in found.items() if node is not None}
    segments = {"region": kinetics["segment"]} if kinetics.get("segment") else {}
    return {"nodes": nodes, "chosen": sorted(nodes), "segments": segments} if nodes else {}
