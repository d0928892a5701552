"""What the methods that solve the SPGR equation share: settings, and the map of image values
to the units of eq. 1.

The values of an MR image are arbitrary, while eq. 1 wants a proton density. Following
SPHERE, rho is one constant for the whole image. Our choice: it is the value for which the
median signal of the brain is that of tissue with a reference T1.
"""

from __future__ import annotations

import numpy as np

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.physics import spgr_signal
from ContrastSynthLib.registry import Param
from ContrastSynthLib.volumes import BoolArray, FloatArray

# Between white and grey matter. Stanisz et al., Magn Reson Med 2005;54:507-512 give 0.88
# and 1.12 s at 1.5 T, 1.08 and 1.82 s at 3 T; imaging studies put grey matter at 3 T lower.
BRAIN_T1_S = ((1.5, 0.95), (3.0, 1.25))


def repetition_time(role: str) -> Param:
    """Declare TR, prefilled from the scan of that role."""
    return Param("TR", "s", 0.002, 0.02, from_acquisition=(role, "repetition_time_s"))


def flip_angle(role: str) -> Param:
    """Declare the flip angle, prefilled from the scan of that role."""
    return Param("Flip angle", "degrees", 2.0, 40.0, from_acquisition=(role, "flip_angle_deg"))


def field_strength(role: str) -> Param:
    """Declare the field strength, prefilled from the scan of that role."""
    return Param("Field strength", "T", 1.0, 3.5, from_acquisition=(role, "field_strength_t"))


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
    """Return rho of eq. 1 in the image's units, so that the median brain has its usual T1."""
    fields, times = zip(*BRAIN_T1_S, strict=True)
    r1_per_s = 1.0 / float(np.interp(field_strength_t, fields, times))
    unit_signal = spgr_signal(
        r1_per_s, repetition_time_s=repetition_time_s, flip_angle_deg=flip_angle_deg
    )
    return median / float(unit_signal)
