"""The result of a run in the scene as what left the run, for those who pass it on."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import slicer

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.running.stored_result import StoredResult, checked_output
from ContrastSynthLib.volumes import Volume
from ContrastSynthPanel.background import Elsewhere, Task
from ContrastSynthPanel.scene import bridge, relations
from ContrastSynthPanel.scene.bridge import LABEL_MAP, PROVENANCE, SEQUENCE

Node = Any  # of MRML


def is_result(node: Node | None) -> bool:
    """Whether a node is an output of a run that tells how it was made."""
    return node is not None and bool(node.GetAttribute(PROVENANCE))


def reading_result(node: Node) -> Task:
    """Return the result that a node is an output of, with all of its outputs in the scene.

    Raises RequestError for one that was changed since, or that is not marked as synthetic.
    """
    provenance, outputs = json.loads(node.GetAttribute(PROVENANCE)), []
    found = relations.of_same_run(node)
    for role, described in provenance["outputs"].items():
        if role not in found:
            continue
        volumes = yield from _reading_volumes(found[role])
        series = found[role].GetClassName() == SEQUENCE
        name = found[role].GetName()
        outputs.append((yield Elsewhere(checked_output, role, described, volumes, series, name)))
    if not outputs:
        raise RequestError(f"{node.GetName()}: no output of its run is in the scene.")
    return StoredResult(provenance, tuple(outputs))


def _reading_volumes(node: Node) -> Task:
    if node.GetClassName() == SEQUENCE:
        return (yield from bridge.reading_series(node))
    if node.GetClassName() == LABEL_MAP:
        grid = bridge.world_grid(node, mask=True)
        labels = np.array(slicer.util.arrayFromVolume(node), np.float32)
        return [Volume(labels, grid, *bridge.acquisition_of(node))]
    return [(yield from bridge.reading_volume(node))]
