"""iterU-Net: the next phase of a dynamic series from the pre-contrast scan and a phase.

A 3D U-Net that is applied again and again: what it predicted is its input for the phase after. A
convolutional LSTM beyond its first block keeps what was seen so far, and every block is told the
time. Where the paper is silent the choices are ours: the time is the number of the phase that is
given, as in the authors' code (``index``), or when that phase and the wanted one were, after the
injection (``seconds``), which any protocol has.
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
CLOCKS = {"seconds": 2, "index": 1, "none": 0}
"""How the time is told, and by how many numbers."""
TIME_UNIT_S = 10.0
"""Scans follow each other by several of these."""
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


def told_times(clock: str, number: int, now_s: Tensor, next_s: Tensor) -> Tensor:
    """Return the time (n, CLOCKS[clock]) of a step as the network is told it.

    ``number`` is that of the phase which is given, 0 for the first after the agent; ``now_s`` and
    ``next_s`` (n,) are the times of this phase and of the wanted one in seconds.
    """
    if clock == "index":
        return torch.full_like(now_s, float(number))[:, None]
    times = torch.stack([now_s, next_s], dim=1) / TIME_UNIT_S
    return times[:, : CLOCKS[clock]]


class IterUNet(nn.Module):
    """Pre scan and a phase (n, 2, k, j, i), with times (n, CLOCKS[clock]), to the next phase.

    ``step`` also takes and gives the state of the LSTM, None for the first phase; ``forward``
    is a step from nothing. ``clock`` is a key of CLOCKS; "none" leaves out the time, and
    ``remembers`` the LSTM (Table 2). ``k``, ``j`` and ``i`` are multiples of 16. Raises ValueError
    for an unknown clock.
    """

    def __init__(
        self,
        features: Sequence[int] = FEATURES,
        *,
        clock: str = "seconds",
        remembers: bool = True,
    ) -> None:
        super().__init__()
        if clock not in CLOCKS:
            raise ValueError(f"unknown clock '{clock}': one of {', '.join(CLOCKS)}")
        self.clock, numbers = clock, CLOCKS[clock]
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
            nn.Sequential(
                nn.Linear(numbers * EMBEDDED, EMBEDDED), nn.GELU(), nn.Linear(EMBEDDED, EMBEDDED)
            )
            if numbers
            else None
        )
        told = (*widths, *grown) if numbers else ()
        self.told = nn.ModuleList(nn.Linear(EMBEDDED, width) for width in told)

    def forward(self, image: Tensor, time: Tensor) -> dict[str, Tensor]:
        """Return ``post``, the next phase (n, 1, k, j, i), in a dictionary."""
        post, _ = self.step(image, time, None)
        return {"post": post}

    def step(self, image: Tensor, time: Tensor, state: State | None) -> tuple[Tensor, State | None]:
        """Return the next phase (n, 1, k, j, i) and the state after it."""
        embedded = None
        if self.embedding is not None:
            embedded = self.embedding(sinusoids(time.flatten()).unflatten(0, time.shape).flatten(1))
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

    def recursion(
        self,
        pre: Tensor,
        phase: Tensor,
        times_s: Tensor,
        first: int = 0,
        real: Tensor | None = None,
    ) -> list[Tensor]:
        """Return the phases (n, 1, k, j, i) that follow a phase, each made from the one before.

        ``times_s`` (n, t + 1) are the times in seconds of that phase and of the t wanted ones;
        ``first`` is its number, 0 for the first after the agent. With ``real`` (n, t, k, j, i), the
        phase and the real ones after it, each is made from the real one before (teacher forcing).
        """
        made: list[Tensor] = []
        state: State | None = None
        for step, (now, later) in enumerate(pairwise(times_s.unbind(dim=1))):
            before = made[-1] if made else phase
            if real is not None:
                before = real[:, step : step + 1]
            told = told_times(self.clock, first + step, now, later)
            found, state = self.step(torch.cat([pre, before], dim=1), told, state)
            made.append(found)
        return made

    def _told(self, block: int, features: Tensor, embedded: Tensor | None) -> Tensor:
        """Return the features of a block after the time was added to them."""
        if embedded is None:
            return features
        told: Tensor = self.told[block](embedded)
        return features + told[:, :, None, None, None]


class LaterPhases(nn.Module):
    """A network that is asked for phases at given times: (n, 2, k, j, i) to ``phases``
    (n, times, k, j, i). ``times_s`` are those of the given phase and of the wanted ones."""

    def __init__(self, network: IterUNet, times_s: Sequence[float], first: int = 0) -> None:
        super().__init__()
        self.network, self.first = network, first
        self.register_buffer("times_s", torch.tensor([*times_s], dtype=torch.float32))

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Return the phases."""
        times = self.times_s.expand(len(image), -1)
        made = self.network.recursion(image[:, :1], image[:, 1:], times, self.first)
        return {"phases": torch.cat(made, dim=1)}
