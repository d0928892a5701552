"""What SPHERE costs beside one network, the run around it, and four phases beside a single one."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from ratio import Ratio

from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.inference.networks import slices_seen
from ContrastSynthLib.networks import build_network
from ContrastSynthLib.networks.baselines import Direct, parameters_of, width_for
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.run import run
from ContrastSynthLib.volumes import Volume
from ContrastSynthLib.weights.bundles import find_bundle

SHAPE = (16, 160, 160)
BATCH = 4
REPEATS = 3


def best_of(compute: Callable[[], object], repeats: int = REPEATS) -> float:
    """Return the shortest time of a few, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        compute()
        times.append(time.perf_counter() - start)
    return min(times)


def shipped() -> torch.nn.Module:
    """Return SPHERE as it is shipped, without its weights: they cost no time."""
    return build_network(**find_bundle("sphere", "sphere").metadata["network"]).eval()


def seen() -> int:
    """Return the number of adjacent slices that it sees at once."""
    return slices_seen(find_bundle("sphere", "sphere").metadata["network"]["arguments"])


@torch.inference_mode()
def all_slices(network: torch.nn.Module) -> float:
    """Return the seconds of a network for SHAPE, batch by batch."""
    slices = torch.rand(BATCH, seen(), *SHAPE[1:])
    return best_of(lambda: [network(slices) for _ in range(SHAPE[0] // BATCH)])


def sphere_beside_unet() -> Ratio:
    """The network of SPHERE against a plain U-Net of as many parameters."""
    network = shipped()
    width = width_for("unet", seen(), parameters_of(network))
    return Ratio(
        f"SPHERE on {SHAPE[0]} slices of {SHAPE[1]}x{SHAPE[2]}",
        all_slices(network),
        "U-Net of as many parameters",
        all_slices(Direct("unet", seen(), width).eval()),
        "s",
        limit=6.0,
    )


def run_beside_network() -> Ratio:
    """A run, from a volume in memory to the result, against its network alone."""
    rng = np.random.default_rng(0)
    volume = Volume(rng.uniform(0.5, 1.5, SHAPE).astype(np.float32), Grid(SHAPE[::-1]))
    request = Request(
        "sphere",
        {"post": volume, "mask": volume.with_array(np.ones(SHAPE, np.float32))},
        {"mirrored": False},
        device="cpu",
    )
    return Ratio(
        "a run of sphere on these slices",
        best_of(lambda: run(request)),
        "its network alone",
        all_slices(shipped()),
        "s",
        limit=1.5,
    )


def four_phases_beside_one() -> Ratio:
    """iterU-Net step by step to its last phase, against one step, as of a network for it alone."""
    shape, rng = (24, 64, 64), np.random.default_rng(0)
    pre, phase = (
        Volume(rng.uniform(0.5, 1.5, shape).astype(np.float32), Grid(shape[::-1], (2, 2, 2.5)))
        for _ in range(2)
    )
    mask = pre.with_array(np.ones(shape, np.float32))
    scans = {"pre": pre, "phase": phase, "mask": mask}

    def seconds(*times_s: float) -> float:
        given = {"times": times_s, "phase_time_s": 85.0}
        return best_of(lambda: run(Request("iter_unet", scans, given, device="cpu")))

    return Ratio(
        "iter_unet, four later phases step by step",
        seconds(155.0, 225.0, 295.0, 365.0),
        "its last phase in one step",
        seconds(365.0),
        "s",
        limit=5.0,
    )
