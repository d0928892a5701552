"""The direct baselines of SPHERE, Tables 2 and 3: one network from the input to the pre scan."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from functools import cache
from itertools import pairwise

import torch
from monai.networks.nets.attentionunet import AttentionBlock, AttentionUnet
from monai.networks.nets.basic_unet import BasicUNet
from torch import Tensor, nn

from ContrastSynthLib.networks.biceps import Biceps
from ContrastSynthLib.networks.blocks import SHARED, NestedUNet, features_of, start_at_zero
from ContrastSynthLib.networks.mambair import MambaIR
from ContrastSynthLib.networks.sphere import middle
from ContrastSynthLib.networks.swinir import SwinIR
from ContrastSynthLib.networks.ukan import UKan

WIDTHS = range(2, 65)
RECURRENCES = 2
"""t of the recurrent residual convolutions: each is applied once, then repeated this often."""


class Direct(nn.Module):
    """A network with one output instead of SPHERE: (n, in_channels, h, w) to ``pre`` (n, 1, h, w).

    ``architecture`` is a key of ARCHITECTURES. The network's output is subtracted from the channel
    ``base``, the middle one when None; SPHERE does the same, which makes the comparison fair (our
    choice).
    """

    def __init__(
        self, architecture: str, in_channels: int, width: int, base: int | None = None
    ) -> None:
        super().__init__()
        self.base = base
        self.net = start_at_zero(ARCHITECTURES[architecture](in_channels, width))

    def forward(self, post: Tensor, pre: Tensor | None = None) -> dict[str, Tensor]:
        """Return ``pre`` (n, 1, h, w) in a dictionary, as SPHERE does.

        In training BICEPS is given ``pre`` (n, 1, h, w) as well; its other images are then added.
        """
        base = middle(post) if self.base is None else post[:, self.base : self.base + 1]
        if pre is not None and isinstance(self.net, Biceps):
            others = self.net.both_ways(post, pre)
            return {"pre": base - others.pop("enhancement"), **others}
        return {"pre": base - self.net(post)}


def unet(in_channels: int, width: int) -> nn.Module:
    """MONAI's U-Net (Ronneberger et al. 2015)."""
    return BasicUNet(
        spatial_dims=2,
        in_channels=in_channels,
        out_channels=1,
        features=features_of(width),
        **SHARED,
    )


def attention_unet(in_channels: int, width: int) -> nn.Module:
    """MONAI's attention U-Net (Oktay et al. 2018)."""
    return AttentionUnet(
        spatial_dims=2,
        in_channels=in_channels,
        out_channels=1,
        channels=features_of(width)[:5],
        strides=(2, 2, 2, 2),
    )


class RecurrentResidual(nn.Module):
    """Two recurrent convolutions and a shortcut: (n, in_channels, h, w) to (n, width, h, w)."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.shortcut = nn.Conv2d(in_channels, width, kernel_size=1)
        self.steps = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, width, kernel_size=3, padding=1),
                nn.BatchNorm2d(width),
                nn.LeakyReLU(0.1, inplace=True),
            )
            for _ in range(2)
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return the shortcut plus the output of the recurrent convolutions."""
        start = self.shortcut(image)
        state = start
        for step in self.steps:
            entered = state
            state = step(entered)
            for _ in range(RECURRENCES):
                state = step(entered + state)
        return start + state


class R2AttentionUNet(nn.Module):
    """The recurrent residual U-Net (Alom et al. 2018) with attention gates in its skips."""

    def __init__(self, in_channels: int, width: int, scales: int = 5) -> None:
        super().__init__()
        widths = features_of(width)[:scales]
        inputs = (in_channels, *widths[:-1])
        self.downs = nn.ModuleList(map(RecurrentResidual, inputs, widths))
        finer = list(pairwise(widths))[::-1]
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(coarse, fine, kernel_size=2, stride=2) for fine, coarse in finer
        )
        self.gates = nn.ModuleList(
            AttentionBlock(2, f_int=max(fine // 2, 1), f_g=fine, f_l=fine) for fine, _ in finer
        )
        self.merges = nn.ModuleList(RecurrentResidual(2 * fine, fine) for fine, _ in finer)
        self.last = nn.Conv2d(widths[0], 1, kernel_size=1)

    def forward(self, image: Tensor) -> Tensor:
        """Return one image (n, 1, h, w)."""
        skips: list[Tensor] = []
        for index, down in enumerate(self.downs):
            image = down(nn.functional.max_pool2d(image, 2) if index else image)
            skips.append(image)
        image = skips.pop()
        for up, gate, merge in zip(self.ups, self.gates, self.merges, strict=True):
            image = up(image)
            image = merge(torch.cat([gate(image, skips.pop()), image], dim=1))
        output: Tensor = self.last(image)
        return output


ARCHITECTURES: dict[str, Callable[[int, int], nn.Module]] = {
    "unet": unet,
    "attention_unet": attention_unet,
    "unet_plus_plus": NestedUNet,
    "r2_attention_unet": R2AttentionUNet,
    "swinir": SwinIR,
    "ukan": UKan,
    "mambair": MambaIR,
    "biceps": Biceps,
}


def parameters_of(network: nn.Module) -> int:
    """Return the number of trainable parameters of a network."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def width_for(architecture: str, in_channels: int, parameters: int) -> int:
    """Return the width, 2 to 64, whose number of parameters is nearest to ``parameters``."""

    @cache
    def parameters_at(width: int) -> int:
        # On the meta device parameters have shapes but no values, which would take time to draw.
        with torch.device("meta"):
            return parameters_of(ARCHITECTURES[architecture](in_channels, width))

    above = bisect_left(WIDTHS, parameters, key=parameters_at)
    nearby = WIDTHS[max(above - 1, 0) : above + 1]
    return min(nearby, key=lambda width: abs(parameters_at(width) - parameters))
