"""Pictures of every tab, as the test host draws it: ``make screenshots`` keeps them to look at."""

from __future__ import annotations

import os
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed")
pytest.importorskip("slicer", reason="slicer-core is not installed")

import numpy as np
import slicer
import vtk
from host import can_render, pick, press, pump, screenshot, slices, tick, type_text
from scans import show_tab

from ContrastSynthLib.acquisition import Acquisition
from ContrastSynthLib.phantom.sample import TUMOUR, sample_patient
from ContrastSynthLib.registry import METHODS
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.result import Result
from ContrastSynthLib.running.run import run

pytestmark = pytest.mark.slow  # they are for people: make screenshots

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
    from ContrastSynthPanel.scene import bridge

    module = host.open_module()
    opened = module.panel
    for role, volume in sample_patient(size=(48, 56, 40)).scans.items():
        if role in NAMES:
            node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", NAMES[role])
            bridge.fill_node(node, volume, volume.grid.index_to_ras, None)
    pump(lambda: not opened.synthesise._pick_timer.active)
    yield module
    host.leave_module()


@pytest.fixture
def compared(widget):
    """The panel with a synthetic pre scan beside the true one."""
    from ContrastSynthPanel.scene import bridge, run_results

    post = slicer.util.getNode(NAMES["post"])
    made = run(Request("physics_pre", {"post": bridge.volume_from_node(post)}, {}))
    run_results.add_result(slicer.mrmlScene, made, post)
    panel = widget.panel
    for tab in (panel.tabs["uptake"], panel.tabs["compare"]):
        pump(lambda tab=tab: not tab.inputs.timer.active)
    return panel


@pytest.mark.parametrize("key", sorted(METHODS))
def test_the_synthesise_tab(widget, folder, key):
    tab = widget.panel.synthesise
    pick(tab.form.method_combo, METHODS[key].title)
    if key == "physics_dose":
        press(tab.run.apply_button)
        pump(lambda: not tab.run.running, 60.0)
    take(widget, folder / f"synthesise_{key}.png")


@pytest.mark.parametrize("key", ["uptake", "lesions"])
def test_the_uptake_tab(widget, compared, folder, key):
    tab = show_tab(compared, "uptake")
    press(tab.action.button)
    pump(lambda: not tab.busy)
    if key == "lesions":
        type_text(tab.form.threshold, "0.15")  # so coarse a grid has noise above 0.1
        pump(lambda: not tab.busy)
        press(tab.table.next_button)
    assert tab.table.table.rowCount > 0
    take(widget, folder / f"{key}.png")
    picture_of_views(folder / f"{key}_views.png")


@pytest.mark.parametrize("mode", ["side", "blend", "flicker", "difference"])
def test_the_compare_tab(widget, compared, folder, mode):
    tab = show_tab(compared, "compare")
    press(tab.buttons[mode])
    take(widget, folder / f"compare_{mode}.png")
    picture_of_views(folder / f"compare_{mode}_views.png")


def picture_of_views(path):
    """Draw the three slice views as they are, where there is OpenGL."""
    if can_render():
        manager = slicer.app.layoutManager()
        row = []
        for name in manager.sliceViewNames():
            one = manager.sliceWidget(name)
            one.mrmlSliceNode().SetDimensions(300, 300, 1)
            one.sliceLogic().FitSliceToBackground()
            row.append(slices.render(one.sliceLogic(), one.mrmlSliceNode(), 300))
        slices.write_png(np.hstack(row), path)
        assert len({picture.tobytes() for picture in row}) == 3


def test_the_kinetics_tab(widget, folder):
    from ContrastSynthPanel.scene import bridge

    patient, scene = sample_patient(size=(48, 56, 40)), slicer.mrmlScene
    add_series(patient, "T1 dynamic", (0.0, 0.9, 1.0, 0.8, 0.5))
    add_series(patient, "T1 dynamic SYNTHETIC", (0.0, 0.8, 0.9, 0.85, 0.7), "by a picture")
    mask = patient.scans["pre"].with_array((patient.tissue == TUMOUR).astype(np.float32))
    bridge.mask_to_segmentation(scene, mask, slicer.util.getNode("T1 pre"), "lesion")
    tab = show_tab(widget.panel, "kinetics")
    take(widget, folder / "kinetics_before.png")
    settled(panel)
    press(tab.measure_button)
    tab.phases.slider.setValue(2)
    take(widget, folder / "kinetics.png")
    tab.selectors["series"].currentNode().SetIndexUnit("")
    tab._edited()
    take(widget, folder / "kinetics_no_unit.png")


