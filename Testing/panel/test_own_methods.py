"""Methods of a user's own in the panel: the four toys, in a process that loads them.

What is checked of them stands in own_methods_inside.py, whose tests run in that process.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed")
pytest.importorskip("slicer", reason="slicer-core is not installed")

from ContrastSynthLib.registry.own_methods import VARIABLE

ROOT = Path(__file__).resolve().parents[2]
TOYS = ROOT / "Testing" / "toys"
NAMES = ("series_times", "random_pair", "slab", "labels_map")
INSIDE = Path(__file__).with_name("own_methods_inside.py")
NEED_WEIGHTS = "random_pair or slab"


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Variables with which a new process knows the toys, and their weights where torch is there."""
    weights = tmp_path_factory.mktemp("weights")
    variables = {
        VARIABLE: os.pathsep.join(str(TOYS / f"{name}.py") for name in NAMES),
        "CONTRASTSYNTH_WEIGHTS": str(weights),
        "OMP_NUM_THREADS": "1",
    }
    return os.environ | variables


def run_inside(environment, which):
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", str(INSIDE), "-k", which]
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-6000:]


def test_what_needs_no_weights_goes_through_the_panel(environment):
    run_inside(environment, f"not ({NEED_WEIGHTS})")


def test_what_needs_weights_goes_through_the_panel(environment):
    for package in ("torch", "safetensors"):
        pytest.importorskip(package)
    made = subprocess.run(
        [sys.executable, str(TOYS / "weights.py"), environment["CONTRASTSYNTH_WEIGHTS"]],
        cwd=ROOT,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    run_inside(environment, NEED_WEIGHTS)
