"""A network of one output under the name that a method gives it."""

from __future__ import annotations

from torch import Tensor, nn


class Named(nn.Module):
    """A network from (n, c, h, w) to (n, 1, h, w), as one that returns a dictionary of it."""

    def __init__(self, name: str, network: nn.Module) -> None:
        super().__init__()
        self.name, self.network = name, network

    def forward(self, slices: Tensor) -> dict[str, Tensor]:
        """Return the one output by its name."""
        return {self.name: self.network(slices)}
