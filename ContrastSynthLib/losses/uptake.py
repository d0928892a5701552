"""Losses of the uptake mask: the true mask, the hyperintensity prior, the signal equation."""

from __future__ import annotations

import torch
from torch import Tensor

from ContrastSynthLib.physics import pre_from_post, relaxivity, spgr_signal
from ContrastSynthLib.physics.constants import (
    DEFAULT_AGENT,
    DEFAULT_FIELD_STRENGTH_T,
    DEFAULT_FLIP_ANGLE_DEG,
    DEFAULT_REPETITION_TIME_S,
    MEAN_BRAIN_T1_S,
)

PEAK_MMOL_PER_L = 1.0
"""beta of eq. 9, the concentration in mmol/L at an uptake of M = 1: our choice."""


def uptake_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Return L_bce of eq. 32, from the logits of the mask and the true mask in [0, 1]."""
    return torch.nn.functional.binary_cross_entropy_with_logits(logits, truth)


def hyperintensity_penalty(uptake: Tensor, hyperintensity: Tensor) -> Tensor:
    """Return R_hyper of eq. 33: the mean of |M - H|^2."""
    return torch.nn.functional.mse_loss(uptake, hyperintensity)


def physics_penalty(
    pre: Tensor, post: Tensor, uptake: Tensor, peak_mmol_per_l: Tensor | float = PEAK_MMOL_PER_L
) -> Tensor:
    """Return R_psyn of eq. 33: the mean of |S_pre - eq. 11 (S_post, M)|^2.

    ``peak_mmol_per_l`` is beta of eq. 9, a number or a map. ``pre`` and ``post`` are divided by
    the mean of the brain. To apply eq. 11 to them, rho is chosen such that tissue with a T1 of
    MEAN_BRAIN_T1_S has a signal of 1. Signals too bright for any T1 are clamped, so their gradient
    is 0.
    """
    settings = {
        "repetition_time_s": DEFAULT_REPETITION_TIME_S,
        "flip_angle_deg": DEFAULT_FLIP_ANGLE_DEG,
    }
    density = 1.0 / float(spgr_signal(1.0 / MEAN_BRAIN_T1_S, **settings))
    expected = pre_from_post(
        post,
        uptake,
        peak_concentration_mmol_per_l=peak_mmol_per_l,
        relaxivity_per_mmol_s=relaxivity(DEFAULT_AGENT, DEFAULT_FIELD_STRENGTH_T),
        proton_density=density,
        **settings,
    )
    return torch.nn.functional.mse_loss(pre, expected)
