"""What changed of nodes since something was measured of them, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slicer.i18n import tr as _

from ContrastSynthPanel.scene import stamps

Node = Any  # of MRML
Stamps = dict[str, tuple[Any, ...]]


def stamp_of(node: Node | None, segment: str = "", phase: int = 0) -> tuple[Any, ...]:
    """Return what changes when anything does that a measurement of a node depends on.

    ``phase`` is the number, from 1, of the one phase of a series that counts; 0 is all of it.
    """
    if node is None or node.GetScene() is None:
        return "", "", 0, ()
    held = stamps.phase_stamp(node, phase - 1) if phase else stamps.stamp(node, segment)
    return node.GetID(), segment, phase, held


def change(
    before: Stamps, now: Stamps, titles: Mapping[str, str], nodes: Mapping[str, Node]
) -> str:
    """Return the first of what changed of the nodes in ``titles``, which say what each is.

    It is a sentence without its full stop; nothing where nothing changed, or was measured.
    """
    for role, title in titles.items():
        was, found = before.get(role, now[role]), now[role]
        if found == was:
            continue
        if found[0] != was[0]:
            text = _("another {what} is chosen") if found[0] else _("the {what} is gone")
            return text.format(what=title)
        text = _("'{name}' was changed since")
        if found[1] != was[1]:
            text = _("another segment of '{name}' is chosen")
        elif found[2] != was[2]:
            text = _("another phase of '{name}' is shown")
        return text.format(name=nodes[role].GetName())
    return ""
