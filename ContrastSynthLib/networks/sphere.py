"""SPHERE: uptake by a segmentation and a hyperintensity prior, then inpainting+ (eq. 18-24)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ContrastSynthLib.networks.blocks import NestedUNet, start_at_zero
from ContrastSynthLib.physics.constants import HYPERINTENSITY_SENSITIVITY, HYPERINTENSITY_THRESHOLD

SCALE = 0.2
"""gamma of eq. 19 at the start, our choice: the threshold then lies at 1.5 times the brain's
mean. At 1 it would lie far below it, and the prior would be 1 everywhere."""
INPAINTS = ("masked", "cautious", "residual", "image")


class HyperintensityPrior(nn.Module):
    """H = sigmoid(u (gamma A(S_post) - beta_0)), eq. 19-20, with learnable gamma and u.

    The paper's softmax over one channel is a sigmoid. Both parameters are kept positive by
    learning their logarithms: a negative one would call darkness enhancement.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(SCALE)))
        self.log_sensitivity = nn.Parameter(torch.tensor(math.log(HYPERINTENSITY_SENSITIVITY)))

    @property
    def scale(self) -> Tensor:
        """gamma of eq. 19."""
        return self.log_scale.exp()

    @property
    def sensitivity(self) -> Tensor:
        """u of eq. 20."""
        return self.log_sensitivity.exp()

    def forward(self, adjusted: Tensor) -> Tensor:
        """Return H in [0, 1] of A(S_post); both (n, 1, h, w)."""
        return torch.sigmoid(self.sensitivity * (self.scale * adjusted - HYPERINTENSITY_THRESHOLD))


class Sphere(nn.Module):
    """Both stages of SPHERE on slices.

    ``in_channels`` is an odd number of neighbouring slices, the middle one is answered for.
    ``width`` is the number of features at the finest scale of the segmentation and the
    inpainting+ network, ``autoencoder_width`` that of the autoencoder.

    The ablations of Table 5: ``hyperintensity=False`` leaves out H, ``segmentation=False`` the
    segmentation network, ``autoencoder=False`` makes A the identity. Without the dual stage
    SPHERE is a UNet++ from post to pre, see ``direct``.

    ``inpaints`` is one of INPAINTS, what inpainting+ gives (our choice): the "image" S_pre, a
    "residual" to subtract from S_post, so that what does not enhance stays as it was scanned, a
    "masked" one, which is multiplied by M, after appendix C.2, or a "cautious" one, which is
    multiplied by M^2: less is changed where M is in doubt.
    """

    def __init__(
        self,
        in_channels: int = 3,
        width: int = 8,
        autoencoder_width: int = 4,
        *,
        hyperintensity: bool = True,
        segmentation: bool = True,
        autoencoder: bool = True,
        inpaints: str = "masked",
    ) -> None:
        super().__init__()
        if not (hyperintensity or segmentation):
            raise ValueError("Without the prior and the segmentation nothing finds the uptake.")
        if inpaints not in INPAINTS:
            raise ValueError(f"Inpainting+ gives no '{inpaints}': {', '.join(INPAINTS)}.")
        self.inpaints = inpaints
        self.autoencoder = (
            NestedUNet(1, autoencoder_width) if hyperintensity and autoencoder else None
        )
        self.prior = HyperintensityPrior() if hyperintensity else None
        self.segmentation = NestedUNet(in_channels, width) if segmentation else None
        self.fuse = nn.Conv2d(int(hyperintensity) + int(segmentation), 1, kernel_size=1)
        inpainting = NestedUNet(in_channels + 1, width)
        self.inpainting = inpainting if inpaints == "image" else start_at_zero(inpainting)
        nn.init.ones_(self.fuse.weight)
        nn.init.constant_(self.fuse.bias, -1.0)

    def find_uptake(self, post: Tensor) -> dict[str, Tensor]:
        """Stage 1, eq. 18-21: return ``uptake_logits`` and, with the prior, ``hyperintensity``.

        ``post`` is (n, in_channels, h, w), divided by the brain's mean; all returned are
        (n, 1, h, w). ``reconstruction`` is A(S_post), for the loss of eq. 32. The fusion sees
        M_seg before its sigmoid, which comes after the fusion (our choice).
        """
        centre = middle(post)
        masks = []
        found: dict[str, Tensor] = {}
        if self.segmentation is not None:
            masks.append(self.segmentation(post))
        if self.prior is not None:
            adjusted = centre
            if self.autoencoder is not None:
                adjusted = found["reconstruction"] = self.autoencoder(centre)
            found["hyperintensity"] = self.prior(adjusted)
            masks.append(found["hyperintensity"])
        found["uptake_logits"] = self.fuse(torch.cat(masks, dim=1))
        return found

    def inpaint(self, post: Tensor, uptake: Tensor) -> Tensor:
        """Stage 2, eq. 24: return S_pre (n, 1, h, w) from S_post and the uptake in [0, 1]."""
        answer: Tensor = self.inpainting(torch.cat([post, uptake], dim=1))
        if self.inpaints == "image":
            return answer
        powers = {"residual": 0, "masked": 1, "cautious": 2}
        return middle(post) - uptake ** powers[self.inpaints] * answer

    def forward(self, post: Tensor, stage: str = "joint") -> dict[str, Tensor]:
        """Return ``pre``, ``uptake`` in [0, 1] and what :meth:`find_uptake` gives.

        ``stage`` is for training: ``uptake`` stops after stage 1, ``inpainting`` lets no
        gradient into stage 1, ``joint`` lets it through all.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and stage != "inpainting"):
            found = self.find_uptake(post)
            found["uptake"] = torch.sigmoid(found["uptake_logits"])
        if stage != "uptake":
            found["pre"] = self.inpaint(post, found["uptake"])
        return found


def middle(slices: Tensor) -> Tensor:
    """Return the slice (n, 1, h, w) that its neighbours (n, c, h, w) surround."""
    centre = slices.shape[1] // 2
    return slices[:, centre : centre + 1]
