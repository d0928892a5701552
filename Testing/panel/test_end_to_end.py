"""From two scans of a patient to a saved scene and back, by the panel alone, on a real scan."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed")
pytest.importorskip("slicer", reason="slicer-core is not installed")

import slicer
from host import can_render, pick, press, pump, render_slices, type_text
from scans import open_sections, settled

from ContrastSynthLib.analysis.profiles import line_profile, profile_error
from ContrastSynthLib.files.images import read_volume, write_volume
from ContrastSynthLib.registry import METHODS
from ContrastSynthLib.running.run import run  # noqa: F401 - declares the methods

REPOSITORY = Path(__file__).resolve().parents[2]
RUN_S = 900.0
LONGEST_BLOCK_S = 0.3  # 0.1 where nothing else runs: other work beside the tests adds to it
DOSE = "0.25"
ASIDE_MM = np.array([60.0, 0.0, 0.0])
NAMES = {"pre": "T1 pre", "post": "T1 post Gd"}
LOW = f"SYNTHETIC low, dose {DOSE}, physics_dose: T1 pre"
PRE, UPTAKE = (f"SYNTHETIC {what}, fast, sphere: T1 post Gd" for what in ("pre", "uptake"))

OPEN_AGAIN = """
import json, sys
from pathlib import Path
import numpy as np
from host import pump, start
made = start()
scene = made.scene
assert scene.ReadFromMRB(sys.argv[1])
tab = made.open_module().panel.synthesise
pump(lambda: tab.run.apply_button.enabled)
import slicer
from ContrastSynthLib.files.images import read_volume
from ContrastSynthPanel.scene import bridge, tables
equal = {}
for name, file in json.loads(sys.argv[2]).items():
    node, expected = scene.GetFirstNodeByName(name), read_volume(file)
    volume = bridge.volume_from_node(node)
    same_grid = volume.grid.is_same(expected.grid)
    equal[name] = bool(same_grid and (volume.array == expected.array).all())
