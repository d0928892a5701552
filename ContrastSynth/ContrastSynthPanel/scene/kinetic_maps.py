"""Maps of how each voxel takes up and loses the agent, of a series and of the synthetic one.

Each is a node of the scene, known by the series that it was computed from, drawn in colours that
the colour-blind can distinguish over the phase that the slice views show.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import slicer
from slicer.i18n import tr as _

from ContrastSynthLib.analysis.kinetic_maps import (
    MARK,
    TYPE,
    TYPE_COLOURS,
    TYPE_TITLES,
    kinetic_maps,
    most_rising,
)
from ContrastSynthLib.analysis.kinetics import Timing, curve_timing, mean_curve
from ContrastSynthLib.analysis.kinetics_report import SAME_TIME_S
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.images import SYNTHETIC_KEY
from ContrastSynthLib.volumes import BoolArray, Volume, times_of
from ContrastSynthPanel.background import Elsewhere
from ContrastSynthPanel.scene import bridge, colours, relations, scales, views
from ContrastSynthPanel.scene.bridge import LABEL_MAP, VOLUME
from ContrastSynthPanel.scene.foregrounds import brain_of, marked
from ContrastSynthPanel.scene.kinetic_case import SERIES, SYNTHETIC, Asked
from ContrastSynthPanel.scene.kinetic_results import is_made, reading
from ContrastSynthPanel.scene.result_names import give_name
from ContrastSynthPanel.scene.view_keeper import ViewKeeper

Node = Any  # of MRML
NO_MAP = "none"
REGION, WHOLE = "region", "whole"  # over what a map is computed
# Before the agent, air and suppressed fat are below this share of the bright tissue.
AIR_SHARE, BRIGHT_PERCENT = 0.2, 95
OF_ENHANCING = ("signal_enhancement_ratio", "delayed_change")  # elsewhere they are noise


class Kind(NamedTuple):
    """A map: its title, its name in short, the values at both ends of its colours, and its unit.

    The neutral colour lies in the middle, unless the colours ``rise`` from nothing.
    """

    title: str
    short: str
    low: float
    high: float
    factor: float = 1.0
    unit: str = ""
    says: str = ""
    rises: bool = False
    turned: bool = False  # the low end has the colour of a washout


KINDS = {
    "signal_enhancement_ratio": Kind(
        _("Signal enhancement ratio (SER)"),
        _("SER"),
        0.0,
        2.0,
        says=_("Below 1 the signal still rises, above 1 the agent washes out."),
    ),
    TYPE: Kind(_("Type of curve"), _("curve type"), 0.0, 3.0, says=_("Without colour: no type.")),
    "delayed_change": Kind(
        _("Delayed change"),
        _("delayed change"),
        -0.5,
        0.5,
        100.0,
        " %",
        _("From the first peak to the last minute; within 10 % it is a plateau."),
        turned=True,
    ),
    "initial_enhancement": Kind(
        _("Initial enhancement"),
        _("initial enhancement"),
        0.0,
        2.0,
        100.0,
        " %",
        _("The peak of the first two minutes over the signal before the agent."),
        rises=True,
    ),
}


@dataclass(frozen=True)
class Maps:
    """The nodes of a kind of map by the role of their series, and what it was computed over."""

    kind: str
    nodes: Mapping[str, Node] = field(default_factory=dict)
    over: str = ""
    over_whole: bool = False


def making_maps(asked: Asked, kind: str, whole: bool) -> Generator[Any, Any, Maps]:
    """Return the maps of a kind of all series of a case, as a task.

    They are of the region, or of the ``whole`` of the patient. Agent arrives when it does in the
    region, or in what rises most, of the real series. Raises RequestError, or MissingError where
    finding the patient needs a package.
    """
    several, regions = yield from reading(asked, whole)
    yield _("Computing the map")
    if whole:
        found = yield Elsewhere(brain_of, several[0])
        mask = yield Elsewhere(without_air, several[0], found.mask)
        over = _("all tissue")
    else:
        mask = np.logical_or.reduce([region.mask.array > 0 for region in regions])
        names = ", ".join(f"'{region.name}'" for region in regions)
        over = _("the region {names}").format(names=names)
    timing = yield Elsewhere(timing_in, several[0], mask, whole)
    nodes = {}
    for role, series in zip((SERIES, SYNTHETIC), several, strict=False):
        full = several[0] if role == SERIES else completed(several[0], series)
        map_ = yield Elsewhere(map_of, kind, full, mask, timing, whole)
        map_ = map_.with_array(map_.array, marked(MARK, series[0].synthetic))
        nodes[role] = add_map(kind, asked.nodes[role], map_, is_made(series))
        yield
    return Maps(kind, nodes, over, whole)


def without_air(series: Sequence[Volume], mask: BoolArray) -> BoolArray:
    """Return a mask without what has hardly a signal: ratios of noise are no kinetics."""
    before = series[0].array
    return mask & (before >= AIR_SHARE * np.percentile(before[mask], BRIGHT_PERCENT))


def map_of(
    kind: str, series: Sequence[Volume], mask: BoolArray, timing: Timing, whole: bool
) -> Volume:
    """Return a map; of the whole patient, ratios only where there is enhancement to speak of."""
    maps = kinetic_maps(series, mask, timing=timing)
    if not whole or kind not in OF_ENHANCING:
        return maps[kind]
    return maps[kind].with_array(np.where(maps[TYPE].array > 0, maps[kind].array, 0.0))


def timing_in(series: Sequence[Volume], mask: BoolArray, whole: bool) -> Timing:
    """Return when agent arrives in a mask, of the whole patient in what rises most there."""
    region = most_rising(series, mask) if whole else mask
    timing = curve_timing(times_of(series).tolist(), mean_curve(series, region))
    if timing is None:
        text = _("No agent arrives there: the mean signal rises by less than 10 %. No map.")
        raise RequestError(text)
    return timing


def completed(real: Sequence[Volume], synthetic: Sequence[Volume]) -> list[Volume]:
    """Return a synthetic series with the real phases where it has none, as the measures have it."""
    made = dict(zip(times_of(synthetic).tolist(), synthetic, strict=True))
    full = []
    for time_s, volume in zip(times_of(real).tolist(), real, strict=True):
        nearest = min(made, key=lambda other: abs(other - time_s))
        full.append(made[nearest] if abs(nearest - time_s) <= SAME_TIME_S else volume)
    return [
        Volume(one.array, one.grid, volume.acquisition)
        for one, volume in zip(full, real, strict=True)
    ]


# Nodes


def add_map(kind: str, series: Node, map_: Volume, synthetic: bool) -> Node:
    """Put a map of a series into the scene, or change it in place, and return its node."""
    what = f"kinetic map {kind}"  # saved scenes hold this
    node = relations.computed_node(LABEL_MAP if kind == TYPE else VOLUME, what, {SERIES: series})
    place = bridge.volume_of_sequence(series)
    if node.GetDisplayNode() is None:  # one that does not look for a window itself: it is slow
        node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    if kind != TYPE:
        display.SetAutoWindowLevel(False)
    bridge.fill_node(node, map_, *bridge.place_of(map_.grid, place))
    first = f"{SYNTHETIC_KEY} {KINDS[kind].short}" if synthetic else KINDS[kind].short
    name = series.GetName().replace(f" {SYNTHETIC_KEY}", "").replace(f"{SYNTHETIC_KEY} ", "")
    give_name(node, f"{first}: {name}")
    _colour(display, kind)
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    if item := tree.GetItemByDataNode(place):
        tree.CreateItem(tree.GetItemParent(item), node)
    return node


def _colour(display: Node, kind: str) -> None:
    entries = colours_of(kind)
    table = bridge.colour_table(slicer.mrmlScene, KINDS[kind].title, entries)
    display.SetAndObserveColorNodeID(table.GetID())
    if kind != TYPE:
        low, high = KINDS[kind].low, KINDS[kind].high
        display.SetWindowLevel(high - low, (high + low) / 2)
        display.SetInterpolate(False)  # between the region and nothing there is nothing


def colours_of(kind: str) -> list[tuple[str, Any]]:
    """Return titles and colours of a kind of map; where there is no value there is no colour."""
    if kind == TYPE:
        shown = [(TYPE_TITLES[n], TYPE_COLOURS[n]) for n in sorted(TYPE_COLOURS)]
        return [(_("no type"), None), *shown]
    of = KINDS[kind]
    entries = scales.entries(ends_of(kind))
    nothing = round(-of.low / (of.high - of.low) * (len(entries) - 1))
    entries[nothing] = (_("nothing"), None)  # 0: outside, or not defined
    return entries


def ends_of(kind: str) -> Sequence[tuple[float, float, float]]:
    """Return the colours of a scale, in equal steps from its low to its high end."""
    if KINDS[kind].rises:
        return colours.RISING
    return colours.WASHOUT[::-1] if KINDS[kind].turned else colours.WASHOUT


def show_map(node: Node | None, share: float, keeper: ViewKeeper, region: Node = None) -> None:
    """Show a map over what the slice views show, as opaque as ``share``; None shows none.

    Of a segmentation only the outlines are seen meanwhile: filled, it would hide the map.
    """
    display = region.GetDisplayNode() if region is not None else None
    if display is not None and display.IsA("vtkMRMLSegmentationDisplayNode"):
        if node is None:
            keeper.put_back([display])
        else:
            keeper.set(display, "fill", False)
    label = node is not None and node.IsA(LABEL_MAP)
    for _view, composite in views.slice_views():
        keeper.set(composite, "foreground", None if label else node)
        keeper.set(composite, "foreground_opacity", share)
        keeper.set(composite, "label", node if label else None)
        keeper.set(composite, "label_opacity", share)
