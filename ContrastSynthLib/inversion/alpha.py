"""The default weight alpha of the regulariser, from the noise of the low-dose scan."""

from __future__ import annotations

ALPHA_OF_SIGMA = 1.0
"""alpha in mm / (sigma x slope), chosen by experiment on virtual patients of neither the training
nor the evaluation set. Noise of sigma = 0.012 and a dose of 0.25 give the paper's alpha, 3e-3."""
CLOSE_TO_A_NETWORK = 4.0
"""Factor on alpha where the guess is the output of a network, by the same experiment; the paper's
alpha with such a guess (GenTV) is twice its alpha without (TV)."""
LEAST_MM, MOST_MM = 1e-4, 0.3
SCHEDULE_ENDS, SCHEDULE_NOISE = 0.01, 0.066
"""The paper's alpha for the most noise that it adds, section 4.5, and that noise."""


def alpha_for_noise(
    sigma: float, *, dose: float, sees_pre: bool = True, guess_of_a_network: bool = False
) -> float:
    """Return alpha in mm (see :class:`Problem`) for noise of standard deviation ``sigma``.

    alpha is proportional to sigma, as in total variation denoising, and to the slope dF/dx of the
    forward operator. The slope is about ``dose`` for an operator that also takes the pre-contrast
    scan (``sees_pre``): of a change in x only this fraction appears in F(x). Otherwise it is 1.
    ``guess_of_a_network``: the regulariser penalises the departure from a network's output.
    """
    alpha = ALPHA_OF_SIGMA * sigma * (dose if sees_pre else 1.0)
    if guess_of_a_network:
        alpha *= CLOSE_TO_A_NETWORK
    return min(max(alpha, LEAST_MM), MOST_MM)


def alpha_of_schedule(first: float, added_noise: float) -> float:
    """Return the alpha of LIP-CAR's section 4.5: from ``first`` without added noise to 0.01.

    ``added_noise`` is a standard deviation in the unit of the image; alpha is evenly spaced in the
    logarithm (our choice: over the noise; the paper says no more than that).
    """
    share = min(added_noise / SCHEDULE_NOISE, 1.0)
    return float(first * (SCHEDULE_ENDS / first) ** share)
