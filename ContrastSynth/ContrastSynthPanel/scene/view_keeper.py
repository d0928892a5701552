"""The one keeper of views: what was changed of them for a while, and how it was before.

Whatever is put back was changed by the panel, and by nobody else since: a person's own layout,
window or slice stays as the person left it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeGuard

import numpy as np
import slicer

Node = Any  # of MRML
TOLERANCE = 1e-5  # of numbers, relative to their size: a scene file holds six digits of them


def _volume(layer: str) -> tuple[Callable, Callable]:
    def read(node: Node) -> Node | None:
        found = getattr(node, f"Get{layer}VolumeID")()
        return slicer.mrmlScene.GetNodeByID(found) if found else None

    def write(node: Node, volume: Node | None) -> None:
        getattr(node, f"Set{layer}VolumeID")(volume.GetID() if is_there(volume) else None)

    return read, write


def _plain(name: str) -> tuple[Callable, Callable]:
    return (
        lambda node: getattr(node, f"Get{name}")(),
        lambda node, value: getattr(node, f"Set{name}")(value),
    )


def _read_orientation(node: Node) -> list[float]:
    return [float(x) for x in slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS())[:3, :3].ravel()]


def _write_orientation(node: Node, numbers: list[float]) -> None:
    matrix = slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS())
    matrix[:3, :3] = np.reshape(numbers, (3, 3))
    _write_matrix(node, matrix)


def _read_centre(node: Node) -> list[float]:
    return [float(x) for x in slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS())[:3, 3]]


def _write_centre(node: Node, numbers: list[float]) -> None:
    matrix = slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS())
    matrix[:3, 3] = numbers
    _write_matrix(node, matrix)


def _write_matrix(node: Node, matrix: np.ndarray) -> None:
    node.GetSliceToRAS().DeepCopy(slicer.util.vtkMatrixFromArray(matrix))
    node.UpdateMatrices()


def _read_size(node: Node) -> list[list[float]]:
    return [list(node.GetDimensions()), list(node.GetFieldOfView())]


def _write_size(node: Node, sizes: list[list[float]]) -> None:
    dimensions, field_mm = sizes
    # Once the layout is back, Qt gives the view its old size, but later: it scales what is here.
    node.SetDimensions(*(int(one) for one in dimensions))
    node.SetFieldOfView(*field_mm)


def _read_window(node: Node) -> list[float]:
    return [node.GetWindow(), node.GetLevel(), float(node.GetAutoWindowLevel())]


def _write_window(node: Node, values: list[float]) -> None:
    window, level, automatic = values
    node.SetAutoWindowLevel(False)
    node.SetWindowLevel(window, level)
    node.SetAutoWindowLevel(bool(automatic))


LAYOUT, SIZE = "layout", "size"
PROPERTIES: dict[str, tuple[Callable, Callable]] = {
    LAYOUT: _plain("ViewArrangement"),
    "background": _volume("Background"),
    "foreground": _volume("Foreground"),
    "label": _volume("Label"),
    "foreground_opacity": _plain("ForegroundOpacity"),
    "label_opacity": _plain("LabelOpacity"),
    "linked": _plain("LinkedControl"),
    "outline": _plain("UseLabelOutline"),
    "orientation": (_read_orientation, _write_orientation),
    "centre": (_read_centre, _write_centre),
    SIZE: (_read_size, _write_size),
    "fill": _plain("Visibility2DFill"),  # of a segmentation: else only its outlines are seen
    "window": (_read_window, _write_window),
}
"""What is kept of layout, composite, slice and display nodes: how it is read and written.

They are put back in this order. Orientation and centre are apart: somebody who scrolled through a
view that the panel had turned finds it as it was before, at the place that was scrolled to.
"""


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
        with self.changing(node, name):
            PROPERTIES[name][1](node, value)

    @contextmanager
    def changing(self, node: Node, *names: str) -> Iterator[None]:
        """Take what is done to these properties of a node inside for what the panel made of it."""
        found = {name: PROPERTIES[name][0](node) for name in names}
        try:
            yield
        finally:
            for name, now in found.items():
                key = node.GetID(), name
                known = self._changes.get(key)
                mine = known is not None and same(known.given, now)
                before = known.before if known is not None and mine else now
                self._changes[key] = Change(node, name, before, PROPERTIES[name][0](node))

    def put_back(self, nodes: Iterable[Node] | None = None) -> None:
        """Give all, or these nodes, back what they had, but for what somebody changed since."""
        held = None if nodes is None else list(nodes)
        ended = [one for one in self._changes.values() if held is None or one.node in held]
        order = list(PROPERTIES)
        # What a person changed is found before the layout goes back, which resizes the views.
        mine = [one for one in ended if self._is_mine(one)]
        self._changes = {key: one for key, one in self._changes.items() if one not in ended}
        for one in sorted(mine, key=lambda change: order.index(change.name)):
            if not same(one.before, one.given):
                PROPERTIES[one.name][1](one.node, one.before)

    def _is_mine(self, one: Change) -> bool:
        if not is_there(one.node):
            return False
        now = PROPERTIES[one.name][0](one.node)
        if now is None and one.given is not None:  # a volume that was deleted: nobody's choice
            return not is_there(one.given)
        if one.name == SIZE and self._in_own_layout():
            return True  # Qt resized it, and a zoom in a view of another size means nothing there
        return same(now, one.given)

    def _in_own_layout(self) -> bool:
        changed = [one for one in self._changes.values() if one.name == LAYOUT]
        return any(one.before != one.given and self._is_mine(one) for one in changed)

    @property
    def kept(self) -> list[dict[str, Any]]:
        """What a saved scene keeps, to put the views back when it is opened."""
        return [one._asdict() for one in self._changes.values()]

    def restore(self, kept: list[dict[str, Any]]) -> None:
        """Take up what an earlier keeper had not put back."""
        for one in kept:
            if one.get("node") is not None and one.get("name") in PROPERTIES:
                self._changes[(one["node"].GetID(), one["name"])] = Change(**one)


def is_there(node: Node | None) -> TypeGuard[Node]:
    """Return whether a node is in the scene."""
    return node is not None and bool(slicer.mrmlScene.IsNodePresent(node))


def same(one: Any, other: Any) -> bool:
    """Return whether two values are equal, numbers but for rounding."""
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return abs(one - other) <= TOLERANCE * max(1.0, abs(one), abs(other))
    return one is other or one == other
