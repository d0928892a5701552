"""Shared by the methods that solve the SPGR equation: its parameters and the proton density.

Eq. 1 of SPHERE has a proton density rho, but the intensities of an MR image have arbitrary units.
As in SPHERE, rho is one constant for the whole image. Our choice: the value for which the median
signal of the brain is that of tissue with a T1 from the literature.
"""

from __future__ import annotations

import numpy as np

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.physics import spgr_signal
from ContrastSynthLib.physics.constants import (
    FIELD_STRENGTH_RANGE_T,
    FLIP_ANGLE_RANGE_DEG,
    MEDIAN_BRAIN_T1_S,
    REPETITION_TIME_RANGE_S,
)
from ContrastSynthLib.registry import Param
from ContrastSynthLib.volumes import BoolArray, FloatArray


def repetition_time(role: str) -> Param:
    """Declare TR, whose default is that of the scan of this role."""
    return Param("TR", "s", *REPETITION_TIME_RANGE_S, from_acquisition=(role, "repetition_time_s"))


def flip_angle(role: str) -> Param:
    """Declare the flip angle, whose default is that of the scan of this role."""
    return Param(
        "Flip angle", "degrees", *FLIP_ANGLE_RANGE_DEG, from_acquisition=(role, "flip_angle_deg")
    )


def field_strength(role: str) -> Param:
    """Declare the field strength, whose default is that of the scan of this role."""
    return Param(
        "Field strength", "T", *FIELD_STRENGTH_RANGE_T, from_acquisition=(role, "field_strength_t")
    )


def median_signal(array: FloatArray, mask: BoolArray) -> float:
    """Return the median inside the mask; raises RequestError when it is not positive."""
    median = float(np.median(array[mask]))
    if median <= 0:
        raise RequestError(
            f"The median signal inside the mask is {median:g}; it must be above 0. Give a mask "
            "of the brain, and a scan whose background is 0."
        )
    return median


def proton_density(
    median: float,
    *,
    repetition_time_s: float,
    flip_angle_deg: float,
    field_strength_t: float,
) -> float:
    """Return rho of eq. 1 of SPHERE, in the units of the image.

    With it the signal ``median`` is that of T1 = MEDIAN_BRAIN_T1_S at this field strength.
    """
    fields, times = list(MEDIAN_BRAIN_T1_S), list(MEDIAN_BRAIN_T1_S.values())
    r1_per_s = 1.0 / float(np.interp(field_strength_t, fields, times))
    unit_signal = spgr_signal(
        r1_per_s, repetition_time_s=repetition_time_s, flip_angle_deg=flip_angle_deg
    )
    return median / float(unit_signal)
