"""A low dose simulated from a pair of scans by the signal equation.

A solver that uses the same equation with the same settings would have too easy a problem (an
"inverse crime"). The settings of SIMULATIONS are ``matched``, those that ``lip_car`` takes by
default, and ``mismatched``, with others for TR, flip angle, field strength (the T1 that the brain
is taken to have), relaxivity and gain; ``dose_pairs.py`` draws others for each slab.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ContrastSynthLib.physics import signal_at_dose, spgr_signal
from ContrastSynthLib.physics.constants import (
    DEFAULT_FIELD_STRENGTH_T,
    DEFAULT_FLIP_ANGLE_DEG,
    DEFAULT_REPETITION_TIME_S,
    MEDIAN_BRAIN_T1_S,
)
from ContrastSynthLib.volumes import BoolArray, FloatArray
from data import DOSE


@dataclass(frozen=True)
class Simulation:
    """How a low dose is simulated from a real pair; ``relaxivity`` and ``gain`` are factors."""

    repetition_time_s: float
    flip_angle_deg: float
    field_strength_t: float
    relaxivity: float
    gain: float


SIMULATIONS = {
    "matched": Simulation(
        DEFAULT_REPETITION_TIME_S, DEFAULT_FLIP_ANGLE_DEG, DEFAULT_FIELD_STRENGTH_T, 1.0, 1.0
    ),
    "mismatched": Simulation(0.010, 14.0, 1.5, 1.15, 1.1),
}


def simulated_low_dose(
    pre: FloatArray,
    full: FloatArray,
    brain: BoolArray,
    by: Simulation,
    noise: float,
    seed: int | np.random.Generator,
    dose_fraction: float = DOSE,
) -> FloatArray:
    """Return a scan (k, j, i) after a dose, with Rician noise, from a pair at one gain.

    ``noise`` is the standard deviation of either channel in medians of the brain.
    """
    median = float(np.median(pre[brain]))
    clean = simulated_signal(pre, full, dose_fraction, by, median)
    rng = np.random.default_rng(seed)
    return rician(by.gain * clean, noise * by.gain * median, rng)


def rician(signal: FloatArray, sigma: float, rng: np.random.Generator) -> FloatArray:
    """Return the magnitude of a signal with noise of ``sigma`` in both channels."""
    real, imaginary = rng.normal(0, sigma, (2, *signal.shape))
    return np.asarray(np.hypot(signal + real, imaginary), dtype=np.float32)


def simulated_signal(
    pre: FloatArray, full: FloatArray, dose_fraction: float, by: Simulation, median: float
) -> FloatArray:
    """Return the signal (k, j, i) at a fraction of the full dose, without noise and at one gain.

    ``median`` is that of the brain in ``pre``, which is taken to have its usual T1.
    """
    settings = {"repetition_time_s": by.repetition_time_s, "flip_angle_deg": by.flip_angle_deg}
    # rho of eq. 1, for which the median brain has its usual T1.
    r1_per_s = 1.0 / MEDIAN_BRAIN_T1_S[by.field_strength_t]
    clean, _ = signal_at_dose(
        pre.astype(np.float64),
        full.astype(np.float64),
        dose_fraction * by.relaxivity,
        gain=1.0,
        proton_density=median / float(spgr_signal(r1_per_s, **settings)),
        **settings,
    )
    return np.asarray(clean)
