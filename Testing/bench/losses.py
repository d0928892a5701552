"""What the solvers of the noise-preserving loss cost beside each other and beside POT."""

from __future__ import annotations

import numpy as np
import torch
from networks import best_of
from ratio import Ratio

from ContrastSynthLib.losses.noise_preserving import ITERATIONS, PATCH, exact, ipot

PAIRS = 4096
FASTER = 500
FEW = 64
"""Pairs that POT solves, one after the other."""


def pairs(count: int = PAIRS) -> tuple[torch.Tensor, torch.Tensor]:
    """Return patches of noise, (count, PATCH^3) each."""
    made, real = torch.randn(2, count, PATCH**3, generator=torch.Generator().manual_seed(0))
    return made, real


def exact_beside_ipot() -> Ratio:
    """The closed form, FASTER times over, against the solver of the paper."""
    given = pairs()
    return Ratio(
        f"exact Wasserstein distances of {PAIRS} pairs of patches, {FASTER} times",
        FASTER * best_of(lambda: exact(*given)),
        f"{ITERATIONS} proximal steps of ipot, once",
        best_of(lambda: ipot(*given), repeats=1),
        "s",
        limit=1.0,
    )


def exact_beside_pot() -> Ratio:
    """The closed form against the exact solver of POT, which takes one pair at a time."""
    import ot

    made, real = pairs(FEW)
    even = np.full(PATCH**3, PATCH**-3)
    costs = (made[:, :, None] - real[:, None]).abs().double().numpy()
    return Ratio(
        f"exact Wasserstein distances of {FEW} pairs of patches",
        best_of(lambda: exact(made, real)),
        "emd2 of POT",
        best_of(lambda: [ot.emd2(even, even, cost) for cost in costs]),
        "s",
        limit=1.0,
    )
