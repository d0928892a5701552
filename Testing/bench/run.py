"""Measured ratios: each figure beside a reference that was measured in the same run.

A time alone says more about the machine than about the code. To add one, write a function
that returns a Ratio and put it into BENCHMARKS.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

REPEATS = 7


@dataclass(frozen=True)
class Ratio:
    """Two measurements in the same unit; ``limit`` is the ratio above which we look into it."""

    title: str
    measured: float
    reference_title: str
    reference: float
    unit: str
    limit: float

    def __str__(self) -> str:
        ratio = self.measured / self.reference
        remark = "" if ratio <= self.limit else f"  ABOVE {self.limit:g}"
        return (
            f"{self.title}: {self.measured:.3f} {self.unit} = {ratio:.2f} x "
            f"{self.reference_title} ({self.reference:.3f} {self.unit}){remark}"
        )


def process_time_s(code: str) -> float:
    """Return the wall time of a fresh interpreter that runs ``code``, in seconds."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, cwd=os.path.dirname(__file__))
    return time.perf_counter() - start


def import_of_the_library() -> Ratio:
    """All that a run imports before a network is built, against the packages it stands on."""
    codes = {
        "nothing": "pass",
        "library": "import ContrastSynthLib.cli, ContrastSynthLib.methods, ContrastSynthLib.run",
        "packages": "import numpy, scipy.ndimage, SimpleITK",
    }
    times: dict[str, list[float]] = {name: [] for name in codes}
    for _ in range(REPEATS):  # in turn, so that a busy moment meets all three
        for name, code in codes.items():
            times[name].append(process_time_s(code))
    median = {name: statistics.median(values) for name, values in times.items()}
    return Ratio(
        "import of the library",
        median["library"] - median["nothing"],
        "import of numpy, scipy.ndimage and SimpleITK",
        median["packages"] - median["nothing"],
        "s",
        limit=1.5,
    )


BENCHMARKS: list[Callable[[], Ratio]] = [import_of_the_library]


def main() -> None:
    """Run all benchmarks and print a line for each."""
    for benchmark in BENCHMARKS:
        print(benchmark(), flush=True)


if __name__ == "__main__":
    main()
