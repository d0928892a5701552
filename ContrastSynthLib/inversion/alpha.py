"""How much regularisation a low dose needs, by its noise alone."""

from __future__ import annotations

ALPHA_OF_SIGMA = 1.0
LEAST_MM, MOST_MM = 1e-4, 1e-1


def alpha_for_noise(sigma: float, *, forward: str, dose: float) -> float:
    """Return alpha in mm (of :class:`Problem`) for noise of deviation ``sigma``."""
    slope = 1.0 if forward == "h2l" else dose
    return min(max(ALPHA_OF_SIGMA * sigma * slope, LEAST_MM), MOST_MM)
