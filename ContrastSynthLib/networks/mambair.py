"""MambaIR (Guo et al. 2024): a selective state space in four directions, at one resolution.

The scan (Gu and Dao 2023, "S6") is written in torch alone; no compiled package is needed.
"""

from __future__ import annotations

import math

import torch
from monai.networks.blocks import ChannelSELayer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ContrastSynthLib.networks.blocks import ACTIVATION
from ContrastSynthLib.networks.one_resolution import PATCH, OneResolution

GROUPS, BLOCKS = 3, 2
STATES, WAYS = 4, 4
"""Numbers that a channel remembers, and directions. The paper has 16 states and scans twice the
features in each direction, in more and narrower blocks. Here each direction scans a quarter of
them: our choice, for the reason of PATCH. Few of the parameters are in the scans."""
SQUEEZE = 3
"""The convolutions of a block work on this share of its features, as in the paper."""
STEP_RANGE = (1e-3, 1e-1)
"""Of the steps Delta at the start, as in S6."""


def selective_scan(
    given: Tensor, step: Tensor, decay: Tensor, write: Tensor, read: Tensor
) -> Tensor:
    """Return y_t = C_t h_t of the states h_t = exp(Delta_t A) h_(t-1) + Delta_t B_t x_t, h_0 = 0.

    ``given`` x and ``step`` Delta are (n, length, channels), ``decay`` A is (channels, states) and
    below 0, ``write`` B and ``read`` C are (n, length, states); y is as ``given``. The sequence is
    cut into about sqrt(length) pieces that are scanned beside each other, each from a state of 0;
    what one leaves is then carried through those after it.
    """
    n, length, channels = given.shape
    each = math.ceil(math.sqrt(length))
    pieces = math.ceil(length / each)

    def cut(values: Tensor) -> Tensor:
        """Return (each, n, pieces, numbers); a step of 0 at the end changes no state."""
        padded = nn.functional.pad(values, (0, 0, 0, pieces * each - length))
        return padded.view(n, pieces, each, -1).movedim(2, 0)

    # The states come first: what is fastest in memory should be many numbers.
    a = decay.T[:, None, None]
    b, c = (cut(values).movedim(-1, 1).unsqueeze(-1).unbind() for values in (write, read))
    delta = cut(step)
    passed = delta.cumsum(dim=0).unbind()
    state = torch.zeros(len(a), n, pieces, channels, dtype=given.dtype, device=given.device)
    outputs = []
    for t, (x, taken) in enumerate(zip(cut(given).unbind(), delta.unbind(), strict=True)):
        state = torch.exp(taken * a) * state + (taken * x) * b[t]
        outputs.append((state * c[t]).sum(dim=0))
    carried = [torch.zeros_like(state[:, :, 0])]
    through = torch.exp(passed[-1] * a).unbind(dim=2)
    for kept, left in zip(through[:-1], state.unbind(dim=2), strict=False):
        carried.append(kept * carried[-1] + left)
    before = torch.stack(carried, dim=2)
    for t in range(each):
        outputs[t] = outputs[t] + (torch.exp(passed[t] * a) * before * c[t]).sum(dim=0)
    whole = torch.stack(outputs, dim=2)
    return whole.reshape(n, pieces * each, channels)[:, :length]


