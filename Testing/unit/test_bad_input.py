"""Bad input on the command line: exit code 2, a message that helps, an empty output folder."""

import os
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk

from ContrastSynthLib.cli import main
from ContrastSynthLib.files.images import write_volume
from ContrastSynthLib.phantom.sample import sample_patient

SIZE = (32, 38, 26)


@pytest.fixture(scope="module")
def scans():
    return sample_patient(seed=5, size=SIZE).scans


@pytest.fixture
def files(scans, tmp_path):
    """Whole scans of one patient; each test spoils what it needs."""
    paths = {role: tmp_path / f"{role}.nrrd" for role in ("pre", "post")}
    for role, path in paths.items():
        write_volume(scans[role], path, compress=False)
    return paths


def attempt(capfd, tmp_path, files, *extra, method="physics_dose"):
    """Run and return exit code and stderr; the output folder must hold nothing afterwards."""
    out = tmp_path / "out"
    inputs = [f"--in={role}={path}" for role, path in files.items()]
    try:
        code = main(["run", method, *inputs, "--out", str(out), "--progress", "none", *extra])
    except SystemExit as leaving:  # argparse
        code = leaving.code
    assert not out.exists() or not any(out.iterdir())
    return code, capfd.readouterr().err


def save(array, path, **options):
    sitk.WriteImage(sitk.GetImageFromArray(array, **options), str(path))
    return path


def missing(path):
    return path.with_name("not_there.nrrd")


def text(path):
    path.write_text("this is not an image\n")
    return path


def truncated(path):
    path.write_bytes(path.read_bytes()[:-1000])
    return path


def empty_file(path):
    path.write_bytes(b"")
    return path


def picture(path):
    return save(np.zeros((20, 30), np.uint8), path.with_suffix(".png"))


def flat_nrrd(path):
    return save(np.ones((20, 30), np.float32), path)


def vector(path):
    return save(np.ones((4, 20, 30, 3), np.float32), path, isVector=True)


def not_a_number(path):
    array = np.ones(SIZE[::-1], np.float32)
    array[3, 3, 3] = np.nan
    return save(array, path)


def infinite(path):
    array = np.ones(SIZE[::-1], np.float32)
    array[3, 3, 3] = np.inf
    return save(array, path)


def constant(path):
    return save(np.full(SIZE[::-1], 7, np.float32), path)


def time_series(path):
    images = [sitk.GetImageFromArray(np.random.default_rng(n).random((4, 5, 6))) for n in range(3)]
    sitk.WriteImage(sitk.JoinSeries(images), str(path))
    return path


def empty_folder(path):
    folder = path.with_name("empty")
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (missing, "there is no such file"),
        (text, "cannot be read as an image"),
        (truncated, "truncated or damaged"),
        (empty_file, "cannot be read as an image"),
        (picture, "not a format of images"),
        (flat_nrrd, "a 2D picture of 30 x 20"),
        (vector, "3 values in each voxel"),
        (not_a_number, "1 voxels are not finite"),
        (infinite, "1 voxels are not finite"),
        (constant, "every voxel is 7"),
        (time_series, "Give one time in seconds for each"),
        (empty_folder, "DICOM"),
    ],
)
def test_a_bad_file_is_refused(capfd, tmp_path, files, spoil, message):
    files["post"] = spoil(files["post"])
    code, said = attempt(capfd, tmp_path, files)
    assert code == 2
    assert message in said
    assert "Input 'post'" in said
    assert str(files["post"]) in said
    assert "Traceback" not in said


def test_an_empty_mask_is_refused(capfd, tmp_path, files):
    files["mask"] = save(np.zeros(SIZE[::-1], np.uint8), tmp_path / "mask.nrrd")
    code, said = attempt(capfd, tmp_path, files)
    assert code == 2
    assert "the mask is empty" in said


def test_differing_grids_are_refused_with_a_table(capfd, tmp_path, files, scans):
    other = sample_patient(seed=5, size=(30, 38, 26)).scans["post"]
    write_volume(other, files["post"])
    code, said = attempt(capfd, tmp_path, files)
    assert code == 2
    assert "pre" in said
    assert "32 38 26" in said
    assert "30 38 26" in said
    assert "<- differs" in said
    assert "--align" in said


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--in", "prae=x.nrrd"], "Did you mean 'pre'"),
        (["--set", "dosis=0.3"], "Did you mean 'dose'"),
        (["--set", "dose=3"], "Expected 0 to 2 of the full dose"),
        (["--set", "dose=a lot"], "'a lot' is not a number"),
        (["--set", "dose=0.1", "--set", "dose=0.2"], "given twice"),
        (["--set", "dose"], "not of the form NAME=VALUE"),
        (["--in", "post"], "not of the form ROLE=FILE"),
        (["--preset", "paper"], "Unknown preset"),
        (["--align", "rigidly"], "invalid choice"),
        (["--device", "tpu"], "Unknown device"),
        (["--weights", "some"], "has no weights"),
        (["--time", "60"], "belong to a series or a phase; physics_dose was given no series"),
    ],
)
def test_a_wrong_request_is_refused(capfd, tmp_path, files, extra, message):
    code, said = attempt(capfd, tmp_path, files, *extra)
    assert code == 2
    assert message in said


