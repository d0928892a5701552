"""Volumes shown alike: the window of one for all of them, scaled by how bright each is."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple

from slicer.i18n import tr as _

from ContrastSynthLib.preprocessing.normalisation import fit
from ContrastSynthLib.volumes import Volume
from ContrastSynthPanel.background import Elsewhere
from ContrastSynthPanel.scene import bridge
from ContrastSynthPanel.scene.difference import KINDS
from ContrastSynthPanel.scene.foregrounds import brain_of
from ContrastSynthPanel.scene.stamps import stamp
from ContrastSynthPanel.scene.view_keeper import ViewKeeper

Node = Any  # of MRML


class Level(NamedTuple):
    """How bright a volume is, by kind, and where that was measured."""

    by_kind: dict[str, float]
    where: str


class Levels:
    """The levels of the volumes that are compared, measured anew only where voxels changed."""

    def __init__(self) -> None:
        """Know none."""
        self._known: dict[tuple[Any, ...], Level] = {}

    def measuring(self, nodes: list[Node]) -> Generator[Any, Any, list[Level]]:
        """Return the levels of volumes, as a task. Raises ContrastSynthError where one has none."""
        found = {}
        for number, node in enumerate(nodes, 1):
            bridge.world_grid(node)  # raises where there are no voxels
            key = stamp(node)
            if key not in self._known:
                text = _("Measuring how bright the volumes are: {number} of {count}")
                yield text.format(number=number, count=len(nodes))
                volume = yield from bridge.reading_volume(node)
                self._known[key] = yield Elsewhere(level_of, volume)
            found[key] = self._known[key]
        self._known = found
        return list(found.values())


def level_of(volume: Volume) -> Level:
    """Return the level of a volume."""
    region = brain_of([volume])
    return Level(
        {kind: fit(kind, volume.array, region.mask).scale for kind in KINDS},
        _("outline of the head") if region.message else _("brain"),
    )


def show_alike(
    nodes: list[Node], levels: list[Level] | None, normalise: str, keeper: ViewKeeper
) -> str:
    """Give all volumes the window of the first, scaled by their levels; return it in words."""
    scales = [one.by_kind[normalise] for one in levels] if levels else [1.0] * len(nodes)
    displays = [display_of(node) for node in nodes]
    window, level = displays[0].GetWindow(), displays[0].GetLevel()
    for display, scale in zip(displays, scales, strict=True):
        factor = scale / scales[0]
        keeper.set(display, "window", [window * factor, level * factor, 0.0])
    first = nodes[0].GetName()
    if not levels:
        return _("All in the window of '{first}'.").format(first=first)
    text = _("All in the window of '{first}', scaled by their {kind} in the {where}.")
    return text.format(first=first, kind=KINDS[normalise], where=levels[0].where)


def display_of(node: Node) -> Node:
    """Return the display node of a volume, made where there is none."""
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
    return node.GetDisplayNode()


def own_windows(nodes: list[Node], keeper: ViewKeeper, reason: str) -> str:
    """Give each volume its own window again; return that, and why, in words."""
    keeper.put_back([node.GetDisplayNode() for node in nodes])
    return _("Each in its own window. {reason}").format(reason=reason)
