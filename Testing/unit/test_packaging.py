"""A cold newcomer: the wheel in an otherwise empty folder, run from somewhere else."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

from ContrastSynthLib import resources
from ContrastSynthLib.errors import MissingError
from ContrastSynthLib.resources import resource

REPOSITORY = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without network as hatchling is installed already."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that holds the installed wheel and nothing else."""
    folder = tmp_path_factory.mktemp("a newcomer's place")
    pip = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    command = [*pip, "--no-deps", "--no-index", "--target", str(folder), str(wheel)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def run_installed(installed: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the wheel's copy and the packages it depends on.

    -S keeps site-packages from being searched for .pth files: there lies the way back to
    this checkout.
    """
    path = os.pathsep.join([str(installed), sysconfig.get_path("purelib")])
    return subprocess.run(
        [sys.executable, "-S", *arguments],
        cwd=cwd,
        env={"PYTHONPATH": path, "PATH": os.defpath},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_wheel_holds_the_library_and_its_resources_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name.split("/")[0] for name in names} == {
        "ContrastSynthLib",
        f"contrastsynth-{PROJECT['version']}.dist-info",
    }
    shipped = {path for path in (REPOSITORY / "Resources").rglob("*") if path.is_file()}
    assert names >= {
        f"ContrastSynthLib/{path.relative_to(REPOSITORY).as_posix()}" for path in shipped
    }
    library = {
        path.relative_to(REPOSITORY).as_posix()
        for path in (REPOSITORY / "ContrastSynthLib").rglob("*.py")
    }
    assert library == {name for name in names if name.endswith(".py")}
    assert not [name for name in names if re.search(r"CMake|\.cmake$", name)]
    # Nor the manual's pictures, which only the pages on the web show.
    assert not [name for name in names if name.endswith((".png", ".jpg"))]


def test_the_installed_wheel_finds_its_resources_from_another_folder(installed, tmp_path):
    code = (
        "import ContrastSynthLib; from ContrastSynthLib.resources import resource; "
        "print(ContrastSynthLib.__file__); print(resource('Citations.json'))"
    )
    done = run_installed(installed, tmp_path, "-c", code)
    assert done.returncode == 0, done.stderr
    library, citations = map(Path, done.stdout.split("\n")[:2])
    assert library == installed / "ContrastSynthLib" / "__init__.py"
    assert citations == installed / "ContrastSynthLib" / "Resources" / "Citations.json"


def test_the_installed_wheel_answers_on_the_command_line(installed, tmp_path):
    helped = run_installed(installed, tmp_path, "-m", "ContrastSynthLib", "--help")
    assert helped.returncode == 0, helped.stderr
    assert "methods" in helped.stdout
    listed = run_installed(installed, tmp_path, "-m", "ContrastSynthLib", "methods", "--json")
    assert listed.returncode == 0, listed.stderr
    assert "physics_dose" in {method["key"] for method in json.loads(listed.stdout)["methods"]}


def test_a_resource_that_is_not_there_is_named():
    with pytest.raises(MissingError, match=r"'NoSuchFile\.json'.*Install ContrastSynth again"):
        resource("NoSuchFile.json")


def test_the_package_comes_before_the_checkout(tmp_path, monkeypatch):
    inside, beside = tmp_path / "inside", tmp_path / "beside"
    for folder in (inside, beside):
        folder.mkdir()
        (folder / "both").touch()
    (beside / "one").touch()
    monkeypatch.setattr(resources, "FOLDERS", (inside, beside))
    assert resource("both") == inside / "both"
    assert resource("one") == beside / "one"


def resource_files() -> list[Path]:
    return sorted((REPOSITORY / "Resources").glob("*.json"))


@pytest.mark.parametrize("path", resource_files(), ids=lambda path: path.name)
def test_each_table_has_a_schema_version(path):
    assert json.loads(path.read_text(encoding="utf-8"))["schema_version"] >= 1


def test_each_method_cites_a_known_paper():
    import ContrastSynthLib.methods  # noqa: F401  (declares them)
    from ContrastSynthLib.registry import METHODS

    citations = json.loads(resource("Citations.json").read_text(encoding="utf-8"))["citations"]
    assert {method.citation for method in METHODS.values()} <= set(citations)
    for key, citation in citations.items():
        assert citation["authors"], key
        assert citation["title"], key
        assert citation["venue"], key
        assert 1990 < citation["year"] < 2100, key


def distribution_names(requirements: list[str]) -> set[str]:
    """Return the names in requirements such as "numpy>=2.0", normalised."""
    heads = {re.split(r"[^\w.-]", requirement)[0] for requirement in requirements}
    return {re.sub(r"[-_.]+", "-", head).lower() for head in heads}


def is_call_of(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Call) and getattr(node.func, "attr", "") == name


OF_SLICER = {"qt", "ctk", "slicer", "PyTorchUtils", "SampleData"}
"""What Slicer has, and the test host of the panel stands in for."""
OF_PYSIDE6 = {"shiboken6", "shibokensupport"}
LEFT_TO_THE_USER = {"bm3d"}
"""Licences that allow non-commercial use only: never installed with the rest."""


def third_party(folder: Path) -> set[str]:
    """Return the distributions behind what the Python files below ``folder`` import."""
    modules = set()
    # Scripts import the ones beside them.
    places = (folder, folder / "bench", folder / "panel", folder / "unit")
    beside = {path.stem for place in places for path in place.glob("*.py")}
    beside |= {path.parent.name for path in folder.glob("*/__init__.py")}
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules.add((node.module or "").split(".")[0])
            elif is_call_of(node, "importorskip") and isinstance(node.args[0], ast.Constant):
                modules.add(str(node.args[0].value).split(".")[0])
    ours = {"ContrastSynthLib", "ContrastSynth", "ContrastSynthBatch", "ContrastSynthPanel"}
    ours |= {"host"} | beside
    outside = modules - ours - OF_SLICER - OF_PYSIDE6 - set(sys.stdlib_module_names)
    known = importlib.metadata.packages_distributions()
    found = {name for module in outside for name in known.get(module, [module])}
    return {re.sub(r"[-_.]+", "-", name).lower() for name in found}


def test_what_is_imported_is_declared():
    extras = {
        extra: distribution_names(names)
        for extra, names in PROJECT["optional-dependencies"].items()
    }
    always = distribution_names(PROJECT["dependencies"])
    optional = set().union(*(extras[extra] for extra in extras.keys() - {"dev", "slicer"}))
    imported = third_party(REPOSITORY / "ContrastSynthLib") - LEFT_TO_THE_USER
    assert imported <= always | optional
    developing = always | optional | extras["slicer"] | extras["dev"]
    assert third_party(REPOSITORY / "Testing") <= developing
    assert third_party(REPOSITORY / "training") <= developing


def test_versions_agree():
    import ContrastSynthLib

    assert importlib.metadata.version("contrastsynth") == PROJECT["version"]
    assert ContrastSynthLib.__version__ == PROJECT["version"]
