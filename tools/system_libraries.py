"""Name the Debian packages behind the shared libraries that the wheels expect to find.

VTK and Slicer's core import without any. Drawing off screen needs OpenGL, and VTK ends
with a segmentation fault rather than a message where it is missing. Exit code 1 only when
an import fails; what is missing for drawing is said, and the rest goes on.
"""

from __future__ import annotations

import ctypes
import re
import subprocess
import sys

IMPORTS = ("SimpleITK", "vtk", "slicer")
FOR_DRAWING = {
    "libX11.so.6": "libx11-6",
    "libEGL.so.1": "libegl1 libgl1-mesa-dri",
}
PACKAGES = FOR_DRAWING | {
    "libGL.so.1": "libgl1",
    "libOpenGL.so.0": "libopengl0",
    "libOSMesa.so.8": "libosmesa6",
    "libXrender.so.1": "libxrender1",
    "libXcursor.so.1": "libxcursor1",
    "libxcb.so.1": "libxcb1",
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libfontconfig.so.1": "libfontconfig1",
    "libdbus-1.so.3": "libdbus-1-3",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libgomp.so.1": "libgomp1",
    "libstdc++.so.6": "libstdc++6",
    "libz.so.1": "zlib1g",
}
"""Library to Debian package, as found on Debian 12 for VTK, Slicer's core and Qt 6."""


def advice(error: str) -> str:
    """Return what to install for the message of an import that failed, or ''."""
    found = re.search(r"(lib[\w.+-]+\.so[\d.]*): cannot open shared object file", error)
    if not found:
        return ""
    package = PACKAGES.get(found[1])
    if package is None:
        return f"{found[1]} is missing. On Debian, apt-file find {found[1]} names its package."
    return f"{found[1]} is missing. On Debian: apt-get install {package}"


def missing(libraries: dict[str, str]) -> list[str]:
    """Return the packages of those libraries that the linker does not find."""
    packages = []
    for library, package in libraries.items():
        try:
            ctypes.CDLL(library)
        except OSError:
            packages.append(package)
    return packages


def main() -> int:
    """Try each import in a process of its own and print what is missing."""
    failed = False
    for module in IMPORTS:
        command = [sys.executable, "-c", f"import {module}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            failed = True
            reason = advice(done.stderr) or (done.stderr.strip().splitlines() or ["no message"])[-1]
            print(f"set-up: cannot import {module}. {reason}", file=sys.stderr)
    if packages := missing(FOR_DRAWING):
        print(
            "set-up: pictures drawn off screen by VTK need OpenGL, which is missing here. "
            f"On Debian: apt-get install {' '.join(packages)}",
            file=sys.stderr,
        )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
