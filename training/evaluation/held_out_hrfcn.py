"""How well the high-resolution FCN does on slabs of real pairs that are not learnt from.

A few slabs of each case, those that enhance the most among them, are measured in [0, 1] of T1.
Tissue that enhances rises by more than 0.1. The first two figures are relative to taking T1 for the
scan after the agent:

    left         mean absolute error where tissue enhances
    elsewhere    mean absolute error in the rest of the brain
    auc          area under the ROC curve of the predicted rise, for voxels that enhance
    score        1 - (mean left + mean elsewhere) / 2: 0 for T1 as it is

The score chooses the checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from data.enhance_slabs import ROLES
from scipy.stats import rankdata
from torch import Tensor, nn

from ContrastSynthLib.physics.constants import UPTAKE_THRESHOLD
from evaluation.held_out import padded

SLABS_PER_CASE, DEPTH = 3, 3
LEAST_VOXELS, LEAST_ERROR = 50, 1e-6


@dataclass(frozen=True)
class EnhanceCase:
    """``scans`` (n, channels, ...), and ``t1`` and ``post`` (n, 1, ...) of the same slices."""

    scans: Tensor
    t1: Tensor
    post: Tensor

    @property
    def rises(self) -> Tensor:
        """Where tissue enhances."""
        return self.post - self.t1 > UPTAKE_THRESHOLD

    @property
    def quiet(self) -> Tensor:
        """Where other tissue is."""
        return (self.post > 0) & ~self.rises


def read_cases(files: Iterable[Path], roles: Sequence[str]) -> list[EnhanceCase]:
    """Return slabs of each file; those that hardly enhance are left out."""
    found = []
    for file in files:
        images = np.load(file, mmap_mode="r")
        post, t1 = (np.asarray(images[ROLES.index(role)], "f4") for role in ("post", "t1"))
        agent = (post - t1 > UPTAKE_THRESHOLD).sum(axis=(1, 2))
        best = int(np.convolve(agent, np.ones(DEPTH), mode="valid").argmax())
        firsts = {best, len(post) // 3, len(post) // 2}
        for first in sorted(firsts)[:SLABS_PER_CASE]:
            case = _case(np.asarray(images[:, first : first + DEPTH], "f4"), roles)
            if min(int(case.rises.sum()), int(case.quiet.sum())) >= LEAST_VOXELS:
                found.append(case)
    return found


def _case(slab: np.ndarray, roles: Sequence[str]) -> EnhanceCase:
    named = {role: torch.from_numpy(padded(i)) for role, i in zip(ROLES, slab, strict=True)}
    scans = torch.stack([named[role] for role in roles])[None]
    t1, post = (named[role][None, None] for role in ("t1", "post"))
    return EnhanceCase(scans, t1, post)


@torch.no_grad()
def judge(network: nn.Module, cases: Sequence[EnhanceCase]) -> dict[str, float]:
    """Return the means of the figures over the cases, and the ``score`` that decides."""
    network.eval()
    device = next(network.parameters()).device
    rows = []
    for case in cases:
        made = network(case.scans.to(device))["post"].float().cpu()
        error, held = ((image - case.post).abs() for image in (made, case.t1))
        rise, brain = (made - case.t1).numpy(), (case.rises | case.quiet).numpy()
        rows.append(
            {
                "left": float(error[case.rises].mean() / held[case.rises].mean()),
                "elsewhere": float(
                    error[case.quiet].mean() / held[case.quiet].mean().clamp(min=LEAST_ERROR)
                ),
                "auc": area_under_curve(rise[brain], case.rises.numpy()[brain]),
            }
        )
    means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    return {"score": 1 - (means["left"] + means["elsewhere"]) / 2, **means}


def area_under_curve(values: np.ndarray, positive: np.ndarray) -> float:
    """Return the chance that a positive one has the higher value, ties counted by half."""
    count = int(positive.sum())
    ranks = float(rankdata(values)[positive].sum()) - count * (count + 1) / 2
    return ranks / (count * (len(values) - count))
