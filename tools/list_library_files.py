"""Write the list of library files that the Slicer extension packages.

Slicer's macros copy what is listed and silently leave out the rest, so the list is made
from the tree ("make scripts-list") and a test compares the two. With ``--check`` nothing is
written and the exit code says whether the list is up to date.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

LIBRARY = Path(__file__).resolve().parent.parent / "ContrastSynthLib"
LIST = LIBRARY / "files.cmake"


def library_files(library: Path) -> list[str]:
    """Return the files below ``library`` that belong in a package, relative to it, sorted."""
    return sorted(
        path.relative_to(library).as_posix()
        for path in library.rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and path.name != "CMakeLists.txt"
        and path.suffix != ".cmake"
    )


def as_cmake(files: list[str]) -> str:
    """Return the two lists, of scripts and of other files, in CMake's words."""
    scripts = [name for name in files if name.endswith(".py")]
    others = [name for name in files if not name.endswith(".py")]
    lines = ["# Made by tools/list_library_files.py (make scripts-list). Do not edit."]
    for variable, names in (("LIBRARY_SCRIPTS", scripts), ("LIBRARY_RESOURCES", others)):
        lines += [f"set({variable}", *(f"  {name}" for name in names), "  )"]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the list, or only check it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    wanted = as_cmake(library_files(LIBRARY))
    if not parser.parse_args().check:
        LIST.write_text(wanted, encoding="utf-8")
        return 0
    if LIST.is_file() and LIST.read_text(encoding="utf-8") == wanted:
        return 0
    print(f"{LIST.name} does not match the tree: run make scripts-list", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
