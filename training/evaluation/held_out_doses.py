"""How well a network of LIP-CAR does on real pairs with a simulated low dose that are not learnt
from.

Every few slices of the slabs in ``held_out`` (:mod:`data.dose_pairs`) are measured in the brain, in
the unit of the low dose. Uptake is where ``post`` exceeds ``pre`` by more than 0.1 of the 99.9th
percentile of ``pre`` in the brain. Both figures are relative to the scan that the network is to
change, returned as it is: the low dose or, for a forward operator, the full one.

    loss     the loss of the training
    left     mean absolute error inside the uptake
    score    1 - (mean loss + mean left) / 2, of the slabs: 0 for that scan, 1 for what is wanted

The score chooses the checkpoint. The loss alone is mostly that of tissue without uptake.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from data.dose_slices import ROLES
from data.matched import range_of
from torch import Tensor, nn

from ContrastSynthLib.physics.constants import UPTAKE_THRESHOLD
from evaluation.held_out import padded

EVERY = 8
Loss = Callable[[Tensor, Tensor], Tensor]
"""The loss of an image (n, 1, rows, columns) and the one wanted, one number."""


@dataclass(frozen=True)
class DoseSlices:
    """Some slices of a slab: ``seen`` (n, channels, rows, columns) by the network, which changes
    the last channel; ``wanted``, and where brain and uptake are, (n, 1, rows, columns)."""

    seen: Tensor
    wanted: Tensor
    brain: Tensor
    uptake: Tensor

    @classmethod
    def of(cls, slab: np.ndarray, seen: Sequence[str], wanted: str) -> DoseSlices:
        """Return every few slices of a slab (ROLES, slices, rows, columns), with even sides."""
        slab = np.asarray(slab, dtype=np.float32)
        named = dict(zip(ROLES, slab, strict=True))
        brain = named["low"] > 0
        span = range_of(named["pre"], brain)
        uptake = (named["post"] - named["pre"] > UPTAKE_THRESHOLD * span) & brain
        images = {**named, "brain": brain, "uptake": uptake}
        first = min(EVERY // 2, len(brain) - 1)
        cut = {role: torch.from_numpy(padded(i[first::EVERY])) for role, i in images.items()}
        return cls(
            torch.stack([cut[role] for role in seen], dim=1),
            *(cut[role][:, None] for role in (wanted, "brain", "uptake")),
        )

    def measure(self, made: Tensor, loss: Loss) -> dict[str, float]:
        """Return loss and left of ``made`` (n, 1, rows, columns)."""
        given = self.seen[:, -1:]
        losses, errors = zip(
            *(
                (loss(image * self.brain, self.wanted), (image - self.wanted).abs()[self.uptake])
                for image in (made, given)
            ),
            strict=True,
        )
        return {
            "loss": float(losses[0] / losses[1]),
            "left": float(errors[0].mean() / errors[1].mean()),
        }


def read_cases(files: Iterable[Path], seen: Sequence[str], wanted: str) -> list[DoseSlices]:
    """Return slices of slabs; a slab whose slices have no uptake is left out."""
    cases = (DoseSlices.of(np.load(file), seen, wanted) for file in files)
    return [case for case in cases if case.uptake.any()]


@torch.no_grad()
def judge(network: nn.Module, cases: Sequence[DoseSlices], loss: Loss) -> dict[str, float]:
    """Return the means of loss and left over the cases, and the ``score`` that decides."""
    network.eval()
    device = next(network.parameters()).device
    rows = [
        case.measure(network(case.seen.to(device))["image"].float().cpu(), loss) for case in cases
    ]
    means = {name: float(np.mean([row[name] for row in rows])) for name in ("loss", "left")}
    return {"score": 1 - sum(means.values()) / 2, **means}
