"""The harness itself: the closing line, the real scans, --slow. Each case is a run of pytest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parent.parent / "conftest.py"
REPOSITORY = CONFTEST.parent.parent

TESTS = """
import pytest

def test_plain():
    pass

@pytest.mark.slow
def test_slow():
    pass

@pytest.mark.real_scans
def test_folder(real_scans):
    assert real_scans.is_dir()

def test_pair(real_pair):
    pre, post = real_pair
    assert (pre.name, post.name) == ("a.nii.gz", "b.nii.gz")
"""
CASES = ", ".join(
    f'"{name}": {{"pre": "a.nii.gz", "post": "b.nii.gz"}}'
    for name in ("brats20_186", "tcga_fg_6692", "open_ms_p07")
)


def run_pytest(folder: Path, *options: str, scans: Path | None = None, tests: str = TESTS):
    """Run pytest on ``tests`` under a copy of the conftest; return exit code and lines."""
    (folder / "conftest.py").write_text(CONFTEST.read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "test_it.py").write_text(tests, encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if k != "CONTRASTSYNTH_REAL_SCANS"}
    if scans is not None:
        environment["CONTRASTSYNTH_REAL_SCANS"] = str(scans)
    command = [sys.executable, "-m", "pytest", "-c", str(REPOSITORY / "pyproject.toml")]
    done = subprocess.run(
        [*command, "--rootdir", str(folder), "-p", "no:cacheprovider", *options, str(folder)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, (done.stdout + done.stderr).strip().splitlines()


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "the scans"
    folder.mkdir()
    (folder / "cases.json").write_text("{" + CASES + "}", encoding="utf-8")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "tests"
    path.mkdir()
    return path


def test_without_the_variable_the_real_scans_are_skipped_and_the_last_line_says_so(folder):
    code, lines = run_pytest(folder)
    assert code == 0
    assert "1 passed, 5 skipped" in lines[-2]
    assert lines[-1] == "real scans: none ran, CONTRASTSYNTH_REAL_SCANS is not set"


@pytest.mark.parametrize("options", [(), ("--numprocesses", "2")])
def test_with_the_folder_they_run_and_are_counted(folder, scans, options):
    code, lines = run_pytest(folder, *options, scans=scans)
    assert code == 0
    assert "5 passed, 1 skipped" in lines[-2]
    assert lines[-1] == "real scans: 4 tests ran, 0 skipped"


def test_the_mark_is_there_without_being_written(folder, scans):
    code, lines = run_pytest(folder, "-m", "not real_scans", scans=scans)
    assert code == 0
    assert "1 passed, 1 skipped, 4 deselected" in lines[-2]


@pytest.mark.parametrize("made", [False, True])
def test_a_folder_without_cases_fails(folder, tmp_path, made):
    wrong = tmp_path / "elsewhere"
    if made:
        wrong.mkdir()
    code, lines = run_pytest(folder, scans=wrong)
    assert code == 1
    assert any("there is no cases.json" in line for line in lines)
    assert lines[-1] == "real scans: 0 tests ran, 0 skipped"


def test_slow_runs_on_request(folder):
    code, lines = run_pytest(folder, "--slow")
    assert code == 0
    assert "2 passed, 4 skipped" in lines[-2]


def test_a_mark_without_the_fixture_is_refused(folder):
    tests = "import pytest\n@pytest.mark.real_scans\ndef test_it():\n    pass\n"
    code, lines = run_pytest(folder, tests=tests)
    assert code == 4
    assert any("marked real_scans without that fixture" in line for line in lines)
