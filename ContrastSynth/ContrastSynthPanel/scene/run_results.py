"""The outputs of a run in the scene: volumes, label maps and sequences, marked as synthetic."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import cycle
from pathlib import Path
from typing import Any

import slicer

import ContrastSynthLib.methods  # noqa: F401  (declares them)
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files import images
from ContrastSynthLib.files.series import SEQUENCE_SUFFIX, read_series
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.registry import IMAGE, LABELS, MAP, METHODS, Output
from ContrastSynthLib.running import result
from ContrastSynthLib.volumes import Series, Volume
from ContrastSynthPanel.background import Elsewhere, Task, run_through
from ContrastSynthPanel.scene import bridge, relations, uncertainty, views
from ContrastSynthPanel.scene.bridge import (
    LABEL_MAP,
    METHOD,
    OUTPUT,
    PROVENANCE,
    SEGMENTATION,
    SEQUENCE,
    UNIT,
    VOLUME,
)
from ContrastSynthPanel.scene.result_names import give_name, new_run_id, result_name, run_id

Node = Any  # of MRML
NEW = "new"  # a result that takes no other's place
UPTAKE, UPTAKE_MASK = "uptake", "mask of an uptake map"
LABEL_OPACITY = 0.5
MAP_COLOURS = "vtkMRMLColorTableNodeIron"  # in every Slicer; black at 0
# Chosen by Okabe and Ito (2008) so that the colour-blind can distinguish them, too.
LABEL_COLOURS = (
    (0.90, 0.60, 0.00),
    (0.35, 0.70, 0.90),
    (0.00, 0.62, 0.45),
    (0.95, 0.90, 0.25),
    (0.00, 0.45, 0.70),
    (0.84, 0.37, 0.00),
    (0.80, 0.47, 0.65),
)


def add_result(
    scene: Any,
    source: str | Path | result.Result,
    reference_node: Node,
    inputs: Mapping[str, Node] | None = None,
) -> dict:
    """Add the outputs of a run, its folder or its Result, to the scene; return nodes by role.

    An image or a map becomes a volume, labels a label map, a series a sequence with a browser.
    Their names say what made them of which scan. They lie where the reference lies, have its place
    in the subject hierarchy, and refer to the ``inputs``, nodes by role. Images have the window and
    level of the reference, maps their declared range, in colours. Attributes say what made them.
    The results of the same run of the same nodes are changed in place. Raises RequestError, adding
    nothing, unless the run is whole.
    """
    return run_through(adding_result(scene, source, reference_node, inputs))


def adding_result(
    scene: Any,
    source: str | Path | result.Result,
    reference_node: Node,
    inputs: Mapping[str, Node] | None = None,
    into: Node | str | None = None,
) -> Task:
    """Do what add_result does as a task: files are read in threads.

    ``into`` is a result whose place this one takes, or NEW for one that takes no other's place.
    What was added goes again when the task is ended before its time.
    """
    outputs, provenance = yield Elsewhere(_read_run, source)
    given = inputs or {declared_reference(provenance): reference_node}
    run = new_run_id() if into == NEW else run_id(provenance, given)
    found = of_run(run)
    if into is not None and not isinstance(into, str):
        found = relations.of_same_run(into) or {str(into.GetAttribute(OUTPUT)): into}
    nodes, added = {}, []
    try:
        for role, output in outputs.items():
            node = found.get(role)
            if node is None or node.GetClassName() != class_of(output, provenance, role):
                node = scene.AddNewNodeByClass(class_of(output, provenance, role))
                added.append(node)
            nodes[role] = node
            yield from _fill(node, role, output, provenance, reference_node)
            yield
    except BaseException:
        for node in added:
            scene.RemoveNode(node)
        raise
    relations.relate(nodes, given, run)
    return nodes


def _fill(
    node: Node, role: str, output: Volume | Series, provenance: dict, reference: Node
) -> Task:
    """Give a node what a run made, and say on it what made it."""
    declared = declared_output(provenance, role)
    give_name(node, result_name(provenance, role, reference))
    marks = {
        METHOD: provenance.get("method", {}).get("key", ""),
        OUTPUT: role,
        UNIT: declared.unit or None,
        PROVENANCE: json.dumps(provenance),
    }
    if isinstance(output, Series):
        yield from bridge.filling_sequence(node, output, reference, marks)
        if hasattr(slicer, "modules"):  # PythonSlicer has none, and nothing to show a series in
            shown = bridge.shown_volume(node)
            shown.SetAndObserveTransformNodeID(_parent_of(output.grid, reference))
            _show(shown, reference, declared)
    else:
        no_display_yet(node, declared)
        bridge.fill_node(node, output, *bridge.place_of(output.grid, reference))
        bridge.set_attributes(node, marks)
        yield
        _show(node, reference, declared)
    node.SetDescription(description(declared))


def class_of(output: Volume | Series, provenance: dict, role: str) -> str:
    """Return the class of node for an output."""
    if isinstance(output, Series):
        return SEQUENCE
    return LABEL_MAP if declared_output(provenance, role).kind == LABELS else VOLUME


def of_run(run: str) -> dict:
    """Return the outputs, by role, of a run that is in the scene already."""
    nodes = relations.volumes_and_series()
    return {str(n.GetAttribute(OUTPUT)): n for n in nodes if n.GetAttribute(relations.RUN) == run}


def main_result(nodes: dict) -> Node | None:
    """Return the output that a run is about: its first image, else its first output."""
    images = [node for node in nodes.values() if relations.kind_of(node) == IMAGE]
    return next(iter([*images, *nodes.values()]), None)


def declared_reference(provenance: dict) -> str:
    """Return the role on whose grid a method's results lie."""
    method = METHODS.get(provenance.get("method", {}).get("key"))
    return method.reference if method is not None else "input"


