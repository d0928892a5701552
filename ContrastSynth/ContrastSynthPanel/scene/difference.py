"""The difference of two volumes, as a node with signed colours."""

from dataclasses import dataclass

import numpy as np
import slicer
from slicer.i18n import tr as _

from ContrastSynthLib.preprocessing.normalisation import fit
from ContrastSynthLib.volumes import Volume
from ContrastSynthPanel.scene import bridge, colours
from ContrastSynthPanel.scene.uptake_results import brain_of, distinct_names, marked
from ContrastSynthPanel.widgets.notice import on_one_grid

MARK = "difference by ContrastSynth, for research only"
DERIVED = "ContrastSynth.Derived"  # saved scenes hold this name: it is never changed
WINDOW_PERCENTILE = 99.0  # of what differs: the few voxels beyond it would dim all others
NORMALISE = {
    "median": _("By medians of the brain"),
    "mean": _("By means of the brain"),
    "none": _("Not at all"),
}
UNITS = {"median": _("medians"), "mean": _("means"), "none": ""}


@dataclass(frozen=True)
class Difference:
    """The node, the end of a good symmetric window, the largest value, and what was done."""

    node: object
    window: float
    largest: float
    summary: str


def show_difference(nodes: dict, normalise: str, resample: bool) -> Difference:
    """Add, or change in place, the second of two nodes by role less the first.

    Raises RequestError for what is no scan, and DifferingGrids unless ``resample``.
    """
    names = distinct_names(nodes)
    first, second = names.values()
    volumes = {names[role]: bridge.volume_from_node(node) for role, node in nodes.items()}
    moved = not volumes[first].grid.is_same(volumes[second].grid)
    volumes = on_one_grid(volumes, first, resample)
    arrays, text = normalised(volumes, normalise)
    array = np.asarray(arrays[second] - arrays[first], np.float32)
    source = next(filter(None, (volumes[name].synthetic for name in (second, first))), None)
    made = Volume(array, volumes[first].grid, synthetic=marked(MARK, source))
    name = _("Difference: {second} - {first}").format(first=first, second=second)
    name = bridge.synthetic_name(name, bool(source))
    node = bridge.own_volume(slicer.mrmlScene, made, next(iter(nodes.values())), name)
    node.SetAttribute(DERIVED, f"{second} - {first}; normalised: {normalise}")
    sizes = np.abs(array[array != 0])
    largest = float(sizes.max()) if sizes.size else 0.0
    window = float(np.percentile(sizes, WINDOW_PERCENTILE)) if sizes.size else 0.0
    text = _("{second} less {first}. {text}").format(first=first, second=second, text=text)
    if moved:
        text += " " + _("'{name}' was resampled by its position.").format(name=second)
    colour_node = colours.signed_colours(slicer.mrmlScene)
    node.GetDisplayNode().SetAndObserveColorNodeID(colour_node.GetID())
    node.GetDisplayNode().SetAutoWindowLevel(False)
    return Difference(node, window, largest, text)


def normalised(volumes: dict[str, Volume], kind: str) -> tuple[dict, str]:
    """Return the arrays of two volumes, divided by their own levels, and what was done."""
    if kind == "none":
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


def set_window(node, end: float) -> None:
    """Let the colours of a difference reach from -end to end, with zero in the middle."""
    node.GetDisplayNode().SetWindowLevel(2.0 * end, 0.0)
