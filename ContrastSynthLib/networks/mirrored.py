"""Test-time augmentation: the mean of a network's outputs for slices and mirrored slices."""

from __future__ import annotations

from torch import Tensor, nn


class Mirrored(nn.Module):
    """The mean of a network's outputs for slices (n, c, h, w) and for their mirror images.

    Left and right are exchanged. A head is nearly symmetric, and training contains both
    orientations, so the mean has smaller random errors.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, slices: Tensor) -> dict[str, Tensor]:
        """Return the averaged outputs by name, each (n, 1, h, w)."""
        once, twice = self.network(slices), self.network(slices.flip(-1))
        return {name: (image + twice[name].flip(-1)) / 2 for name, image in once.items()}
