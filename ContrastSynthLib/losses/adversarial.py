"""The two sides of the adversarial game: eq. 29 and 30 of SPHERE.

Scores are logits of D of any shape, one for each patch: log D and log (1 - D) are taken from
them without overflow.
"""

from __future__ import annotations

import torch
from torch import Tensor


def generator_loss(scores_of_synthetic: Tensor) -> Tensor:
    """Return L_adv = -mean log D(S_pre^), eq. 29."""
    return torch.nn.functional.softplus(-scores_of_synthetic).mean()


def discriminator_loss(scores_of_real: Tensor, scores_of_synthetic: Tensor) -> Tensor:
    """Return -mean [log D(S_pre) + log (1 - D(S_pre^))], eq. 30.

    The caller detaches the synthetic image from its generator.
    """
    real = torch.nn.functional.softplus(-scores_of_real)
    synthetic = torch.nn.functional.softplus(scores_of_synthetic)
    return real.mean() + synthetic.mean()
