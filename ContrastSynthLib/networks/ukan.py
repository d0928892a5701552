"""U-KAN (Li et al. 2024): a U-Net whose two coarsest scales are Kolmogorov-Arnold layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ContrastSynthLib.networks.blocks import ACTIVATION

INTERVALS, ORDER = 5, 3
"""Pieces of a spline between -1 and 1, and its order: as in the authors' paper."""
LAYERS = 3
"""Kolmogorov-Arnold layers in a block."""
SLOPE: float = ACTIVATION[1]["negative_slope"]
SMALLEST_START = 0.1
"""Deviation of the splines' weights at the start, as a share of that of the linear ones."""


class KanLinear(nn.Module):
    """A sum over the inputs of one learnt function of each: (..., inputs) to (..., outputs).

    Each function is w SiLU(x) + a B-spline with INTERVALS + ORDER coefficients (Liu et al. 2024,
    eq. 2.10); outside of [-1, 1] and the pieces beside it only the first remains.
    """

    knots: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        step = 2 / INTERVALS
        knots = torch.arange(-ORDER, INTERVALS + ORDER + 1, dtype=torch.float32) * step - 1
        self.register_buffer("knots", knots, persistent=False)
        self.linear = nn.Linear(inputs, outputs, bias=False)
        coefficients = torch.randn(outputs, inputs * (INTERVALS + ORDER))
        self.splines = nn.Parameter(coefficients * SMALLEST_START / inputs**0.5)

    def forward(self, values: Tensor) -> Tensor:
        """Return the outputs."""
        spline = nn.functional.linear(self.basis(values).flatten(-2), self.splines)
        output: Tensor = self.linear(nn.functional.silu(values)) + spline
        return output

    def basis(self, values: Tensor) -> Tensor:
        """Return the B-splines at ``values``, (..., inputs, INTERVALS + ORDER), by Cox-de Boor."""
        x, t = values.unsqueeze(-1).float(), self.knots
        found = ((x >= t[:-1]) & (x < t[1:])).to(x.dtype)
        for k in range(1, ORDER + 1):
            rising = (x - t[: -k - 1]) / (t[k:-1] - t[: -k - 1]) * found[..., :-1]
            falling = (t[k + 1 :] - x) / (t[k + 1 :] - t[1:-k]) * found[..., 1:]
            found = rising + falling
        return found


class KanBlock(nn.Module):
    """Kolmogorov-Arnold layers over the channels of each pixel, each with a depthwise convolution.

    From (n, features, h, w) to the same shape, with a shortcut around them.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(features)
        self.kans = nn.ModuleList(KanLinear(features, features) for _ in range(LAYERS))
        self.mixing = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(features, features, kernel_size=3, padding=1, groups=features),
                nn.BatchNorm2d(features),
                nn.ReLU(),
            )
            for _ in range(LAYERS)
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return the image plus what the layers make of it."""
        state = self.norm(image.movedim(1, -1))
        for kan, mix in zip(self.kans, self.mixing, strict=True):
            state = mix(kan(state).movedim(-1, 1)).movedim(1, -1)
        return image + state.movedim(-1, 1)


def two_convolutions(inputs: int, between: int, outputs: int) -> nn.Sequential:
    """Return two convolutions with batch normalisation, of the U-Net's finer scales."""
    layers: list[nn.Module] = []
    for first, last in ((inputs, between), (between, outputs)):
        layers += [
            nn.Conv2d(first, last, kernel_size=3, padding=1),
            nn.BatchNorm2d(last),
            nn.LeakyReLU(SLOPE),
        ]
    return nn.Sequential(*layers)


class UKan(nn.Module):
    """Slices (n, in_channels, h, w) to one image (n, 1, h, w).

    Three scales of convolutions, then two of Kolmogorov-Arnold blocks, each at half the resolution
    of the one before; the way up is the mirror of that, and adds what came down. Features are in
    the ratio 1 : 2 : 8 : 10 : 16 as published, with ``width`` those of the second scale.
    """

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        convolved = (max(width // 2, 1), width, 4 * width)
        tokens = (5 * width, 8 * width)
        inputs = (in_channels, *convolved[:2])
        self.downs = nn.ModuleList(
            two_convolutions(first, last, last)
            for first, last in zip(inputs, convolved, strict=True)
        )
        self.embeds = nn.ModuleList(
            nn.Conv2d(first, last, kernel_size=3, stride=2, padding=1)
            for first, last in zip((convolved[2], tokens[0]), tokens, strict=True)
        )
        self.coding = nn.ModuleList(KanBlock(features) for features in tokens)
        rising = (*tokens[::-1], *convolved[::-1])
        self.ups = nn.ModuleList(
            two_convolutions(first, first, last)
            for first, last in zip(rising, (*rising[1:], convolved[0]), strict=True)
        )
        self.decoding = nn.ModuleList(KanBlock(features) for features in (tokens[0], convolved[2]))
        self.last = nn.Conv2d(convolved[0], 1, kernel_size=1)

    def forward(self, image: Tensor) -> Tensor:
        """Return one image (n, 1, h, w)."""
        whole, skips = image.shape[2:], []
        for down in self.downs:
            image = nn.functional.max_pool2d(down(image), 2)
            skips.append(image)
        for embed, block in zip(self.embeds, self.coding, strict=True):
            image = block(embed(image))
            skips.append(image)
        image = skips.pop()
        for index, up in enumerate(self.ups):
            skip = skips.pop() if skips else None
            image = resized(up(image), whole if skip is None else skip.shape[2:])
            image = image if skip is None else image + skip
            if index < len(self.decoding):
                image = self.decoding[index](image)
        output: Tensor = self.last(image)
        return output


def resized(image: Tensor, size: torch.Size) -> Tensor:
    """Return the image interpolated to ``size`` (h, w)."""
    return nn.functional.interpolate(image, size=size, mode="bilinear")
