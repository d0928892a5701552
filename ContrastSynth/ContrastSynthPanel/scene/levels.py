"""Volumes shown alike: the window of one for all of them, and each its own again afterwards."""

import slicer
from slicer.i18n import tr as _

from ContrastSynthLib.errors import ContrastSynthError
from ContrastSynthLib.preprocessing.normalisation import fit
from ContrastSynthPanel.scene import bridge
from ContrastSynthPanel.scene.difference import UNITS
from ContrastSynthPanel.scene.uptake_results import brain_of


class Levels:
    """The windows of volumes as they were before: ``kept`` is JSON, with nodes as nodes."""

    def __init__(self, kept=()):
        """Remember none, or what an earlier one kept."""
        self.kept, self._brains = list(kept), {}

    def show_alike(self, nodes: list, normalise: str) -> tuple[str, str]:
        """Give all volumes the window and level of the first, scaled by their levels.

        Returns a kind of message and its text. Without a level, each keeps its own window.
        """
        self.put_back([one["node"] for one in self.kept if one["node"] not in nodes])
        try:
            brains = [self._brain(node, normalise) for node in nodes]
        except ContrastSynthError as error:
            self.put_back()
            return "warning", _("Each in its own window. {error}").format(error=error)
        first, (level, where) = nodes[0].GetName(), brains[0]
        for node, (other, _where) in zip(nodes, brains, strict=True):
            self._remember(node)
            shown = nodes[0].GetDisplayNode()
            window = shown.GetWindow() * other / level, shown.GetLevel() * other / level
            node.GetDisplayNode().SetAutoWindowLevel(False)
            node.GetDisplayNode().SetWindowLevel(*window)
        text = _("All in the window of '{first}'.")
        if normalise != "none":
            text = _("All in the window of '{first}', scaled by their {kind} in the {where}.")
        return "info", text.format(first=first, kind=UNITS[normalise], where=where)

    def put_back(self, nodes=None) -> None:
        """Give these volumes, or all, their own windows again, but for those that are gone."""
        for one in list(self.kept):
            if nodes is None or one["node"] in nodes:
                self.kept.remove(one)
                if one["node"] is not None and slicer.mrmlScene.IsNodePresent(one["node"]):
                    display = one["node"].GetDisplayNode()
                    display.SetWindowLevel(one["window"], one["level"])
                    display.SetAutoWindowLevel(one["auto"])

    def _remember(self, node) -> None:
        if node.GetDisplayNode() is None:
            node.CreateDefaultDisplayNodes()
        if node not in [one["node"] for one in self.kept]:
            display = node.GetDisplayNode()
            window = {"window": display.GetWindow(), "level": display.GetLevel()}
            self.kept.append({"node": node, "auto": bool(display.GetAutoWindowLevel()), **window})

    def _brain(self, node, normalise: str) -> tuple[float, str]:
        """Return the level of a volume and where it was measured, anew only for other voxels."""
        if normalise == "none":
            return 1.0, ""
        bridge.world_grid(node)  # raises where there are no voxels
        key = node.GetID(), node.GetImageData().GetMTime(), normalise
        if key not in self._brains:
            volume = bridge.volume_from_node(node)
            region = brain_of([volume])
            where = _("outline of the head") if region.message else _("brain")
            self._brains[key] = fit(normalise, volume.array, region.mask).scale, where
        return self._brains[key]
