"""How much regularisation a low dose needs, by its noise alone."""

from __future__ import annotations

ALPHA_OF_SIGMA = 1.0
"""By trial on virtual patients that serve neither training nor evaluation. Noise of 0.012 of the
unit, and a quarter of the dose, make the paper's alpha of 3e-3."""
CLOSE_TO_A_NETWORK = 4.0
"""How much more where the guess is a network's answer, by the same trial; the paper's is twice."""
LEAST_MM, MOST_MM = 1e-4, 0.3


def alpha_for_noise(
    sigma: float, *, dose: float, sees_pre: bool = True, guess_of_a_network: bool = False
) -> float:
    """Return alpha in mm (of :class:`Problem`) for data with noise of deviation ``sigma``.

    It is proportional to the noise, as that of total variation is in denoising, and to the slope
    of the forward operator: ``dose``, where the operator ``sees_pre`` and takes from it what the
    agent does not change, else 1.
    """
    alpha = ALPHA_OF_SIGMA * sigma * (dose if sees_pre else 1.0)
    if guess_of_a_network:
        alpha *= CLOSE_TO_A_NETWORK
    return min(max(alpha, LEAST_MM), MOST_MM)
