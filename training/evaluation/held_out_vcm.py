"""How well a virtual contrast model does on slices of real pairs that are not learnt from.

Their low doses are simulated (:mod:`data.dose_patches`). Tissue that enhances rises by more than
0.1 of the 0.95 quantile of the native scan, as in the paper.

    left         mean absolute error where tissue enhances, over that of the low-dose scan
    elsewhere    mean absolute error in other tissue, over that of the native scan
    score        1 - (mean left + mean elsewhere) / 2

The score chooses the checkpoint. ``elsewhere`` cannot reach 0: noise cannot be known.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from data.dose_patches import DosePair, PatchSources, as_example
from data.vcm_slices import as_slices
from torch import Tensor, nn
from torch.utils.data import default_collate

MEASURED_PER_PAIR, MEASURED_SIDE = 6, 128
LEAST_VOXELS = 50
Case = dict[str, Tensor]


def measured_slices(others: Sequence[DosePair], count: int) -> list[Case]:
    """Return slices of the pairs held out in which enough enhances and enough does not."""
    found = []
    for pair in others:
        rng = np.random.default_rng([0, len(found)])
        sources = PatchSources([pair], None, side=MEASURED_SIDE, depth=count, all_views=True)
        drawn = (as_case(sources, rng, count) for _ in range(4 * MEASURED_PER_PAIR))
        found += [*itertools.islice(filter(can_be_measured, drawn), MEASURED_PER_PAIR)]
    return found


def as_case(sources: PatchSources, rng: np.random.Generator, count: int) -> Case:
    """Return one example of ``sources`` as slices, with the low-dose slice and where tissue is."""
    batch = default_collate([as_example(sources.draw(rng), rng)])
    native, residual = batch["native"][:, 0, count // 2], batch["residual"][:, 0, count // 2]
    extra = {"low": (native + residual)[:, None], "tissue": (native > 0)[:, None]}
    return as_slices(batch, count) | extra


def can_be_measured(case: Case) -> bool:
    """Return whether enough pixels enhance, and enough do not."""
    rises, quiet = regions(case)
    return bool(min(rises.sum(), quiet.sum()) >= LEAST_VOXELS)


def regions(case: Case) -> tuple[Tensor, Tensor]:
    """Return where tissue enhances and where it does not, as booleans (1, 1, h, w)."""
    rises = case["rises"] > 0
    return rises, case["tissue"] & ~rises


@torch.no_grad()
def judge(network: nn.Module, cases: Sequence[Case]) -> dict[str, float]:
    """Return the means of both figures over the cases, and the ``score`` that decides."""
    network.eval()
    device = next(network.parameters()).device
    rows = []
    for case in cases:
        made = network(case["seen"].to(device))["post"].float().cpu()
        native = case["seen"][:, case["seen"].shape[1] // 4, None]
        (rises, quiet), wanted = regions(case), case["post"]
        error, low, held = ((image - wanted).abs() for image in (made, case["low"], native))
        rows.append(
            {
                "left": float(error[rises].mean() / low[rises].mean()),
                "elsewhere": float(error[quiet].mean() / held[quiet].mean().clamp(min=1e-6)),
            }
        )
    means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    return {"score": 1 - sum(means.values()) / 2, **means}
