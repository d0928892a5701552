"""Pictures of every tab: empty, running, done, failed; 400 and 600 pixels; light and dark.

``make screenshots`` keeps them to look at, and pastes those of a tab onto one sheet each.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed")
pytest.importorskip("slicer", reason="slicer-core is not installed")

import slicer
import vtk
from host import pick, press, pump, screenshot, set_theme, tick, type_text
from scans import settled, show_tab

from ContrastSynthLib.registry import METHODS
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.run import run

pytestmark = pytest.mark.slow  # they are for people: make screenshots

SMALL, SMALL_BREAST = (64, 76, 52), (64, 64, 20)
WIDTHS, HEIGHT = (400, 600), 700
EMPTY, RUNNING, DONE, FAILED = STATES = ("empty", "running", "done", "failed")
TABS = ("synthesise", "uptake", "compare", "kinetics", "profile", "quality", "inversion", "study")
WORKING = """
import json, time
print(json.dumps({"schema_version": 1, "type": "progress", "fraction": 0.45,
    "message": "Slices 1 to 24"}), flush=True)
time.sleep(60)
"""
FAILING = """
import json, sys
print(json.dumps({"schema_version": 1, "type": "error", "exit_code": 2,
    "message": "Input 'post': every voxel is 7. Choose a scan."}), flush=True)
sys.exit(2)
"""


@pytest.fixture
def folder(tmp_path):
    """Where pictures go: a temporary folder, or the one that CONTRASTSYNTH_SCREENSHOTS names."""
    named = os.environ.get("CONTRASTSYNTH_SCREENSHOTS")
    chosen = Path(named) if named else tmp_path
    chosen.mkdir(parents=True, exist_ok=True)
    return chosen


@pytest.fixture
def worker(tmp_path, monkeypatch):
    """Have the next runs done by a script."""
    from ContrastSynthPanel.widgets import run_section

    job = run_section.Job

    def use(script):
        path = tmp_path / "worker.py"
        path.write_text(script, encoding="utf-8")
        monkeypatch.setattr(run_section, "Job", partial(job, sys.executable, [str(path)]))

    return use


@pytest.fixture
def never_done(monkeypatch):
    """Have what is computed beside Slicer's thread never end."""
    from ContrastSynthPanel.background import Elsewhere

    return lambda: monkeypatch.setattr(Elsewhere, "done", property(lambda _self: False))


def brain(panel, with_result=True):
    """A virtual brain in the scene and, with it, a synthetic pre-contrast scan."""
    from ContrastSynthPanel.scene import bridge, run_results, sample_data

    nodes = sample_data.load_brain(size=SMALL)
    settled(panel)
    if with_result:
        made = run(Request("physics_pre", {"post": bridge.volume_from_node(nodes["post"])}))
        given = {"post": nodes["post"]}
        added = run_results.add_result(slicer.mrmlScene, made, nodes["post"], given)
        panel.box.look_at(added["pre"])
        settled(panel)
    return nodes


def breast(panel):
    """A virtual breast in the scene, and a dose of it as a synthetic series."""
    from ContrastSynthPanel.scene import bridge, run_results, sample_data

    from ContrastSynthLib.volumes import Series

    node = sample_data.load_breast(size=SMALL_BREAST)
    settled(panel)
    series = Series(tuple(bridge.series_from_sequence_node(node)))
    made = run(Request("physics_dose", {"pre": series, "post": series}, {"dose": 0.5}))
    shown = bridge.shown_volume(node)
    given = {"pre": node, "post": node}
    added = run_results.add_result(slicer.mrmlScene, made, shown, given)
    panel.box.look_at(added["low"])
    settled(panel)
    return node


def spoil(node):
    """Make a scan one that nothing can be measured of."""
    slicer.util.arrayFromVolume(node)[:] = 0
    slicer.util.arrayFromVolumeModified(node)


def take(panel, folder, name):
    """Take the picture of the panel in both widths and themes."""
    window = panel.banner.window()
    for dark in (False, True):
        set_theme(dark=dark)
        pump(timeout_s=0.45)
        for width in WIDTHS:
            theme = "dark" if dark else "light"
            path = screenshot(window, folder / f"{name}_{width}_{theme}.png", width=width)
            assert path.read_bytes().startswith(b"\x89PNG")
    set_theme(dark=False)


