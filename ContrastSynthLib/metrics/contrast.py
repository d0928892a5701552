"""Measures of the contrast of a synthetic image, where contrast agent is taken up.

All functions take arrays of one shape and one unit, the real image first. ``mask`` is the region
to measure in: the uptake (SPHERE), the enhancing voxels (low-dose cGAN) or a lesion (iterU-Net);
None means the whole array. All raise RequestError for different shapes and for an empty region.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.metrics.common import (
    BoolArray,
    mask_of,
    pair_of,
    region_of,
    relative,
    voxels_of,
)
from ContrastSynthLib.metrics.image import mae

# Low-dose cGAN, supplement: a voxel enhances when its intensity increases by at least this share of
# this quantile of the native scan.
ENHANCING_SHARE = 0.1
ENHANCING_QUANTILE = 0.95


def cfs(reference: ArrayLike, synthetic: ArrayLike, *, mask: ArrayLike | None = None) -> float:
    """Return SPHERE's contrast fidelity score, 1 - |m' - m| / |m| of the means (eq. 25).

    m' and m are the means of the synthetic and the real image in the mask. 1 is best, and there is
    no lower bound. Eq. 25 has no absolute value in the denominator but adds a small number to it.
    Here a real mean of 0 gives 1 when the synthetic mean is 0 too, else minus infinity, and a
    negative mean, as in z-scored images, does not change the sign.
    """
    real, made = voxels_of(reference, synthetic, mask)
    expected = float(real.mean())
    return 1.0 - relative(float(made.mean()) - expected, expected)


def irc(reference: ArrayLike, synthetic: ArrayLike, *, mask: ArrayLike | None = None) -> float:
    """Return SPHERE's intensity range consistency, 1 - |D' - D| / D with D = max - min (eq. 27).

    1 is best, and there is no lower bound. It depends on only two voxels of each image, the
    extreme ones. A constant reference (D = 0) gives 1 when the synthetic image is constant too,
    else minus infinity.
    """
    real, made = voxels_of(reference, synthetic, mask)
    expected = float(np.ptp(real))
    return 1.0 - relative(float(np.ptp(made)) - expected, expected)


def cnr(image: ArrayLike, *, mask: ArrayLike, background: ArrayLike) -> float:
    """Return the contrast-to-noise ratio |m(mask) - m(background)| / s(background).

    m is the mean and s the standard deviation (divided by N). SPHERE gives no formula; our choice:
    ``mask`` is the uptake and ``background`` the rest of the brain, so s contains anatomy as well
    as noise. Over a constant background it is infinite, or 0 without contrast. Raises RequestError
    when the regions overlap.
    """
    values = np.asarray(image)
    inside = mask_of(mask, values.shape)
    outside = mask_of(background, values.shape, "background")
    if (inside & outside).any():
        raise RequestError(
            "The mask and the background overlap. The background must contain no voxel of the mask."
        )
    noise = values[outside].astype(np.float64)
    contrast = float(values[inside].astype(np.float64).mean() - noise.mean())
    return relative(contrast, float(noise.std()))


def cnr_error(
    reference: ArrayLike, synthetic: ArrayLike, *, mask: ArrayLike, background: ArrayLike
) -> float:
    """Return |CNR(synthetic) - CNR(reference)|; 0 is best.

    SPHERE's tables list "CNR" as lower-is-better, which means an error. Our choice is the absolute
    error, which is defined for a reference without contrast too. NaN when both are infinite.
    """
    real, made = pair_of(reference, synthetic)
    ratios = [cnr(image, mask=mask, background=background) for image in (real, made)]
    return abs(ratios[1] - ratios[0])


def enhancing_voxels(
    native: ArrayLike, standard_dose: ArrayLike, *, mask: ArrayLike | None = None
) -> BoolArray:
    """Return where the standard dose exceeds the native scan by 10 % of the latter's 0.95 quantile.

    These are the contrast-enhancing (CE) voxels of the low-dose cGAN (sec. 3 and supplement).
    ``mask`` (the brain) limits the quantile and the result. The scans must have the same gain, see
    the uptake convention ``cgan``. Raises RequestError unless the quantile is above 0.
    """
    before, after = pair_of(native, standard_dose, ("native scan", "standard dose"))
    inside = mask_of(mask, before.shape)
    level = float(np.quantile(before[inside], ENHANCING_QUANTILE))
    if not level > 0:
        raise RequestError(
            f"The {ENHANCING_QUANTILE} quantile of the native scan is {level:g}; it must be above "
            "0. Give intensities that are not negative, and the brain as a mask."
        )
    rise = np.subtract(after, before, dtype=np.float64)
    return np.asarray(inside & (rise >= ENHANCING_SHARE * level))


def mae_ce(
    reference: ArrayLike,
    synthetic: ArrayLike,
    *,
    enhancing: ArrayLike,
    mask: ArrayLike | None = None,
) -> float:
    """Return MAE_CE, the mean absolute error over the enhancing voxels (low-dose cGAN, sec. 3).

    ``enhancing`` comes from :func:`enhancing_voxels`; only those in ``mask`` are used.
    """
    real, made = pair_of(reference, synthetic)
    agent = region_of(enhancing, real.shape, "set of enhancing voxels")
    where = mask_of(agent & mask_of(mask, real.shape), real.shape, "set of enhancing voxels")
    return mae(real, made, mask=where)


def enhancement_error(
    reference: ArrayLike, synthetic: ArrayLike, *, mask: ArrayLike | None = None
) -> float:
    """Return (m' - m)^2, the squared error of the mean intensity of a lesion (iterU-Net, sec. 4.2).

    ``mask`` is the lesion. The unit is that of the images, squared; in the paper, images are in
    standard deviations of the first post-contrast phase. Errors that cancel within the lesion do
    not contribute.
    """
    real, made = voxels_of(reference, synthetic, mask)
    return float(made.mean() - real.mean()) ** 2
