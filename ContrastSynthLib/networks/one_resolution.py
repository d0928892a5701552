"""What SwinIR and MambaIR share: residual groups at one resolution between convolutions."""

from __future__ import annotations

from torch import Tensor, nn

PATCH = 2
"""Pixels that a token is wide. The papers have 1, which takes four times as long: our choice, since
without a GPU it could not be trained. No pixel is lost: they become channels."""


class OneResolution(nn.Module):
    """Slices (n, in_channels, h, w) to one image (n, 1, h, w); sides are multiples of ``patch``.

    A convolution, ``groups`` from (n, features, h, w) to the same shape, and a convolution with a
    shortcut around them.
    """

    def __init__(self, in_channels: int, features: int, groups: nn.Sequential, patch: int) -> None:
        super().__init__()
        self.fold, self.unfold = nn.PixelUnshuffle(patch), nn.PixelShuffle(patch)
        self.first = nn.Conv2d(in_channels * patch**2, features, kernel_size=3, padding=1)
        self.groups = groups
        self.after = nn.Conv2d(features, features, kernel_size=3, padding=1)
        self.last = nn.Conv2d(features, patch**2, kernel_size=3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """Return one image (n, 1, h, w)."""
        shallow = self.first(self.fold(image))
        deep = shallow + self.after(self.groups(shallow))
        output: Tensor = self.unfold(self.last(deep))
        return output