@pytest.mark.parametrize("tab", TABS)
def test_empty(panel, folder, tab):
    show_tab(panel, tab)
    take(panel, folder, f"{tab}_{EMPTY}")


# Runs in another process


@pytest.mark.parametrize("state", [RUNNING, DONE, FAILED])
def test_synthesise(panel, folder, worker, state):
    brain(panel, with_result=False)
    tab = show_tab(panel, "synthesise")
    pick(tab.form.method_combo, METHODS["physics_dose"].title)
    type_text(tab.parameters.fields["dose"].widget, "0.25")
    run_it(panel, folder, worker, tab, "synthesise", state)


@pytest.mark.parametrize("key", sorted(METHODS))
def test_each_method_with_all_sections_open(panel, folder, key):
    brain(panel, with_result=False)
    tab = show_tab(panel, "synthesise")
    pick(tab.form.method_combo, METHODS[key].title)
    tab.form.advanced.collapsed = tab.form.about.collapsed = False
    pump(timeout_s=0.1)
    assert screenshot(tab.widget.window(), folder / f"method_{key}.png", width=400).is_file()


@pytest.mark.parametrize("state", [RUNNING, DONE, FAILED])
def test_quality(panel, folder, worker, state):
    brain(panel)
    run_it(panel, folder, worker, show_tab(panel, "quality"), "quality", state)


def run_it(panel, folder, worker, tab, name, state):
    if state != DONE:
        worker(WORKING if state == RUNNING else FAILING)
    press(tab.run.apply_button)
    if state == RUNNING:
        pump(lambda: tab.run.progress_bar.value == 45, 20.0)
    else:
        pump(lambda: not tab.run.running, 60.0)
    take(panel, folder, f"{name}_{state}")
    tab.run.close()


@pytest.mark.parametrize("state", [RUNNING, DONE, FAILED])
def test_inversion(panel, folder, state):
    from ContrastSynthPanel.job import Event
    from ContrastSynthPanel.scene import bridge, run_results

    from ContrastSynthLib.running.result import Result

    nodes = brain(panel, with_result=False)
    tab, provenance = show_tab(panel, "inversion"), solved(24)
    history = provenance["record"]["history"]
    rows = [dict(zip(history, row, strict=True)) for row in zip(*history.values(), strict=True)]
    panel.synthesise.running_method = METHODS["lip_car"]
    tab.heard(Event("started"))
    tab.heard(Event("progress", "Iteration 9, objective 0.0012", 0.3, measures=rows[:9]))
    if state == DONE:
        scan = bridge.volume_from_node(nodes["low"])
        result = Result({"post": scan.with_array(scan.array, "for a picture")}, provenance)
        given = {"low": nodes["low"]}
        added = run_results.add_result(slicer.mrmlScene, result, nodes["low"], given)
        panel.box.look_at(added["post"])
        tab.heard(Event("finished"))
        settled(panel)
        tab.iterate.value = 8.0
    elif state == FAILED:
        tab.heard(Event("failed", "The worker was killed."))
    take(panel, folder, f"inversion_{state}")


def solved(count):
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


# Beside Slicer's thread


@pytest.mark.parametrize("state", [RUNNING, DONE, FAILED])
def test_uptake(panel, folder, never_done, state):
    nodes = brain(panel)
    tab = show_tab(panel, "uptake")
    if state == FAILED:
        spoil(nodes["post"])
    if state == RUNNING:
        never_done()
    press(tab.action.button)
    pump(timeout_s=0.2) if state == RUNNING else pump(lambda: not tab.work.running, 30.0)
    take(panel, folder, f"uptake_{state}")
    tab._stop()


@pytest.mark.parametrize("state", [RUNNING, DONE, FAILED])
def test_compare(panel, folder, never_done, state):
    nodes = brain(panel)
    tab = show_tab(panel, "compare")
    if state == FAILED:
        slicer.util.updateVolumeFromArray(nodes["pre"], np.ones((8, 8, 8), np.float32))
    if state == RUNNING:
        never_done()
    press(tab.buttons["difference"])
    pump(timeout_s=0.2) if state == RUNNING else pump(lambda: not tab.work.running, 30.0)
    take(panel, folder, f"compare_{state}")
    tab.work.stop()


