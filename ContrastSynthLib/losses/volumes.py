"""Losses of the high-resolution FCN and of iterU-Net, of volumes (n, 1, k, j, i)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ContrastSynthLib.physics.constants import UPTAKE_THRESHOLD


def local_loss(
    synthetic: Tensor,
    reference: Tensor,
    t1: Tensor,
    threshold: float = UPTAKE_THRESHOLD,
    most: float | None = None,
) -> Tensor:
    """Return the mean absolute difference where the agent went: L_local of the high-resolution FCN.

    That is where ``reference``, the scan after the agent, exceeds ``t1``, the one before it, by
    more than the threshold, in the unit of [0, 1], and by no more than ``most``: the authors' code
    leaves out what rises by more than 0.6, vessels. The paper has a norm; the mean over these
    voxels is our choice. It is 0 where no voxel enhances.
    """
    rise = reference - t1
    agent = rise > threshold
    if most is not None:
        agent = agent & (rise <= most)
    error = (synthetic - reference).abs() * agent.to(synthetic.dtype)
    loss: Tensor = error.sum() / agent.sum().clamp(min=1)
    return loss


def gradient_difference_loss(synthetic: Tensor, reference: Tensor) -> Tensor:
    """Return the mean difference of the absolute steps from voxel to voxel (Mathieu et al. 2016).

    sum over axes of mean | |d x^| - |d x| |, with exponent 1 as in that paper. An axis of one voxel
    has no steps, and adds nothing.
    """
    terms = []
    for axis in range(2, synthetic.dim()):
        if synthetic.shape[axis] > 1:
            made, real = (image.diff(dim=axis).abs() for image in (synthetic, reference))
            terms.append((made - real).abs().mean())
    if not terms:
        return synthetic.sum() * 0
    return torch.stack(terms).sum()


def med3d_loss(
    synthetic: Tensor, reference: Tensor, features: Callable[[Tensor], Sequence[Tensor]]
) -> Tensor:
    """Return the mean absolute difference of the features of volumes (n, 1, k, j, i).

    It is averaged over the stages. Which of them the paper compares is not told: all of them are
    our choice.
    """
    made, real = features(synthetic), features(reference)
    return torch.stack([(m - r).abs().mean() for m, r in zip(made, real, strict=True)]).mean()
