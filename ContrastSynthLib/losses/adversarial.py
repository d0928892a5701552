"""Adversarial losses of the generator and the discriminator D: SPHERE, eq. 29 and 30.

Scores are the logits of D, of any shape (one for each patch); log D and log (1 - D) are computed
from them without overflow.
"""

from __future__ import annotations

import torch
from torch import Tensor


def generator_loss(scores_of_synthetic: Tensor) -> Tensor:
    """Return L_adv = -mean log D(S_pre^), eq. 29."""
    return torch.nn.functional.softplus(-scores_of_synthetic).mean()


def discriminator_loss(scores_of_real: Tensor, scores_of_synthetic: Tensor) -> Tensor:
    """Return -mean [log D(S_pre) + log (1 - D(S_pre^))], eq. 30.

    The caller detaches the synthetic image from the graph of its generator.
    """
    real = torch.nn.functional.softplus(-scores_of_real)
    synthetic = torch.nn.functional.softplus(scores_of_synthetic)
    return real.mean() + synthetic.mean()
