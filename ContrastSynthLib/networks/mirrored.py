"""A slice network asked twice, the second time in the mirror."""

from __future__ import annotations

from torch import Tensor, nn


class Mirrored(nn.Module):
    """The mean of a network's outputs for slices (n, c, h, w) and for the same with left as right.

    A head is nearly its own mirror image, and training saw both: what a network says of only
    one of them is chance.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, slices: Tensor) -> dict[str, Tensor]:
        """Return the outputs of the network, each (n, 1, h, w)."""
        once, twice = self.network(slices), self.network(slices.flip(-1))
        return {name: (image + twice[name].flip(-1)) / 2 for name, image in once.items()}
