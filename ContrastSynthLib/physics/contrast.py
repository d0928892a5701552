"""The signal with less or more contrast agent, by the signal equation: SPHERE, eq. 8-11."""

from __future__ import annotations

from typing import Any

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.physics.arrays import Values, common_arrays
from ContrastSynthLib.physics.constants import DOSE_RANGE
from ContrastSynthLib.physics.relaxivity import r1_with_agent
from ContrastSynthLib.physics.spgr import spgr_has_solution, spgr_r1, spgr_signal

LOWEST_R1_PER_S = 0.2
"""Lower limit of R1 when agent is removed: a T1 of 5 s, slightly longer than that of CSF."""


def pre_from_post(
    post: Values,
    uptake: Values,
    *,
    peak_concentration_mmol_per_l: Values,
    relaxivity_per_mmol_s: float,
    repetition_time_s: float,
    flip_angle_deg: float,
    proton_density: Values = 1.0,
) -> Values:
    """Return the pre-contrast signal, of the shape of ``post``: SPHERE, eq. 11.

    It is computed by way of R1, which is the same as eq. 11 but numerically stable. ``post`` is
    a signal below rho sin(a), with rho the ``proton_density``: scale an image in [0, 1] first,
    because with rho = 1 and 8 degrees signals stay below 0.139. Signals without a solution
    are clamped, see :func:`spgr_r1`. ``uptake`` is M, 0 to 1; the concentration in mmol/L is
    the peak concentration beta (a number or a map) times M. R1 is not reduced below
    LOWEST_R1_PER_S, and stays as it is where it is lower already. Raises RequestError for TR
    or a flip angle out of range.
    """
    xp, (post, uptake, peak, density) = common_arrays(
        post, uptake, peak_concentration_mmol_per_l, proton_density
    )
    settings = _settings(repetition_time_s, flip_angle_deg, density)
    r1_post = spgr_r1(post, **settings)
    taken_away = -peak * uptake
    r1_pre = r1_with_agent(r1_post, taken_away, relaxivity_per_mmol_s)
    floor = xp.clip(r1_post, None, LOWEST_R1_PER_S)
    return spgr_signal(xp.maximum(r1_pre, floor), **settings)


def post_from_pre(
    pre: Values,
    uptake: Values,
    *,
    peak_concentration_mmol_per_l: Values,
    relaxivity_per_mmol_s: float,
    repetition_time_s: float,
    flip_angle_deg: float,
    proton_density: Values = 1.0,
) -> Values:
    """Return the post-contrast signal, of the shape of ``pre``: SPHERE, eq. 8-10.

    The inverse of :func:`pre_from_post`, with the same parameters and errors.
    """
    _, (pre, uptake, peak, density) = common_arrays(
        pre, uptake, peak_concentration_mmol_per_l, proton_density
    )
    settings = _settings(repetition_time_s, flip_angle_deg, density)
    added = peak * uptake
    r1_post = r1_with_agent(spgr_r1(pre, **settings), added, relaxivity_per_mmol_s)
    return spgr_signal(r1_post, **settings)


def signal_at_dose(
    pre: Values,
    post: Values,
    dose: float,
    *,
    gain: float,
    repetition_time_s: float,
    flip_angle_deg: float,
    proton_density: Values = 1.0,
) -> tuple[Values, Values]:
    """Return the signal at a ``dose``, and where the signal equation has a solution.

    ``dose`` is a share of the full dose: 0 returns ``pre``, 1 returns ``post``, and up to 2 is
    extrapolated. ``pre`` and ``post`` have one shape and the units of ``proton_density``;
    ``gain`` is the receiver gain of the post scan divided by that of the pre scan. The change of
    R1, of either sign, is proportional to the dose d:
    S = gain^min(d, 1) SPGR(R1_pre + d (R1_post - R1_pre)). Above dose 1, R1 is not reduced below
    LOWEST_R1_PER_S unless R1_post is lower already.

    Up to dose 1 the result is clipped to the range between ``pre`` and ``post``. This makes it
    monotone in the dose: SPGR is concave in R1, so log S is concave in d and can leave the range
    only next to the end with the larger signal. Above dose 1 it is monotone because SPGR is; the
    direction changes at 1 only where the gain has a larger effect than the agent.

    The second array (booleans) is False where SPGR has no solution for ``pre`` or
    ``post / gain``. There the signal is interpolated linearly in the dose, and above dose 1 it
    does not change its sign. Raises RequestError for a dose outside 0-2, a gain that is not
    above 0, and TR or a flip angle out of range.
    """
    dose, gain = _checked_dose_and_gain(dose, gain)
    xp, (pre, post, density) = common_arrays(pre, post, proton_density)
    settings = _settings(repetition_time_s, flip_angle_deg, density)
    solved = spgr_has_solution(pre, **settings) & spgr_has_solution(post / gain, **settings)
    r1_pre, r1_post = spgr_r1(pre, **settings), spgr_r1(post / gain, **settings)
    floor = xp.clip(xp.minimum(r1_pre, r1_post), None, LOWEST_R1_PER_S)
    r1 = xp.maximum(r1_pre + dose * (r1_post - r1_pre), floor)
    signal = gain ** min(dose, 1.0) * spgr_signal(r1, **settings)
    signal = xp.where(solved, signal, _linear_in_dose(xp, pre, post, dose))
    if dose <= 1:
        signal = xp.clip(signal, xp.minimum(pre, post), xp.maximum(pre, post))
    return signal, solved


def _linear_in_dose(xp: Any, pre: Any, post: Any, dose: float) -> Any:
    signal = (1 - dose) * pre + dose * post
    if dose <= 1:
        return signal
    return xp.where(post >= 0, xp.clip(signal, 0, None), xp.clip(signal, None, 0))


def _checked_dose_and_gain(dose: float, gain: float) -> tuple[float, float]:
    low, high = DOSE_RANGE
    if not low <= dose <= high:
        raise RequestError(
            f"A dose of {dose:g} is out of range: give {low:g} to {high:g} of the full dose."
        )
    if not 0 < gain < float("inf"):
        raise RequestError(
            f"The gain of the post scan over the pre scan is {gain:g}: it must be above 0 and "
            "finite, about 1."
        )
    return float(dose), float(gain)


def _settings(repetition_time_s: float, flip_angle_deg: float, density: Any) -> dict[str, Any]:
    return {
        "repetition_time_s": repetition_time_s,
        "flip_angle_deg": flip_angle_deg,
        "proton_density": density,
    }
