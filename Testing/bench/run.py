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
from functools import partial

from batch import a_cluster_of_two, two_workers
from inversion import (
    evaluations_to_adams_objective,
    image_at_adams_objective,
    time_of_24_slices,
    volume_beside_slices,
)
from losses import exact_beside_ipot, exact_beside_pot
from metrics import all_metrics
from networks import four_phases_beside_one, run_beside_network, sphere_beside_unet
from panel import import_of_the_panel
from ratio import Ratio
from whole_volume import (
    beside_slice_by_slice,
    memory_of_a_volume,
    overhead_of_a_volume,
    time_of_a_volume,
)

REPEATS = 7


def process_time_s(code: str) -> float:
    """Return the wall time of a fresh interpreter that runs ``code``, in seconds."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, cwd=os.path.dirname(__file__))
    return time.perf_counter() - start


def import_of_the_library() -> Ratio:
    """All that a run imports before a network is built, against the packages it stands on."""
    codes = {
        "nothing": "pass",
        "library": "import ContrastSynthLib.cli; from ContrastSynthLib.running import run",
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


BENCHMARKS: list[Callable[[], Ratio]] = [
    import_of_the_library,
    import_of_the_panel,
    all_metrics,
    exact_beside_ipot,
    exact_beside_pot,
    sphere_beside_unet,
    run_beside_network,
    four_phases_beside_one,
    partial(time_of_a_volume, "sphere"),
    partial(memory_of_a_volume, "sphere"),
    overhead_of_a_volume,
    beside_slice_by_slice,
    partial(time_of_a_volume, "lowdose_gan"),
    partial(memory_of_a_volume, "lowdose_gan"),
    partial(time_of_a_volume, "vcm", "fast"),
    partial(memory_of_a_volume, "vcm", "fast"),
    partial(time_of_a_volume, "hrfcn", "paper"),
    partial(memory_of_a_volume, "hrfcn", "paper"),
    partial(time_of_a_volume, "iter_unet"),
    partial(memory_of_a_volume, "iter_unet"),
    evaluations_to_adams_objective,
    image_at_adams_objective,
    volume_beside_slices,
    time_of_24_slices,
    two_workers,
    a_cluster_of_two,
]


def main() -> None:
    """Run all benchmarks and print a line for each."""
    for benchmark in BENCHMARKS:
        print(benchmark(), flush=True)


if __name__ == "__main__":
    main()
