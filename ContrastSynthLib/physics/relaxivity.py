"""Relaxivity: how a contrast agent increases the relaxation rate R1. SPHERE, eq. 7."""

from __future__ import annotations

import numpy as np

from ContrastSynthLib.errors import RequestError, unknown_name
from ContrastSynthLib.physics.arrays import Values, common_arrays
from ContrastSynthLib.physics.constants import FIELD_STRENGTH_RANGE_T

RELAXIVITY_PER_MMOL_S = {
    "gadobenate": {1.5: 6.3, 3.0: 5.5},
    "gadobutrol": {1.5: 5.2, 3.0: 5.0},
    "gadodiamide": {1.5: 4.3, 3.0: 4.0},
    "gadopentetate": {1.5: 4.1, 3.0: 3.7},
    "gadopiclenol": {1.5: 12.8, 3.0: 11.6},
    "gadoterate": {1.5: 3.6, 3.0: 3.5},
    "gadoteridol": {1.5: 4.1, 3.0: 3.7},
    "gadoversetamide": {1.5: 4.7, 3.0: 4.5},
    "gadoxetate": {1.5: 6.9, 3.0: 6.2},
}
"""Longitudinal relaxivity r1 in L/(mmol s) at 37 degrees C, by generic name and field in T.

In bovine plasma: Rohrer et al., Invest Radiol 2005;40:715-724, doi
10.1097/01.rli.0000184756.66360.d3. Gadopiclenol is the exception: in human serum, and measured
at 1.41 T instead of 1.5 T (Robic et al., Invest Radiol 2019;54:475-484).

r1 depends on the medium, and so does every concentration computed with it: human whole blood
differs by up to 12 % in Shen et al., Invest Radiol 2015;50:330-338; human plasma by up to 14 %
and blood at 3 T by up to 31 % in Szomolanyi et al., Invest Radiol 2019;54:559-564. In liver
cells the r1 of gadoxetate is up to twice that of blood (Ziemian et al., NMR Biomed 2020;e4401).
"""


def relaxivity(agent: str, field_strength_t: float) -> float:
    """Return the longitudinal relaxivity of ``agent`` in L/(mmol s).

    ``agent`` is a generic name, with or without its salt ("gadoterate meglumine"). Values are
    tabulated at 1.5 and 3 T: interpolated linearly in between, and the nearer one from 1 to
    1.5 T and from 3 to 3.5 T. Raises RequestError for an unknown agent and for a field outside
    1-3.5 T.
    """
    words = agent.lower().split()
    name = words[0] if words else ""
    if name not in RELAXIVITY_PER_MMOL_S:
        raise unknown_name("contrast agent", agent, RELAXIVITY_PER_MMOL_S)
    low, high = FIELD_STRENGTH_RANGE_T
    if not low <= field_strength_t <= high:
        raise RequestError(
            f"No relaxivity is known at {field_strength_t:g} T: values at 1.5 and 3 T are used "
            f"from {low:g} to {high:g} T. Give a field strength in that range."
        )
    row = RELAXIVITY_PER_MMOL_S[name]
    return float(np.interp(field_strength_t, list(row), list(row.values())))


def r1_with_agent(
    r1_per_s: Values, concentration_mmol_per_l: Values, relaxivity_per_mmol_s: float
) -> Values:
    """Return the relaxation rate in 1/s with contrast agent: eq. 7, R1 + r1 [Gd].

    Of any shape. A negative concentration removes agent.
    """
    _, (r1, concentration_) = common_arrays(r1_per_s, concentration_mmol_per_l)
    return r1 + float(relaxivity_per_mmol_s) * concentration_


def concentration(
    r1_pre_per_s: Values, r1_post_per_s: Values, relaxivity_per_mmol_s: float
) -> Values:
    """Return the concentration in mmol/L that changed the relaxation rate: eq. 7 solved for [Gd].

    Of any shape; negative where the rate fell.
    """
    _, (r1_pre, r1_post) = common_arrays(r1_pre_per_s, r1_post_per_s)
    return (r1_post - r1_pre) / float(relaxivity_per_mmol_s)
