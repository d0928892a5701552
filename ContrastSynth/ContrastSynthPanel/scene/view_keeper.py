"""The one keeper of views: what was changed of them for a while, and how it was before.

Whatever is put back was changed by the panel, and by nobody else since: a person's own layout,
window or slice stays as the person left it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import slicer

Node = Any  # of MRML
TOLERANCE = 1e-6  # of numbers, relative to their size


def _volume(layer: str) -> tuple[Callable, Callable]:
    def read(node: Node) -> Node | None:
        found = getattr(node, f"Get{layer}VolumeID")()
        return slicer.mrmlScene.GetNodeByID(found) if found else None

    def write(node: Node, volume: Node | None) -> None:
        there = volume is not None and slicer.mrmlScene.IsNodePresent(volume)
        getattr(node, f"Set{layer}VolumeID")(volume.GetID() if there else None)

    return read, write


def _plain(name: str) -> tuple[Callable, Callable]:
    return (
        lambda node: getattr(node, f"Get{name}")(),
        lambda node, value: getattr(node, f"Set{name}")(value),
    )


def _several(name: str) -> tuple[Callable, Callable]:
    return (
        lambda node: list(getattr(node, f"Get{name}")()),
        lambda node, values: getattr(node, f"Set{name}")(*values),
    )


def _read_place(node: Node) -> list[float]:
    return [float(x) for x in slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS()).ravel()]


def _write_place(node: Node, numbers: list[float]) -> None:
    matrix = slicer.util.vtkMatrixFromArray(np.reshape(numbers, (4, 4)))
    node.GetSliceToRAS().DeepCopy(matrix)
    node.UpdateMatrices()


def _read_window(node: Node) -> list[float]:
    return [node.GetWindow(), node.GetLevel(), float(node.GetAutoWindowLevel())]


def _write_window(node: Node, values: list[float]) -> None:
    window, level, automatic = values
    node.SetAutoWindowLevel(False)
    node.SetWindowLevel(window, level)
    node.SetAutoWindowLevel(bool(automatic))


PROPERTIES: dict[str, tuple[Callable, Callable]] = {
    "layout": _plain("ViewArrangement"),  # of the layout node; first back, last in this table's use
    "background": _volume("Background"),
    "foreground": _volume("Foreground"),
    "label": _volume("Label"),
    "foreground_opacity": _plain("ForegroundOpacity"),
    "label_opacity": _plain("LabelOpacity"),
    "linked": _plain("LinkedControl"),
    "outline": _plain("UseLabelOutline"),
    "place": (_read_place, _write_place),
    "dimensions": _several("Dimensions"),
    "field_mm": _several("FieldOfView"),
    "window": (_read_window, _write_window),
}
"""What is kept of composite, slice, display and layout nodes: how it is read and written."""


class Change(NamedTuple):
    """What a node had, and what it was given."""

    node: Node
    name: str
    before: Any
    given: Any


class ViewKeeper:
    """Changes properties of view nodes for a while. ``kept`` is JSON, with nodes as nodes."""

    def __init__(self) -> None:
        """Change nothing yet."""
        self._changes: dict[tuple[str, str], Change] = {}

    @property
    def active(self) -> bool:
        """Whether something was changed and is not put back yet."""
        return bool(self._changes)

    def set(self, node: Node, name: str, value: Any) -> None:
        """Give a node another value, and remember what it had when nobody had changed it."""
        read, write = PROPERTIES[name]
        key, now = (node.GetID(), name), read(node)
        known = self._changes.get(key)
        mine = known is not None and same(known.given, now)
        before = known.before if known is not None and mine else now
        write(node, value)
        self._changes[key] = Change(node, name, before, read(node))

    def remember(self, node: Node, *names: str) -> None:
        """Keep how a node is before something else, such as another layout, changes it."""
        for name in names:
            now = PROPERTIES[name][0](node)
            self._changes.setdefault((node.GetID(), name), Change(node, name, now, now))

    def notice(self) -> None:
        """Take what remembered nodes are now for what the panel made of them."""
        for key, one in self._changes.items():
            self._changes[key] = one._replace(given=PROPERTIES[one.name][0](one.node))

    def put_back(self) -> None:
        """Give everything back what it had, but for what somebody changed since or deleted."""
        changes, self._changes = list(self._changes.values()), {}
        order = list(PROPERTIES)
        # What a person changed is found before the layout goes back, which resizes the views.
        mine = [one for one in changes if self._is_mine(one)]
        for one in sorted(mine, key=lambda change: order.index(change.name)):
            if not same(one.before, one.given):
                PROPERTIES[one.name][1](one.node, one.before)

    @staticmethod
    def _is_mine(one: Change) -> bool:
        there = one.node is not None and slicer.mrmlScene.IsNodePresent(one.node)
        return there and same(PROPERTIES[one.name][0](one.node), one.given)

    @property
    def kept(self) -> list[dict[str, Any]]:
        """What a saved scene keeps, to put the views back when it is opened."""
        return [one._asdict() for one in self._changes.values()]

    def restore(self, kept: list[dict[str, Any]]) -> None:
        """Take up what an earlier keeper had not put back."""
        for one in kept:
            if one.get("node") is not None and one.get("name") in PROPERTIES:
                change = Change(**one)
                self._changes[(change.node.GetID(), change.name)] = change


def same(one: Any, other: Any) -> bool:
    """Return whether two values are equal, numbers but for rounding."""
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return abs(one - other) <= TOLERANCE * max(1.0, abs(one), abs(other))
    return one is other or one == other
