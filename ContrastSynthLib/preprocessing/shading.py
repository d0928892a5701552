"""How much brighter one scan is than another, place by place, where no agent went.

Two scans of a session differ by a gain, and by a shading where the head or the coils moved. A
difference of low and pre that is divided by the dose magnifies both.
"""

from __future__ import annotations

import itertools

import numpy as np
from scipy.ndimage import gaussian_filter, zoom

from ContrastSynthLib.preprocessing.normalisation import radiometric_gain
from ContrastSynthLib.volumes import BoolArray, FloatArray

SMOOTHNESS_MM = 25.0
"""Shading changes over more than this, most lesions over less: our choice."""
SAMPLE_MM = 3.0
AVERAGE_MM = 2.0
"""Scans are averaged over so much before their ratio is taken: noise must not hide enhancement."""
ORDER = 2
"""Of the polynomial that is the first guess: it cannot follow a lesion of several centimetres."""
ROUNDS = 20
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
    a polynomial fitted in the same way, which starts at :func:`radiometric_gain`. Raises
    RequestError as that does. A lesion of several centimetres that rises by 10 % everywhere looks
    as shading does, and is partly taken for it.
    """
    start = np.log(radiometric_gain(reference, scan, mask))
    ratio, counts, sample_mm = _log_ratio(reference, scan, mask, spacing_mm)
    if not counts.any():
        return np.full(reference.shape, np.exp(start), dtype=np.float32)
    field = _polynomial(ratio, counts, start)
    sigma = [SMOOTHNESS_MM / mm for mm in sample_mm]
    for _ in range(ROUNDS):
        off = ratio - field
        weights = counts * _trust(off, counts)
        total = gaussian_filter(weights, sigma, mode="constant")
        # Far from all tissue nothing is known: there the field stays what it was.
        known = total > 1e-3 * total.max()
        smooth = gaussian_filter(weights * off, sigma, mode="constant")
        # Adding what is left, round by round, makes good what smoothing flattens at the rim.
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
    """Return log(scan / reference) on a coarser grid, where it counts, and that grid's spacing."""
    level = 0.5 * np.median(reference[mask & (reference > 0)])
    counts = mask & (reference > level) & (scan > 0)
    steps = [max(1, round(SAMPLE_MM / mm)) for mm in spacing_mm]
    few = tuple(slice(step // 2, None, step) for step in steps)
    width = [AVERAGE_MM / mm for mm in spacing_mm]
    before, after = (
        # In double precision: a solver would magnify what rounding makes of the axes' order.
        gaussian_filter(np.where(counts, image, 0).astype(np.float64), width, mode="constant")[few]
        for image in (reference, scan)
    )
    counts = counts[few]
    ratio = np.divide(after, before, where=counts, out=np.ones(counts.shape))
    return np.log(ratio), counts, [mm * step for mm, step in zip(spacing_mm, steps, strict=True)]


def _polynomial(ratio: FloatArray, counts: BoolArray, start: float) -> FloatArray:
    """Return the polynomial in (k, j, i) that most of the ratios lie on."""
    places = np.meshgrid(
        *(np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in ratio.shape), indexing="ij"
    )
    powers = [p for p in itertools.product(range(ORDER + 1), repeat=3) if sum(p) <= ORDER]
    terms = np.stack([np.prod([x**n for x, n in zip(places, p, strict=True)], 0) for p in powers])
    known, wanted = terms[:, counts].T, ratio[counts]
    fitted = np.full(wanted.shape, start)
    for _ in range(ROUNDS):
        weights = np.sqrt(_trust(wanted - fitted, np.ones(wanted.shape, dtype=bool)))
        found = np.linalg.lstsq(known * weights[:, None], wanted * weights, rcond=1e-6)[0]
        fitted = known @ found
    field: FloatArray = np.tensordot(found, terms, 1)
    return field


def _trust(off: FloatArray, counts: BoolArray) -> FloatArray:
    """Return how much a ratio counts that is ``off`` the field, from 0 to 1."""
    spread = max(1.4826 * float(np.median(np.abs(off[counts]))), LEAST_SPREAD)
    trust: FloatArray = np.exp(-0.5 * (off / (WIDTH * spread)) ** 2)
    return trust
