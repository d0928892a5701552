"""Pictures of every tab, as the test host draws it: ``make screenshots`` keeps them to look at."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed")
pytest.importorskip("slicer", reason="slicer-core is not installed")

import slicer
from host import pick, press, pump, screenshot

from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.registry import METHODS
from ContrastSynthLib.run import run  # noqa: F401 - declares the methods

WIDTH = 400
NAMES = {"pre": "T1 pre", "post": "T1 post Gd", "low": "T1 low dose"}


@pytest.fixture
def folder(tmp_path):
    """Where pictures go: a temporary folder, or the one that CONTRASTSYNTH_SCREENSHOTS names."""
    named = os.environ.get("CONTRASTSYNTH_SCREENSHOTS")
    chosen = Path(named) if named else tmp_path
    chosen.mkdir(parents=True, exist_ok=True)
    return chosen


@pytest.fixture
def widget(host):
    from ContrastSynthPanel import bridge

    module = host.open_module()
    opened = module.panel
    for role, volume in sample_patient(size=(48, 56, 40)).scans.items():
        if role in NAMES:
            node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", NAMES[role])
            bridge.fill_node(node, volume, volume.grid.index_to_ras, None)
    pump(lambda: not opened.synthesise._pick_timer.active)
    yield module
    host.leave_module()


@pytest.mark.parametrize("key", sorted(METHODS))
def test_the_synthesise_tab(widget, folder, key):
    tab = widget.panel.synthesise
    pick(tab.method_combo, METHODS[key].title)
    if key == "physics_dose":
        press(tab.run.apply_button)
        pump(lambda: not tab.run.running, 60.0)
    path = screenshot(widget, folder / f"synthesise_{key}.png", width=WIDTH)
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG")
    assert int.from_bytes(content[16:20], "big") == WIDTH
