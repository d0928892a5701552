"""What may import what: the arrows of the house, and nothing heavy before it is needed."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = "ContrastSynthLib"
LIBRARY = REPOSITORY / PACKAGE
FILES = sorted(LIBRARY.rglob("*.py"))

SLICER = {"slicer", "qt", "ctk", "vtk", "mrml", "PythonQt", "PySide6"}
HEAVY = {
    "torch",
    "monai",
    "deepbet",
    "nibabel",
    "torchmetrics",
    "matplotlib",
    "skimage",
    "pydicom",
    "dicomanonymizer",
    "distributed",
    "pandas",
    "statsmodels",
    "pingouin",
}
TORCH_FROM_THE_TOP = {"networks", "losses"}

MAY_LEAN_ON = {
    # The ground: values that everybody may lean on.
    "errors": set(),
    "texts": set(),
    "agents": {"texts"},
    "acquisition": {"agents"},
    "requirements": {"errors"},
    "resources": {"errors"},
    "geometry": {"errors"},
    "volumes": {"acquisition", "errors", "geometry"},
    "itk_images": {"volumes"},
    # Numbers: no files, no methods.
    "physics": {"errors"},
    "networks": {"errors", "physics"},
    "losses": {"physics"},
    "metrics": {"errors", "physics"},
    "inversion": {"errors", "physics"},
    "preprocessing": {"errors", "geometry", "itk_images", "physics", "volumes"},
    "phantom": {"acquisition", "errors", "geometry", "physics", "volumes"},
    "analysis": {"errors", "geometry", "metrics", "physics", "preprocessing", "volumes"},
    # The disk.
    "files": {"acquisition", "agents", "errors", "geometry", "itk_images", "volumes"},
    "weights": {"", "errors", "networks", "resources"},
    # What a method is, and how it runs.
    "inference": {"errors", "geometry", "networks", "volumes", "weights"},
    "registry": {"acquisition", "errors", "inference", "requirements", "volumes", "weights"},
    "methods": {
        *("errors", "inference", "inversion", "networks", "physics", "preprocessing"),
        *("registry", "volumes"),
    },
    "running": {
        *("", "acquisition", "errors", "files", "geometry", "inference", "methods"),
        *("preprocessing", "registry", "resources", "volumes", "weights"),
    },
    # What people see.
    "plots": {"analysis", "errors", "registry", "volumes"},
    "reader_study": {
        *("", "errors", "files", "plots", "resources", "running", "volumes"),
    },
    "archive": {"errors", "files"},
    "service": {
        *("archive", "dicom_export", "dicom_study", "errors", "files", "methods"),
        *("registry", "running"),
    },
    "dicom_export": {
        *("", "analysis", "errors", "files", "geometry", "preprocessing", "registry"),
        *("running", "texts", "volumes"),
    },
    "dicom_study": {"agents", "errors", "files", "texts"},
    "bids": {
        *("acquisition", "agents", "errors", "files", "geometry", "methods", "preprocessing"),
        *("registry", "running", "volumes"),
    },
    "cohort": {
        *("", "errors", "files", "plots", "registry", "resources", "running", "volumes"),
    },
    "demo": {
        *("analysis", "errors", "files", "phantom", "plots", "preprocessing", "registry"),
        *("resources", "running", "volumes"),
    },
    "commands": {
        *("", "analysis", "archive", "bids", "cohort", "dicom_export", "dicom_study", "errors"),
        *("files", "geometry", "methods", "phantom", "physics", "plots", "preprocessing"),
        *("reader_study", "registry", "running", "service", "volumes", "weights"),
    },
    "cli": {"commands", "errors", "requirements", "running"},
    "__main__": {"cli"},
}
"""Each room, a folder or a module of its own, to those that it leans on; "" is the version."""


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


def room(name: tuple[str, ...]) -> str:
    """Return the folder, or the module of its own, that a name inside the library belongs to."""
    return name[0] if name and name[0] in MAY_LEAN_ON else ""


def arrows_between_rooms() -> dict[str, set[str]]:
    """Return each room with those that its files import from."""
    found: dict[str, set[str]] = {name: set() for name in MAY_LEAN_ON}
    for path in FILES:
        here = room(parts(path))
        if here:
            found[here] |= {room(name) for name in inner(all_imports(path))} - {here}
    return found


def test_each_room_leans_on_what_is_listed_and_on_nothing_else():
    """A room that leans on less is news, too: its line above gets shorter."""
    assert arrows_between_rooms() == MAY_LEAN_ON


def test_the_list_covers_every_room():
    folders = {path.parent.name for path in LIBRARY.glob("*/__init__.py")}
    modules = {path.stem for path in LIBRARY.glob("*.py")} - {"__init__"}
    assert folders | modules == set(MAY_LEAN_ON)


def test_no_room_leans_on_itself_through_others():
    order = list(TopologicalSorter(MAY_LEAN_ON).static_order())
    assert order.index("errors") < order.index("running") < order.index("cli")


def test_no_module_imports_itself_through_others():
    """Imports inside functions count as well."""
    modules = {parts(path) for path in FILES}

    def module_of(name: tuple[str, ...]) -> tuple[str, ...]:
        while name not in modules:
            name = name[:-1]
        return name

    graph = {
        parts(path): {module_of(name) for name in named(all_imports(path))} - {parts(path)}
        for path in FILES
    }
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def named(names: set[str]) -> set[tuple[str, ...]]:
    """Return what is imported from, without the packages above it that come along."""
    found = inner(names)
    return {name for name in found if not any(other[:-1] == name for other in found)}


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


def test_what_methods_share_is_theirs_alone():
    """Nobody outside of ``methods``, training and tests included, imports ``methods._*``."""
    places = ("ContrastSynthLib", "ContrastSynth", "training", "Testing", "tools")
    files = {path for place in places for path in (REPOSITORY / place).rglob("*.py")}
    users = [
        path.relative_to(REPOSITORY).as_posix()
        for path in files - set((LIBRARY / "methods").glob("*.py"))
        if re.search(rf"from {PACKAGE}\.methods(\._| import _)", path.read_text(encoding="utf-8"))
    ]
    assert users == []


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
