"""Scans in the scene, and the tab that is looked at: what the tests of all tabs need."""

from __future__ import annotations

import slicer
from host import pump

VOLUME = "vtkMRMLScalarVolumeNode"


def add_volume(name, volume):
    """Return a new volume node that lies where the volume does."""
    from ContrastSynthPanel.scene import bridge

    node = slicer.mrmlScene.AddNewNodeByClass(VOLUME, name)
    bridge.fill_node(node, volume, volume.grid.index_to_ras, None)
    return node


def show_tab(panel, key):
    """Show a tab, and return it."""
    panel.tab_widget.setCurrentIndex(list(panel.tabs).index(key))
    return panel.tabs[key]


def settled(panel):
    """Wait until the panel has seen which nodes came and went."""
    pump(lambda: not panel._settle_timer.active and not panel._restore_timer.active)


def open_sections(tab):
    """Open all sections of a tab that are closed at first."""
    for section in tab.widget.findChildren("ctkCollapsibleButton"):
        section.collapsed = False
