"""The requirements for Slicer are those that the wheel declares."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np

from ContrastSynthLib.files.images import write_volume
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.requirements import REQUIREMENTS, as_missing, requirement_name
from ContrastSynthLib.volumes import Volume

REPOSITORY = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OF_SLICER = {"numpy", "scipy", "SimpleITK"}


def test_they_are_what_the_wheel_declares():
    always = [one for one in PROJECT["dependencies"] if requirement_name(one) not in OF_SLICER]
    assert list(REQUIREMENTS["scans"]) == always
    for extra in ("networks", "plot", "cluster", "dicom", "deidentify"):
        assert list(REQUIREMENTS[extra]) == PROJECT["optional-dependencies"][extra]
    assert list(REQUIREMENTS["brain_mask"]) == PROJECT["optional-dependencies"]["brain-mask"]


def test_a_failed_import_names_the_package():
    error = as_missing(ModuleNotFoundError("no", name="skimage.filters"))
    assert "scikit-image>=0.24" in str(error)
    assert as_missing(ModuleNotFoundError("no", name="monai")).exit_code == 3
    assert as_missing(ModuleNotFoundError("no", name="ContrastSynthLib.nothing")) is None
    assert as_missing(ImportError("no")) is None


WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, *places):
        if name.partition(".")[0] in {absent}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
from ContrastSynthLib.cli import main
sys.exit(main(["run", *sys.argv[1:]]))
"""


def run_without(absent, *arguments):
    """Run a method in a process in which some packages are not installed."""
    command = [sys.executable, "-c", WITHOUT.format(absent=absent), *map(str, arguments)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


def test_a_stripped_scan_needs_nothing_but_what_slicer_has(tmp_path):
    scans = sample_patient(size=(24, 28, 20)).scans
    for role in ("pre", "post"):
        write_volume(scans[role], tmp_path / f"{role}.nrrd")
    absent = ["skimage", "pydicom", "torch", "monai", "safetensors", "matplotlib", "pandas"]
    for method, roles in {"physics_dose": ("pre", "post"), "physics_pre": ("post",)}.items():
        files = [f"--in={role}={tmp_path / role}.nrrd" for role in roles]
        done = run_without(absent, method, f"--out={tmp_path / method}", *files)
        assert done.returncode == 0, done.stderr


def test_a_run_without_scikit_image_says_so(tmp_path):
    """A scan that fills its field is no stripped brain: its outline needs scikit-image."""
    array = np.random.default_rng(0).uniform(50, 100, (8, 30, 30)).astype(np.float32)
    write_volume(Volume(array, Grid((30, 30, 8))), tmp_path / "post.nrrd")
    given = [f"--in=post={tmp_path / 'post.nrrd'}", f"--out={tmp_path / 'result'}"]
    done = run_without(["skimage"], "physics_pre", *given)
    assert done.returncode == 3, done.stderr
    assert "needs scikit-image, which is not installed" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "result").exists()
