"""The difference of two volumes, as a node with signed colours."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import slicer
from slicer.i18n import tr as _

from ContrastSynthLib.files.images import SYNTHETIC_KEY
from ContrastSynthLib.preprocessing.normalisation import fit
from ContrastSynthLib.volumes import FloatArray, Volume
from ContrastSynthPanel.background import Elsewhere
from ContrastSynthPanel.scene import bridge, colours, phases, relations
from ContrastSynthPanel.scene.bridge import SEQUENCE, SYNTHETIC, VOLUME
from ContrastSynthPanel.scene.comparison import taken_apart
from ContrastSynthPanel.scene.foregrounds import brain_of, distinct_names, marked
from ContrastSynthPanel.scene.one_grid import on_one_grid
from ContrastSynthPanel.scene.result_names import give_name
from ContrastSynthPanel.scene.stamps import stamps

Node = Any  # of MRML
MARK = "difference by ContrastSynth, for research only"
DIFFERENCE = "difference"  # saved scenes hold this word: it is never changed
WINDOW_PERCENTILE = 99.0  # of what differs: the few voxels beyond it would dim all others
NONE = "none"
NORMALISE = {
    "median": _("By their medians"),
    "mean": _("By their means"),
    NONE: _("Not at all"),
}
KINDS = {"median": _("medians"), "mean": _("means")}  # of levels, as units and in sentences


@dataclass(frozen=True, eq=False)
class Difference:
    """The node, the end of a good symmetric window, the largest value, and what was done.

    ``made_of`` are the stamps, by role, of the volumes that it was computed from.
    """

    node: Node
    window: float
    largest: float
    summary: str
    made_of: dict[str, Any]


class _Computed(NamedTuple):
    volume: Volume
    window: float
    largest: float
    text: str


def seen(nodes: Mapping[str, Node]) -> dict[str, Node]:
    """Return the volumes that stand for nodes in the views: of a series, the phase shown now."""
    return {
        role: bridge.shown_volume(node) if node.IsA(SEQUENCE) else node
        for role, node in nodes.items()
    }


def names_of(nodes: Mapping[str, Node]) -> dict[str, str]:
    """Return how nodes are called, by role; of a series, with the phase that is shown."""
    names = distinct_names(dict(nodes))
    for role, node in nodes.items():
        if node.IsA(SEQUENCE):
            number = phases.shown_phase(node) + 1
            names[role] = _("{name}, phase {number}").format(name=names[role], number=number)
    return names


def making_difference(
    nodes: dict[str, Node], normalise: str, resample: bool
) -> Generator[Any, Any, Difference]:
    """Return the second of two nodes by role less the first, in its own node, as a task.

    Raises RequestError for what is no scan, and DifferingGrids unless ``resample``.
    """
    names, shown = names_of(nodes), seen(nodes)
    apart = taken_apart(*nodes.values())
    made_of, marks = stamps(shown), [mark_of(node) for node in reversed(list(nodes.values()))]
    volumes = {}
    for role, node in shown.items():
        volumes[names[role]] = yield from bridge.reading_volume(node)
    yield _("Computing the difference")
    computed = yield Elsewhere(difference_of, volumes, normalise, resample)
    first, second = nodes
    sources = {"first": nodes[first], "second": nodes[second]}
    node = relations.computed_node(VOLUME, DIFFERENCE, sources)
    source = next(filter(None, marks), None)
    give_name(node, name_of(names[first], names[second], bool(source)))
    show_signed(node)
    yield
    volume = computed.volume
    bridge.fill_node(node, volume, *bridge.place_of(volume.grid, shown[first]))
    node.SetAttribute(SYNTHETIC, marked(MARK, source))
    text = f"{computed.text} {apart}".strip()
    node.SetDescription(text)
    return Difference(node, computed.window, computed.largest, text, made_of)


def mark_of(node: Node) -> str | None:
    """Return the mark of a synthetic volume; None of a scan, also of a virtual patient's."""
    if not relations.is_synthetic(node):
        return None
    return bridge.acquisition_of(bridge.volume_of_sequence(node))[1] or node.GetAttribute(SYNTHETIC)


def name_of(first: str, second: str, synthetic: bool) -> str:
    """Return the name of a difference, SYNTHETIC first, and once, where one of the two is."""
    parts = [one.removeprefix(SYNTHETIC_KEY).strip() for one in (second, first)]
    name = _("difference: {second} - {first}").format(second=parts[0], first=parts[1])
    return f"{SYNTHETIC_KEY} {name}" if synthetic else name[:1].upper() + name[1:]


def difference_of(volumes: dict[str, Volume], normalise: str, resample: bool) -> _Computed:
    """Return the second of two volumes by name less the first, and what was done, in words."""
    first, second = volumes
    moved = not volumes[first].grid.is_same(volumes[second].grid)
    volumes = on_one_grid(volumes, first, resample)
    arrays, text = normalised(volumes, normalise)
    array = np.asarray(arrays[second] - arrays[first], np.float32)
    sizes = np.abs(array[array != 0])
    largest = float(sizes.max()) if sizes.size else 0.0
    window = float(np.percentile(sizes, WINDOW_PERCENTILE)) if sizes.size else 0.0
    text = _("'{second}' less '{first}'. {text}").format(first=first, second=second, text=text)
    if moved:
        text += " " + _("'{name}' was resampled by its position.").format(name=second)
    return _Computed(Volume(array, volumes[first].grid), window, largest, text)


def normalised(volumes: dict[str, Volume], kind: str) -> tuple[dict[str, FloatArray], str]:
    """Return the arrays of two volumes, divided by their own levels, and what was done."""
    if kind == NONE:
        text = _("Not normalised: a difference of the values as they are.")
        return {name: volume.array for name, volume in volumes.items()}, text
    region = brain_of(list(volumes.values()))
    fitted = {name: fit(kind, volume.array, region.mask) for name, volume in volumes.items()}
    first, second = (one.scale for one in fitted.values())
    text = _("Each was divided by its {kind} in the {where}: {second:.4g} and {first:.4g}.").format(
        kind=_("mean") if kind == "mean" else _("median"),
        where=_("outline of the head") if region.message else _("brain"),
        first=first,
        second=second,
    )
    return {name: fitted[name].apply(volume.array) for name, volume in volumes.items()}, text


def show_signed(node: Node) -> None:
    """Show a volume in the colours of signed values, in a window that is not looked for."""
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetAutoWindowLevel(False)
    display.SetAndObserveColorNodeID(colours.signed_colours(slicer.mrmlScene).GetID())


def set_window(node: Node, end: float) -> None:
    """Let the colours of a difference reach from -end to end, with zero in the middle."""
    node.GetDisplayNode().SetWindowLevel(2.0 * end, 0.0)
