"""Concentration of contrast agent over time: arterial blood (Parker 2006), tissue (Tofts 1999).

The convolution is integrated on nodes of its own, so the value at one time does not depend on
which other times are requested.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.physics.arrays import Float64Array
from ContrastSynthLib.physics.constants import HAEMATOCRIT, STANDARD_DOSE_MMOL_PER_KG

# Population-averaged arterial input function: Parker et al., Magn Reson Med 2006;56:993-1000,
# table 1, with minutes converted to seconds. First pass and recirculation of the bolus are
# Gaussians (area in mmol s/L, centre in s, width in s); an exponential, switched on by a
# sigmoid, follows.
PASSES = ((0.809 * 60, 0.17046 * 60, 0.0563 * 60), (0.330 * 60, 0.365 * 60, 0.132 * 60))
TAIL_MMOL_PER_L, TAIL_PER_S = 1.050, 0.1685 / 60
SIGMOID_PER_S, SIGMOID_S = 38.078 / 60, 0.483 * 60

HIGHEST_KEP_PER_S = 0.5
"""Five times the kep of the fastest tumours: a larger value was probably given per minute."""

# Gauss-Legendre quadrature on intervals of 5 s with 12 nodes each. The nearest singularity of
# the input function, the pole of its sigmoid, is 5 s off the real axis: the relative error is
# 1e-14, and the error from the allowed kep is smaller.
PANEL_S = 5.0
NODES, WEIGHTS = np.polynomial.legendre.leggauss(12)


def blood_concentration(
    times_s: ArrayLike,
    *,
    arrival_s: float = 0.0,
    dose_mmol_per_kg: float = STANDARD_DOSE_MMOL_PER_KG,
) -> Float64Array:
    """Return the concentration in arterial whole blood in mmol/L, of the shape of ``times_s``.

    C_b(t) = sum_n A_n / (s_n sqrt(2 pi)) exp(-(t - T_n)^2 / (2 s_n^2))
    + a exp(-b t) / (1 + exp(-s (t - tau))), with t counted from ``arrival_s`` and C_b = 0
    before it. C_b is proportional to the dose. It is the average of a population after an
    injection at 3 ml/s; the published fit ends at 6 min. Raises RequestError for a dose below 0.
    """
    if not 0 <= dose_mmol_per_kg < np.inf:
        raise RequestError(
            f"A dose of {dose_mmol_per_kg:g} mmol/kg is not possible: give 0 or more, 0.1 is usual."
        )
    t = np.asarray(times_s, dtype=np.float64) - arrival_s
    later = np.maximum(t, 0.0)
    tail = TAIL_MMOL_PER_L * np.exp(-TAIL_PER_S * later)
    blood = tail / (1.0 + np.exp(-SIGMOID_PER_S * (later - SIGMOID_S)))
    for area, centre_s, width_s in PASSES:
        height = area / (width_s * np.sqrt(2 * np.pi))
        blood = blood + height * np.exp(-0.5 * ((later - centre_s) / width_s) ** 2)
    return np.where(t >= 0, blood, 0.0) * (dose_mmol_per_kg / STANDARD_DOSE_MMOL_PER_KG)


def tofts_concentration(
    times_s: ArrayLike,
    *,
    ktrans_per_s: ArrayLike,
    ve: ArrayLike,
    vp: ArrayLike = 0.0,
    arrival_s: float = 0.0,
    dose_mmol_per_kg: float = STANDARD_DOSE_MMOL_PER_KG,
    haematocrit: float = HAEMATOCRIT,
) -> Float64Array:
    """Return the concentration in tissue in mmol/L, shape (times, *shape of the maps).

    The extended Tofts model, C(t) = vp C_p(t) + Ktrans integral_0^t C_p(u) exp(-kep (t - u)) du
    with kep = Ktrans / ve and C_p = C_b / (1 - haematocrit); ``vp`` = 0 is the standard
    Tofts model (Tofts et al., J Magn Reson Imaging 1999;10:223-232). ``ve`` and ``vp`` are volume
    fractions, 0 to 1; they and ``ktrans_per_s`` are numbers or maps of one shape. ``times_s``
    (n,) may come in any order. Raises RequestError for values that no tissue has.
    """
    times = np.asarray(times_s, dtype=np.float64)
    maps = np.broadcast_arrays(*(np.asarray(m, np.float64) for m in (ktrans_per_s, ve, vp)))
    ktrans, ve_, vp_ = maps
    _check(times, ktrans, ve_, vp_, haematocrit)
    kep = np.divide(ktrans, ve_, out=np.zeros(ktrans.shape), where=ktrans > 0)
    if kep.size and kep.max() > HIGHEST_KEP_PER_S:
        raise RequestError(
            f"kep = Ktrans / ve is {kep.max():.3g} per s, more than that of any tissue: give "
            "Ktrans per second. Divide a rate per minute by 60."
        )
    response = np.empty((len(times), *ktrans.shape))
    so_far, now = np.zeros(ktrans.shape), 0.0
    for index in np.argsort(times):
        after = max(float(times[index]) - arrival_s, 0.0)
        so_far = _continued(so_far, kep, now, after)
        response[index], now = so_far, after
    blood = blood_concentration(times, arrival_s=arrival_s, dose_mmol_per_kg=dose_mmol_per_kg)
    inside = blood.reshape(-1, *(1,) * ktrans.ndim) * vp_
    outside = ktrans * response * (dose_mmol_per_kg / STANDARD_DOSE_MMOL_PER_KG)
    return np.asarray((inside + outside) / (1.0 - haematocrit))


def _continued(
    so_far: Float64Array, kep_per_s: Float64Array, start_s: float, end_s: float
) -> Float64Array:
    """Return integral_0^t C_b(u) exp(-kep (t - u)) du at ``end_s``, given it at ``start_s``."""
    panels = int(np.ceil((end_s - start_s) / PANEL_S))
    if panels == 0:
        return so_far
    length = (end_s - start_s) / panels
    within = (NODES + 1) / 2 * length
    starts = start_s + length * np.arange(panels)
    blood = blood_concentration(starts[:, None] + within) * (WEIGHTS * length / 2)
    fading = np.exp(-np.multiply.outer(length - within, kep_per_s))
    added = np.tensordot(blood, fading, axes=1)
    over_one_panel = np.exp(-kep_per_s * length)
    for panel in added:
        so_far = so_far * over_one_panel + panel
    return so_far


def _check(
    times: Float64Array,
    ktrans: Float64Array,
    ve: Float64Array,
    vp: Float64Array,
    haematocrit: float,
) -> None:
    if times.ndim != 1 or not np.isfinite(times).all():
        raise RequestError("The times must be a list of finite seconds.")
    if not 0 <= haematocrit < 1:
        raise RequestError(f"A haematocrit of {haematocrit:g} is not possible: give 0 to below 1.")
    for name, values in (("ve", ve), ("vp", vp)):
        if not ((values >= 0) & (values <= 1)).all():
            raise RequestError(f"{name} is a volume fraction of the tissue: give 0 to 1.")
    if not ((ktrans >= 0) & (ktrans < np.inf)).all():
        raise RequestError("Ktrans, in 1/s, must be 0 or more and finite.")
    if (ve[ktrans > 0] == 0).any():
        raise RequestError(
            "Where Ktrans is above 0, ve must be above 0 too: agent that leaves the blood needs a "
            "volume to enter."
        )
