"""MR properties of tissues: T1, T2, proton density, ADC, and the volumes that agent enters.

Each number has a source. "Our choice" marks values without a measurement, chosen by the appearance
in scans or by a similar tissue.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ContrastSynthLib.errors import RequestError, unknown_name
from ContrastSynthLib.physics.arrays import Values, common_arrays
from ContrastSynthLib.physics.constants import (
    FIELD_STRENGTH_RANGE_T,
    HAEMATOCRIT,
    TABULATED_FIELDS_T,
)

SOURCES = {
    "wright": "Wright et al., MAGMA 2008;21:121-130: T1 by MPRAGE at 1.5, 3 and 7 T",
    "stanisz": "Stanisz et al., Magn Reson Med 2005;54:507-512: T1 and T2 at 1.5 and 3 T, 37 C",
    "rooney": "Rooney et al., Magn Reson Med 2007;57:308-318: T1 of CSF at 1.5 and 4 T; "
    "3 T interpolated",
    "spijkerman": "Spijkerman et al., MAGMA 2018;31:415-424: T2 of ventricular CSF at 3 T, "
    "taken for 1.5 T too",
    "gold": "Gold et al., AJR 2004;183:343-351: fat, marrow and muscle at 1.5 and 3 T",
    "reichert": "Reichert et al., Magn Reson Imaging 2005;23:611-618: cortical bone at 1.5 T",
    "oros": "Oros-Peusquens et al., Front Neurol 2019;10:1333: water content, 69 and 84 %",
    "helenius": "Helenius et al., AJNR 2002;23:194-199: ADC of healthy brains and CSF",
    "toh": "Toh et al., AJNR 2008;29:471-475: ADC of enhancing glioblastoma, 0.96e-3 mm2/s",
    "deblank": "de Blank et al., Pediatr Neurosurg 2019;54:310-318: T1 at 3 T of high-grade "
    "tumours (1.86 s), of all solid ones (1.44 s) and of white matter beside them (1.26 s); at "
    "1.5 T shorter by as much as grey matter",
    "blystad": "Blystad et al., Sci Rep 2020;10:17635: R1 rises by 0.03 per s in white matter and "
    "0.05 per s beside gliomas",
    "leenders": "Leenders et al., Brain 1990;113:27-47: blood volume of grey and white matter",
    "weinmann": "Weinmann et al., Physiol Chem Phys Med NMR 1984;16:167-172, as fitted by "
    "Tofts and Kermode, Magn Reson Med 1991;17:357-367: plasma curve",
    "larsson": "Larsson et al., Magn Reson Med 1990;16:117-131: permeability of the blood-brain "
    "barrier",
    "choice": "our choice",
}
"""Sources of the numbers; a tissue's ``sources`` are keys of this table."""

PROPERTIES = ("r1", "r2", "density", "adc", "plasma", "leak", "flow")
"""The columns of :func:`tissue_table`, in this order."""


@dataclass(frozen=True)
class Tissue:
    """The properties of one tissue; T1 and T2 are pairs for 1.5 and 3 T.

    ``density`` is the proton density relative to water, ``adc`` is in 1e-3 mm2/s. ``plasma`` is
    the volume fraction of blood plasma, ``leak`` that of the interstitial space into which agent
    leaks. ``sources`` holds those of T1, T2, density, ADC and the two fractions, in this order.
    """

    label: int
    t1_s: tuple[float, float]
    t2_s: tuple[float, float]
    density: float
    adc: float
    plasma: float
    leak: float
    sources: tuple[str, str, str, str, str]


def _of_blood(volume: float) -> float:
    """Return the plasma fraction of a tissue with this volume fraction of blood."""
    return volume * (1 - HAEMATOCRIT)


