"""Views before a comparison, as versions up to the one before the panel had one case saved them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ContrastSynthPanel.scene import views
from ContrastSynthPanel.scene.view_keeper import PROPERTIES

LAYERS = ("Background", "Foreground", "Label")


def as_kept(before: dict[str, Any], levels: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what ViewKeeper.restore takes: what is shown now counts as what the panel made.

    A layer that was empty, or whose volume is gone, is emptied.
    """
    layout = before.get("layout")
    found = [(views.layout_node(), "layout", layout)] if layout is not None else []
    saved = before.get("views", {})
    for view, composite in views.slice_views():
        found += of_view(view, composite, saved.get(view.GetLayoutName(), {}))
    for one in levels:
        display = one["node"].GetDisplayNode() if one.get("node") is not None else None
        found.append((display, "window", [one["window"], one["level"], float(one["auto"])]))
    return [
        {"node": node, "name": name, "before": value, "given": PROPERTIES[name][0](node)}
        for node, name, value in found
        if node is not None
    ]


def of_view(view: Any, composite: Any, was: dict[str, Any]) -> list[tuple[Any, str, Any]]:
    """Return node, property and value of all that was saved of one slice view."""
    if not was:
        return []
    found = [(composite, name.lower(), was["layers"][name]) for name in LAYERS]
    found += [
        (composite, name, was[name]) for name in ("foreground_opacity", "label_opacity", "linked")
    ]
    matrix = np.array(was["slice_to_ras"])
    return [
        *found,
        (view, "outline", was["outline"]),
        (view, "orientation", matrix[:3, :3].ravel().tolist()),
        (view, "centre", matrix[:3, 3].tolist()),
        (view, "size", [was["dimensions"], was["field_mm"]]),
    ]
