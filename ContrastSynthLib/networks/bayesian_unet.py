"""The Bayesian U-Net that the high-resolution FCN is compared with (Kleesiek et al. 2019).

A U-Net whose dropout stays on in use: the mean of some passes is the answer, their standard
deviation how sure it is. Widths and dropout are our choice; slices are not halved, as in the
high-resolution FCN, so that both see the same slabs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Conv
from monai.networks.nets import UNet
from torch import Tensor, nn

from ContrastSynthLib.networks.blocks import slice_by_slice, start_at_zero
from ContrastSynthLib.networks.hrfcn import INPUTS

WIDTHS = (16, 32, 64, 128)
DROPOUT = 0.1
HALVED = (1, 2, 2)


class BayesianUNet(nn.Module):
    """Scans (n, len(inputs), k, j, i) to ``post`` (n, 1, k, j, i).

    ``j`` and ``i`` are multiples of 2^(len(widths) - 1). A channel of zeros was left out. The
    output is added to the channel ``base``; with None it is ``post`` itself. In two ``dimensions``
    the slices of a volume are taken one by one: the 2D U-Net of the high-resolution FCN's Table I.
    """

    def __init__(
        self,
        inputs: Sequence[str] = INPUTS,
        widths: Sequence[int] = WIDTHS,
        dropout: float = DROPOUT,
        base: int | None = None,
        dimensions: int = 3,
    ) -> None:
        super().__init__()
        self.inputs, self.base, self.dimensions = tuple(inputs), base, dimensions
        self.net = UNet(
            spatial_dims=dimensions,
            in_channels=len(self.inputs),
            out_channels=widths[0],
            channels=tuple(widths),
            strides=[HALVED[-dimensions:]] * (len(widths) - 1),
            num_res_units=2,
            norm="instance",
            dropout=dropout,
        )
        # The U-Net normalises what comes up to its last layer: one channel would have the same
        # spread in every example. The image is made of several, by a layer that begins with zeros.
        self.last = Conv[Conv.CONV, dimensions](widths[0], 1, kernel_size=1)
        if base is not None:
            start_at_zero(self.last)

    def forward(self, scans: Tensor) -> dict[str, Tensor]:
        """Return ``post`` in a dictionary."""
        if scans.dim() > self.dimensions + 2:
            return slice_by_slice(self, scans)
        post = self.last(self.net(scans))
        if self.base is not None:
            post = post + scans[:, self.base : self.base + 1]
        return {"post": post}


class Sampled(nn.Module):
    """Passes of a network with dropout: ``post``, their mean, and ``uncertainty``, their standard
    deviation, (n, 1, k, j, i). All other parts of it stay as they are in use."""

    def __init__(self, network: nn.Module, samples: int) -> None:
        super().__init__()
        self.network, self.samples = network, samples
        self.eval()

    def train(self, mode: bool = True) -> Sampled:
        """Keep dropout on, whatever the mode."""
        super().train(mode)
        for part in self.modules():
            if isinstance(part, nn.Dropout | nn.Dropout2d | nn.Dropout3d):
                part.training = True
        return self

    def forward(self, scans: Tensor) -> dict[str, Tensor]:
        """Return mean and standard deviation; with one sample the latter is 0."""
        passes = torch.stack([self.network(scans)["post"].float() for _ in range(self.samples)])
        deviation, mean = torch.std_mean(passes, dim=0, correction=0)
        return {"post": mean, "uncertainty": deviation}
