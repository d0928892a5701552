"""How much brighter one scan is than another, place by place, where no agent went.

Two scans of a session differ by a gain, and by a shading where the head or the coils moved. A
difference of low and pre that is divided by the dose magnifies both.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, zoom

from ContrastSynthLib.preprocessing.normalisation import radiometric_gain
from ContrastSynthLib.volumes import BoolArray, FloatArray

SMOOTHNESS_MM = 25.0
"""Shading changes over more than this, lesions over less: our choice."""
SAMPLE_MM = 3.0
ROUNDS = 6
LEAST_SPREAD = 0.02
"""Ratios nearer to the field than this are never taken for enhancement."""
WIDTH = 1.5
"""Ratios beyond so many deviations from the field hardly count."""


def gain_field(
    reference: FloatArray,
    scan: FloatArray,
    mask: BoolArray,
    spacing_mm: tuple[float, float, float],
) -> FloatArray:
    """Return g (k, j, i), smooth, so that ``scan / g`` has the gain and shading of ``reference``.

    All arrays have the shape (k, j, i), and ``spacing_mm`` is in that order. log g is a smoothed
    log ratio of the scans over voxels of at least half the median intensity, from which ratios
    that stand out, as those of enhancement do, are left out more with every round; it starts at
    :func:`radiometric_gain`. Raises RequestError as that does.
    """
    start = np.log(radiometric_gain(reference, scan, mask))
    steps = [max(1, round(SAMPLE_MM / mm)) for mm in spacing_mm]
    few = tuple(slice(step // 2, None, step) for step in steps)
    before, after = (np.asarray(image[few], dtype=np.float64) for image in (reference, scan))
    level = 0.5 * np.median(reference[mask & (reference > 0)])
    counts = mask[few] & (before > level) & (after > 0)
    if not counts.any():
        return np.full(reference.shape, np.exp(start), dtype=np.float32)
    ratio = np.where(counts, np.log(np.where(counts, after / np.where(counts, before, 1), 1)), 0)
    sigma = [SMOOTHNESS_MM / (mm * step) for mm, step in zip(spacing_mm, steps, strict=True)]
    field = np.full(ratio.shape, start)
    for _ in range(ROUNDS):
        off = ratio - field
        spread = max(1.4826 * float(np.median(np.abs(off[counts]))), LEAST_SPREAD)
        weights = counts * np.exp(-0.5 * (off / (WIDTH * spread)) ** 2)
        total = gaussian_filter(weights, sigma, mode="constant")
        # Far from all tissue nothing is known: there the field goes back to the gain.
        known = total > 1e-3 * total.max()
        smooth = gaussian_filter(weights * off, sigma, mode="constant")
        # Adding what is left, round by round, makes good what smoothing flattens at the rim.
        field = field + np.where(known, smooth / np.where(known, total, 1), 0)
    factors = np.divide(reference.shape, field.shape)
    grown = zoom(field, factors, order=1, mode="nearest", grid_mode=True)
    return np.asarray(np.exp(grown), dtype=np.float32)
