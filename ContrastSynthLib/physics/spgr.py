"""The spoiled gradient echo (SPGR) in the steady state, and its inverse: SPHERE, eq. 1-6.

The equation does not model an inversion pulse (MPRAGE) or imperfect spoiling.
"""

from __future__ import annotations

import math

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.physics.arrays import Values, common_arrays
from ContrastSynthLib.physics.constants import FLIP_ANGLE_RANGE_DEG, REPETITION_TIME_RANGE_S

SOLVABLE_MARGIN = 1e-6
"""R1 is computed for signals from this share of rho sin(a) up to 1 minus this share of it.

For T1 of 0.1-5 s and all settings allowed here, signals lie between 1.7e-3 and 1 - 2.7e-3 of
rho sin(a): well inside these limits, which single precision still resolves.
"""


HIGHEST_R1_PER_S = 50.0
"""Upper limit of a meaningful R1: a T1 of 20 ms, that of blood with about 10 mmol/l of agent.

Signals above it are within 2 % of the maximum of eq. 1, where its inverse is ill-conditioned.
"""


def check_spgr_settings(repetition_time_s: float, flip_angle_deg: float) -> None:
    """Raise RequestError unless TR is 2-20 ms, given in s, and the flip angle 2-40 degrees."""
    low, high = REPETITION_TIME_RANGE_S
    if not low <= repetition_time_s <= high:
        hint = ""
        if low <= repetition_time_s / 1000 <= high:
            hint = f" Is it in milliseconds? Then give {repetition_time_s / 1000:g}."
        raise RequestError(
            f"A repetition time of {repetition_time_s:g} s is not that of a spoiled gradient echo "
            f"as modelled here: give {low:g} to {high:g} s.{hint}"
        )
    low, high = FLIP_ANGLE_RANGE_DEG
    if not low <= flip_angle_deg <= high:
        hint = ""
        if low <= math.degrees(flip_angle_deg) <= high:
            hint = f" Is it in radians? Then give {math.degrees(flip_angle_deg):.3g}."
        raise RequestError(
            f"A flip angle of {flip_angle_deg:g} degrees is not that of a spoiled gradient echo as "
            f"modelled here: give {low:g} to {high:g} degrees.{hint}"
        )


def spgr_signal(
    r1_per_s: Values,
    *,
    repetition_time_s: float,
    flip_angle_deg: float,
    proton_density: Values = 1.0,
) -> Values:
    """Return the signal for the longitudinal relaxation rate ``r1_per_s`` (1/s), eq. 1-2.

    Of any shape; in the units of ``proton_density``, which is a number or a map.
    S = rho sin(a) x / (1 - cos(a) + cos(a) x) with x = 1 - exp(-TR R1). This equals the paper's
    equation but avoids its difference of two numbers close to 1. Raises RequestError for TR
    or a flip angle out of range, see :func:`check_spgr_settings`.
    """
    check_spgr_settings(repetition_time_s, flip_angle_deg)
    xp, (r1, density) = common_arrays(r1_per_s, proton_density)
    sine, cosine, versine = _trigonometry(flip_angle_deg)
    x = -xp.expm1(-float(repetition_time_s) * r1)
    return density * sine * x / (versine + cosine * x)


def spgr_r1(
    signal: Values,
    *,
    repetition_time_s: float,
    flip_angle_deg: float,
    proton_density: Values = 1.0,
) -> Values:
    """Return the relaxation rate R1 in 1/s that gives ``signal``: eq. 3 and 6 solved for R1.

    With s = S / (rho sin(a)): R1 = log1p((1 - cos(a)) s / (1 - s)) / TR, a numerically stable
    form of eq. 3. Only 0 < s < 1 has a solution. Values outside, or nearer to an end than
    SOLVABLE_MARGIN, are clamped to that margin: the result is finite (at most about 6200 per s)
    and its gradient is 0; :func:`spgr_has_solution` returns where this does not happen. A
    proton density of 0 or below is replaced by 1. Raises RequestError as :func:`spgr_signal` does.
    """
    check_spgr_settings(repetition_time_s, flip_angle_deg)
    xp, (values, density) = common_arrays(signal, proton_density)
    sine, _, versine = _trigonometry(flip_angle_deg)
    share = values / (sine * xp.where(density > 0, density, xp.ones_like(density)))
    share = xp.clip(share, SOLVABLE_MARGIN, 1 - SOLVABLE_MARGIN)
    return xp.log1p(versine * share / (1 - share)) / float(repetition_time_s)


def spgr_has_solution(
    signal: Values,
    *,
    repetition_time_s: float,
    flip_angle_deg: float,
    proton_density: Values = 1.0,
) -> Values:
    """Return where :func:`spgr_r1` needs no clamping, as booleans of the signal's shape."""
    check_spgr_settings(repetition_time_s, flip_angle_deg)
    _, (values, density) = common_arrays(signal, proton_density)
    limit = density * math.sin(math.radians(flip_angle_deg))
    return (values > SOLVABLE_MARGIN * limit) & (values < (1 - SOLVABLE_MARGIN) * limit)


def _trigonometry(flip_angle_deg: float) -> tuple[float, float, float]:
    """Return sin, cos and 1 - cos of the angle; the last is accurate for small angles too."""
    angle = math.radians(flip_angle_deg)
    return math.sin(angle), math.cos(angle), 2 * math.sin(angle / 2) ** 2
