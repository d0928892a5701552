"""LIP-CAR's two solvers beside each other, a volume at once beside slice after slice."""

from __future__ import annotations

import time
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from ratio import Ratio

from ContrastSynthLib.inference.networks import load_network
from ContrastSynthLib.inversion.operators import network_forward
from ContrastSynthLib.inversion.problem import Problem
from ContrastSynthLib.inversion.regularisers import Regulariser
from ContrastSynthLib.inversion.solvers import Solution, solve
from ContrastSynthLib.metrics import ssim
from ContrastSynthLib.phantom.brain.slices import SLAB_SLICES, brain_slabs
from ContrastSynthLib.preprocessing.normalisation import fit
from ContrastSynthLib.preprocessing.shading import gain_field
from ContrastSynthLib.weights.bundles import find_bundle

SLICES, SIZE = 10, 128
ITERATIONS = 150
ALPHA = 3e-3
ADAM_STEPS = (1e-3, 3e-3, 1e-2, 3e-2)
"""1e-2 is that of the authors' code, too."""
SHARE_OF_ADAM = 1 / 3
SSIM_MARGIN = 0.005
WHOLE = (24, 256, 256)
MOST_SECONDS = 300.0
SAME_OBJECTIVE = 1e-4
"""Relative gap within which two objectives count as the same: Adam's last iterations gain less."""


@cache
def slices(count: int = SLICES, size: int = SIZE) -> dict[str, torch.Tensor]:
    """Return slices (n, size, size) of pre, low and full dose, of virtual patients."""
    slabs = brain_slabs(
        77,
        roles=("pre", "low", "post", "brain"),
        shape=(size, size),
        doses=(0.25,),
        corruption=None,
        only=("low",),
    )
    rng = np.random.default_rng([77, 1])
    made = (
        {role: image[n : n + 1] for role, image in slab.items()}
        for slab in slabs
        for n in rng.permutation(SLAB_SLICES)
    )
    found: dict[str, list[np.ndarray]] = {"pre": [], "low": [], "post": []}
    for scans in made:
        brain = scans["brain"] > 0
        if brain.mean() < 0.2:
            continue
        unit = fit("low_dose", scans["low"], brain)
        for role, images in found.items():
            gain = gain_field(scans["low"], scans[role], brain, (1.0, 1.0, 1.0))
            images.append((unit.apply(scans[role] / gain) * brain)[0])
        if len(found["low"]) == count:
            break
    return {role: torch.from_numpy(np.stack(images)) for role, images in found.items()}


def problem(which: slice = slice(None), **of: int) -> Problem:
    """Return LIP-PH2L-TV, with the shipped weights, for some of the slices."""
    network = load_network(find_bundle("ph2l", None)).eval().requires_grad_(False)
    scans = slices(**of)
    forward = network_forward(network, scans["pre"][which])
    low = scans["low"][which]
    return Problem(forward, low, Regulariser("tv"), ALPHA, inside=(low > 0).float())


class Beside(NamedTuple):
    """One slice: evaluations of the fast solver to Adam's objective, and the SSIM of both."""

    evaluations: int
    fast: float
    adam: float


def solved(one: Problem, **options: object) -> Solution:
    """Return the solution from the low dose, as in the paper."""
    return solve(one, one.data, iterations=ITERATIONS, tolerance=0.0, **options)


@cache
def beside_adam() -> tuple[Beside, ...]:
    """Solve each slice alone with both, Adam with the best of its steps."""
    found = []
    for n in range(SLICES):
        which = slice(n, n + 1)
        one, truth = problem(which), slices()["post"][which].numpy()
        adams = [solved(one, solver="adam", step=step) for step in ADAM_STEPS]
        lowest = [min(step.objective for step in adam.history) for adam in adams]
        best = int(np.argmin(lowest))
        fast = solved(one, solver="lbfgs")
        wanted = lowest[best] * (1 + SAME_OBJECTIVE)
        # Where it is never reached, the last iterate counts with all the evaluations there were.
        reached = next((s for s in fast.history if s.objective <= wanted), fast.history[-1])
        image = solved(one, solver="lbfgs", iterate=reached.iteration).images.numpy()
        likeness = [
            ssim(truth, i, data_range=1.0, dimensions=2)
            for i in (image, adams[best].images.numpy())
        ]
        found.append(Beside(reached.evaluations, *likeness))
    return tuple(found)


def evaluations_to_adams_objective() -> Ratio:
    """Every closure call counted; the slice that takes longest."""
    return Ratio(
        f"L-BFGS to the objective of Adam's best (+ {SAME_OBJECTIVE:g}), worst of {SLICES} slices",
        max(one.evaluations for one in beside_adam()),
        "Adam",
        ITERATIONS,
        "evaluations",
        limit=SHARE_OF_ADAM,
    )


def image_at_adams_objective() -> Ratio:
    """The image of the fast solver where it reaches Adam's objective: the worst slice."""
    worst = max(beside_adam(), key=lambda one: one.adam - one.fast)
    return Ratio(
        f"1 - SSIM at that objective, worst of {SLICES} slices",
        1 - worst.fast,
        f"that of Adam's image and {SSIM_MARGIN:g}",
        1 - worst.adam + SSIM_MARGIN,
        "",
        limit=1.0,
    )


def volume_beside_slices() -> Ratio:
    """All slices at once against one after the other, 30 iterations each."""
    whole = problem()
    start = time.perf_counter()
    solve(whole, whole.data, iterations=30, tolerance=0.0)
    together = time.perf_counter() - start
    start = time.perf_counter()
    for n in range(SLICES):
        one = problem(slice(n, n + 1))
        solve(one, one.data, iterations=30, tolerance=0.0)
    return Ratio(
        f"{SLICES} slices at once, 30 iterations",
        together,
        "slice after slice",
        time.perf_counter() - start,
        "s",
        limit=1.0,
    )


def time_of_24_slices() -> Ratio:
    """24 slices of 256x256 to a tolerance of 1e-4, against five minutes."""
    of = {"count": WHOLE[0], "size": WHOLE[1]}
    whole = problem(**of)
    start = time.perf_counter()
    solve(whole, whole.data, iterations=ITERATIONS, tolerance=1e-4)
    return Ratio(
        f"LIP-PH2L-TV on {WHOLE[0]} slices of {WHOLE[1]}x{WHOLE[2]}, L-BFGS to tolerance",
        time.perf_counter() - start,
        "what it may take",
        MOST_SECONDS,
        "s",
        limit=1.0,
    )
