"""A U-Net on several neighbouring slices that predicts what to subtract from the post scan."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from ContrastSynthLib.networks.sphere import middle

FEATURES = (24, 48, 96, 192, 192)


class _TwoConvolutions(nn.Sequential):
    """Two 3x3 convolutions, each normalised by instance and activated."""

    def __init__(self, in_channels: int, features: int) -> None:
        layers: list[nn.Module] = []
        for entering in (in_channels, features):
            layers += [
                nn.Conv2d(entering, features, kernel_size=3, padding=1, bias=False),
                # Groups of one channel: instance normalisation, in the faster implementation.
                nn.GroupNorm(features, features),
                nn.LeakyReLU(0.1, inplace=True),
            ]
        super().__init__(*layers)


class ResidualUNet(nn.Module):
    """Slices (n, in_channels, h, w) to ``pre``, ``rise`` and ``uptake_logits``, (n, 1, h, w) each.

    ``rise`` is what the agent adds to the middle slice, ``pre`` the middle slice less the rise, and
    the sigmoid of ``uptake_logits``, ``uptake``, says where agent is. ``features`` are those of
    the scales, finest first; h and w are multiples of 2 to the number of scales less 1.

    Each example is divided by its level, the mean of what is above 0 in its middle slice, and the
    rise is multiplied by it: a scan at twice the gain gives twice the rise. That has to be done, as
    the normalisation by instance lets no layer see the level.
    """

    def __init__(self, in_channels: int = 5, features: Sequence[int] = FEATURES) -> None:
        super().__init__()
        self.downs = nn.ModuleList(
            _TwoConvolutions(fine, coarse) for fine, coarse in pairwise((in_channels, *features))
        )
        self.ups = nn.ModuleList(
            _TwoConvolutions(coarse + fine, fine) for fine, coarse in [*pairwise(features)][::-1]
        )
        self.last = nn.Conv2d(features[0], 2, kernel_size=1)
        nn.init.zeros_(self.last.weight)
        nn.init.constant_(self.last.bias, 0.0)

    def forward(self, post: Tensor) -> dict[str, Tensor]:
        """Return the outputs by name, in the precision of the input."""
        level = level_of(middle(post))
        skips: list[Tensor] = []
        image = post / level
        for index, down in enumerate(self.downs):
            image = down(functional.max_pool2d(image, 2) if index else image)
            skips.append(image)
        image = skips.pop()
        for up in self.ups:
            larger = functional.interpolate(image, scale_factor=2.0, mode="nearest")
            image = up(torch.cat([larger, skips.pop()], dim=1))
        rise, logits = self.last(image).to(post.dtype).split(1, dim=1)
        rise = rise * level
        return {
            "pre": middle(post) - rise,
            "rise": rise,
            "uptake_logits": logits,
            "uptake": torch.sigmoid(logits),
        }


def level_of(image: Tensor) -> Tensor:
    """Return the mean of what is above 0 in each image (n, 1, h, w), as (n, 1, 1, 1)."""
    above = image.clamp(min=0)
    count = (above > 0).sum(dim=(1, 2, 3), keepdim=True)
    total = above.sum(dim=(1, 2, 3), keepdim=True)
    return torch.where(count > 0, total / count.clamp(min=1), torch.ones_like(total))
