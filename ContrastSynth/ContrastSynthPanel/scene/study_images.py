"""The images of a blinded study in the scene: under names that tell nothing, all shown alike."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import slicer

from ContrastSynthPanel.scene import bridge

Node = Any  # of MRML


class StudyImages:
    """Volumes that are there while they are read, and no longer."""

    def __init__(self) -> None:
        """Show nothing."""
        self.nodes: dict[str, Node] = {}

    def load(self, folder: Path, names: Mapping[str, str]) -> None:
        """Take images of a readers' folder, by titles, in place of those that are shown.

        Raises RequestError for one that cannot be read; then nothing is shown.
        """
        from ContrastSynthLib.files.images import read_volume
        from ContrastSynthLib.reader_study.blinding import LEVELS, image_file

        self.clear()
        files = {title: image_file(folder, name) for title, name in names.items()}
        volumes = {title: read_volume(file) for title, file in files.items()}
        for title, volume in volumes.items():
            node = slicer.mrmlScene.AddNewNodeByClass(bridge.VOLUME, title)
            bridge.fill_node(node, volume, volume.grid.index_to_ras, None)
            node.SetSaveWithScene(False)
            node.HideFromEditorsOn()
            node.CreateDefaultDisplayNodes()
            display = node.GetDisplayNode()
            display.SetAutoWindowLevel(False)
            display.SetWindowLevel(LEVELS, LEVELS / 2)
            display.SetSaveWithScene(False)
            self.nodes[title] = node

    def show(self, title: str, *, fit: bool = False) -> None:
        """Show one of the images in the slice views, alone."""
        slicer.util.setSliceViewerLayers(
            background=self.nodes[title], foreground=None, label=None, fit=fit
        )

    def clear(self) -> None:
        """Remove the images from the scene."""
        for node in self.nodes.values():
            if node.GetScene() is not None:
                slicer.mrmlScene.RemoveNode(node)
        self.nodes = {}