TISSUES: Mapping[str, Tissue] = {
    "white": Tissue(
        *(1, (0.646, 0.838), (0.072, 0.069), 0.69, 0.70, _of_blood(0.027), 0.0),
        ("wright", "stanisz", "oros", "helenius", "leenders"),
    ),
    "grey": Tissue(
        *(2, (1.197, 1.607), (0.095, 0.099), 0.84, 0.89, _of_blood(0.052), 0.0),
        ("wright", "stanisz", "oros", "helenius", "leenders"),
    ),
    "csf": Tissue(
        *(3, (4.07, 4.30), (2.0, 2.0), 1.0, 3.0, 0.0, 0.0),
        ("rooney", "spijkerman", "choice", "helenius", "choice"),
    ),
    "blood": Tissue(
        *(4, (1.441, 1.932), (0.290, 0.275), 0.85, 1.4, _of_blood(1.0), 0.0),
        ("stanisz", "stanisz", "choice", "choice", "choice"),
    ),
    "dura": Tissue(
        *(5, (0.90, 1.10), (0.045, 0.040), 0.65, 0.8, 0.10, 0.30),
        ("choice", "choice", "choice", "choice", "choice"),
    ),
    "choroid": Tissue(
        *(6, (1.40, 1.80), (0.150, 0.150), 0.88, 1.3, 0.20, 0.45),
        ("choice", "choice", "choice", "choice", "choice"),
    ),
    "pituitary": Tissue(
        *(7, (1.10, 1.40), (0.085, 0.080), 0.82, 0.9, 0.20, 0.35),
        ("choice", "choice", "choice", "choice", "choice"),
    ),
    "tumour": Tissue(
        *(8, (1.39, 1.86), (0.130, 0.120), 0.87, 0.96, 0.04, 0.45),
        ("deblank", "choice", "choice", "toh", "larsson"),
    ),
    "necrosis": Tissue(
        *(9, (2.10, 2.50), (0.350, 0.320), 0.94, 1.9, 0.0, 0.02),
        ("choice", "choice", "choice", "choice", "choice"),
    ),
    "oedema": Tissue(
        *(10, (0.94, 1.26), (0.130, 0.120), 0.82, 1.35, _of_blood(0.02), 0.005),
        ("deblank", "choice", "choice", "choice", "blystad"),
    ),
    "glioma": Tissue(
        *(11, (1.07, 1.44), (0.150, 0.140), 0.86, 1.3, _of_blood(0.03), 0.0),
        ("deblank", "choice", "choice", "choice", "choice"),
    ),
    "blood_or_fat": Tissue(
        *(12, (0.38, 0.45), (0.070, 0.065), 0.80, 0.7, 0.01, 0.02),
        ("choice", "choice", "choice", "choice", "choice"),
    ),
    "bone": Tissue(
        *(13, (0.25, 0.25), (0.0005, 0.0005), 0.15, 0.3, 0.0, 0.0),
        ("reichert", "reichert", "choice", "choice", "choice"),
    ),
    "marrow": Tissue(
        *(14, (0.288, 0.365), (0.165, 0.133), 0.75, 0.3, 0.02, 0.03),
        ("gold", "gold", "choice", "choice", "choice"),
    ),
    "fat": Tissue(
        *(15, (0.288, 0.371), (0.165, 0.133), 0.90, 0.1, 0.005, 0.01),
        ("gold", "gold", "choice", "choice", "choice"),
    ),
    "muscle": Tissue(
        *(16, (1.130, 1.420), (0.035, 0.032), 0.80, 1.4, 0.02, 0.10),
        ("gold", "gold", "choice", "choice", "choice"),
    ),
    "skin": Tissue(
        *(17, (0.80, 0.95), (0.035, 0.033), 0.70, 0.8, 0.05, 0.20),
        ("choice", "choice", "choice", "choice", "choice"),
    ),
    "vitreous": Tissue(
        *(18, (4.07, 4.30), (2.0, 2.0), 1.0, 2.6, 0.0, 0.0),
        ("rooney", "spijkerman", "choice", "choice", "choice"),
    ),
    "mucosa": Tissue(
        *(19, (1.20, 1.50), (0.090, 0.085), 0.85, 1.4, 0.15, 0.40),
        ("choice", "choice", "choice", "choice", "choice"),
    ),
}
"""Tissues by name. T2 of "bone" is its T2*."""


def tissue_table(
    field_strength_t: float, factors: Mapping[str, Mapping[str, float]] | None = None
) -> dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
    """Return the PROPERTIES of each tissue, arrays (7,) float32, at a field strength.

    R1 and R2 in 1/s, proton density relative to water, ADC in mm2/s, volume fractions of plasma and
    of leaky interstitium, and the share of flowing blood. T1 and T2 are interpolated linearly
    between 1.5 and 3 T, and constant outside. ``factors``, by tissue and property, multiply the
    values for one patient. Raises RequestError for a field outside 1-3.5 T and for unknown names.
    """
    low, high = FIELD_STRENGTH_RANGE_T
    if not low <= field_strength_t <= high:
        raise RequestError(
            f"Relaxation times are known here at 1.5 and 3 T, not at {field_strength_t:g} T: give "
            f"a field strength from {low:g} to {high:g} T."
        )
    table = {}
    for name, tissue in TISSUES.items():
        t1, t2 = (
            np.interp(field_strength_t, TABULATED_FIELDS_T, pair)
            for pair in (tissue.t1_s, tissue.t2_s)
        )
        row = [1 / t1, 1 / t2, tissue.density, tissue.adc * 1e-3, tissue.plasma, tissue.leak]
        row.append(float(name == "blood"))
        table[name] = np.array(row, dtype=np.float32)
    for name, changes in (factors or {}).items():
        if name not in table:
            raise unknown_name("tissue", name, table)
        for key, factor in changes.items():
            if key not in PROPERTIES:
                raise unknown_name("property of a tissue", key, PROPERTIES)
            table[name][PROPERTIES.index(key)] *= factor
    return table


# Biexponential plasma curve after an injection of 1 mmol/kg (Weinmann 1984).
PLASMA_AMPLITUDES_KG_PER_L = (3.99, 4.78)
PLASMA_RATES_PER_S = (0.144 / 60, 0.0111 / 60)


def plasma_concentration(time_s: Values, dose_mmol_per_kg: float) -> Values:
    """Return the concentration in plasma in mmol/L, of the shape of ``time_s``, s after injection.

    Biexponential (Weinmann 1984); 0 before the injection.
    """
    xp, (time,) = common_arrays(time_s)
    total = 0.0
    for amplitude, rate in zip(PLASMA_AMPLITUDES_KG_PER_L, PLASMA_RATES_PER_S, strict=True):
        total = total + dose_mmol_per_kg * amplitude * xp.exp(-rate * time)
    return xp.where(time >= 0, total, xp.zeros_like(total))


def interstitial_concentration(
    time_s: Values, dose_mmol_per_kg: float, exchange_per_min: float
) -> Values:
    """Return the concentration in leaky interstitium in mmol/L, of the shape of ``time_s``.

    The Tofts model in closed form: kep (``exchange_per_min``) times the convolution of the plasma
    concentration with exp(-kep t); 0 before the injection.
    """
    xp, (time,) = common_arrays(time_s)
    kep = exchange_per_min / 60
    total = 0.0
    for amplitude, rate in zip(PLASMA_AMPLITUDES_KG_PER_L, PLASMA_RATES_PER_S, strict=True):
        rise = (xp.exp(-rate * time) - xp.exp(-kep * time)) * kep / (kep - rate)
        total = total + dose_mmol_per_kg * amplitude * rise
    return xp.where(time >= 0, total, xp.zeros_like(total))
