"""MRI physics in closed form, for numpy arrays and torch tensors; does not import torch."""

from ContrastSynthLib.physics.constants import (
    DOSE_RANGE,
    FLIP_ANGLE_RANGE_DEG,
    REPETITION_TIME_RANGE_S,
)
from ContrastSynthLib.physics.contrast import (
    LOWEST_R1_PER_S,
    post_from_pre,
    pre_from_post,
    signal_at_dose,
)
from ContrastSynthLib.physics.relaxivity import (
    RELAXIVITY_PER_MMOL_S,
    concentration,
    r1_with_agent,
    relaxivity,
)
from ContrastSynthLib.physics.spgr import (
    HIGHEST_R1_PER_S,
    SOLVABLE_MARGIN,
    check_spgr_settings,
    spgr_has_solution,
    spgr_r1,
    spgr_signal,
)

__all__ = [
    "DOSE_RANGE",
    "FLIP_ANGLE_RANGE_DEG",
    "HIGHEST_R1_PER_S",
    "LOWEST_R1_PER_S",
    "RELAXIVITY_PER_MMOL_S",
    "REPETITION_TIME_RANGE_S",
    "SOLVABLE_MARGIN",
    "check_spgr_settings",
    "concentration",
    "post_from_pre",
    "pre_from_post",
    "r1_with_agent",
    "relaxivity",
    "signal_at_dose",
    "spgr_has_solution",
    "spgr_r1",
    "spgr_signal",
]
