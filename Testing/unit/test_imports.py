"""What may import what: the arrows of the house, and nothing heavy before it is needed."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = "ContrastSynthLib"
LIBRARY = REPOSITORY / PACKAGE
FILES = sorted(LIBRARY.rglob("*.py"))

SLICER = {"slicer", "qt", "ctk", "vtk", "mrml", "PythonQt", "PySide6"}
HEAVY = {"torch", "monai", "torchmetrics", "matplotlib", "skimage", "pydicom"}
TORCH_FROM_THE_TOP = {"networks", "losses"}

GROUND = {
    "acquisition",
    "dicom",
    "dicom_header",
    "errors",
    "geometry",
    "resources",
    "series",
    "stored_voxels",
    "volumes",
}
"""Modules that every part may lean on."""
MAY_LEAN_ON = {
    "physics": set(),
    "preprocessing": {"physics"},
    "analysis": {"physics", "preprocessing", "metrics"},
    "metrics": {"physics", "preprocessing"},
    "losses": {"physics", "preprocessing"},
    "phantom": {"physics", "preprocessing"},
    "inference": set(),
    "inversion": {"physics", "preprocessing"},
    "networks": {"physics"},
    "registry": {"devices", "weights"},
    "weights": {"model_card"},
    "model_card": {"__version__"},
    "methods": {
        *("registry", "weights", "inference", "inversion", "networks"),
        *("preprocessing", "physics", "analysis"),
    },
    "commands": {
        *(
            "analysis",
            "batch",
            "devices",
            "jobs",
            "phantom",
            "plots",
            "plots_kinetics",
            "plots_inversion",
        ),
        *("preprocessing", "provenance", "registry", "result", "run", "methods", "weights"),
    },
}
"""Part of the library to the other parts that it may import, besides the ground."""


def parts(path: Path) -> tuple[str, ...]:
    """Return the dotted name of a file below the library, as parts: ("methods", "_spgr")."""
    names = path.relative_to(LIBRARY).with_suffix("").parts
    return names[:-1] if names[-1] == "__init__" else names


def imported(node: ast.AST, path: Path) -> Iterator[str]:
    """Yield the full dotted names that an import statement brings in."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            package = [PACKAGE, *path.relative_to(LIBRARY).parts[:-1]]
            package = package[: len(package) - node.level + 1]
            base = ".".join([*package, *([base] if base else [])])
        yield base
        yield from (f"{base}.{alias.name}" for alias in node.names)


def all_imports(path: Path, source: str | None = None) -> set[str]:
    """Return every name that a file imports, anywhere in it."""
    tree = ast.parse(source or path.read_text(encoding="utf-8"))
    return {name for node in ast.walk(tree) for name in imported(node, path)}


def imports_when_loaded(path: Path, source: str | None = None) -> set[str]:
    """Return the names that a file imports as soon as it is imported itself."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            return
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            return
        found.update(imported(node, path))
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(source or path.read_text(encoding="utf-8")))
    return found


def inner(names: set[str]) -> set[tuple[str, ...]]:
    """Return the names inside the library, without its own: {("physics", "spgr"), ...}."""
    split = (tuple(name.split(".")) for name in names)
    return {name[1:] for name in split if name[0] == PACKAGE and len(name) > 1}


@pytest.fixture(scope="module")
def heads() -> dict[Path, set[str]]:
    """File to the top-level packages that it imports, anywhere in it."""
    return {path: {name.split(".")[0] for name in all_imports(path)} for path in FILES}


def test_the_library_never_imports_slicer(heads):
    assert {str(path) for path in FILES if heads[path] & SLICER} == set()


def test_heavy_packages_wait_until_they_are_needed():
    early = {
        parts(path): sorted(HEAVY & {name.split(".")[0] for name in imports_when_loaded(path)})
        for path in FILES
        if not TORCH_FROM_THE_TOP & set(parts(path)[:1])
    }
    assert {name: found for name, found in early.items() if found} == {}


def test_each_part_leans_only_on_what_it_may():
    wrong = [
        (parts(path), name)
        for path in FILES
        if parts(path) and parts(path)[0] in MAY_LEAN_ON
        for name in inner(all_imports(path))
        if name[0] not in MAY_LEAN_ON[parts(path)[0]] | GROUND | {parts(path)[0]}
    ]
    assert wrong == []


def test_every_folder_of_the_library_has_its_arrows():
    folders = {path.parent.name for path in LIBRARY.glob("*/__init__.py")}
    assert folders <= set(MAY_LEAN_ON)


def test_the_ground_leans_on_nothing_above_it():
    wrong = {
        parts(path)[0]: names
        for path in FILES
        if parts(path)
        and parts(path)[0] in GROUND
        and (names := {name[0] for name in inner(all_imports(path))} - GROUND)
    }
    assert wrong == {}


def test_a_method_is_known_by_its_declaration_only():
    files = {path.stem for path in (LIBRARY / "methods").glob("*.py")} - {"__init__"}
    wrong = [
        (parts(path), name)
        for path in FILES
        if parts(path)[:1] != ("methods",)
        for name in inner(all_imports(path))
        if name[0] == "methods" and len(name) > 1 and name[1] in files
    ]
    assert wrong == []


def test_nothing_imports_the_command_line():
    users = {parts(path) for path in FILES if ("cli",) in inner(all_imports(path))}
    assert users <= {("__main__",)}


@pytest.mark.parametrize("module", ["", ".cli", ".methods", ".running.run", ".running.jobs"])
def test_a_fresh_interpreter_loads_nothing_heavy(module, tmp_path):
    code = f"import json, sys, {PACKAGE}{module}; print(json.dumps(list(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    loaded = {name.split(".")[0] for name in json.loads(done.stdout)}
    assert PACKAGE in loaded
    assert loaded & (HEAVY | SLICER) == set()


def test_these_tests_read_imports_as_python_does():
    """The reader itself, on a file that has each kind of import."""
    path = LIBRARY / "metrics" / "imagined.py"
    source = (
        "import torch.nn\n"
        "from . import image\n"
        "from ..physics import spgr\n"
        "def f():\n    import skimage\n"
        "if True:\n    import pydicom\n"
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import monai\n"
    )
    anywhere = all_imports(path, source)
    assert {"torch.nn", "skimage", "pydicom", "monai"} <= anywhere
    assert inner(anywhere) == {
        ("metrics",),
        ("metrics", "image"),
        ("physics",),
        ("physics", "spgr"),
    }
    early = imports_when_loaded(path, source)
    assert HEAVY & {name.split(".")[0] for name in early} == {"torch", "pydicom"}