@pytest.mark.parametrize("state", [RUNNING, DONE, FAILED])
def test_kinetics(panel, folder, never_done, state):
    node = breast(panel)
    tab = show_tab(panel, "kinetics")
    if state == FAILED:
        region = panel.box.case.node("region")
        for one in list(region.GetSegmentation().GetSegmentIDs()):
            segment = region.GetSegmentation().GetSegment(one)
            labels = segment.GetRepresentation("Binary labelmap")
            labels.GetPointData().GetScalars().Fill(0)
            labels.Modified()
    if state == RUNNING:
        never_done()
    press(tab.measure_button)
    pump(timeout_s=0.2) if state == RUNNING else pump(lambda: not tab.work.running, 60.0)
    take(panel, folder, f"kinetics_{state}")
    tab.work.stop()
    assert node.GetNumberOfDataNodes() > 1


@pytest.mark.parametrize("state", [RUNNING, DONE, FAILED])
def test_profile(panel, folder, never_done, state):
    nodes = brain(panel)
    tab = show_tab(panel, "profile")
    if state == FAILED:
        slicer.util.updateVolumeFromArray(nodes["pre"], np.full((8, 8, 8), np.nan, np.float32))
    if state == RUNNING:
        never_done()
    press(tab.place_button)
    pump(timeout_s=0.2)
    line = tab.line_selector.node
    for point in ((-40, -10, 0), (60, 10, 5)):
        line.AddControlPoint(vtk.vtkVector3d(*point))
    tick(tab.volume_list, nodes["low"].GetName())
    pump(timeout_s=1.0)
    take(panel, folder, f"profile_{state}")


@pytest.mark.parametrize("tab", TABS)
def test_sheet(folder, tab):
    """One sheet for each tab: a row for each width and theme, a column for each state."""
    from PySide6.QtCore import Qt
    from PySide6.QtGui import QColor, QImage, QPainter

    rows = []
    for width in WIDTHS:
        for theme in ("light", "dark"):
            names = [folder / f"{tab}_{state}_{width}_{theme}.png" for state in STATES]
            rows.append([QImage(str(name)) for name in names if name.is_file()])
    rows = [row for row in rows if row]
    if not rows:
        pytest.skip("the other tests keep pictures only where CONTRASTSYNTH_SCREENSHOTS is set")
    gap = 16
    width = max(sum(one.width() + gap for one in row) for row in rows)
    height = sum(max(one.height() for one in row) + gap for row in rows)
    sheet = QImage(width, height, QImage.Format.Format_RGB32)
    sheet.fill(QColor("#888888"))
    painter, top = QPainter(), 0
    painter.begin(sheet)
    for row in rows:
        left = 0
        for one in row:
            painter.drawImage(left, top, one)
            left += one.width() + gap
        top += max(one.height() for one in row) + gap
    painter.end()
    half = sheet.scaledToWidth(width // 2, Qt.TransformationMode.SmoothTransformation)
    assert half.save(str(folder / f"sheet_{tab}.png"))


def test_picture_of_the_readme(folder):
    """Four tabs beside one another: docs/pictures/panel.png."""
    from PySide6.QtGui import QColor, QImage, QPainter

    names = [
        f"{tab}_{DONE}_400_light.png" for tab in ("synthesise", "uptake", "compare", "inversion")
    ]
    pictures = [QImage(str(folder / name)) for name in names if (folder / name).is_file()]
    if not pictures:
        pytest.skip("the other tests keep pictures only where CONTRASTSYNTH_SCREENSHOTS is set")
    gap, height = 12, max(one.height() for one in pictures)
    width = sum(one.width() + gap for one in pictures) - gap
    whole = QImage(width, height, QImage.Format.Format_RGB32)
    whole.fill(QColor("#ffffff"))
    painter, left = QPainter(), 0
    painter.begin(whole)
    for one in pictures:
        painter.drawImage(left, 0, one)
        left += one.width() + gap
    painter.end()
    assert whole.save(str(folder / "panel.png"))
