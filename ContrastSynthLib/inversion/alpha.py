"""The default weight alpha of the regulariser, from the noise of the low-dose scan."""

from __future__ import annotations

import math

ALPHA_OF_SIGMA = 1.0
"""alpha in mm / (sigma x slope), chosen by experiment on virtual patients of neither the training
nor the evaluation set. Noise of sigma = 0.012 and a dose of 0.25 give the paper's alpha, 3e-3."""
CLOSE_TO_A_NETWORK = 4.0
"""Factor on alpha where the guess is the output of a network, by the same experiment; the paper's
alpha with such a guess (GenTV) is twice its alpha without (TV)."""
LEAST_MM, MOST_MM = 1e-4, 0.3
NOISIEST = 0.066
"""The strongest noise of LIP-CAR's section 5.3, at which :func:`rising_alpha` ends."""


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


def rising_alpha(sigma: float, at_least: float, at_most: float) -> float:
    """Return alpha for noise of ``sigma`` as LIP-CAR's section 5.3 spaces it: logarithmically.

    From ``at_least`` without noise to ``at_most`` at NOISIEST and beyond, in the unit of both. The
    paper takes the noise that it added for known; here ``sigma`` is measured in the scan, and has
    the scan's own noise in it.
    """
    share = min(max(sigma / NOISIEST, 0.0), 1.0)
    return float(at_least * (at_most / at_least) ** share)


def per_pixel(alpha_mm: float, pixel_mm: tuple[float, float]) -> float:
    """Return alpha as the paper has it, whose gradient is a difference of neighbouring pixels.

    ``pixel_mm`` is their size in rows and columns; with pixels of 1 mm both are the same number.
    """
    return alpha_mm / math.sqrt(pixel_mm[0] * pixel_mm[1])
