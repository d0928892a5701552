"""The map of uncertainty that a run gives out beside its image: which it is, how it is drawn."""

from __future__ import annotations

from typing import Any

import slicer

from ContrastSynthLib.physics.constants import UPTAKE_THRESHOLD
from ContrastSynthLib.registry import IMAGE
from ContrastSynthPanel.scene import bridge, relations, scales, views
from ContrastSynthPanel.scene.bridge import OUTPUT, SEGMENTATION, UNIT, VOLUME
from ContrastSynthPanel.scene.view_keeper import ViewKeeper

Node = Any  # of MRML
# The output of a method that is the error to expect of its image, and the unit that it is in.
UNCERTAINTY, MEANS = "uncertainty", "means in the mask"
# What counts as uptake by default may be made, or hidden, by an error of the same size: that is a
# third of the way, where the colours are still far from their end.
WINDOW_END = 3 * UPTAKE_THRESHOLD
COLOURS = scales.VIRIDIS


def is_uncertainty(node: Node) -> bool:
    """Return whether a node is a map of uncertainty, in means of the brain, that a run gave out."""
    if node is None or node.GetClassName() != VOLUME:  # of a series, nothing is shown
        return False
    return (node.GetAttribute(OUTPUT), node.GetAttribute(UNIT)) == (UNCERTAINTY, MEANS)


def map_of(result: Node | None) -> Node | None:
    """Return the map of uncertainty that the run gave out which made a result; None without one."""
    node = relations.of_same_run(result).get(UNCERTAINTY)
    return node if is_uncertainty(node) else None


def image_of(result: Node | None) -> Node | None:
    """Return the image that the run of a result is about: the result itself, unless it is a map."""
    if result is None or relations.kind_of(result) == IMAGE:
        return result
    images = [o for o in relations.of_same_run(result).values() if relations.kind_of(o) == IMAGE]
    return images[0] if images else None


def show_as_uncertainty(display: Node) -> None:
    """Give the display of a map its colours, from 0, where nothing is seen, to WINDOW_END."""
    entries = scales.entries(COLOURS)
    entries[0] = ("nothing", None)  # outside of what the method computed
    table = bridge.colour_table(slicer.mrmlScene, "Uncertainty", entries)
    display.SetAndObserveColorNodeID(table.GetID())
    display.SetAutoWindowLevel(False)
    display.SetWindowLevel(WINDOW_END, WINDOW_END / 2)


def show_over(image: Node, node: Node, opacity: float, keeper: ViewKeeper) -> None:
    """Show a map over an image in all slice views; segmentations are only outlined meanwhile.

    Filled, they would hide the map just where the agent was.
    """
    views.show_layers(image, node, opacity, keeper)
    for segmentation in slicer.util.getNodesByClass(SEGMENTATION):
        if (display := segmentation.GetDisplayNode()) is not None:
            keeper.set(display, "fill", False)