class SelectiveScan(nn.Module):
    """The scan of a sequence (n, length, channels) whose steps, B and C depend on the sequence."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.rank = math.ceil(channels / 16)
        self.choose = nn.Linear(channels, self.rank + 2 * STATES, bias=False)
        self.step = nn.Linear(self.rank, channels)
        states = torch.arange(1, STATES + 1, dtype=torch.float32)
        self.log_decay = nn.Parameter(states.log().repeat(channels, 1))
        self.skip = nn.Parameter(torch.ones(channels))
        # Steps are spread evenly in their logarithm; the inverse of softplus makes them so.
        low, high = (math.log(end) for end in STEP_RANGE)
        steps = torch.exp(torch.rand(channels) * (high - low) + low)
        self.step.bias.data = steps + torch.log(-torch.expm1(-steps))

    def forward(self, sequence: Tensor) -> Tensor:
        """Return the read-outs of the states, plus the sequence by a weight for each channel."""
        chosen = self.choose(sequence).float()
        step, write, read = chosen.split([self.rank, STATES, STATES], dim=-1)
        delta = nn.functional.softplus(self.step(step).float())
        decay = -torch.exp(self.log_decay)
        # Its states are many times the size of the sequence: made again for the gradient.
        found: Tensor = checkpoint(
            selective_scan, sequence.float(), delta, decay, write, read, use_reentrant=False
        )
        return found + self.skip * sequence


class FourWays(nn.Module):
    """The 2D selective scan: along rows and columns, forwards and backwards, then a gate.

    Each way scans its own quarter of the features. From tokens (n, h, w, features) to the same
    shape; ``features`` is a multiple of WAYS.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.enter, self.gate = nn.Linear(features, features), nn.Linear(features, features)
        self.near = nn.Conv2d(features, features, kernel_size=3, padding=1, groups=features)
        self.scans = nn.ModuleList(SelectiveScan(features // WAYS) for _ in range(WAYS))
        self.norm = nn.LayerNorm(features)
        self.leave = nn.Linear(features, features)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return what each token learns from all others."""
        near = self.near(self.enter(tokens).movedim(-1, 1)).movedim(1, -1)
        quarters = nn.functional.silu(near).chunk(WAYS, dim=-1)
        scanned = []
        for number, (scan, part) in enumerate(zip(self.scans, quarters, strict=True)):
            by_columns, backwards = number % 2 == 1, number >= 2
            turned = part.transpose(1, 2) if by_columns else part
            sequence = turned.flatten(1, 2)
            made = scan(sequence.flip(1)).flip(1) if backwards else scan(sequence)
            image = made.view(turned.shape)
            scanned.append(image.transpose(1, 2) if by_columns else image)
        together = self.norm(torch.cat(scanned, dim=-1))
        found: Tensor = self.leave(together * nn.functional.silu(self.gate(tokens)))
        return found


class StateSpaceBlock(nn.Module):
    """A residual state-space block: the scans, then convolutions with channel attention (RSSB).

    From (n, features, h, w) to the same shape. Both shortcuts have a learnt weight per channel.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        squeezed = max(features // SQUEEZE, 1)
        self.norms = nn.ModuleList(nn.LayerNorm(features) for _ in range(2))
        self.weights = nn.ParameterList(torch.ones(features) for _ in range(2))
        self.scan = FourWays(features)
        self.local = nn.Sequential(
            nn.Conv2d(features, squeezed, kernel_size=3, padding=1),
            nn.GELU(),
            nn.Conv2d(squeezed, features, kernel_size=3, padding=1),
            ChannelSELayer(2, features, r=min(features, 16), acti_type_1=ACTIVATION),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return the image after both halves of the block."""
        tokens = image.movedim(1, -1)
        tokens = self.weights[0] * tokens + self.scan(self.norms[0](tokens))
        local = self.local(self.norms[1](tokens).movedim(-1, 1))
        return (self.weights[1] * tokens).movedim(-1, 1) + local


class StateSpaceGroup(nn.Module):
    """State-space blocks, a convolution and a shortcut: (n, features, h, w) to the same shape."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(StateSpaceBlock(features) for _ in range(BLOCKS)))
        self.last = nn.Conv2d(features, features, kernel_size=3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """Return the image plus what the blocks make of it."""
        change: Tensor = self.last(self.blocks(image))
        return image + change


class MambaIR(OneResolution):
    """MambaIR: GROUPS groups of BLOCKS blocks; ``width`` is a quarter of the features."""

    def __init__(self, in_channels: int, width: int, patch: int = PATCH) -> None:
        features = 4 * width
        groups = nn.Sequential(*(StateSpaceGroup(features) for _ in range(GROUPS)))
        super().__init__(in_channels, features, groups, patch)
