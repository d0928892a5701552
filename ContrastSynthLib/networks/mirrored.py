"""Test-time augmentation: the mean of a network's outputs for slices and mirrored slices."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class Mirrored(nn.Module):
    """The mean of a network's outputs for slices (n, c, h, w) and for their mirror images.

    Left and right are exchanged. A head is nearly symmetric, and training contains both
    orientations, so the mean has smaller random errors. Half of the difference of the two is an
    output too, ``<name>_spread``, for each name in ``spread``.
    """

    def __init__(self, network: nn.Module, spread: Sequence[str] = ()) -> None:
        super().__init__()
        self.network, self.spread = network, spread

    def forward(self, slices: Tensor) -> dict[str, Tensor]:
        """Return the averaged outputs by name, each (n, 1, h, w)."""
        once = self.network(slices)
        twice = {name: made.flip(-1) for name, made in self.network(slices.flip(-1)).items()}
        outputs = {name: (image + twice[name]) / 2 for name, image in once.items()}
        for name in self.spread:
            outputs[f"{name}_spread"] = (once[name] - twice[name]).abs() / 2
        return outputs
