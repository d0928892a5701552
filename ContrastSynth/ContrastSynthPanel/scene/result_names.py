"""What the results of a run are called: a name that tells them apart, with what matters first."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Mapping
from typing import Any

import slicer

from ContrastSynthLib.files.images import SYNTHETIC_KEY
from ContrastSynthLib.registry import METHODS, declared_parameters
from ContrastSynthPanel.scene import relations
from ContrastSynthPanel.scene.bridge import OWN_NAME

Node = Any  # of MRML
TIMES = ("%H:%M", "%H:%M:%S", "%Y-%m-%d %H:%M:%S")
LONGEST_VALUE = 24  # letters of a value that stands in a name


def result_name(provenance: Mapping[str, Any], role: str, reference: Node) -> str:
    """Return the name of an output: SYNTHETIC, what it is, how it was made, and of which scan.

    Lists cut names off at the right, so the scan comes last.
    """
    key = provenance.get("method", {}).get("key", "")
    parts = [f"{SYNTHETIC_KEY} {role}", *what_matters(provenance), key]
    name = reference.GetName()
    patient = relations.patient_name(reference)
    if patient and _has_namesake(reference):
        name = f"{patient}, {name}"
    return f"{', '.join(filter(None, parts))}: {name}"


def _has_namesake(node: Node) -> bool:
    """Return whether another scan, not a phase of the same series, has a node's name."""
    series = relations.series_of(node)
    return any(
        one.GetName() == node.GetName()
        for one in relations.volumes_and_series()
        if one is not node and (series is None or relations.series_of(one) is not series)
    )


def what_matters(provenance: Mapping[str, Any]) -> list[str]:
    """Return the parameters that say what a result is, the preset, what was set by hand, the seed.

    A parameter counts that its method declares as ``main``, or that somebody changed.
    """
    method = METHODS.get(provenance.get("method", {}).get("key", ""))
    declared = declared_parameters(method) if method is not None else {}
    found, presets = [], []
    for name, entry in provenance.get("parameters", {}).items():
        known, source = declared.get(name), str(entry.get("source", ""))
        if source.startswith("preset "):
            presets.append(source.partition(" ")[2])
        if known is None:
            continue
        main = known.param.main and (known.param.from_acquisition is None or source == "given")
        if main or (source == "given" and entry.get("value") != known.default):
            found.append((not known.param.main, f"{name} {_short(entry.get('value'))}"))
    parts = [text for _rank, text in sorted(found, key=lambda one: one[0])]
    parts += list(dict.fromkeys(presets))
    if method is not None and method.random:
        parts.append(f"seed {provenance.get('seed')}")
    return parts


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        return " ".join(_short(one) for one in value)[:LONGEST_VALUE]
    return str(value)[:LONGEST_VALUE]


def free_name(name: str, but: Node | None = None) -> str:
    """Return a name, with the time of day behind it where another node has it already."""
    tried = [name, *(f"{name}, {time.strftime(one)}" for one in TIMES)]
    taken = {
        node.GetName()
        for node in slicer.util.getNodesByClass("vtkMRMLStorableNode")
        if node is not but
    }
    free = [one for one in tried if one not in taken]
    return free[0] if free else slicer.mrmlScene.GenerateUniqueName(name)


def run_id(provenance: Mapping[str, Any], inputs: Mapping[str, Node]) -> str:
    """Return what is the same for runs of the same method, parameters, weights, seed and nodes."""
    method = METHODS.get(provenance.get("method", {}).get("key", ""))
    identity = {
        "method": provenance.get("method", {}).get("key"),
        "parameters": {k: v.get("value") for k, v in provenance.get("parameters", {}).items()},
        "weights": provenance.get("weights"),
        "alignment": provenance.get("alignment"),
        "phases": provenance.get("phases"),
        "seed": provenance.get("seed") if method is None or method.random else None,
        "inputs": {role: node.GetID() for role, node in inputs.items()},
    }
    text = json.dumps(identity, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def new_run_id() -> str:
    """Return an id that no other run has: its result is a new one in any case."""
    return hashlib.sha256(str(time.time_ns()).encode()).hexdigest()[:16]


def give_name(node: Node, name: str) -> None:
    """Name a node, unless a person has renamed it since it was last named here.

    The time of day behind a name stays as it is.
    """
    own = node.GetAttribute(OWN_NAME)
    if own is not None and re.fullmatch(re.escape(name) + r"(, [\d :-]+)?", own):
        return
    if own in (None, node.GetName()):
        node.SetName(free_name(name, but=node))
        node.SetAttribute(OWN_NAME, node.GetName())


def synthetic_name(name: str, synthetic: bool) -> str:
    """Return the name of what was computed, marked where it comes from a synthetic volume."""
    marked = not synthetic or SYNTHETIC_KEY in name
    return name if marked else f"{name} {SYNTHETIC_KEY}"
