"""What opening the module costs Slicer: the import of the panel, in the panel's test host."""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

from ratio import Ratio

REPOSITORY = Path(__file__).resolve().parents[2]
REPEATS = 5
# The host, as Slicer, is there before: with Qt, the scene, and numpy.
PANEL = """
import time
from host import start
made = start()
began = time.perf_counter()
import ContrastSynthPanel.panel
print(time.perf_counter() - began)
made.end()
"""
PACKAGES = """
import time
began = time.perf_counter()
import numpy, scipy.ndimage, SimpleITK
print(time.perf_counter() - began)
"""


def seconds(code: str) -> float:
    """Return what a fresh interpreter tells last."""
    folders = [REPOSITORY, REPOSITORY / "ContrastSynth", REPOSITORY / "Testing" / "panel"]
    path = f"import sys; sys.path[:0] = {[str(folder) for folder in folders]}\n"
    command = [sys.executable, "-c", path + code]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.splitlines()[-1])


def import_of_the_panel() -> Ratio:
    """The panel with the library's declarations, against packages that Slicer has anyway."""
    times: dict[str, list[float]] = {PANEL: [], PACKAGES: []}
    for _ in range(REPEATS):  # in turn, so that a busy moment meets both
        for code in times:
            times[code].append(seconds(code))
    return Ratio(
        "import of the panel, as the module is opened",
        statistics.median(times[PANEL]),
        "import of numpy, scipy.ndimage and SimpleITK",
        statistics.median(times[PACKAGES]),
        "s",
        limit=1.5,
    )
