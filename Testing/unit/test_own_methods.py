"""A stranger's method is one file: four toys go everywhere without any other edit."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.registry import own_methods
from ContrastSynthLib.registry.own_methods import VARIABLE

ROOT = Path(__file__).resolve().parents[2]
TOYS = ROOT / "Testing" / "toys"
FILES = [TOYS / f"{name}.py" for name in ("series_times", "random_pair", "slab", "labels_map")]
KEYS = ["toy_series_times", "toy_random_pair", "toy_slab", "toy_labels_map"]


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Variables with which a new process knows the toys and their weights."""
    for package in ("torch", "safetensors"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("weights")
    done = run_python(dict(os.environ), str(TOYS / "weights.py"), str(folder))
    assert done.returncode == 0, done.stderr
    return {
        **os.environ,
        VARIABLE: os.pathsep.join(str(file) for file in FILES),
        "CONTRASTSYNTH_WEIGHTS": str(folder),
    }


def run_python(environment, *words):
    return subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True
    )


def test_the_matrix_of_all_methods_holds_for_the_toys(environment):
    """Run, command line, batch, provenance, seeds, grids, masks: the same tests as for our own."""
    matrix = [str(file) for file in sorted(Path(__file__).parent.glob("test_method_matrix*.py"))]
    words = ["-m", "pytest", *matrix, "-q", "-k", "toy_", "-p", "no:cacheprovider"]
    done = run_python(environment, *words)
    assert done.returncode == 0, done.stdout[-4000:]
    listed = run_python(environment, *words, "--collect-only").stdout
    for key in KEYS:
        assert listed.count(f"[{key}]") >= 9, key
    assert "toy_random_pair" in listed


def test_the_command_line_lists_and_shows_them(environment):
    listed = run_python(environment, "-m", "ContrastSynthLib", "methods", "--json")
    methods = {entry["key"]: entry for entry in json.loads(listed.stdout)["methods"]}
    assert set(KEYS) <= set(methods)
    assert methods["toy_random_pair"]["random"] is True
    assert methods["toy_series_times"]["outputs"]["phases"]["series"] is True
    assert methods["toy_series_times"]["parameters"][0]["type"] == "numbers"
    assert methods["toy_labels_map"]["outputs"]["classes"]["labels"]["3"] == "bright"
    shown = run_python(environment, "-m", "ContrastSynthLib", "methods", "toy_random_pair").stdout
    for part in ("depend on the seed", "dropper", "weights toy_dropper when dropout = on"):
        assert part in shown


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("none.py", None, "names .*none.py, which is no Python file"),
        ("broken.py", "import nothing_of_that_name\n", "could not be loaded .ModuleNotFoundError"),
        ("text.txt", "a text", "which is no Python file"),
    ],
)
def test_a_file_that_is_no_method_is_refused(tmp_path, monkeypatch, name, text, message):
    if text is not None:
        (tmp_path / name).write_text(text)
    monkeypatch.setenv(VARIABLE, str(tmp_path / name))
    monkeypatch.setattr(own_methods, "failures", [])
    assert own_methods.load_own_methods() == []
    with pytest.raises(RequestError, match=message):
        own_methods.refuse_failures()


def test_the_command_line_says_so_without_a_traceback(tmp_path):
    environment = {**os.environ, VARIABLE: str(tmp_path / "none.py")}
    done = run_python(environment, "-m", "ContrastSynthLib", "methods")
    assert done.returncode == 2
    assert done.stderr.startswith("contrastsynth: CONTRASTSYNTH_METHODS names")
