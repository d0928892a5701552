"""The Slicer extension: what is listed, what is staged, and what the Extensions Index checks.

Slicer is not at hand here: Testing/cmake stands in for its macros, and a few lines below for
the classes that the module derives from.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
LIBRARY = REPOSITORY / "ContrastSynthLib"
MODULE = REPOSITORY / "ContrastSynth"
CMAKE = Path(sysconfig.get_path("scripts")) / "cmake"
CMAKE_LISTS = (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")
RAW = "https://raw.githubusercontent.com/ContrastSynth/SlicerContrastSynth/main/"


def cmake_list(path: Path, variable: str) -> set[str]:
    """Return the words of ``set(variable ...)`` in a CMake file."""
    (words,) = re.findall(rf"set\({variable}\s([^)]*)\)", path.read_text(encoding="utf-8"))
    return set(words.split())


def tree(folder: Path) -> set[str]:
    """Return the files below ``folder`` that are not CMake's or compiled, relative to it."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and path.name != "CMakeLists.txt"
        and path.suffix != ".cmake"
    }


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which Slicer would look for modules, in a place of its own."""
    folder = tmp_path_factory.mktemp("a staged extension")
    done = stage(REPOSITORY, folder)
    assert done.returncode == 0, done.stderr
    (found,) = folder.glob("installed/lib/Slicer-*/qt-scripted-modules")
    return found


def stage(source: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Configure ``source`` with the stand-ins, build it, install it into ``folder``/installed."""
    build = folder / "build"
    stand_ins = REPOSITORY / "Testing" / "cmake"
    configure = [CMAKE, "-S", source, "-B", build, f"-DSlicer_DIR={stand_ins}"]
    configure += ["--toolchain", stand_ins / "no-compiler.cmake"]
    done = subprocess.run(configure, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return done
    subprocess.run([CMAKE, "--build", build], capture_output=True, text=True, check=True)
    install = [CMAKE, "--install", build, "--prefix", folder / "installed"]
    return subprocess.run(install, capture_output=True, text=True, check=True)


def test_every_library_file_is_listed():
    files = tree(LIBRARY)
    scripts = {name for name in files if name.endswith(".py")}
    told = "the list is out of date: run make refresh"
    assert cmake_list(LIBRARY / "files.cmake", "LIBRARY_SCRIPTS") == scripts, told
    assert cmake_list(LIBRARY / "files.cmake", "LIBRARY_RESOURCES") == files - scripts, told
    shared = cmake_list(LIBRARY / "files.cmake", "SHARED_RESOURCES")
    assert shared == tree(REPOSITORY / "Resources"), told


def test_every_module_file_is_listed():
    files = tree(MODULE)
    scripts = {name for name in files if name.endswith(".py")}
    assert cmake_list(MODULE / "files.cmake", "MODULE_SCRIPTS") == scripts
    assert cmake_list(MODULE / "files.cmake", "MODULE_RESOURCES") == files - scripts


def test_the_staged_tree_holds_what_the_checkout_holds(staged):
    library = {f"ContrastSynthLib/{name}" for name in tree(LIBRARY)}
    resources = {f"ContrastSynthLib/Resources/{name}" for name in tree(REPOSITORY / "Resources")}
    assert tree(staged) == tree(MODULE) | library | resources


def test_the_staged_tree_finds_its_resources_from_another_folder(staged, tmp_path):
    code = (
        "import ContrastSynthLib; from ContrastSynthLib.resources import resource; "
        "print(ContrastSynthLib.__file__); print(resource('Citations.json'))"
    )
    path = os.pathsep.join([str(staged), sysconfig.get_path("purelib")])
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [Path(line) for line in done.stdout.splitlines()] == [
        staged / "ContrastSynthLib" / "__init__.py",
        staged / "ContrastSynthLib" / "Resources" / "Citations.json",
    ]


IN_THE_HOST = """
import json, sys
from pathlib import Path
from host import pick, press, pump, start
made = start()
sys.path.remove(sys.argv[2])  # of the checkout; the host's scene asked for it
panel = made.open_module(Path(sys.argv[1]) / "ContrastSynth.py").panel
tab = panel.synthesise
from ContrastSynthLib.registry import METHODS
from ContrastSynthPanel.scene import bridge, sample_data
sample_data.load_brain(("pre", "post"), size=(24, 28, 20))
pick(tab.form.method_combo, METHODS["physics_dose"].title)
pump(lambda: tab.run.apply_button.enabled)
press(tab.run.apply_button)
pump(lambda: not tab.run.running, 90.0)
result = panel.box.case.node("result")
ours = [m for n, m in sys.modules.items() if n.startswith("ContrastSynth")]
told = {
    "files": sorted({m.__file__ for m in ours}),
    "by": json.loads(result.GetAttribute(bridge.PROVENANCE))["software"]["contrastsynth"],
    "errors": [str(error) for error in made.record.errors],
}
made.clean(); made.end()
print(json.dumps(told))
"""


def test_the_staged_panel_runs_a_method_to_the_end(staged, tmp_path):
    """In a process, and a worker, that know nothing of the checkout."""
    pytest.importorskip("PySide6", reason="PySide6-Essentials is not installed")
    pytest.importorskip("slicer", reason="slicer-core is not installed")
    package = tmp_path / "qt-scripted-modules"
    shutil.copytree(staged, package)
    told_version = package / "ContrastSynthLib" / "__init__.py"
    text = told_version.read_text(encoding="utf-8").replace('__version__ = "', '__version__ = "9.')
    told_version.write_text(text, encoding="utf-8")
    path = os.pathsep.join([sysconfig.get_path("purelib"), str(REPOSITORY / "Testing" / "panel")])
    done = subprocess.run(
        [sys.executable, "-S", "-c", IN_THE_HOST, package, MODULE],
        cwd=tmp_path,
        env={"PYTHONPATH": path, "QT_QPA_PLATFORM": "offscreen", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["errors"] == []
    assert told["by"].startswith("9."), "the worker was another package's"
    assert told["files"]
    for file in told["files"]:
        assert Path(file).is_relative_to(package)


def test_pictures_of_the_manual_are_not_packaged(staged):
    pictures = {Path(name) for name in tree(staged) if name.endswith((".png", ".jpg", ".svg"))}
    assert {path.name for path in pictures} == {"ContrastSynth.png", "ContrastSynth.svg"}
    assert not [name for name in tree(staged) if "screenshot" in name.lower()]


BUNDLING = """
cmake_minimum_required(VERSION 3.16.3...3.31)
project(SomeApplication NONE)
add_subdirectory("{extension}" bundled)
"""


def test_a_custom_application_bundles_it_as_a_folder_of_its_own(staged, tmp_path):
    application = tmp_path / "application"
    application.mkdir()
    lists = BUNDLING.format(extension=REPOSITORY.as_posix())
    (application / "CMakeLists.txt").write_text(lists, encoding="utf-8")
    done = stage(application, tmp_path)
    assert done.returncode == 0, done.stderr
    (found,) = tmp_path.glob("installed/lib/Slicer-*/qt-scripted-modules")
    assert tree(found) == tree(staged)


def copy_of_the_checkout(folder: Path) -> Path:
    """Return a copy of what the extension is built from."""
    for name in ("ContrastSynth", "ContrastSynthLib", "Resources"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / name, folder / name, ignore=ignored)
    for name in ("CMakeLists.txt", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, folder)
    return folder


def test_a_changed_resource_is_copied_at_the_next_build(tmp_path):
    copy = copy_of_the_checkout(tmp_path / "copy")
    assert stage(copy, tmp_path).returncode == 0
    (copy / "Resources" / "Citations.json").write_text("changed", encoding="utf-8")
    build = [CMAKE, "--build", tmp_path / "build"]
    subprocess.run(build, capture_output=True, text=True, check=True)
    (built,) = tmp_path.glob("build/lib/Slicer-*/**/ContrastSynthLib/Resources/Citations.json")
    assert built.read_text(encoding="utf-8") == "changed"


def test_a_listed_resource_that_is_missing_stops_the_staging(tmp_path):
    copy = copy_of_the_checkout(tmp_path / "copy")
    (copy / "Resources" / "Citations.json").unlink()
    done = stage(copy, tmp_path)
    assert done.returncode != 0
    assert "lists 'Resources/Citations.json', which does not exist" in " ".join(done.stderr.split())


def test_a_listed_file_that_is_missing_stops_the_staging(tmp_path):
    copy = copy_of_the_checkout(tmp_path / "copy")
    (copy / "ContrastSynthLib" / "errors.py").unlink()
    done = stage(copy, tmp_path)
    assert done.returncode != 0
    assert "lists 'errors.py', which does not exist" in " ".join(done.stderr.split())


def test_metadata_in_the_form_that_the_extensions_index_reads():
    (name,) = re.findall(r"project\s*\(\s*([^\s\)\n\r]+)", CMAKE_LISTS)
    (icon,) = re.findall(r'set\s*\(EXTENSION_ICONURL\s*"([^"]+)"[ ]*\)', CMAKE_LISTS)
    (pictures,) = re.findall(r'set\s*\(EXTENSION_SCREENSHOTURLS\s*"([^"]+)"\)', CMAKE_LISTS)
    (category,) = re.findall(r'set\(EXTENSION_CATEGORY "([^"]+)"\)', CMAKE_LISTS)
    (depends,) = re.findall(r'set\(EXTENSION_DEPENDS "([^"]+)"\)', CMAKE_LISTS)
    (recommends,) = re.findall(r'set\(EXTENSION_RECOMMENDS "([^"]+)"\)', CMAKE_LISTS)
    for url in (icon, *pictures.split()):
        assert url.startswith(RAW)
        assert (REPOSITORY / url.removeprefix(RAW)).is_file(), f"{url} shows no file of ours"
    entry = json.loads((REPOSITORY / f"{name}.json").read_text(encoding="utf-8"))
    assert entry["category"] == category == "Image Synthesis"
    # Obligatory would be for all users what only the networks need.
    assert (depends, recommends) == ("NA", "PyTorch")
    assert entry["build_dependencies"] == []
    assert "slicer" in entry["scm_url"].rsplit("/", 1)[1].lower()
    assert set(entry) == {
        "$schema",
        "build_dependencies",
        "build_subdirectory",
        "category",
        "scm_revision",
        "scm_type",
        "scm_url",
        "tier",
    }


def test_the_icon_is_a_square_png_of_128_pixels():
    header = (MODULE / "Resources" / "Icons" / "ContrastSynth.png").read_bytes()[:26]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", header[16:24]) == (128, 128)


def test_the_module_file_imports_only_what_slicer_has():
    statements = ast.parse((MODULE / "ContrastSynth.py").read_text(encoding="utf-8")).body
    modules = set()
    for statement in statements:
        if isinstance(statement, ast.Import):
            modules |= {alias.name for alias in statement.names}
        elif isinstance(statement, ast.ImportFrom):
            modules.add(statement.module)
    heads = {name.split(".")[0] for name in modules}
    allowed = {"slicer", "vtk", "SimpleITK", "numpy", "scipy"} | set(sys.stdlib_module_names)
    assert heads <= allowed


class Base:
    """Stands in for Slicer's ScriptedLoadable classes, as far as the module uses them."""

    def __init__(self, parent=None):
        self.parent = parent


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """ContrastSynth.py, imported as Slicer would."""
    slicer, i18n, loadable = (
        ModuleType(name) for name in ("slicer", "slicer.i18n", "slicer.ScriptedLoadableModule")
    )
    i18n.tr = lambda text: text
    i18n.translate = lambda context, text: text
    slicer.app = SimpleNamespace(connect=lambda signal, function: None)
    for suffix in ("", "Logic", "Test", "Widget"):
        setattr(loadable, f"ScriptedLoadableModule{suffix}", type(f"Base{suffix}", (Base,), {}))
    for fake in (slicer, i18n, loadable):
        monkeypatch.setitem(sys.modules, fake.__name__, fake)
    spec = importlib.util.spec_from_file_location("ContrastSynth", MODULE / "ContrastSynth.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_the_module_names_itself_and_its_intended_use(module):
    told = module.ContrastSynth(SimpleNamespace()).parent
    assert told.title == "ContrastSynth"
    assert told.categories == ["Image Synthesis"]
    assert "Research use only" in told.helpText
    assert set(told.dependencies) >= {"Volumes", "Segmentations", "Sequences", "Markups"}
    papers = json.loads((REPOSITORY / "Resources" / "Citations.json").read_text(encoding="utf-8"))
    for paper in papers["citations"].values():
        assert paper["title"] in told.acknowledgementText


def test_a_checkout_is_found_without_being_installed(tmp_path):
    """The bootstrap: nothing but the module's own folder is on the path."""
    code = (
        "import sys; from types import ModuleType\n"
        "names = 'slicer', 'slicer.i18n', 'slicer.ScriptedLoadableModule'\n"
        "slicer, i18n, loadable = (sys.modules.setdefault(n, ModuleType(n)) for n in names)\n"
        "i18n.tr = i18n.translate = str\n"
        "for suffix in ('', 'Logic', 'Test', 'Widget'):\n"
        "    setattr(loadable, 'ScriptedLoadableModule' + suffix, object)\n"
        "import ContrastSynth, ContrastSynthLib\n"
        "print(ContrastSynthLib.__file__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(MODULE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == LIBRARY / "__init__.py"
