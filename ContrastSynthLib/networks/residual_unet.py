"""A U-Net on several neighbouring slices that predicts what to subtract from the post scan."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from ContrastSynthLib.networks.sphere import HyperintensityPrior, middle

FEATURES = (32, 64, 128, 256, 256)
"""About 5 million parameters: 10 MB in half precision."""
EXPECTED_AT_START = 4.0
"""softplus(-4) = 0.02 of the level: the error that an untrained network expects."""


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
    """Slices (n, in_channels, h, w) to the outputs below, (n, 1, h, w) each.

    ``rise`` is what the agent adds to the middle slice, and ``pre`` the middle slice less the
    rise. The sigmoid of ``uptake_logits``, ``uptake``, is M of SPHERE's eq. 21: it says where agent
    is. ``error`` is the mean absolute error that the network expects of its rise, at least 0.

    With ``hyperintensity`` the prior H of eq. 19-20 is computed from the middle slice itself (A of
    eq. 18 is the identity), is an output, and joins the network's own mask in M by a convolution
    of 1x1. With ``masked`` the rise is multiplied by M (after appendix C.2). With ``physics`` there
    is a map ``peak``, beta of eq. 9 in mmol/l, for the loss R_psyn of eq. 33.

    ``features`` are those of the scales, finest first; h and w are multiples of 2 to the number of
    scales less 1. Each example is divided by its level, the mean of what is above 0 in its middle
    slice, and the rise is multiplied by it: a scan at twice the gain gives twice the rise. That has
    to be done, as the normalisation by instance lets no layer see the level.
    """

    def __init__(
        self,
        in_channels: int = 5,
        features: Sequence[int] = FEATURES,
        *,
        hyperintensity: bool = True,
        masked: bool = False,
        physics: bool = False,
    ) -> None:
        super().__init__()
        self.masked = masked
        self.prior = HyperintensityPrior() if hyperintensity else None
        self.fuse = nn.Conv2d(2, 1, kernel_size=1) if hyperintensity else None
        self.downs = nn.ModuleList(
            _TwoConvolutions(fine, coarse) for fine, coarse in pairwise((in_channels, *features))
        )
        self.ups = nn.ModuleList(
            _TwoConvolutions(coarse + fine, fine) for fine, coarse in [*pairwise(features)][::-1]
        )
        self.last = nn.Conv2d(features[0], 4 if physics else 3, kernel_size=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        if self.fuse is not None:
            nn.init.ones_(self.fuse.weight)
            nn.init.zeros_(self.fuse.bias)

    def forward(self, post: Tensor) -> dict[str, Tensor]:
        """Return the outputs by name, in the precision of the input."""
        level = level_of(middle(post))
        image = post / level
        made = self.last(self._features(image)).to(post.dtype)
        rise, logits, error, *peak = made.split(1, dim=1)
        outputs = {"peak": functional.softplus(peak[0])} if peak else {}
        outputs |= {"error": functional.softplus(error - EXPECTED_AT_START) * level}
        if self.prior is not None and self.fuse is not None:
            outputs["hyperintensity"] = self.prior(middle(image))
            both = torch.cat([logits, outputs["hyperintensity"]], dim=1)
            logits = self.fuse(both).to(post.dtype)
        uptake = torch.sigmoid(logits)
        rise = (rise * uptake if self.masked else rise) * level
        return {
            **outputs,
            "pre": middle(post) - rise,
            "rise": rise,
            "uptake_logits": logits,
            "uptake": uptake,
        }

    def _features(self, image: Tensor) -> Tensor:
        """Return the features of the finest scale, (n, features[0], h, w)."""
        skips: list[Tensor] = []
        for index, down in enumerate(self.downs):
            image = down(functional.max_pool2d(image, 2) if index else image)
            skips.append(image)
        image = skips.pop()
        for up in self.ups:
            larger = functional.interpolate(image, scale_factor=2.0, mode="nearest")
            image = up(torch.cat([larger, skips.pop()], dim=1))
        return image


def level_of(image: Tensor) -> Tensor:
    """Return the mean of what is above 0 in each image (n, 1, h, w), as (n, 1, 1, 1)."""
    above = image.clamp(min=0)
    count = (above > 0).sum(dim=(1, 2, 3), keepdim=True)
    total = above.sum(dim=(1, 2, 3), keepdim=True)
    return torch.where(count > 0, total / count.clamp(min=1), torch.ones_like(total))