def no_display_yet(node: Node, declared: Output) -> None:
    """Give a node a display that does not look for a window itself: that takes long."""
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
    if declared.kind != LABELS:
        node.GetDisplayNode().SetAutoWindowLevel(False)


def provenance_of(node: Node) -> dict:
    """Return how a result was made; {} of a node that is none, or cannot be read."""
    text = node.GetAttribute(PROVENANCE) if node is not None else None
    try:
        found = json.loads(text or "{}")
    except ValueError:
        found = {}
    return found if isinstance(found, dict) else {}


def show_nodes(nodes: dict, declared: Mapping, reference: Node, inputs: dict) -> None:
    """Show a result over its reference in the slice views: an image, else a map; labels on top.

    Images are shown in the window of the input, by role, that they have the units of.
    """
    by_kind: dict[str, list[Node]] = {}
    for role, node in nodes.items():
        seen = bridge.shown_volume(node) if node.IsA(SEQUENCE) else node
        by_kind.setdefault(declared[role].kind, []).append(seen)
        if declared[role].kind == IMAGE:
            scan = bridge.volume_of_sequence(inputs.get(declared[role].units_of))
            bridge.window_like(seen, scan)
    scene = reference.GetScene()
    background = reference if scene is not None else "keep-current"
    over = next((by_kind[kind][0] for kind in (IMAGE, MAP) if kind in by_kind), None)
    views.show_layers(background, over)
    if LABELS in by_kind:
        views.show_labels(by_kind[LABELS][0], LABEL_OPACITY, False)


def add_uptake_mask(nodes: dict, reference: Node) -> None:
    """Add the mask of where an uptake map is above one half, as a segmentation.

    A series of maps has none: a segmentation is of one volume.
    """
    if UPTAKE not in nodes or nodes[UPTAKE].IsA(bridge.SEQUENCE):
        return
    soft = nodes[UPTAKE]
    mask = relations.computed_node(SEGMENTATION, UPTAKE_MASK, {UPTAKE: soft})
    give_name(mask, f"{soft.GetName()} mask")
    bridge.fill_segmentation(mask, soft, reference)
    mask.SetAttribute(bridge.SYNTHETIC, soft.GetAttribute(bridge.SYNTHETIC))