def test_the_profile_tab(widget, folder):
    tab = show_tab(widget.panel, "profile")
    press(tab.place_button)
    pump(lambda: not tab._timer.active)
    take(widget, folder / "profile_before.png")
    for point in ((-40, -10, 0), (110, 10, 5)):
        tab.line_selector.currentNode().AddControlPoint(vtk.vtkVector3d(*point))
    pick(tab.reference_selector, slicer.util.getNode("T1 post Gd"))
    for name in ("T1 pre", "T1 low dose"):
        tick(tab.volume_list, name)
    tab.values_section.collapsed = False
    pump(lambda: not tab._timer.active)
    pump(lambda: not tab._values_timer.active)
    take(widget, folder / "profile.png")


def add_series(patient, name, shares, synthetic=None):
    """A series that goes from the pre-contrast to a share of the post-contrast scan."""
    from ContrastSynthPanel.scene import bridge

    pre, post = patient.scans["pre"], patient.scans["post"]
    series = [
        replace(
            pre.with_array((1.0 - share) * pre.array + share * post.array, synthetic),
            acquisition=Acquisition(time_s=time),
        )
        for share, time in zip(shares, (0.0, 60.0, 120.0, 240.0, 360.0), strict=True)
    ]
    return bridge.sequence_from_series(slicer.mrmlScene, series, name)


def take(widget, path):
    content = screenshot(widget, path, width=WIDTH).read_bytes()
    assert content.startswith(b"\x89PNG")
    assert int.from_bytes(content[16:20], "big") == WIDTH


def run_method(tab, key):
    pick(tab.form.method_combo, METHODS[key].title)
    press(tab.run.apply_button)
    pump(lambda: not tab.run.running, 60.0)


def test_the_quality_tab(widget, folder):
    tab = show_tab(widget.panel, "quality")
    take(widget, folder / "quality_empty.png")
    show_tab(widget.panel, "synthesise")
    run_method(widget.panel.synthesise, "physics_pre")
    show_tab(widget.panel, "quality")
    settled(panel)
    press(tab.run.apply_button)
    pump(lambda: not tab.run.running, 60.0)
    take(widget, folder / "quality_measured.png")


def test_the_inversion_tab(widget, folder):
    from ContrastSynthPanel.job import Event
    from ContrastSynthPanel.scene import bridge, run_results

    tab = show_tab(widget.panel, "inversion")
    take(widget, folder / "inversion_empty.png")
    text = made_provenance(24)
    history = text["record"]["history"]
    rows = [dict(zip(history, row, strict=True)) for row in zip(*history.values(), strict=True)]
    widget.panel.synthesise.running_method = METHODS["lip_car"]
    tab.heard(Event("started"))
    tab.heard(Event("progress", "Iteration 9, objective 0.0012", 0.3, measures=rows[:9]))
    take(widget, folder / "inversion_running.png")
    low = slicer.util.getNode("T1 low dose")
    scan = bridge.volume_from_node(low)
    result = Result({"post": scan.with_array(scan.array, "for a picture")}, text)
    run_results.add_result(slicer.mrmlScene, result, low)
    tab.heard(Event("finished"))
    tab.iterate.value = 8.0
    assert tab.kept == 8
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


def test_what_is_missing_and_the_log(widget, folder, monkeypatch):
    from ContrastSynthPanel import dependencies

    def nothing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(dependencies, "version", nothing)
    tab = widget.panel.synthesise
    pick(tab.form.method_combo, METHODS["sphere"].title)
    press(tab.dependencies.button)
    tab.run.log_section.collapsed = False
    path = screenshot(widget, folder / "synthesise_missing.png", width=WIDTH)
    assert int.from_bytes(path.read_bytes()[16:20], "big") == WIDTH


def test_the_synthesise_tab_with_a_preview(widget, folder):
    tab = widget.panel.synthesise
    pick(tab.form.method_combo, METHODS["physics_dose"].title)
    tab.parameters.fields["dose"].widget.value = 0.25
    pump(lambda: tab.preview.label.text.startswith("SYNTHETIC"), 20.0)
    assert screenshot(widget, folder / "synthesise_preview.png", width=WIDTH).is_file()
