"""The Wasserstein GAN loss with gradient penalty of the low-dose conditional GAN: eq. 1.

The critic f is to score real residual images higher than synthetic ones, and to be Lipschitz with
factor 1 in the image and in the condition. Scores are tensors (n,).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Critic = Callable[[Tensor, Tensor], Tensor]
"""Scores (n,) of images (n, c, k, j, i) under conditions (n, m)."""


def critic_loss(scores_of_real: Tensor, scores_of_synthetic: Tensor) -> Tensor:
    """Return -L_GAN for the critic: the mean score of synthetic images less that of real ones."""
    return scores_of_synthetic.mean() - scores_of_real.mean()


def fooling_loss(scores_of_synthetic: Tensor) -> Tensor:
    """Return L_GAN for the generator: minus the mean score of its images."""
    return -scores_of_synthetic.mean()


def gradient_penalty(
    critic: Critic,
    real: tuple[Tensor, Tensor],
    synthetic: tuple[Tensor, Tensor],
    share: Tensor,
) -> Tensor:
    """Return L_GP: the mean of (|grad f| - 1)^2 between real and synthetic examples.

    ``real`` and ``synthetic`` are images (n, c, k, j, i) with their conditions (n, m). The
    gradient, with respect to both together, is taken at ``share`` (n,) of the way from real to
    synthetic, uniform in 0 to 1 in the paper. Channels in which both agree, such as the scans
    given, count in the gradient as the rest does.
    """
    places = [
        _between(*pair, share).detach().requires_grad_()
        for pair in zip(real, synthetic, strict=True)
    ]
    image, told = places
    gradients = torch.autograd.grad(critic(image, told).sum(), (image, told), create_graph=True)
    square = torch.stack([each.flatten(1).square().sum(dim=1) for each in gradients]).sum(dim=0)
    # The slope of a root is infinite at 0.
    return ((square + 1e-12).sqrt() - 1).square().mean()


def _between(real: Tensor, synthetic: Tensor, share: Tensor) -> Tensor:
    """Return h(alpha, y, y^) = alpha y^ + (1 - alpha) y."""
    alpha = share.view(-1, *[1] * (real.dim() - 1))
    return alpha * synthetic + (1 - alpha) * real
