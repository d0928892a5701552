"""The batch scripts in processes of their own: with MRML alone, and in the panel's test host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("vtk", reason="slicer-core is not installed")
pytest.importorskip("slicer", reason="slicer-core is not installed")

from ContrastSynthLib.files.images import read_volume, write_volume
from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.running.batch import read_record
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.run import run

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
BATCH = REPOSITORY / "ContrastSynth" / "ContrastSynthBatch"
CASE = "Bäcker 1"

READ_AGAIN = """
import json, sys
from conftest import new_scene
import slicer
from ContrastSynthPanel.scene import bridge
scene = new_scene()
if sys.argv[1].endswith(".mrb"):
    assert scene.ReadFromMRB(sys.argv[1])
else:
    scene.SetURL(sys.argv[1])
    assert scene.Connect()
found = {}
for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode", scene):
    volume = bridge.volume_from_node(node)
    found[node.GetName()] = {
        "array": volume.array.tolist(),
        "synthetic": volume.synthetic,
        "matrix": volume.grid.index_to_lps.tolist(),
    }
masks = slicer.util.getNodesByClass("vtkMRMLSegmentationNode", scene)
found["masks"] = [node.GetName() for node in masks]
print(json.dumps(found))
"""
IN_THE_HOST = """
import json, os, runpy, sys
from host import start
made = start()
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
codes = list(made.record.exit_codes)
made.clean(); made.end()
print(json.dumps(codes))
"""


@pytest.fixture
def table(tmp_path):
    """Two cases, of which the second has no post-contrast file."""
    scans = sample_patient(size=(24, 28, 20)).scans
    for role in ("pre", "post"):
        write_volume(scans[role], tmp_path / f"{role}.nrrd")
    path = tmp_path / "cases.csv"
    lines = ["case,pre,post", f"{CASE},pre.nrrd,post.nrrd", "lost,pre.nrrd,none.nrrd"]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def python(code_or_script, *arguments, cwd, paths=()):
    given = [code_or_script] if isinstance(code_or_script, Path) else ["-c", code_or_script]
    places = [str(path) for path in (*paths, REPOSITORY, REPOSITORY / "ContrastSynth")]
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "QT_QPA_PLATFORM": "offscreen",
        "PYTHONPATH": os.pathsep.join(places),
    }
    return subprocess.run(
        [sys.executable, *map(str, given), *map(str, arguments)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def read_again(path, cwd):
    done = python(READ_AGAIN, path, cwd=cwd, paths=[HERE])
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("suffix", ["mrb", "mrml"])
def test_pythonslicer_saves_a_scene_for_each_case_that_is_done(table, suffix):
    folder = table.parent
    given = ["physics_dose", "--cases", "cases.csv", "--out", "out", "--set", "dose=0.25"]
    script = BATCH / "run_in_pythonslicer.py"
    done = python(script, *given, "--scene", suffix, cwd=folder)
    assert done.returncode == 2, done.stderr
    assert "lost: failed" in done.stderr
    assert "Traceback" not in done.stderr
    (path,) = folder.rglob(f"*.{suffix}")
    assert path.stem == CASE
    text = read_again(path, folder)
    names = {f"{CASE} pre": "pre.nrrd", f"{CASE} post": "post.nrrd"}
    names[f"SYNTHETIC low, dose 0.25, physics_dose: {CASE} pre"] = f"out/{CASE}/low.nrrd"
    assert set(text) == {*names, "masks"}
    for name, file in names.items():
        volume = read_volume(folder / file)
        np.testing.assert_array_equal(text[name]["array"], volume.array)
        assert np.allclose(text[name]["matrix"], volume.grid.index_to_lps, atol=1e-5)
        assert text[name]["synthetic"] == volume.synthetic
    before = path.stat().st_mtime_ns
    (folder / "none.nrrd").write_bytes((folder / "post.nrrd").read_bytes())
    again = python(script, *given, "--scene", suffix, "--resume", cwd=folder)
    assert again.returncode == 0, again.stderr
    assert {row["status"] for row in read_record(folder / "out").values()} == {"done"}
    assert len(list(folder.rglob(f"*.{suffix}"))) == 2
    assert path.stat().st_mtime_ns == before


def test_slicer_without_a_window_does_the_same_and_ends_with_the_exit_code(table):
    given = ["--", "physics_pre", "--cases", table, "--out", table.parent / "out"]
    table.write_text(f"case,post\n{CASE},post.nrrd\n", encoding="utf-8")
    script = BATCH / "run_in_slicer.py"
    host = [REPOSITORY / "Testing" / "panel"]
    done = python(IN_THE_HOST, script, *given, cwd=table.parent, paths=host)
    assert json.loads(done.stdout.splitlines()[-1]) == [0], done.stderr
    text = read_again(table.parent / "out" / CASE / f"{CASE}.mrb", table.parent)
    uptake = f"SYNTHETIC uptake, physics_pre: {CASE} post"
    assert set(text) == {
        f"{CASE} post",
        f"SYNTHETIC pre, physics_pre: {CASE} post",
        uptake,
        "masks",
    }
    assert text["masks"] == [f"{uptake} mask"]
    assert "physics_pre" in text[uptake]["synthetic"]


def test_without_slicers_segmentations_the_map_is_there(scene, table, monkeypatch):
    import slicer
    from ContrastSynthBatch import scenes

    results = table.parent / "result"
    inputs = {"post": [table.parent / "post.nrrd"]}
    run(Request("physics_pre", {"post": inputs["post"][0]})).write(results)
    monkeypatch.delattr(slicer, "vtkSlicerSegmentationsModuleLogic")
    scenes.fill(scene, "a", "physics_pre", inputs, results)
    names = [n.GetName() for n in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode", scene)]
    assert names == [
        "a post",
        "SYNTHETIC pre, physics_pre: a post",
        "SYNTHETIC uptake, physics_pre: a post",
    ]
    assert slicer.util.getNodesByClass("vtkMRMLSegmentationNode", scene) == []
    monkeypatch.undo()
    scenes.fill(scene, "b", "physics_pre", inputs, results)
    assert scene.GetFirstNodeByName("a post") is None
    assert len(slicer.util.getNodesByClass("vtkMRMLSegmentationNode", scene)) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["physics_dose"], 2, "--cases"),
        (["nothing", "--cases", "cases.csv", "--out", "out"], 2, "Unknown method 'nothing'"),
        (["physics_dose", "--cases", "cases.csv", "--out", "out", "--workers", "2"], 2, "one case"),
        (["--scene", "vtk", "physics_dose"], 2, "--scene"),
    ],
)
def test_what_is_wrong_is_reported_and_no_scene_is_left(
    scene, table, monkeypatch, capsys, arguments, code, text
):
    from ContrastSynthBatch import scenes

    monkeypatch.chdir(table.parent)
    assert scenes.run(arguments, scene, most_workers=1) == code
    assert text in capsys.readouterr().err
    assert not (table.parent / "out").exists()


def test_a_table_that_is_wrong_or_a_scene_that_cannot_be_saved_is_reported(
    scene, table, monkeypatch, capsys
):
    from ContrastSynthBatch import scenes

    monkeypatch.chdir(table.parent)
    table.write_text("case,post\na,post.nrrd\n", encoding="utf-8")
    given = ["physics_pre", "--cases", "cases.csv", "--out", "out"]
    (table.parent / "out" / "a" / "a.mrb").mkdir(parents=True)  # in the way
    assert scenes.run(given, scene) != 0
    (table.parent / "out" / "a" / "a.mrb").rmdir()
    assert scenes.run(given, scene) == 0
    assert (table.parent / "out" / "a" / "a.mrb").is_file()
    capsys.readouterr()
    table.write_text("case,pots\na,post.nrrd\n", encoding="utf-8")
    assert scenes.run(given, scene) == 2
    assert "Did you mean 'post'" in capsys.readouterr().err
