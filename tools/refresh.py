"""Refresh what is made from the tree: "make refresh".

- ``ContrastSynthLib/files.cmake`` and ``ContrastSynth/files.cmake``: the files that the extension
  packages. Slicer's macros copy what is listed and silently leave out the rest.
- ``README.md``: the table of methods between its two marks, from their declarations.

With ``--check`` nothing is written, and the exit code says whether all of it is up to date.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = ROOT / "ContrastSynthLib"
MODULE = ROOT / "ContrastSynth"
RESOURCES = ROOT / "Resources"
README = ROOT / "README.md"
BEGIN = "<!-- methods: made by make refresh from the declarations -->"
END = "<!-- end of methods -->"


def packaged_files(folder: Path) -> list[str]:
    """Return the files below ``folder`` that belong in a package, relative to it, sorted."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and path.name != "CMakeLists.txt"
        and path.suffix != ".cmake"
    )


def as_cmake(prefix: str, files: Iterable[str], shared: Iterable[str] = ()) -> str:
    """Return two lists, ``<prefix>_SCRIPTS`` and ``<prefix>_RESOURCES``, in CMake's words.

    ``shared`` are files of another folder: a third list, ``SHARED_RESOURCES``.
    """
    listed, beside = list(files), list(shared)
    scripts = [name for name in listed if name.endswith(".py")]
    others = [name for name in listed if not name.endswith(".py")]
    lines = ["# Made by tools/refresh.py (make refresh). Do not edit."]
    lists = [(f"{prefix}_SCRIPTS", scripts), (f"{prefix}_RESOURCES", others)]
    lists += [("SHARED_RESOURCES", beside)] if beside else []
    for variable, names in lists:
        lines += [f"set({variable}", *(f"  {name}" for name in names), "  )"]
    return "\n".join(lines) + "\n"


def between_marks(text: str, made: str) -> str:
    """Return ``text`` with ``made`` between its two marks; raises ValueError without them."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"expected '{BEGIN}' and '{END}'")
    return f"{before}{begin}\n{made}\n{end}{after}"


def wanted() -> Mapping[Path, str]:
    """Return each file that is made from the tree, with what should stand in it."""
    import ContrastSynthLib.methods  # noqa: F401 - declares the methods
    from ContrastSynthLib.registry import METHODS
    from ContrastSynthLib.registry.describe import methods_as_markdown

    return {
        LIBRARY / "files.cmake": as_cmake(
            "LIBRARY", packaged_files(LIBRARY), packaged_files(RESOURCES)
        ),
        MODULE / "files.cmake": as_cmake("MODULE", packaged_files(MODULE)),
        README: between_marks(
            README.read_text(encoding="utf-8"), methods_as_markdown(METHODS.values())
        ),
    }


def main() -> int:
    """Write what is out of date, or only say so."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    outdated = [
        (path, text)
        for path, text in wanted().items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    for path, text in outdated:
        if check:
            print(f"{path.relative_to(ROOT)} is out of date: run make refresh", file=sys.stderr)
        else:
            path.write_text(text, encoding="utf-8")
    return int(check and bool(outdated))


if __name__ == "__main__":
    sys.exit(main())
