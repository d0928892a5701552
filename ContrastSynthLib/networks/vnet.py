"""The 2D V-Net of LIP-CAR, used for its forward operators and its direct networks."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

SLOPE = 0.2
"""Negative slope of the leaky ReLU."""
CONVOLUTIONS = (1, 2, 3, 3, 3)
"""Number of 3x3 convolutions at each of the five levels, in the encoder and in the decoder."""
SMALLEST_MULTIPLE = 16
"""Rows and columns must be multiples of this: the resolution is halved four times."""

START_LEVEL, START_SHARE = 1 / 3, 0.1
"""Initial bias of the last convolution, and a factor for its weights, in a network without base.

Its initial output is then about the median of a scan.
"""


class Residual(nn.Module):
    """Convolutions whose output is added to their input: (n, c, h, w) to (n, width, h, w).

    If the number of channels changes, a 1x1 convolution is applied to the input (our choice).
    """

    def __init__(self, in_channels: int, width: int, convolutions: int) -> None:
        super().__init__()
        channels = [in_channels, *[width] * convolutions]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, kernel_size=3, padding=1)
            for before, after in pairwise(channels)
        )
        self.shortcut = (
            nn.Identity() if in_channels == width else nn.Conv2d(in_channels, width, kernel_size=1)
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return the activation of the sum."""
        found = image
        for index, convolution in enumerate(self.convolutions):
            found = convolution(nn.functional.leaky_relu(found, SLOPE) if index else found)
        return nn.functional.leaky_relu(found + self.shortcut(image), SLOPE)


class VNet(nn.Module):
    """V-Net without normalisation: (n, in_channels, h, w) to ``image`` (n, 1, h, w), 0 or above.

    ``width`` is the number of features at the finest level: 12 in the paper. The network's output
    is added to the channel ``base``, or to none when it is None, as in the paper. Raises ValueError
    for a ``base`` that is not a channel.
    """

    def __init__(self, in_channels: int, width: int = 12, base: int | None = None) -> None:
        super().__init__()
        if base is not None and not 0 <= base < in_channels:
            raise ValueError(
                f"base is channel {base} of {in_channels} channels: give 0 to {in_channels - 1}"
            )
        self.base = base
        widths = [width * 2**level for level in range(len(CONVOLUTIONS))]
        finer = list(zip(widths[:-1], widths[1:], CONVOLUTIONS[:-1], strict=True))
        self.downs = nn.ModuleList([Residual(in_channels, width, CONVOLUTIONS[0])])
        self.strided = nn.ModuleList()
        for (fine, coarse, _), convolutions in zip(finer, CONVOLUTIONS[1:], strict=True):
            self.strided.append(nn.Conv2d(fine, coarse, kernel_size=2, stride=2))
            self.downs.append(Residual(coarse, coarse, convolutions))
        self.transposed, self.ups = nn.ModuleList(), nn.ModuleList()
        for fine, coarse, convolutions in reversed(finer):
            self.transposed.append(nn.ConvTranspose2d(coarse, fine, kernel_size=2, stride=2))
            self.ups.append(Residual(2 * fine, fine, convolutions))
        self.last = nn.Conv2d(width, 1, kernel_size=1)
        with torch.no_grad():
            self.last.weight.mul_(START_SHARE if base is None else 0)
        nn.init.constant_(self.last.bias, START_LEVEL if base is None else 0)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Return the one output, ``image``."""
        skips, found = [], self.downs[0](image)
        for strided, down in zip(self.strided, self.downs[1:], strict=True):
            skips.append(found)
            found = down(nn.functional.leaky_relu(strided(found), SLOPE))
        for transposed, up in zip(self.transposed, self.ups, strict=True):
            found = nn.functional.leaky_relu(transposed(found), SLOPE)
            found = up(torch.cat([skips.pop(), found], dim=1))
        output: Tensor = self.last(found)
        if self.base is not None:
            output = output + image[:, self.base : self.base + 1]
        shown = nn.functional.relu(output)
        if self.training:
            # The gradient goes on below 0 too, where that of the ReLU is 0: else a step that takes
            # the whole image there would be the last one to teach anything.
            shown = output + (shown - output).detach()
        return {"image": shown}
