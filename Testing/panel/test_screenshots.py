"""Pictures of every tab, as the test host draws it: ``make screenshots`` keeps them to look at."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed")
pytest.importorskip("slicer", reason="slicer-core is not installed")

import slicer
from host import pick, press, pump, screenshot

from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.registry import METHODS
from ContrastSynthLib.result import Result
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
    take(widget, folder / f"synthesise_{key}.png")


def take(widget, path):
    content = screenshot(widget, path, width=WIDTH).read_bytes()
    assert content.startswith(b"\x89PNG")
    assert int.from_bytes(content[16:20], "big") == WIDTH


def shown(panel, key):
    """Show a tab, as a click on it does."""
    panel.tab_widget.setCurrentIndex(list(panel.tabs).index(key))
    return panel.tabs[key]


def run_method(tab, key):
    pick(tab.method_combo, METHODS[key].title)
    press(tab.run.apply_button)
    pump(lambda: not tab.run.running, 60.0)


def test_the_quality_tab(widget, folder):
    tab = shown(widget.panel, "quality")
    take(widget, folder / "quality_empty.png")
    shown(widget.panel, "synthesise")
    run_method(widget.panel.synthesise, "physics_pre")
    shown(widget.panel, "quality")
    pump(lambda: not tab._pick_timer.active)
    press(tab.run.apply_button)
    pump(lambda: not tab.run.running, 60.0)
    take(widget, folder / "quality_measured.png")


def test_the_inversion_tab(widget, folder):
    from ContrastSynthPanel import bridge
    from ContrastSynthPanel.job import Event

    tab = shown(widget.panel, "inversion")
    take(widget, folder / "inversion_empty.png")
    told = made_provenance(24)
    history = told["record"]["history"]
    rows = [dict(zip(history, row, strict=True)) for row in zip(*history.values(), strict=True)]
    tab.heard(Event("started"))
    tab.heard(Event("progress", "Iteration 9, objective 0.0012", 0.3, measures=rows[:9]))
    take(widget, folder / "inversion_running.png")
    low = slicer.util.getNode("T1 low dose")
    scan = bridge.volume_from_node(low)
    result = Result({"post": scan.with_array(scan.array, "for a picture")}, told)
    bridge.add_result(slicer.mrmlScene, result, low)
    tab.heard(Event("finished"))
    tab.iterate.value = 8.0
    take(widget, folder / "inversion_done.png")


def made_provenance(count):
    """What lip_car might record of a run of ``count`` iterations."""
    n = np.arange(1, count + 1)
    fidelity, prior = 3e-2 / n**2.4 + 2e-5, 1e-3 * (1 - 0.97 / n**0.5)
    names = ("iteration", "evaluations", "objective", "fidelity", "regulariser", "change")
    columns = (n, n + 1, fidelity + 0.1 * prior, fidelity, prior, 0.1 / n**2)
    return {
        "method": {"key": "lip_car"},
        "parameters": {
            name: {"value": value, "source": "default"}
            for name, value in {"solver": "lbfgs", "alpha": 0.0, "iterate": 0}.items()
        },
        "record": {
            "alpha_mm": 0.1,
            "stopped_by": "tolerance",
            "history": {k: v.tolist() for k, v in zip(names, columns, strict=True)},
        },
        "outputs": {},
        "warnings": [],
    }