def test_the_same_role_twice_is_refused(capfd, tmp_path, files):
    code, said = attempt(capfd, tmp_path, files, "--in", f"pre={files['pre']}")
    assert code == 2
    assert "takes one volume as 'pre', not 2" in said


def test_an_unknown_method_is_refused(capfd, tmp_path, files):
    code, said = attempt(capfd, tmp_path, files, method="physics_dos")
    assert code == 2
    assert "Did you mean 'physics_dose'" in said


def test_no_input_is_refused(capfd, tmp_path):
    code, said = attempt(capfd, tmp_path, {})
    assert code == 2
    assert "needs 'pre' (Pre-contrast), 'post'" in said


def test_an_output_path_below_a_file_is_refused_before_anything_is_read(capfd, tmp_path, files):
    out = files["pre"] / "results"
    inputs = [f"--in={role}={path}" for role, path in files.items()]
    assert main(["run", "physics_dose", *inputs, "--out", str(out)]) == 2
    said = capfd.readouterr().err
    assert "is a file, not a folder" in said
    assert files["pre"].is_file()


LIMITED = """
import resource, sys
from ContrastSynthLib.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (30000, 30000))
sys.exit(main(sys.argv[1:]))
"""


def run_with_small_files(tmp_path, files, out):
    inputs = [f"--in={role}={path}" for role, path in files.items()]
    arguments = ["run", "physics_dose", *inputs, "--out", str(out), "--progress", "none"]
    return subprocess.run(
        [sys.executable, "-c", LIMITED, *arguments], capture_output=True, text=True, check=False
    )


def test_a_disk_that_fills_up_leaves_nothing(tmp_path, files):
    done = run_with_small_files(tmp_path, files, tmp_path / "out")
    assert done.returncode == 2, done.stderr
    assert "could not be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_disk_that_fills_up_keeps_the_earlier_result(tmp_path, files):
    out = tmp_path / "out"
    inputs = [f"--in={role}={path}" for role, path in files.items()]
    assert main(["run", "physics_dose", *inputs, "--out", str(out), "--progress", "none"]) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert run_with_small_files(tmp_path, files, out).returncode == 2
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_folder_without_permission_is_refused(capfd, tmp_path, files, monkeypatch):
    # Root may write everywhere, so the answer of the system is stood in for.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    code, said = attempt(capfd, tmp_path, files)
    assert code == 2
    assert "no permission" in said


def test_paths_with_spaces_and_accents_work(tmp_path, scans):
    folder = tmp_path / "Patientin Müller – Tête, nº 1"
    arguments = ["run", "physics_dose", "--out", str(folder / "Résultat = fin"), "--progress=none"]
    for role in ("pre", "post"):
        write_volume(scans[role], folder / f"T1 {role}.nii.gz")
        arguments += ["--in", f"{role}={folder / f'T1 {role}.nii.gz'}"]
    assert main(arguments) == 0
    assert (folder / "Résultat = fin" / "low.nrrd").is_file()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["profile", "--volume={pre}", "--from", "1,2", "--to", "-1,2,3"], "R,A,S in millimetres"),
        (["profile", "--volume={pre}", "--from=0,0,0", "--to=0,0,0"], "length"),
        (["profile", "--volume={pre}", "--from=900,0,0", "--to=990,0,0"], "does not meet"),
        (["uptake", "--pre={pre}", "--post={post}", "--out=x.png"], "cannot write this format"),
        (["evaluate", "--reference={pre}", "--synthetic={post}", "--pre={pre}"], "post"),
        (["evaluate", "--reference={pre}", "--synthetic=nowhere.nrrd"], "no such file"),
        (["methods", "physics"], "Unknown method 'physics'"),
        (["nothing"], "invalid choice"),
    ],
)
def test_the_other_commands_refuse_as_clearly(
    capfd, tmp_path, files, command, message, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    try:
        code = main([part.format(**files) for part in command])
    except SystemExit as leaving:
        code = leaving.code
    said = capfd.readouterr().err
    assert code == 2
    assert message in said
    assert "Traceback" not in said
