"""What keeps the uptake mask to the truth, to the brightness and to the signal equation."""

from __future__ import annotations

import torch
from torch import Tensor

from ContrastSynthLib.physics import pre_from_post, spgr_signal

REPETITION_TIME_S = 0.0067
FLIP_ANGLE_DEG = 8.0
"""Site A of the paper's Table 1."""
RELAXIVITY_PER_MMOL_S = 3.5
"""r_1 of gadoterate at 3 T, the agent of site A; see ``physics.relaxivity``."""
PEAK_MMOL_PER_L = 1.0
"""beta of eq. 9, the concentration where M = 1: our choice."""
BRAIN_T1_S = 1.25
"""The T1 that the brain's mean signal stands for, at 3 T: our choice."""


def uptake_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Return L_bce of eq. 32, from the mask before its sigmoid and the true mask in [0, 1]."""
    return torch.nn.functional.binary_cross_entropy_with_logits(logits, truth)


def hyperintensity_penalty(uptake: Tensor, hyperintensity: Tensor) -> Tensor:
    """Return R_hyper of eq. 33: the mean of |M - H|^2."""
    return torch.nn.functional.mse_loss(uptake, hyperintensity)


def physics_penalty(pre: Tensor, post: Tensor, uptake: Tensor) -> Tensor:
    """Return R_psyn of eq. 33: the mean of |S_pre - eq. 11 (S_post, M)|^2.

    ``pre`` and ``post`` are divided by the brain's mean, which eq. 11 does not know: rho is the
    value at which a signal of 1 is that of tissue with BRAIN_T1_S. What is brighter than any
    T1 allows is clamped by the inverse, and so has no gradient.
    """
    settings = {"repetition_time_s": REPETITION_TIME_S, "flip_angle_deg": FLIP_ANGLE_DEG}
    density = 1.0 / float(spgr_signal(1.0 / BRAIN_T1_S, **settings))
    expected = pre_from_post(
        post,
        uptake,
        peak_concentration_mmol_per_l=PEAK_MMOL_PER_L,
        relaxivity_per_mmol_s=RELAXIVITY_PER_MMOL_S,
        proton_density=density,
        **settings,
    )
    return torch.nn.functional.mse_loss(pre, expected)
