"""The brain in whole heads: what is asked of deepbet, what is told, and the masks it finds."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

from ContrastSynthLib.analysis.evaluation import evaluate
from ContrastSynthLib.cli import main
from ContrastSynthLib.errors import MissingError, RequestError, without_options
from ContrastSynthLib.files.images import write_volume
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.preprocessing import brain_mask
from ContrastSynthLib.preprocessing.brain_mask import brain_of, find_brain
from ContrastSynthLib.running.request import Request, files_of
from ContrastSynthLib.running.run import run
from ContrastSynthLib.volumes import Volume

# Oblique, flipped and anisotropic: array axes are not those of the patient.
COSINE, SINE = np.cos(0.3), np.sin(0.3)
OBLIQUE = Grid(
    size=(24, 30, 20),
    spacing_mm=(6.0, 5.0, 7.0),
    origin_mm=(70.0, -80.0, 60.0),
    direction=(-COSINE, -SINE, 0.0, 0.0, 0.0, 1.0, -SINE, COSINE, 0.0),
)


class FakeNetwork:
    device = None

    def to(self, device):
        self.device = device


class FakeBet:
    """Takes voxels above a level for brain, as deepbet would: by its own kind of image."""

    made: ClassVar[list[FakeBet]] = []
    fails: Exception | None = None
    level = 300.0

    def __init__(self, no_gpu=False):
        assert no_gpu, "it must not choose the GPU itself"
        self.model, self.bbox_model = FakeNetwork(), FakeNetwork()
        self.images = []
        self.made.append(self)

    def run(self, image):
        if self.fails:
            raise self.fails
        self.images.append(image)
        return image, SimpleNamespace(dataobj=(image.array > self.level).astype(np.uint8)), 0.0


@pytest.fixture
def deepbet(monkeypatch):
    """deepbet and nibabel as far as they are used, whether they are installed or not."""
    for name, content in {
        "deepbet": {"BrainExtraction": FakeBet},
        "nibabel": {"Nifti1Image": lambda array, affine: SimpleNamespace(**locals())},
    }.items():
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(FakeBet, "made", [])
    monkeypatch.setattr(FakeBet, "fails", None)
    monkeypatch.setattr(brain_mask, "version", lambda package: "9.9")
    return FakeBet


@pytest.fixture
def absent(monkeypatch):
    monkeypatch.setitem(sys.modules, "deepbet", None)
    monkeypatch.setattr(brain_mask, "find_spec", lambda name: None)


def head(grid=OBLIQUE):
    """A scan whose voxels above 300 are the brain, fat and air around them; and these voxels."""
    rng = np.random.default_rng(0)
    array = rng.uniform(1, 200, grid.shape).astype(np.float32)
    inside = np.zeros(grid.shape, bool)
    inside[5:15, 8:25, 4:17] = True
    array[inside] = rng.uniform(400, 600, inside.sum())
    return Volume(array, grid), inside


def test_the_mask_lies_on_the_own_grid_of_the_scan(deepbet):
    scan, inside = head()
    steps = []
    mask = find_brain(scan, "cuda:1", lambda share, said: steps.append(share))
    assert mask.grid == scan.grid
    np.testing.assert_array_equal(mask.array > 0, inside)
    (bet,) = deepbet.made
    assert (bet.model.device, bet.bbox_model.device) == ("cuda:1", "cuda:1")
    (image,) = bet.images
    assert image.array.shape == scan.grid.size
    np.testing.assert_array_equal(image.affine, scan.grid.index_to_ras)
    assert steps == sorted(steps)
    assert steps[-1] == 1.0


@pytest.mark.parametrize("error", [AssertionError("Not enough foreground"), ValueError("argmax")])
def test_a_scan_without_a_brain_is_refused(deepbet, error):
    deepbet.fails = error
    with pytest.raises(RequestError, match="No brain was found") as caught:
        find_brain(head()[0])
    assert caught.value.exit_code == 2


def test_what_is_too_large_or_empty_is_no_brain(deepbet, monkeypatch):
    large = replace(OBLIQUE, spacing_mm=(20.0, 20.0, 20.0))
    with pytest.raises(RequestError, match=r"has 17680 ml.*breast"):
        find_brain(head(large)[0])
    monkeypatch.setattr(FakeBet, "level", 1e6)
    with pytest.raises(RequestError, match="has 0 ml"):
        find_brain(head()[0])


def test_a_single_slice_is_refused(deepbet):
    with pytest.raises(RequestError, match="single slice"):
        find_brain(Volume(np.ones((1, 30, 24)), replace(OBLIQUE, size=(24, 30, 1))))


def test_a_fault_of_torch_is_not_taken_for_a_missing_brain(deepbet):
    deepbet.fails = RuntimeError("out of memory")
    with pytest.raises(RuntimeError, match="out of memory"):
        find_brain(head()[0])


def test_without_the_package_it_says_how_to_install_it(absent):
    with pytest.raises(MissingError, match="deepbet") as caught:
        find_brain(head()[0])
    assert caught.value.exit_code == 3
    assert 'pip install "contrastsynth[brain-mask]"' in str(caught.value)
    assert without_options(str(caught.value)).endswith("Or choose a mask of the brain.")


def test_the_brain_is_looked_for_in_the_best_scan(deepbet):
    scan, inside = head()
    other = scan.with_array(np.ones(scan.grid.shape))
    found = brain_of({"post": other, "corrupted": other, "pre": scan})
    assert found.found_by == {"scan": "pre", "package": "deepbet", "version": "9.9"}
    np.testing.assert_array_equal(found.mask, inside)
    assert (found.source, found.name) == ("found", "the brain")
    assert "found in 'pre' by deepbet 9.9: 464 ml" in found.message
    with pytest.raises(RequestError, match="not in 't2'"):
        brain_of({"t2": scan})


def patient(folder):
    """The scans of a virtual patient as files, by role."""
    scans = sample_patient(size=(24, 28, 20)).scans
    for role in ("pre", "post"):
        write_volume(scans[role], folder / f"{role}.nrrd")
    return {role: str(folder / f"{role}.nrrd") for role in ("pre", "post")}


@pytest.fixture
def files(tmp_path, deepbet, monkeypatch):
    monkeypatch.setattr(FakeBet, "level", 1.0)
    return patient(tmp_path)


def test_a_run_finds_the_brain_and_records_what_found_it(files):
    request = Request("physics_dose", {**files, "mask": "auto"})
    assert files_of(request)["mask"] == []
    result = run(request)
    told = result.provenance["mask"]
    assert told["source"] == "found"
    assert (told["scan"], told["package"], told["version"]) == ("pre", "deepbet", "9.9")
    assert told["voxels"] > 0
    assert "mask" not in result.provenance["inputs"]
    assert any("found in 'pre' by deepbet 9.9" in said for said in result.warnings)


def test_both_spellings_on_the_command_line(files, tmp_path, capsys):
    common = ["run", "physics_dose", "--in", f"pre={files['pre']}", "--in", f"post={files['post']}"]
    for number, mask in enumerate((["--in", "mask=auto"], ["--mask", "auto"], ["--mask=auto"])):
        out = tmp_path / str(number)
        assert main([*common, *mask, "--out", str(out)]) == 0
        told = json.loads((out / "provenance.json").read_text(encoding="utf-8"))
        assert told["mask"]["source"] == "found"
    twice = ["--in", "mask=auto", "--mask", files["pre"], "--out", str(tmp_path / "no")]
    assert main([*common, *twice]) == 2
    assert "one volume as 'mask', not 2" in capsys.readouterr().err


def test_a_dynamic_series_is_refused(files):
    from ContrastSynthLib.registry import Input, find_method
    from ContrastSynthLib.running.inputs import finds_brain

    method = find_method("physics_dose")
    phases = replace(method, inputs={**method.inputs, "phase": Input("Phases", series=True)})
    request = Request("physics_dose", {**files, "phase": files["post"], "mask": "auto"})
    with pytest.raises(RequestError, match="'phase' is a dynamic series"):
        finds_brain(phases, request)


@pytest.mark.parametrize("command", ["run", "uptake", "evaluate", "batch"])
def test_without_the_package_the_exit_code_is_3(command, tmp_path, absent, capsys):
    files = patient(tmp_path)
    (tmp_path / "cases.csv").write_text("case,pre,post\na,pre.nrrd,post.nrrd\n", encoding="utf-8")
    given = {
        "run": ["physics_dose", *(f"--in={role}={file}" for role, file in files.items())],
        "batch": ["physics_dose", "--cases", str(tmp_path / "cases.csv")],
        "uptake": [f"--{role}={file}" for role, file in files.items()],
        "evaluate": [f"--reference={files['pre']}", f"--synthetic={files['post']}"],
    }[command]
    out = [] if command == "evaluate" else ["--out", str(tmp_path / "out")]
    assert main([command, *given, "--mask", "auto", *out]) == 3
    assert "contrastsynth[brain-mask]" in capsys.readouterr().err


def test_uptake_and_evaluation_are_measured_in_the_brain(files, tmp_path, capsys):
    pair = [f"--pre={files['pre']}", f"--post={files['post']}", "--mask", "auto", "--json"]
    assert main(["uptake", *pair, "--out", str(tmp_path / "u.nrrd")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["mask"], told["region"]) == ("found", "the brain")
    assert told["found_by"]["package"] == "deepbet"
    both = [f"--reference={files['pre']}", f"--synthetic={files['post']}"]
    map_file = tmp_path / "map.nrrd"
    assert main(["evaluate", *both, *pair, "--map", str(map_file), "--progress", "none"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["brain_from"] == "found in 'pre' by deepbet 9.9"
    assert told["brain_is"] == "brain"
    assert "mask" not in told["regions"]
    assert map_file.is_file()


def test_a_table_may_ask_for_it_and_resumes_only_the_same(files, tmp_path, deepbet):
    from ContrastSynthLib.running.batch import case_inputs
    from ContrastSynthLib.running.batch.jobs import make_job, paths_of, request_of
    from ContrastSynthLib.running.batch.resume import earlier_result

    row = {"case": "a", "pre": "pre.nrrd", "post": "post.nrrd", "mask": "auto"}
    assert "mask" not in case_inputs("physics_dose", row, tmp_path)  # there is no such file
    settings = {"parameters": {}, "common": {}, "resume": True}
    job = make_job("physics_dose", row, tmp_path, tmp_path / "out", **settings)
    assert job["request"]["inputs"]["mask"] == ["auto"]
    assert "auto" not in paths_of(job)
    request = request_of(job)
    run(request).write(tmp_path / "out" / "a")
    assert earlier_result(request, tmp_path / "out" / "a")[0] is not None
    without = replace(request, inputs={k: v for k, v in request.inputs.items() if k != "mask"})
    assert earlier_result(without, tmp_path / "out" / "a") == (
        None,
        "it was made with another mask",
    )


def test_an_evaluation_of_whole_heads_does_not_speak_of_a_brain():
    patient = sample_patient(size=(48, 56, 44))
    pre, post = patient.scans["pre"], patient.scans["post"]
    assert evaluate(pre, post)["unit"].startswith("median of the brain:")
    noise = np.random.default_rng(1).uniform(0.1, 1, pre.array.shape) * float(pre.array.max()) / 20
    in_air = [scan.with_array(np.where(scan.array > 0, scan.array, noise)) for scan in (pre, post)]
    report = evaluate(*in_air)
    assert report["brain_is"] == "voxels above 0"
    assert report["unit"].startswith("median of the voxels above 0:")
    assert report["data_range_from"].endswith("in the voxels above 0")
    assert any("(--mask auto)" in note for note in report["notes"])


def dice(found, truth):
    return 2 * (found & truth).sum() / (found.sum() + truth.sum())


@pytest.mark.skipif(importlib.util.find_spec("deepbet") is None, reason="deepbet is not installed")
def test_the_real_networks_find_the_brain_of_a_virtual_head():
    pytest.importorskip("nilearn", reason="nilearn is not installed")
    from ContrastSynthLib.phantom.brain.patient import brain_patient

    patient = brain_patient(7, spacing_mm=2.0, head=True, only=("pre",), corruption=None)
    scan, truth = patient.scans["pre"], patient.truth["brain"] > 0
    assert scan.array.min() >= 0
    mask = find_brain(scan)
    assert mask.grid == scan.grid
    assert dice(mask.array > 0, truth) > 0.93
    # Stored with other axes, flipped: the same brain.
    turned = np.ascontiguousarray(scan.array.transpose(2, 0, 1)[::-1])
    to_lps = scan.grid.index_to_lps
    size, columns = turned.shape[::-1], to_lps[:3, [1, 2, 0]]
    columns[:, 2] *= -1
    matrix = np.eye(4)
    matrix[:3, :3] = columns
    matrix[:3, 3] = to_lps[:3, 3] + to_lps[:3, 0] * (scan.grid.size[0] - 1)
    other = find_brain(Volume(turned, Grid.from_index_to_lps(size, matrix)))
    back = other.array[::-1].transpose(1, 2, 0) > 0
    assert dice(back, mask.array > 0) > 0.999
