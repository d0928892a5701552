"""SPHERE, eq. 18-24: uptake by segmentation and a hyperintensity prior, then inpainting+."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ContrastSynthLib.networks.blocks import NestedUNet, start_at_zero
from ContrastSynthLib.physics.constants import HYPERINTENSITY_SENSITIVITY, HYPERINTENSITY_THRESHOLD

SCALE = 0.2
"""Initial gamma of eq. 19, our choice: the threshold is then at 1.5 times the brain's mean.

With 1 the threshold would be far below the mean, and the prior would be 1 everywhere.
"""
INPAINTS = ("masked", "cautious", "residual", "image")
"""What the inpainting+ network predicts; see :class:`Sphere`."""


class HyperintensityPrior(nn.Module):
    """H = sigmoid(u (gamma A(S_post) - beta_0)), eq. 19-20, with learnable gamma and u.

    The paper's softmax over one channel is a sigmoid. The logarithms of both parameters are
    learned, to keep them positive: a negative value would mark dark voxels as enhancement.
    With ``learnt=False`` both stay at what they begin with.
    """

    def __init__(self, *, learnt: bool = True) -> None:
        super().__init__()
        first = (SCALE, HYPERINTENSITY_SENSITIVITY)
        scale, sensitivity = (torch.tensor(math.log(value)) for value in first)
        self.log_scale = nn.Parameter(scale, requires_grad=learnt)
        self.log_sensitivity = nn.Parameter(sensitivity, requires_grad=learnt)

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

    ``in_channels`` is an odd number of neighbouring slices; outputs are for the middle one.
    ``width`` is the number of features at the finest scale of the segmentation and the
    inpainting+ network, ``autoencoder_width`` that of the autoencoder.

    The ablations of Table 5: ``hyperintensity=False`` leaves out H, ``segmentation=False`` the
    segmentation network, and ``autoencoder=False`` replaces A by the identity. SPHERE without its
    dual stage is a UNet++ from post to pre, see :class:`~.baselines.Direct`. Not in the paper:
    ``learnt_threshold=False`` keeps gamma and u of H as they begin.

    ``inpaints`` is one of INPAINTS: what the inpainting+ network predicts (our choice). "image" is
    S_pre itself. "residual" is subtracted from S_post, so that tissue without uptake stays as it
    was scanned. "masked" is a residual multiplied by the uptake M (after appendix C.2), "cautious"
    one multiplied by M^2, which changes less where M is uncertain. Raises ValueError for another
    name, and when both the prior and the segmentation are left out.
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
        learnt_threshold: bool = True,
        inpaints: str = "masked",
    ) -> None:
        super().__init__()
        if not (hyperintensity or segmentation):
            raise ValueError(
                "The uptake needs the hyperintensity prior, the segmentation, or both."
            )
        if inpaints not in INPAINTS:
            raise ValueError(
                f"Unknown output of inpainting+ '{inpaints}'. Known: {', '.join(INPAINTS)}."
            )
        self.inpaints = inpaints
        self.autoencoder = (
            NestedUNet(1, autoencoder_width) if hyperintensity and autoencoder else None
        )
        self.prior = HyperintensityPrior(learnt=learnt_threshold) if hyperintensity else None
        self.segmentation = NestedUNet(in_channels, width) if segmentation else None
        self.fuse = nn.Conv2d(int(hyperintensity) + int(segmentation), 1, kernel_size=1)
        inpainting = NestedUNet(in_channels + 1, width)
        self.inpainting = inpainting if inpaints == "image" else start_at_zero(inpainting)
        nn.init.ones_(self.fuse.weight)
        nn.init.constant_(self.fuse.bias, -1.0)

    def find_uptake(self, post: Tensor) -> dict[str, Tensor]:
        """Stage 1, eq. 18-21: return ``uptake_logits`` and, with the prior, ``hyperintensity``.

        ``post`` is (n, in_channels, h, w), divided by the brain's mean; all outputs are
        (n, 1, h, w). ``reconstruction`` is A(S_post), for the loss of eq. 32. The fusion takes
        the logits of M_seg; the sigmoid is applied after the fusion (our choice).
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
        predicted: Tensor = self.inpainting(torch.cat([post, uptake], dim=1))
        if self.inpaints == "image":
            return predicted
        powers = {"residual": 0, "masked": 1, "cautious": 2}
        return middle(post) - uptake ** powers[self.inpaints] * predicted

    def forward(self, post: Tensor, stage: str = "joint") -> dict[str, Tensor]:
        """Return ``pre``, ``uptake`` in [0, 1] and the outputs of :meth:`find_uptake`.

        ``stage`` is for training: ``uptake`` stops after stage 1, ``inpainting`` computes no
        gradient of stage 1, ``joint`` computes the gradient of both stages.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and stage != "inpainting"):
            found = self.find_uptake(post)
            found["uptake"] = torch.sigmoid(found["uptake_logits"])
        if stage != "uptake":
            found["pre"] = self.inpaint(post, found["uptake"])
        return found


def middle(slices: Tensor) -> Tensor:
    """Return the middle slice (n, 1, h, w) of neighbouring slices (n, c, h, w)."""
    centre = slices.shape[1] // 2
    return slices[:, centre : centre + 1]