def declared_output(provenance: dict, role: str) -> Output:
    """Return what an output is, as its method declares it or else its provenance describes it."""
    method = METHODS.get(provenance.get("method", {}).get("key"))
    if method is not None and role in method.outputs:
        return method.outputs[role]
    entry = provenance["outputs"][role]
    labels = {int(number): title for number, title in entry.get("labels", {}).items()}
    try:
        return Output(
            role,
            units_of=entry.get("units_of"),
            kind=entry.get("kind", IMAGE),
            unit=entry.get("unit", ""),
            low=entry.get("low"),
            high=entry.get("high"),
            labels=labels,
            series="times_s" in entry,
        )
    except ValueError:  # written by a version that did not say what its outputs are
        return Output(role, units_of=role)


def description(declared: Output) -> str:
    """Return the values of a map or of labels as a person reads them; nothing for an image."""
    if declared.kind == LABELS:
        listed = (f"{number} {title}" for number, title in declared.labels.items())
        return f"Labels: {', '.join(listed)}."
    if declared.kind != MAP:
        return ""
    parts = {"from": declared.low, "to": declared.high}
    text = " ".join(f"{word} {value:g}" for word, value in parts.items() if value is not None)
    text = f"{text} {declared.unit}".strip()
    return f"Map, {text}." if text else "Map."


def _read_run(source: str | Path | result.Result) -> tuple[dict[str, Volume | Series], dict]:
    """Return outputs and provenance."""
    if isinstance(source, result.Result):
        return source.outputs, source.provenance
    outputs: dict[str, Volume | Series] = {}
    try:
        provenance = json.loads((Path(source) / result.PROVENANCE).read_text(encoding="utf-8"))
        roles = list(provenance["outputs"])
    except (OSError, ValueError, KeyError, TypeError):
        raise RequestError(f"{source}: no {result.PROVENANCE} of a whole run; run again.") from None
    for role in roles:
        series = Path(source) / f"{role}{SEQUENCE_SUFFIX}"
        if series.is_file():
            outputs[role] = Series(tuple(read_series(series)))
        else:
            outputs[role] = images.read_any_volume(Path(source) / f"{role}.nrrd")
    return outputs, provenance


def _parent_of(grid: Grid, reference: Node) -> str | None:
    return bridge.place_of(grid, reference)[1]


def _show(node: Node, reference: Node, declared: Output) -> None:
    """Show a node as what it is, and list it beside its reference, where Slicer lists them."""
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
    display, like = node.GetDisplayNode(), reference.GetDisplayNode()
    if declared.kind == LABELS:
        display.SetAndObserveColorNodeID(_label_colours(node.GetScene(), declared).GetID())
    elif uncertainty.is_uncertainty(node):
        uncertainty.show_as_uncertainty(display)
    elif declared.kind == MAP:
        show_as_map(display, declared, slicer.util.arrayFromVolume(node))
    elif like:
        display.SetAutoWindowLevel(False)
        display.SetWindowLevel(like.GetWindow(), like.GetLevel())
    else:
        display.SetAutoWindowLevel(True)
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(node.GetScene())
    if item := tree.GetItemByDataNode(reference):
        tree.CreateItem(tree.GetItemParent(item), node)


def show_as_map(display: Node, declared: Output, values: Any) -> None:
    """Show a map in colours, in its declared range, or that of the values where none is."""
    display.SetAndObserveColorNodeID(MAP_COLOURS)
    low = float(values.min()) if declared.low is None else declared.low
    high = float(values.max()) if declared.high is None else declared.high
    if high > low:
        display.SetAutoWindowLevel(False)
        display.SetWindowLevel(high - low, (high + low) / 2)


def _label_colours(scene: Any, declared: Output) -> Node:
    """Return the colour table of declared labels: each has its name and a colour of its own."""
    entries: list[tuple[str, bridge.Colour | None]] = [("background", None)]
    entries += [("", None)] * max(declared.labels)
    for (number, title), colour in zip(
        sorted(declared.labels.items()), cycle(LABEL_COLOURS), strict=False
    ):
        entries[number] = (title, colour)
    name = f"Labels: {', '.join(declared.labels.values())}"
    return bridge.colour_table(scene, name, entries)
