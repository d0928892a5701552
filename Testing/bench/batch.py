"""A batch of whole volumes with two workers against the same batch with one.

``python Testing/bench/batch.py`` prints the times of each; two idle processors are assumed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

import numpy as np
from ratio import Ratio

SHAPE = (155, 240, 240)
CASES = 40
REPEATS = 2
LEAST_SPEEDUP = 1.7


def make_table(folder: Path) -> Path:
    """Write a pair of whole volumes and a table that names them for each case."""
    from ContrastSynthLib.files.images import write_volume
    from ContrastSynthLib.geometry import Grid
    from ContrastSynthLib.volumes import Volume

    axes = [np.linspace(-1.3, 1.3, n, dtype=np.float32) for n in SHAPE]
    k, j, i = np.meshgrid(*axes, indexing="ij", sparse=True)
    brain = k**2 + j**2 + i**2 < 1
    lesion = (k - 0.2) ** 2 + (j - 0.2) ** 2 + i**2 < 0.04
    generator = np.random.default_rng(0)
    pre = 100 * brain * generator.uniform(0.8, 1.2, SHAPE).astype(np.float32)
    for name, array in (("pre", pre), ("post", pre * (1.05 + 0.5 * lesion))):
        write_volume(Volume(array, Grid(SHAPE[::-1])), folder / f"{name}.nrrd")
    rows = [f"case{index},pre.nrrd,post.nrrd" for index in range(CASES)]
    table = folder / "cases.csv"
    table.write_text("\n".join(["case,pre,post", *rows]))
    return table


def batch_s(table: Path, how: str) -> float:
    """Return the seconds of the whole command with the option ``how``, from start to end."""
    with tempfile.TemporaryDirectory(dir=table.parent) as out:
        words = ["batch", "physics_dose", f"--cases={table}", f"--out={out}"]
        command = [sys.executable, "-m", "ContrastSynthLib", *words, how]
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        return time.perf_counter() - start


@cache
def times_s() -> dict[str, float]:
    """Return the least seconds with one worker, two, and a cluster of two, measured in turn."""
    from distributed import LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        tempfile.TemporaryDirectory() as folder,
    ):
        ways = {
            "one": "--workers=1",
            "two": "--workers=2",
            "cluster": f"--scheduler={cluster.scheduler_address}",
        }
        taken: dict[str, list[float]] = {name: [] for name in ways}
        table = make_table(Path(folder))
        for _ in range(REPEATS):
            for name, how in ways.items():
                taken[name].append(batch_s(table, how))
                print(f"  {name}: {taken[name][-1]:.1f} s", file=sys.stderr, flush=True)
    return {name: min(times) for name, times in taken.items()}


def two_workers() -> Ratio:
    """Two workers against one; above the limit they gain less than is promised."""
    return _against_one("two", "two workers")


def a_cluster_of_two() -> Ratio:
    """Two workers of a Dask cluster that runs already, as by ``--scheduler``, against one."""
    return _against_one("cluster", "a Dask cluster of two processes")


def _against_one(name: str, title: str) -> Ratio:
    return Ratio(
        f"physics_dose on {CASES} whole volumes with {title}",
        times_s()[name],
        f"with one worker ({os.cpu_count()} processors, load {os.getloadavg()[0]:.1f})",
        times_s()["one"],
        "s",
        limit=1 / LEAST_SPEEDUP,
    )


if __name__ == "__main__":
    print(two_workers())
    print(a_cluster_of_two())