post, mask = tab.inputs.nodes()["post"], scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
chart = scene.GetFirstNodeByClass("vtkMRMLPlotChartNode")
series = [chart.GetNthPlotSeriesNode(n) for n in range(chart.GetNumberOfPlotSeriesNodes())]
found = {
    "equal": equal,
    "synthetic": [scene.GetFirstNodeByName(n).GetAttribute(bridge.SYNTHETIC) for n in equal],
    "mask": mask.GetName(),
    "mask voxels": int(bridge.mask_from_segmentation(mask, post).array.sum()),
    "series": {s.GetName(): s.GetTableNode().GetNumberOfRows() for s in series},
    "method": tab.method.key,
    "dose": tab._given["physics_dose"][1],
    "inputs": {role: node.GetName() for role, node in tab.inputs.nodes().items()},
    "errors": [str(error) for error in made.record.errors],
}
made.clean(); made.end()
print(json.dumps(found))
"""


@pytest.fixture
def folder(tmp_path):
    """Where the picture goes: a temporary folder, or what CONTRASTSYNTH_SCREENSHOTS names."""
    chosen = Path(os.environ.get("CONTRASTSYNTH_SCREENSHOTS", tmp_path))
    chosen.mkdir(parents=True, exist_ok=True)
    return chosen


def load(path, name):
    """Load a file as Slicer does, and return its node."""
    storage = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    storage.SetFileName(str(path))
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    assert storage.ReadData(node)
    node.CreateDefaultDisplayNodes()
    node.SetAndObserveStorageNodeID(storage.GetID())
    return node


def apply(tab):
    """Press Apply; return how long the event loop was blocked at most until the result is there."""
    began = time.perf_counter()
    press(tab.run.apply_button)
    start_s = time.perf_counter() - began
    block_s = pump(lambda: not tab.run.running, RUN_S).longest_block_s
    text = f"start {start_s:.3f} s, block {block_s:.3f} s"
    print(f"{tab.method.key}: {text}, whole {time.perf_counter() - began:.1f} s")
    assert "Done" in tab.run.message.plainText
    return max(start_s, block_s)


def on_the_command_line(out, method, *arguments):
    """Run a method from the command line; return the files by output role."""
    command = [sys.executable, "-m", "ContrastSynthLib", "run", method, f"--out={out}"]
    subprocess.run([*command, *arguments], cwd=REPOSITORY, check=True, capture_output=True)
    return {path.stem: str(path) for path in out.glob("*.nrrd")}


def through_the_uptake(uptake):
    """Return two points, 60 mm to the left and right of the middle of the uptake, in RAS."""
    inside = np.argwhere(uptake.array > 0.5)
    middle = uptake.grid.ras_from_index(inside[len(inside) // 2])
    return middle - ASIDE_MM, middle + ASIDE_MM


@pytest.fixture
def scans(request, real_scans, real_slab, tmp_path):
    """The files of pre and post: a slab for every day, the whole brain with --slow."""
    if request.param == "whole":
        files = json.loads((real_scans / "cases.json").read_text("utf-8"))["brats20_186"]
        return {role: real_scans / "brats20_186" / files[role] for role in NAMES}
    for role in NAMES:
        write_volume(real_slab[role], tmp_path / f"{role}.nrrd")
    return {role: tmp_path / f"{role}.nrrd" for role in NAMES}


@pytest.mark.parametrize(
    "scans", ["slab", pytest.param("whole", marks=pytest.mark.slow)], indirect=True
)
def test_two_scans_become_a_scene_that_holds_everything(
    host, scans, tmp_path, folder, monkeypatch, request
):
    pytest.importorskip("torch")
    pytest.importorskip("monai")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    panel = host.open_module().panel
    tab = panel.synthesise
    open_sections(tab)
    nodes = {role: load(path, NAMES[role]) for role, path in scans.items()}
    settled(panel)
    assert longest_block_of_both_runs(tab, nodes) < LONGEST_BLOCK_S
    expected = what_the_command_line_makes(scans, tmp_path)
    uptake, made = read_volume(expected[UPTAKE]), slicer.mrmlScene.GetFirstNodeByName(PRE)
    (mask,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    if can_render():
        picture = folder / f"end_to_end_{request.node.callspec.id}.png"
        see_the_mask_on([nodes["post"], made, nodes["pre"]], mask, uptake, picture)
    points = plot_a_profile([nodes["pre"], nodes["post"], made], uptake)

    path = tmp_path / "patient.mrb"
    assert slicer.mrmlScene.WriteToMRB(str(path))
    text = open_again(path, expected)
    assert text["errors"] == []
    assert text["equal"] == dict.fromkeys(expected, True)
    assert all("for research only" in mark for mark in text["synthetic"])
    assert text["mask"] == mask.GetName()
    assert text["mask voxels"] == (uptake.array > 0.5).sum() > 1000
    assert text["series"] == dict.fromkeys([*NAMES.values(), PRE], points)
    assert text["method"] == "physics_dose"
    assert text["dose"] == {"dose": float(DOSE)}
    assert text["inputs"] == NAMES


def longest_block_of_both_runs(tab, nodes):
    """Run a network, then the signal equation, as a person does."""
    pick(tab.form.method_combo, METHODS["sphere"].title)
    pick(tab.parameters.preset_combo, "Fast")
    pick(tab.inputs.selectors["post"], nodes["post"])
    first = apply(tab)
    pick(tab.form.method_combo, METHODS["physics_dose"].title)
    for role, node in nodes.items():
        pick(tab.inputs.selectors[role], node)
    type_text(tab.parameters.fields["dose"].widget, DOSE)
    return max(first, apply(tab))


def what_the_command_line_makes(scans, folder):
    """Return its files from the same scans, by the name that the panel gives."""
    given = {role: f"--in={role}={path}" for role, path in scans.items()}
    made = on_the_command_line(folder / "sphere", "sphere", given["post"], "--preset=fast")
    dose = [*given.values(), f"--set=dose={DOSE}"]
    low = on_the_command_line(folder / "dose", "physics_dose", *dose)
    return {LOW: low["low"], PRE: made["pre"], UPTAKE: made["uptake"]}


def see_the_mask_on(views, mask, uptake, picture):
    """Render volumes with the mask on top into a picture; it makes a difference."""
    middle = tuple(np.mean(through_the_uptake(uptake), axis=0))
    with_mask = render_slices(slicer.mrmlScene, views, mask, picture, center_ras=middle)
    mask.GetDisplayNode().SetVisibility(False)
    without = render_slices(slicer.mrmlScene, views, center_ras=middle)
    mask.GetDisplayNode().SetVisibility(True)
    assert (with_mask != without).any(axis=-1).mean() > 0.005
    assert without.std() > 10


def plot_a_profile(nodes, uptake):
    """Plot a line through pre, post and the synthetic pre; return how many points it has."""
    from ContrastSynthPanel.scene import bridge, tables

    ends = through_the_uptake(uptake)
    pre, post, made = (line_profile(bridge.volume_from_node(node), *ends) for node in nodes)
    lines = {n.GetName(): p.values for n, p in zip(nodes, (pre, post, made), strict=True)}
    titles = ("Distance, mm", "Intensity")
    tables.plot_lines(slicer.mrmlScene, "Profile", pre.distance_mm, lines, *titles)
    assert profile_error(pre, made) < profile_error(pre, post)
    return len(pre.distance_mm)


def open_again(path, expected):
    """Open the scene in a new process with the panel; return what is there."""
    places = [REPOSITORY, REPOSITORY / "Testing" / "panel"]
    done = subprocess.run(
        [sys.executable, "-c", OPEN_AGAIN, str(path), json.dumps(expected)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, places))},
        cwd=path.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
