"""The outputs of a run in the scene: volumes, label maps and sequences, marked as synthetic."""

import json
from collections.abc import Mapping
from itertools import cycle
from pathlib import Path

import slicer

import ContrastSynthLib.methods  # noqa: F401  (declares them)
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files import images
from ContrastSynthLib.files.series import SEQUENCE_SUFFIX, read_series
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.registry import IMAGE, LABELS, MAP, METHODS, Output
from ContrastSynthLib.running import result
from ContrastSynthLib.volumes import Series, Volume
from ContrastSynthPanel.scene import bridge, views
from ContrastSynthPanel.scene.bridge import (
    LABEL_MAP,
    METHOD,
    OUTPUT,
    PROVENANCE,
    SEQUENCE,
    UNIT,
    VOLUME,
)

UPTAKE = "uptake"
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


def add_result(scene, source: str | Path | result.Result, reference_node) -> dict:
    """Add the outputs of a run, its folder or its Result, to the scene; return nodes by role.

    An image or a map becomes a volume, labels a label map, a series a sequence with a browser.
    They are named "<name of the reference> <role> SYNTHETIC", lie where the reference lies, and
    have its place in the subject hierarchy. Images have its window and level, maps their declared
    range, in colours. Attributes say what made them. Raises RequestError, adding nothing, unless
    the run is whole.
    """
    outputs, provenance = _read_run(source)
    nodes = {}
    for role, output in outputs.items():
        declared = declared_output(provenance, role)
        name = f"{reference_node.GetName()} {role} SYNTHETIC"
        marks = {
            METHOD: provenance.get("method", {}).get("key", ""),
            OUTPUT: role,
            UNIT: declared.unit or None,
        }
        add = _add_series if isinstance(output, Series) else _add_volume
        node = nodes[role] = add(scene, name, output, declared, reference_node, marks)
        node.SetAttribute(PROVENANCE, json.dumps(provenance))
        node.SetDescription(description(declared))
    return nodes


def provenance_of(node) -> dict:
    """Return how a result was made; {} of a node that is none, or cannot be read."""
    text = node.GetAttribute(PROVENANCE) if node is not None else None
    try:
        found = json.loads(text or "{}")
    except ValueError:
        found = {}
    return found if isinstance(found, dict) else {}


def show_nodes(nodes: dict, declared: Mapping, reference, inputs: dict) -> None:
    """Show a result over its reference in the slice views: an image, else a map; labels on top.

    Images are shown in the window of the input, by role, that they have the units of.
    """
    by_kind = {}
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


def add_uptake_mask(nodes: dict, reference) -> None:
    """Add the mask of where an uptake map is above one half, as a segmentation.

    A series of maps has none: a segmentation is of one volume.
    """
    if UPTAKE not in nodes or nodes[UPTAKE].IsA(bridge.SEQUENCE):
        return
    soft = nodes[UPTAKE]
    name = f"{soft.GetName()} mask"
    mask = bridge.mask_to_segmentation(soft.GetScene(), soft, reference, name)
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
    outputs = {}
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


def _add_volume(scene, name: str, volume: Volume, declared: Output, reference, marks: dict):
    kind = LABEL_MAP if declared.kind == LABELS else VOLUME
    node = scene.AddNewNodeByClass(kind, scene.GenerateUniqueName(name))
    bridge.fill_node(node, volume, *bridge.place_of(volume.grid, reference))
    bridge.set_attributes(node, marks)
    _show(node, reference, declared)
    return node


def _add_series(scene, name: str, series: Series, declared: Output, reference, marks: dict):
    node = bridge.sequence_from_series(scene, series, name, reference, marks)
    if hasattr(slicer, "modules"):  # PythonSlicer has none, and nothing to show a series in
        shown = bridge.shown_volume(node)
        shown.SetAndObserveTransformNodeID(_parent_of(series.grid, reference))
        _show(shown, reference, declared)
    return node


def _parent_of(grid: Grid, reference) -> str | None:
    return bridge.place_of(grid, reference)[1]


def _show(node, reference, declared: Output) -> None:
    """Show a node as what it is, and list it beside its reference, where Slicer lists them."""
    node.CreateDefaultDisplayNodes()
    display, like = node.GetDisplayNode(), reference.GetDisplayNode()
    if declared.kind == LABELS:
        display.SetAndObserveColorNodeID(_label_colours(node.GetScene(), declared).GetID())
    elif declared.kind == MAP:
        show_as_map(display, declared, slicer.util.arrayFromVolume(node))
    elif like:
        display.SetAutoWindowLevel(False)
        display.SetWindowLevel(like.GetWindow(), like.GetLevel())
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(node.GetScene())
    if item := tree.GetItemByDataNode(reference):
        tree.CreateItem(tree.GetItemParent(item), node)


def show_as_map(display, declared: Output, values) -> None:
    """Show a map in colours, in its declared range, or that of the values where none is."""
    display.SetAndObserveColorNodeID(MAP_COLOURS)
    low = float(values.min()) if declared.low is None else declared.low
    high = float(values.max()) if declared.high is None else declared.high
    if high > low:
        display.SetAutoWindowLevel(False)
        display.SetWindowLevel(high - low, (high + low) / 2)


def _label_colours(scene, declared: Output):
    """Return the colour table of declared labels: each has its name and a colour of its own."""
    entries = [("background", None)] + [("", None)] * max(declared.labels)
    for (number, title), colour in zip(
        sorted(declared.labels.items()), cycle(LABEL_COLOURS), strict=False
    ):
        entries[number] = (title, colour)
    name = f"Labels: {', '.join(declared.labels.values())}"
    return bridge.colour_table(scene, name, entries)
