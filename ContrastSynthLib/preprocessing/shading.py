"""The spatially varying gain between two scans of one patient (intensity inhomogeneity).

Two scans of a session differ by a receiver gain, and by a smooth shading where the head or the
coils moved. A difference of the low-dose and the pre scan divided by the dose amplifies both.
"""

from __future__ import annotations

import itertools

import numpy as np
from scipy.ndimage import gaussian_filter, zoom

from ContrastSynthLib.physics.constants import MAD_TO_DEVIATION
from ContrastSynthLib.preprocessing.normalisation import radiometric_gain
from ContrastSynthLib.volumes import BoolArray, FloatArray

SMOOTHNESS_MM = 25.0
"""Sigma of the smoothing: shading varies over longer distances, most lesions are smaller. Our
choice."""
SAMPLE_MM = 3.0
"""Spacing at which the field is computed."""
AVERAGE_MM = 2.0
"""Sigma of the smoothing of the scans before their ratio, so that enhancement exceeds the noise."""
ORDER = 2
"""Order of the polynomial that is the initial field: too low to fit a lesion of several cm."""
ROUNDS = 20
"""Iterations of the robust fits."""
LEAST_SPREAD = 0.02
"""Deviations of the log ratio up to about this are not treated as enhancement."""
WIDTH = 1.5
"""Ratios further from the field than this many standard deviations have little weight."""


def gain_field(
    reference: FloatArray,
    scan: FloatArray,
    mask: BoolArray,
    spacing_mm: tuple[float, float, float],
) -> FloatArray:
    """Return g (k, j, i), smooth, so that ``scan / g`` has the gain and shading of ``reference``.

    All arrays have the shape (k, j, i), and ``spacing_mm`` has that order. log g is the smoothed
    log ratio of the scans over voxels of at least half the median intensity. It is fitted
    iteratively with weights that become small where the ratio deviates from the field, as it does
    in enhancing tissue. The start is a polynomial fitted in the same way, whose own start is
    :func:`radiometric_gain`. A lesion of several centimetres that enhances by 10 % everywhere
    cannot be distinguished from shading, and is partly removed. Raises RequestError as
    :func:`radiometric_gain` does.
    """
    start = np.log(radiometric_gain(reference, scan, mask))
    ratio, counts, sample_mm = _log_ratio(reference, scan, mask, spacing_mm)
    if not counts.any():
        return np.full(reference.shape, np.exp(start), dtype=np.float32)
    field = _polynomial(ratio, counts, start)
    sigma = [SMOOTHNESS_MM / mm for mm in sample_mm]
    for _ in range(ROUNDS):
        residual = ratio - field
        weights = counts * _weight(residual, counts)
        total = gaussian_filter(weights, sigma, mode="constant")
        # Far from all tissue there are no data: the field stays as it was.
        known = total > 1e-3 * total.max()
        smooth = gaussian_filter(weights * residual, sigma, mode="constant")
        # Adding the residual in each iteration corrects what smoothing flattens at the border.
        field = field + np.where(known, smooth / np.where(known, total, 1), 0)
    factors = np.divide(reference.shape, field.shape)
    grown = zoom(field, factors, order=1, mode="nearest", grid_mode=True)
    return np.asarray(np.exp(grown), dtype=np.float32)


def _log_ratio(
    reference: FloatArray,
    scan: FloatArray,
    mask: BoolArray,
    spacing_mm: tuple[float, float, float],
) -> tuple[FloatArray, BoolArray, list[float]]:
    """Return log(scan / reference) on a coarse grid, the voxels to use, and that grid's spacing."""
    level = 0.5 * np.median(reference[mask & (reference > 0)])
    counts = mask & (reference > level) & (scan > 0)
    steps = [max(1, round(SAMPLE_MM / mm)) for mm in spacing_mm]
    few = tuple(slice(step // 2, None, step) for step in steps)
    width = [AVERAGE_MM / mm for mm in spacing_mm]
    before, after = (
        # Double precision: otherwise rounding, which depends on the order of the axes, would be
        # amplified by a solver.
        gaussian_filter(np.where(counts, image, 0).astype(np.float64), width, mode="constant")[few]
        for image in (reference, scan)
    )
    counts = counts[few]
    ratio = np.divide(after, before, where=counts, out=np.ones(counts.shape))
    return np.log(ratio), counts, [mm * step for mm, step in zip(spacing_mm, steps, strict=True)]


def _polynomial(ratio: FloatArray, counts: BoolArray, start: float) -> FloatArray:
    """Return the polynomial in (k, j, i) robustly fitted to the log ratios."""
    places = np.meshgrid(
        *(np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in ratio.shape), indexing="ij"
    )
    powers = [p for p in itertools.product(range(ORDER + 1), repeat=3) if sum(p) <= ORDER]
    terms = np.stack([np.prod([x**n for x, n in zip(places, p, strict=True)], 0) for p in powers])
    known, wanted = terms[:, counts].T, ratio[counts]
    fitted = np.full(wanted.shape, start)
    for _ in range(ROUNDS):
        weights = np.sqrt(_weight(wanted - fitted, np.ones(wanted.shape, dtype=bool)))
        found = np.linalg.lstsq(known * weights[:, None], wanted * weights, rcond=1e-6)[0]
        fitted = known @ found
    field: FloatArray = np.tensordot(found, terms, 1)
    return field


def _weight(residual: FloatArray, counts: BoolArray) -> FloatArray:
    """Return the weight, 0 to 1, of a log ratio that deviates from the field by ``residual``."""
    spread = max(MAD_TO_DEVIATION * float(np.median(np.abs(residual[counts]))), LEAST_SPREAD)
    weight: FloatArray = np.exp(-0.5 * (residual / (WIDTH * spread)) ** 2)
    return weight
