"""iterU-Net: the next phase of a dynamic series from the pre-contrast scan and a phase.

A 3D U-Net that is applied again and again: what it predicted is its input for the phase after. A
convolutional LSTM beyond its first block keeps what was seen so far, and every block is told the
time. Where the paper is silent the choices are ours: the time is the number of the phase, as in the
authors' code, or the seconds since the injection, in minutes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from monai.networks.nets.basic_unet import Down, TwoConv, UpCat
from torch import Tensor, nn

from ContrastSynthLib.networks.blocks import ACTIVATION

FEATURES = (28, 32, 64, 128, 256, 28)
"""Of the five scales, finest first, and of the last stage: the paper's."""
INSTANCE = ("instance", {"affine": True})
EMBEDDED = 128
"""Features of the embedded time."""
LONGEST_PERIOD = 10_000.0
"""Of the sinusoids, in units of the time, as in Vaswani et al. 2017."""
State = tuple[Tensor, Tensor]
"""Hidden state and cell state of the LSTM, (n, features[0], k, j, i) each."""


def sinusoids(time: Tensor, count: int = EMBEDDED) -> Tensor:
    """Return sines and cosines (n, count) of times (n,)."""
    steps = torch.arange(count // 2, device=time.device, dtype=time.dtype) / (count // 2)
    angles = time[:, None] * torch.exp(-math.log(LONGEST_PERIOD) * steps)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class ConvLSTM(nn.Module):
    """One step of a convolutional LSTM (Shi et al. 2015): features and state to the next state."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gates = nn.Conv3d(2 * width, 4 * width, kernel_size=3, padding=1)

    def forward(self, features: Tensor, state: State | None) -> State:
        """Return hidden and cell state; without a state both begin with 0."""
        nothing = torch.zeros_like(features)
        hidden, cell = (nothing, nothing) if state is None else state
        into, forget, out, new = self.gates(torch.cat([features, hidden], dim=1)).chunk(4, dim=1)
        cell = forget.sigmoid() * cell + into.sigmoid() * new.tanh()
        return out.sigmoid() * cell.tanh(), cell


class IterUNet(nn.Module):
    """Pre scan and a phase (n, 2, k, j, i), with its time (n,), to the next phase.

    ``step`` also takes and gives the state of the LSTM, None for the first phase; ``forward``
    is a step from nothing. ``timed`` and ``remembers`` leave out the time and the LSTM (Table 2).
    ``k``, ``j`` and ``i`` are multiples of 16.
    """

    def __init__(
        self,
        features: Sequence[int] = FEATURES,
        *,
        timed: bool = True,
        remembers: bool = True,
    ) -> None:
        super().__init__()
        shared = {"act": ACTIVATION, "norm": INSTANCE, "bias": True}
        widths, last = tuple(features[:-1]), features[-1]
        self.first = TwoConv(3, 2, widths[0], **shared)
        self.memory = ConvLSTM(widths[0]) if remembers else None
        self.downs = nn.ModuleList(
            Down(3, fine, coarse, **shared) for fine, coarse in pairwise(widths)
        )
        levels = [*range(len(widths) - 1)][::-1]
        grown = [widths[level] if level else last for level in levels]
        self.ups = nn.ModuleList(
            UpCat(3, widths[level + 1], widths[level], width, halves=level > 0, **shared)
            for level, width in zip(levels, grown, strict=True)
        )
        self.last = nn.Conv3d(last, 1, kernel_size=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        self.embedding = (
            nn.Sequential(nn.Linear(EMBEDDED, EMBEDDED), nn.GELU(), nn.Linear(EMBEDDED, EMBEDDED))
            if timed
            else None
        )
        told = (*widths, *grown) if timed else ()
        self.told = nn.ModuleList(nn.Linear(EMBEDDED, width) for width in told)

    def forward(self, image: Tensor, time: Tensor) -> dict[str, Tensor]:
        """Return ``post``, the next phase (n, 1, k, j, i), in a dictionary."""
        post, _ = self.step(image, time, None)
        return {"post": post}

    def step(self, image: Tensor, time: Tensor, state: State | None) -> tuple[Tensor, State | None]:
        """Return the next phase (n, 1, k, j, i) and the state after it."""
        embedded = None if self.embedding is None else self.embedding(sinusoids(time))
        found = self._told(0, self.first(image), embedded)
        if self.memory is not None:
            state = self.memory(found, state)
            # As in the authors' code, the hidden state goes on, to the skip connection too.
            found = state[0]
        skips = [found]
        for level, down in enumerate(self.downs, start=1):
            skips.append(self._told(level, down(skips[-1]), embedded))
        found = skips.pop()
        for block, up in enumerate(self.ups, start=len(self.downs) + 1):
            found = self._told(block, up(found, skips.pop()), embedded)
        return image[:, 1:] + self.last(found), state

    def _told(self, block: int, features: Tensor, embedded: Tensor | None) -> Tensor:
        """Return the features of a block after the time was added to them."""
        if embedded is None:
            return features
        told: Tensor = self.told[block](embedded)
        return features + told[:, :, None, None, None]
