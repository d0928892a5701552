"""The nodes that show an uptake: overlay, mask, and the map of missed and invented enhancement.

They are known by the nodes that they were computed from. So a second patient whose scans have
the same names gets nodes of its own, and the same pair again changes its own in place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import slicer
from slicer.i18n import tr as _

from ContrastSynthLib.files.images import SYNTHETIC_KEY
from ContrastSynthLib.volumes import Volume
from ContrastSynthPanel.scene import bridge, colours, relations, tables
from ContrastSynthPanel.scene.bridge import LABEL_MAP, SEGMENTATION, SYNTHETIC, VOLUME
from ContrastSynthPanel.scene.case import PAIR, TRUTH
from ContrastSynthPanel.scene.foregrounds import marked
from ContrastSynthPanel.scene.result_names import give_name
from ContrastSynthPanel.scene.run_results import MAP_COLOURS, UPTAKE_MASK
from ContrastSynthPanel.scene.uptake_sources import OWN_MAP, Sources

Node = Any  # of MRML
DRAWN_FROM = 0.1  # what a soft overlay has below this lets the scan through
UPTAKE_MARK = "uptake mask by ContrastSynth, for research only"
MAP_MARK = "map of missed and invented enhancement by ContrastSynth, for research only"
# What nodes are, by which they are found again: saved scenes hold these.
OVERLAY, MASK, COMPARISON, LESIONS = "overlay", "mask", "enhancement", "lesions"
DERIVED_AS = {
    OVERLAY: "uptake",
    MASK: "mask of uptake",
    COMPARISON: "missed and invented enhancement",
    LESIONS: "table of lesions",
}
TITLES = {
    OVERLAY: _("uptake"),
    MASK: _("uptake mask"),
    COMPARISON: _("missed and invented"),
    LESIONS: _("lesions"),
}


class UptakeNodes:
    """Adds nodes, which ``made`` has by what they are. ``synthetic`` is the mark of the source."""

    def __init__(self, sources: Sources, names: Mapping[str, str], synthetic: str | None) -> None:
        """Add none yet."""
        self._sources, self._names, self._synthetic = sources, names, synthetic
        self._place = sources["post" if "post" in sources else OWN_MAP].place
        self.made: dict[str, Node] = {}
        self._new: list[Node] = []

    def add_overlay(self, soft: Volume) -> None:
        """Add the soft mask, drawn in colours over the scan."""
        node = self._node(VOLUME, OVERLAY, (*PAIR, OWN_MAP))
        if node.GetDisplayNode() is None:  # one that does not look for a window itself: it is slow
            node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        display.SetAutoWindowLevel(False)
        self._fill(node, soft, UPTAKE_MARK, self._synthetic)
        display.SetAndObserveColorNodeID(MAP_COLOURS)
        display.SetWindowLevel(1.0, 0.5)
        display.AutoThresholdOff()
        display.SetThreshold(DRAWN_FROM, 1.0)
        display.SetApplyThreshold(True)

    def add_mask(self, mask: Volume) -> None:
        """Add the mask, as a segmentation."""
        node = self._node(SEGMENTATION, MASK, (*PAIR, OWN_MAP))
        bridge.fill_segmentation(node, mask, self._place)
        node.SetAttribute(SYNTHETIC, marked(UPTAKE_MARK, self._synthetic))
        beside(node, self._place)

    def add_comparison(self, labels: Volume, made: str, synthetic: str | None) -> None:
        """Add the map of missed and invented enhancement; ``made`` is the role of the result."""
        self._synthetic = synthetic
        node = self._node(LABEL_MAP, COMPARISON, (*PAIR, TRUTH), self._names[made])
        if node.GetDisplayNode() is None:
            node.CreateDefaultDisplayNodes()
        self._fill(node, labels, MAP_MARK, synthetic)
        table = colours.kind_colours(slicer.mrmlScene)
        node.GetDisplayNode().SetAndObserveColorNodeID(table.GetID())

    def add_table(self, rows: list[dict[str, Any]]) -> None:
        """Add the rows of lesions, or of regions of uptake, as a table."""
        node = self._node(tables.TABLE, LESIONS, (*PAIR, TRUTH, OWN_MAP))
        tables.fill_table(node, rows)

    def drop_new(self) -> None:
        """Take back what was not there before."""
        for node in self._new:
            slicer.mrmlScene.RemoveNode(node)

    def _node(self, class_name: str, what: str, roles: tuple[str, ...], of: str = "") -> Node:
        """Return the node of what was computed from the sources of these roles, found or new."""
        used = {role: self._sources[role].node for role in roles if role in self._sources}
        before = slicer.mrmlScene.GetNumberOfNodesByClass(class_name)
        node = relations.computed_node(class_name, DERIVED_AS[what], used)
        if slicer.mrmlScene.GetNumberOfNodesByClass(class_name) > before:
            self._new.append(node)
        give_name(node, self._name(what, of))
        self.made[what] = node
        return node

    def _name(self, what: str, of: str) -> str:
        """Return a name: SYNTHETIC first, the scans last, where lists cut names off."""
        names = {role: name.replace(f"{SYNTHETIC_KEY} ", "") for role, name in self._names.items()}
        text = of.replace(f"{SYNTHETIC_KEY} ", "") or (
            names[OWN_MAP] if OWN_MAP in names else "{post} - {pre}".format(**names)
        )
        patient, like = relations.patient_name(self._place), self._place.GetName()
        if patient and len(slicer.util.getNodes(like, useLists=True).get(like, [])) > 1:
            text = f"{patient}, {text}"
        title = TITLES[what]
        first = f"{SYNTHETIC_KEY} {title}" if self._synthetic else title[:1].upper() + title[1:]
        return f"{first}: {text}"

    def _fill(self, node: Node, volume: Volume, mark: str, source: str | None) -> None:
        volume = volume.with_array(volume.array, marked(mark, source))
        bridge.fill_node(node, volume, *bridge.place_of(volume.grid, self._place))
        beside(node, self._place)


def beside(node: Node, scan: Node) -> None:
    """List a node where the subject hierarchy has a scan: under its patient."""
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    if item := tree.GetItemByDataNode(scan):
        tree.CreateItem(tree.GetItemParent(item), node)


def hide_others(made: Mapping[str, Node]) -> None:
    """Hide the masks of other uptakes: two over one another cannot be read."""
    kinds = (DERIVED_AS[MASK], UPTAKE_MASK)
    for node in slicer.util.getNodesByClass(SEGMENTATION):
        other = node is not made.get(MASK) and node.GetAttribute(relations.DERIVED) in kinds
        if other and node.GetDisplayNode() is not None:
            node.GetDisplayNode().SetVisibility(False)
