"""How an uptake is drawn in the slice views, and how these were before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ContrastSynthPanel.scene import uptake_nodes, views
from ContrastSynthPanel.scene.uptake_nodes import COMPARISON, MASK, OVERLAY
from ContrastSynthPanel.scene.view_keeper import ViewKeeper, is_there

Node = Any  # of MRML


@dataclass(frozen=True)
class Look:
    """What is seen: the uptake, or missed and invented enhancement, and its regions how.

    ``regions`` is outline, fill or none; ``opacity`` 0 to 1.
    """

    lesions: bool = False
    overlay: bool = True
    regions: str = "outline"
    opacity: float = 0.5


class UptakeViews:
    """Shows the nodes of an uptake; ``keeper`` knows how the views were before."""

    def __init__(self) -> None:
        """Change nothing yet."""
        self.keeper = ViewKeeper()

    def lay_out(self, scan: Node, made: Mapping[str, Node], look: Look) -> None:
        """Show the overlay over the scan in all slice views, and have these look at the scan."""
        views.show_layers(scan, made[OVERLAY], look.opacity, self.keeper)
        uptake_nodes.hide_others(made)
        self.draw(made, look)

    def draw(self, made: Mapping[str, Node], look: Look) -> None:
        """Draw what is there as it was chosen; what others put into the views is left alone."""
        there = {what: node for what, node in made.items() if is_there(node)}
        overlay = look.opacity if look.overlay and not look.lesions else 0.0
        for view, composite in views.slice_views():
            if OVERLAY in there and composite.GetForegroundVolumeID() == there[OVERLAY].GetID():
                self.keeper.set(composite, "foreground_opacity", overlay)
            if COMPARISON in there:
                self._draw_labels(view, composite, there[COMPARISON], look)
        if MASK in there:
            display = there[MASK].GetDisplayNode()
            display.SetVisibility(look.regions != "none" and not look.lesions)
            display.SetVisibility2DFill(look.regions == "fill")
            display.SetOpacity2DFill(look.opacity)
            display.SetVisibility2DOutline(True)

    def _draw_labels(self, view: Node, composite: Node, labels: Node, look: Look) -> None:
        outline = look.regions == "outline"
        if look.lesions and look.regions != "none":
            self.keeper.set(composite, "label", labels)
            self.keeper.set(composite, "label_opacity", 1.0 if outline else look.opacity)
            self.keeper.set(view, "outline", int(outline))
        elif composite.GetLabelVolumeID() == labels.GetID():
            self.keeper.set(composite, "label", None)

    def put_away(self, made: Mapping[str, Node]) -> None:
        """Put the views back as they were, and hide the mask."""
        self.keeper.put_back()
        if is_there(made.get(MASK)):
            made[MASK].GetDisplayNode().SetVisibility(False)
