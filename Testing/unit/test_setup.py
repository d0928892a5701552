"""The set-up behind "make demo" and "make test", with interpreters that only pretend."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

WORKING = """#!/bin/sh
# Answers as Python {version} would, notes what pip is asked for, and makes a .venv of itself.
case "$*" in
  *"-m venv"*) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
  *"-m pip"*) echo "$*" >> calls; case "$*" in *torch) exit {torch} ;; esac ;;
  *ensurepip*) exit {venv} ;;
  *'print("%d.%d"'*) echo {version} ;;
esac
"""
BROKEN = "#!/bin/sh\necho 'command not found' >&2\nexit 127\n"
TOO_OLD = "#!/bin/sh\nexit 1\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of the files that the set-up reads, in a folder with a space in its name."""
    folder = tmp_path / "a project"
    (folder / "tools").mkdir(parents=True)
    shutil.copy(REPOSITORY / "tools" / "setup-venv", folder / "tools")
    (folder / "tools" / "system_libraries.py").touch()
    (folder / "pyproject.toml").write_text("1")
    (folder / "constraints-dev.txt").write_text("1")
    return folder


def working(version: str = "3.12", venv: int = 0, torch: int = 0) -> str:
    return WORKING.format(version=version, venv=venv, torch=torch)


def set_up(project: Path, **pythons: str) -> subprocess.CompletedProcess[str]:
    """Run the set-up where python311, python312 and python3 are the given scripts."""
    folder = project.parent / "bin"
    folder.mkdir(exist_ok=True)
    for name in ("python3.11", "python3.12", "python3"):
        script = folder / name
        script.write_text(pythons.get(name.replace(".", ""), BROKEN))
        script.chmod(0o755)
    return subprocess.run(
        [project / "tools" / "setup-venv"],
        env={"PATH": f"{folder}:{os.defpath}"},
        capture_output=True,
        text=True,
        check=False,
    )


def pip_calls(project: Path) -> list[str]:
    """Return what pip was asked to install since the last look."""
    calls = project / "calls"
    lines = calls.read_text().splitlines() if calls.exists() else []
    calls.unlink(missing_ok=True)
    return [line.split()[-1] for line in lines]


def test_an_interpreter_that_does_not_work_is_passed_over(project):
    done = set_up(project, python312=working("3.12"))
    assert done.returncode == 0, done.stderr
    assert "Python 3.12" in done.stdout
    assert pip_calls(project) == ["torch", ".[dev,train,brain-mask]"]


def test_nothing_is_installed_twice(project):
    set_up(project, python311=working("3.11"))
    pip_calls(project)
    again = set_up(project, python311=working("3.11"))
    assert again.returncode == 0
    assert (again.stdout, pip_calls(project)) == ("", [])


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints-dev.txt"])
def test_what_changed_is_installed_again_into_the_same_place(project, name):
    set_up(project, python311=working("3.11"))
    (project / ".venv" / "kept").touch()
    pip_calls(project)
    (project / name).write_text("2")
    set_up(project, python311=working("3.11"))
    assert pip_calls(project) == ["torch", ".[dev,train,brain-mask]"]
    assert (project / ".venv" / "kept").exists()


def test_a_time_stamp_alone_changes_nothing(project):
    set_up(project, python311=working("3.11"))
    pip_calls(project)
    os.utime(project / "pyproject.toml", (2e9, 2e9))
    set_up(project, python311=working("3.11"))
    assert pip_calls(project) == []


def break_interpreter(project: Path) -> Path:
    (project / ".venv" / "bin" / "python").write_text(BROKEN)
    return project


def lose_stamp(project: Path) -> Path:
    (project / ".venv" / ".setup-done").unlink()
    return project


def move(project: Path) -> Path:
    return project.rename(project.with_name("moved"))


@pytest.mark.parametrize("harm", [break_interpreter, lose_stamp, move])
def test_what_is_broken_half_made_or_moved_is_made_again(project, harm):
    set_up(project, python311=working("3.11"))
    (project / ".venv" / "left over").touch()
    pip_calls(project)
    project = harm(project)
    done = set_up(project, python311=working("3.11"))
    assert done.returncode == 0, done.stderr
    assert pip_calls(project) == ["torch", ".[dev,train,brain-mask]"]
    assert not (project / ".venv" / "left over").exists()


def test_without_a_cpu_build_of_torch_the_rest_is_installed(project):
    done = set_up(project, python312=working("3.12", torch=1))
    assert done.returncode == 0
    assert pip_calls(project) == ["torch", "torch", ".[dev]"]
    assert "no CPU build of torch for Python 3.12" in done.stderr


def test_a_missing_venv_module_names_the_debian_package(project):
    done = set_up(project, python311=working("3.11", venv=1), python312=TOO_OLD)
    assert done.returncode == 1
    assert "apt-get install python3.11-venv" in done.stderr
    assert not (project / ".venv").exists()


def test_no_python_that_is_new_enough(project):
    done = set_up(project, python3=TOO_OLD)
    assert done.returncode == 1
    assert "no Python 3.11 or newer" in done.stderr
    assert "apt-get install python3 python3-venv" in done.stderr


@pytest.fixture(scope="module")
def libraries():
    path = REPOSITORY / "tools" / "system_libraries.py"
    spec = importlib.util.spec_from_file_location("system_libraries", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_missing_library_names_its_debian_package(libraries):
    error = "ImportError: libGL.so.1: cannot open shared object file: No such file or directory"
    assert libraries.advice(error).endswith("apt-get install libgl1")
    unknown = error.replace("libGL.so.1", "libNobody-2.0.so.7")
    assert "apt-file find libNobody-2.0.so.7" in libraries.advice(unknown)
    assert libraries.advice("ModuleNotFoundError: No module named 'vtk'") == ""


def test_what_the_linker_does_not_find_is_listed(libraries):
    wanted = {"libc.so.6": "libc6", "libNobody.so.1": "libnobody1"}
    assert libraries.missing(wanted) == ["libnobody1"]
