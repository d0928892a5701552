"""Building blocks of the slice networks, from MONAI, with a common activation and normalisation.

They use batch normalisation. MONAI's default, instance normalisation, scales each slice by its own
contents, so that a slice with a large lesion would be scaled differently from its neighbours.
"""

from __future__ import annotations

from typing import Any

from monai.networks.nets.basic_unet import Down, TwoConv, UpCat
from monai.networks.nets.basic_unetplusplus import BasicUNetPlusPlus
from torch import Tensor, nn

ACTIVATION = ("LeakyReLU", {"negative_slope": 0.1, "inplace": True})
NORMALISATION = ("batch", {"affine": True})
SHARED: dict[str, Any] = {"act": ACTIVATION, "norm": NORMALISATION}
SMALLEST_MULTIPLE = 16
"""Rows and columns must be multiples of this: the resolution is halved four times."""


def features_of(width: int) -> tuple[int, int, int, int, int, int]:
    """Return the features of the five scales, doubling from ``width``, and of the last stage."""
    return (width, 2 * width, 4 * width, 8 * width, 16 * width, width)


class NestedUNet(nn.Module):
    """MONAI's UNet++ (Zhou et al. 2018) with one output: (n, in_channels, h, w) to (n, 1, h, w).

    ``h`` and ``w`` are multiples of SMALLEST_MULTIPLE.
    """

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.net = BasicUNetPlusPlus(
            spatial_dims=2,
            in_channels=in_channels,
            out_channels=1,
            features=features_of(width),
            **SHARED,
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return the deepest of the nested outputs."""
        output: Tensor = self.net(image)[0]
        return output


def start_at_zero(network: nn.Module) -> nn.Module:
    """Return the network with a last convolution of 0, for outputs that are added to an image."""
    kinds = (nn.Conv2d, nn.Conv3d)
    last = [module for module in network.modules() if isinstance(module, kinds)][-1]
    nn.init.zeros_(last.weight)
    if last.bias is not None:
        nn.init.zeros_(last.bias)
    return network


def slice_by_slice(network: nn.Module, volumes: Tensor) -> dict[str, Tensor]:
    """Return ``post`` (n, 1, k, j, i) of a network of slices for volumes (n, channels, k, j, i)."""
    slices = volumes.transpose(1, 2)
    made = network(slices.flatten(0, 1))["post"]
    return {"post": made.unflatten(0, slices.shape[:2]).transpose(1, 2)}


class Encoder(nn.Module):
    """The contracting half of a U-Net: (n, in_channels, h, w) to features at ``scales`` scales.

    Scale s has ``width * 2**s`` features and 1 / 2**s of the rows and columns.
    """

    def __init__(self, in_channels: int, width: int, scales: int) -> None:
        super().__init__()
        self.first = TwoConv(2, in_channels, width, bias=True, **SHARED)
        self.downs = nn.ModuleList(
            Down(2, width * 2**s, width * 2 ** (s + 1), bias=True, **SHARED)
            for s in range(scales - 1)
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the features, finest first."""
        features = [self.first(image)]
        for down in self.downs:
            features.append(down(features[-1]))
        return features


class Decoder(nn.Module):
    """The expanding half of a U-Net: features of ``width * 2**s`` at scale s to (n, 1, h, w)."""

    def __init__(self, width: int, scales: int) -> None:
        super().__init__()
        self.ups = nn.ModuleList(
            UpCat(
                2,
                width * 2 ** (s + 1),
                width * 2**s,
                width * 2**s,
                bias=True,
                halves=False,
                **SHARED,
            )
            for s in reversed(range(scales - 1))
        )
        self.last = nn.Conv2d(width, 1, kernel_size=1)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Return one image; ``features`` are as :class:`Encoder` gives them, finest first."""
        *skips, image = features
        for up, skip in zip(self.ups, reversed(skips), strict=True):
            image = up(image, skip)
        output: Tensor = self.last(image)
        return output
