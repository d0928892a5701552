"""How well a network does on real pairs that are not trained on, in the post scan's contrast.

The range r is the 99.9th percentile of the target in the brain; uptake is where the post scan
exceeds the target by more than 0.1 r. On every few slices of each pair:

    share   gain in PSNR over returning the post scan, divided by that of an oracle, which gives the
            target inside the uptake and the post scan outside
    left    mean absolute error inside the uptake, relative to returning the post scan
    out     mean absolute change outside the uptake, in r
    lost    share of the brain that a scan without agent loses by more than 0.1 r
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from data.matched import range_of
from data.mixed_crops import SEEN
from data.real_pairs import MAPS, RealPair
from scipy import ndimage
from torch import nn

from ContrastSynthLib.physics.constants import UPTAKE_THRESHOLD
from evaluation.gains import fallen, gains

EVERY, FEWER = 5, 3
MULTIPLE = 16
FIGURES = ("share", "left", "out", "lost")


@dataclass(frozen=True)
class Slices:
    """Some slices of a pair: ``post`` and ``target`` (n, SEEN, rows, columns), and where to
    measure, (n, rows, columns)."""

    post: np.ndarray
    target: np.ndarray
    inside: np.ndarray
    span: float

    @classmethod
    def of(cls, pair: RealPair, every: int = EVERY) -> Slices:
        """Return every few slices of a pair, with their neighbours."""
        named = dict(zip(MAPS, np.asarray(pair.maps, dtype=np.float32), strict=True))
        inside = ndimage.binary_erosion(named["brain"] > 0)
        wanted = [k for k in range(every // 2, len(inside), every) if inside[k].any()]
        near = np.array(wanted)[:, None] + np.arange(SEEN) - SEEN // 2
        near = np.clip(near, 0, len(inside) - 1)
        post, target = (padded(named[role])[near] for role in ("post", "target"))
        span = range_of(named["target"], inside)
        return cls(post, target, padded(inside)[wanted], span)

    def measure(self, made: np.ndarray, kept: np.ndarray) -> dict[str, float]:
        """Return FIGURES of ``made`` (n, rows, columns) of the post scan, and ``kept`` of
        every FEWER-th slice of the target."""
        post, target = (stack[:, SEEN // 2] for stack in (self.post, self.target))
        up = (post - target > UPTAKE_THRESHOLD * self.span) & self.inside
        found = gains(post, target, made, self.inside, up, self.span)
        lost = fallen(target[::FEWER], kept, self.inside[::FEWER], self.span)
        figures = {**found, "lost": lost}
        return {name: np.nan if value is None else value for name, value in figures.items()}


def padded(stack: np.ndarray) -> np.ndarray:
    """Return slices (n, rows, columns) with zeros around them, to sides that a U-Net halves."""
    missing = [-size % MULTIPLE for size in stack.shape[1:]]
    return np.pad(stack, [(0, 0), *((m // 2, m - m // 2) for m in missing)])


@torch.no_grad()
def applied(network: nn.Module, slices: np.ndarray, batch: int = 4) -> np.ndarray:
    """Return what a network makes of slices (n, SEEN, rows, columns), in bfloat16."""
    network.eval()
    device = next(network.parameters(), torch.empty(0)).device
    parts = []
    for first in range(0, len(slices), batch):
        given = torch.from_numpy(slices[first : first + batch]).to(device)
        with torch.autocast(given.device.type, torch.bfloat16):
            made = network(given)
        parts.append(made["pre"][:, 0].float().clamp(min=0).cpu().numpy())
    return np.concatenate(parts)


def judge(network: nn.Module, cases: Sequence[Slices]) -> dict[str, float]:
    """Return the means of FIGURES over the cases, and the ``score`` that decides: share - left."""
    rows = [
        case.measure(applied(network, case.post), applied(network, case.target[::FEWER]))
        for case in cases
    ]
    means = {name: float(np.mean([row[name] for row in rows])) for name in FIGURES}
    return {"score": means["share"] - means["left"], **means}
