"""Image losses: SPHERE, eq. 29, without its adversarial term; multi-scale SSIM."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import torch
from monai.losses import SSIMLoss
from monai.metrics.regression import compute_ms_ssim
from torch import Tensor


def l1_loss(synthetic: Tensor, reference: Tensor) -> Tensor:
    """Return the mean absolute difference: L_L1 of eq. 29, and L_ae of eq. 32."""
    return torch.nn.functional.l1_loss(synthetic, reference)


def ssim_loss(synthetic: Tensor, reference: Tensor, *, data_range: float) -> Tensor:
    """Return 1 - SSIM, eq. 29, with MONAI's Gaussian window of 11 pixels.

    C_1 and C_2 are (0.01 ``data_range``)^2 and (0.03 ``data_range``)^2. Images must be at least 11
    pixels wide. It is computed in single precision even under autocast, because variances are
    differences of squares, for which bfloat16 is not precise enough.
    """
    with torch.autocast(synthetic.device.type, enabled=False):
        loss: Tensor = _ssim(float(data_range))(synthetic.float(), reference.float())
    return loss


def ms_ssim_loss(synthetic: Tensor, reference: Tensor, *, data_range: float) -> Tensor:
    """Return 1 - multi-scale SSIM (Wang et al. 2003), as MONAI has it: five scales, of all images.

    Images (n, 1, h, w) are at least 176 pixels wide, since the coarsest scale is a sixteenth of
    them and the window has 11 pixels; smaller ones raise ValueError. A scale at which images do not
    agree at all has no finite gradient. Precision and constants are those of :func:`ssim_loss`.
    """
    with torch.autocast(synthetic.device.type, enabled=False):
        found = compute_ms_ssim(
            synthetic.float(), reference.float(), spatial_dims=2, data_range=data_range
        )
    return 1 - found.mean()


@cache
def _ssim(data_range: float) -> SSIMLoss:
    return SSIMLoss(spatial_dims=2, data_range=data_range)


def perceptual_loss(
    synthetic: Tensor, reference: Tensor, features: Callable[[Tensor], Sequence[Tensor]]
) -> Tensor:
    """Return the mean squared difference of features, summed over scales l: eq. 29.

    sum_l ||phi_l(S_pre) - phi_l(S_pre^)||^2 / N_l, where N_l is the size of the feature map.
    ``features`` is a network of ``networks.features`` with frozen weights.
    """
    with torch.no_grad():
        wanted = features(reference)
    found = features(synthetic)
    terms = [torch.nn.functional.mse_loss(f, w) for f, w in zip(found, wanted, strict=True)]
    return torch.stack(terms).sum()
