"""Methods from the command line on a whole brain or breast: time, memory, where the time goes.

``python Testing/bench/whole_volume.py METHOD PRESET`` is the process that is measured; it prints
JSON.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

import numpy as np
import torch
from ratio import Ratio

BRAIN, BREAST = ((155, 240, 240), (1.0, 1.0, 1.0)), ((64, 192, 192), (1.73, 1.73, 2.34))
"""Shape (k, j, i) and spacing in mm (i, j, k)."""
HALF_AXES = (0.45, 0.35, 0.28)
"""Of what is inside, as shares of the sides: a brain of usual size in a usual field of view."""
PROMISED = {
    **{"sphere": (150.0, 4.0), "lowdose_gan": (240.0, 6.0), "vcm": (180.0, 6.0)},
    **{"hrfcn": (240.0, 6.0), "iter_unet": (240.0, 6.0)},
}
"""Seconds and GB on two cores."""
PLAIN_SLICES = 8


def scanned(method: str) -> tuple[tuple[int, int, int], tuple[float, float, float]]:
    """Return shape and spacing of what a method is for."""
    return BREAST if method == "iter_unet" else BRAIN


def make_body(file: Path, seed: int, method: str) -> Path:
    """Write a body of usual size in a usual field of view, and return its file."""
    from ContrastSynthLib.files.images import write_volume
    from ContrastSynthLib.geometry import Grid
    from ContrastSynthLib.volumes import Volume

    shape, spacing_mm = scanned(method)
    axes = [
        (np.arange(n, dtype=np.float32) / n - 0.5) / half
        for n, half in zip(shape, HALF_AXES, strict=True)
    ]
    inside = sum(x**2 for x in np.meshgrid(*axes, indexing="ij", sparse=True)) < 1
    noise = np.random.default_rng(seed).uniform(0.6, 1.4, shape).astype(np.float32)
    write_volume(Volume(noise * inside, Grid(shape[::-1], spacing_mm)), file)
    return file


def measured_process(method: str, preset: str | None = None) -> dict[str, float]:
    """Run as the command line does; return seconds, those of the network, and the peak memory.

    The imports of torch and MONAI, a second or two, are not counted.
    """
    import ContrastSynthLib.networks  # noqa: F401 - torch and MONAI
    from ContrastSynthLib.inference import ladder
    from ContrastSynthLib.registry import find_method
    from ContrastSynthLib.running.request import Request
    from ContrastSynthLib.running.run import run

    spent = 0.0
    computing = ladder.run_pieces

    def timed(*given: object, **options: object) -> object:
        nonlocal spent
        start = time.perf_counter()
        outputs = computing(*given, **options)
        spent = time.perf_counter() - start
        return outputs

    ladder.run_pieces = timed
    with tempfile.TemporaryDirectory() as folder:
        roles = [role for role, each in find_method(method).inputs.items() if not each.optional]
        files = {
            role: make_body(Path(folder) / f"{role}.nrrd", seed, method)
            for seed, role in enumerate(roles)
        }
        start = time.perf_counter()
        request = Request(method, files, preset=preset, device="cpu")
        run(request).write(Path(folder) / "result")
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"seconds": seconds, "network_s": spent, "peak_gb": peak / 1e9}


@cache
def whole_volume(*method_and_preset: str) -> dict[str, float]:
    """Return what a fresh process measures: memory of other benchmarks is not its own."""
    command = [sys.executable, __file__, *method_and_preset]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def time_of_a_volume(*method_and_preset: str) -> Ratio:
    """The whole run, against what is promised for two cores."""
    size = " x ".join(map(str, scanned(method_and_preset[0])[0][::-1]))
    return Ratio(
        f"{' '.join(method_and_preset)} on {size}, files included",
        whole_volume(*method_and_preset)["seconds"],
        "what is promised on two cores",
        PROMISED[method_and_preset[0]][0],
        "s",
        limit=1.0,
    )


def memory_of_a_volume(*method_and_preset: str) -> Ratio:
    """The peak of the process that ran it."""
    return Ratio(
        "its peak of memory",
        whole_volume(*method_and_preset)["peak_gb"],
        "what is promised",
        PROMISED[method_and_preset[0]][1],
        "GB",
        limit=1.0,
    )


def overhead_of_a_volume() -> Ratio:
    """Reading, preparing, restoring and writing, against the network."""
    told = whole_volume("sphere")
    return Ratio(
        "preparing and writing it",
        told["seconds"] - told["network_s"],
        "its network",
        told["network_s"],
        "s",
        limit=0.1,
    )


@torch.inference_mode()
def beside_slice_by_slice() -> Ratio:
    """The same network called plainly: each whole slice of the volume, one after the other."""
    from networks import shipped

    from ContrastSynthLib.networks.mirrored import Mirrored

    network, slices = Mirrored(shipped()), torch.rand(PLAIN_SLICES, 3, *BRAIN[0][1:])
    network(slices[:1])
    start = time.perf_counter()
    for one in slices.split(1):
        network(one)
    plain = (time.perf_counter() - start) * BRAIN[0][0] / PLAIN_SLICES
    return Ratio(
        "its network, cropped and in batches",
        whole_volume("sphere")["network_s"],
        f"slice by slice, uncropped (from {PLAIN_SLICES} slices)",
        plain,
        "s",
        limit=1.0,
    )


if __name__ == "__main__":
    print(json.dumps(measured_process(*sys.argv[1:])))
