"""The scan before the agent, brought into the contrast and the shading of the scan after it.

Two scans of a session differ by a gain, by the shading of the coils and often by the sequence. A
method that makes a scan without agent from the scan after it can know nothing of that. What it is
to make is therefore the pre scan after a monotone map of its intensities and a smooth gain, both
fitted in turn where nothing enhances.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ContrastSynthLib.physics.constants import MAD_TO_DEVIATION, ROBUST_MAXIMUM_PERCENTILE
from ContrastSynthLib.volumes import BoolArray, FloatArray

SAMPLE_MM = 3.0
"""Spacing at which map and gain are fitted."""
BLUR_MM = 0.7
"""Sigma of the smoothing before, so that the noise does not flatten the map."""
GAIN_MM = 18.0
"""Sigma of the smoothing of the gain."""
ROUNDS = 6
OFFSET_ROUNDS = 2
"""Rounds at the start in which the scans may still differ by an offset as a whole."""
PIECES = 40
"""Pieces of equally many voxels whose medians the map goes through."""
LEVELS = np.linspace(0, 4, 401)
"""Intensities, in means of the brain, at which the map is tabulated."""
MAP_LEVELS = 3.0
"""Sigma of the smoothing of the map, in steps of LEVELS."""
END_PIECES, END_SLOPES = 8, (0.3, 2.0)
"""Beyond its last piece the map goes on with the slope of the last few, within these bounds."""
ABOVE, BELOW = (1.2, 0.02), (3.0, 0.05)
"""What enhances is this many deviations and this much above the fit; what lies below is another
error."""
LEAST_SIGNAL = 0.05
"""Signals below this, in means of the brain, do not count in the gain."""
UPTAKE_SPAN = (0.05, 0.13)
"""Rise, as a share of the range, over which the soft label of the uptake goes from 0 to 1."""
UNLIKELY = (0.1, 0.2)
"""Fall, or rise of what stays dark, over which a voxel is trusted less and less, in means of the
brain: no agent makes tissue darker, and fluid that rises is that of another sequence."""
DARK = (0.5, 0.7)
"""What is as dark as this in the post scan, in means of the brain, is fluid."""
FLUID_EDGE = (0.98, 1.15)
"""The same in a pair of two sequences, where the edges of fluid differ as well."""
LEAST_TRUST = 0.2
USUAL_PERCENTILES = (2, 98)
"""Of the brain's intensities: beyond these the map of intensities follows a few voxels only."""
INNER_VOXELS = 2
"""Voxels taken off the brain's surface before two scans are compared: vessels and dura enhance
there, and an edge that is a little off differs by much."""
MOST_CURVED = 0.035
"""Departure of the map of intensities from a straight line through 0, in means of the brain, from
which on the two scans are taken for two sequences."""


@dataclass(frozen=True)
class Matched:
    """``target`` is the pre scan in the contrast of the post scan, in the unit of that.

    ``curve`` is the map of intensities at LEVELS (pre in medians times the post scan's median),
    ``gain`` the smooth gain on the grid of the scans.
    """

    target: FloatArray
    curve: FloatArray
    gain: FloatArray


def match_to_post(
    pre: FloatArray,
    post: FloatArray,
    brain: BoolArray,
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> Matched:
    """Return the pre scan in the contrast and shading of ``post``.

    All arrays are (k, j, i), ``spacing_mm`` has that order. ``post`` is in means of its brain,
    ``pre`` in any unit. Raises ValueError where the brain is too small to fit anything.
    """
    pre = pre * np.float32(np.median(post[brain]) / np.median(pre[brain]))
    steps = tuple(max(1, round(SAMPLE_MM / mm)) for mm in spacing_mm)
    sample = tuple(slice(None, None, step) for step in steps)
    sigma = [BLUR_MM / mm for mm in spacing_mm]
    p, q = (ndimage.gaussian_filter(image, sigma)[sample] for image in (pre, post))
    inside = inner_of(brain)[sample]
    if inside.sum() < 10 * PIECES:
        raise ValueError("The brain is too small to compare the contrast of two scans.")
    width = [GAIN_MM / (mm * step) for mm, step in zip(spacing_mm, steps, strict=True)]
    curve, log_gain = LEVELS.copy(), np.zeros(p.shape)
    for turn in range(ROUNDS):
        difference = q - np.interp(p, LEVELS, curve) * np.exp(log_gain)
        quiet = inside & _quiet(difference, inside, offset=turn < OFFSET_ROUNDS)
        curve = monotone_map(p[quiet], (q / np.exp(log_gain))[quiet])
        log_gain = _smooth_gain(np.interp(p, LEVELS, curve), q, quiet, width)
    places = np.meshgrid(
        *[np.arange(n) / step for n, step in zip(pre.shape, steps, strict=True)], indexing="ij"
    )
    gain = np.exp(ndimage.map_coordinates(log_gain, places, order=1, mode="nearest"))
    target = np.interp(pre, LEVELS, curve) * gain
    return Matched(target.astype(np.float32), curve, gain.astype(np.float32))


def _quiet(difference: FloatArray, inside: BoolArray, *, offset: bool) -> BoolArray:
    """Return where the difference is neither enhancement nor another error."""
    middle = float(np.median(difference[inside]))
    spread = MAD_TO_DEVIATION * float(np.median(np.abs(difference[inside] - middle)))
    away = difference - (middle if offset else 0.0)
    (up, more), (down, less) = ABOVE, BELOW
    return np.asarray((away < up * spread + more) & (away > -down * spread - less))


def monotone_map(x: FloatArray, y: FloatArray) -> FloatArray:
    """Return the map of intensities at LEVELS, never falling and 0 at 0, through medians of y."""
    order = np.argsort(x)
    pieces = [piece for piece in np.array_split(order, PIECES) if piece.size]
    at = np.array([np.median(x[piece]) for piece in pieces])
    of = np.maximum.accumulate([np.median(y[piece]) for piece in pieces])
    last = min(END_PIECES, len(at))
    slope = np.clip((of[-1] - of[-last]) / max(at[-1] - at[-last], 1e-3), *END_SLOPES)
    beyond = of[-1] + slope * (LEVELS - at[-1])
    within = np.interp(LEVELS, np.r_[0, at], np.r_[0, of])
    curve = ndimage.gaussian_filter1d(np.where(at[-1] < LEVELS, beyond, within), MAP_LEVELS)
    curve[0] = 0
    return np.asarray(np.maximum.accumulate(curve))


def _smooth_gain(
    fitted: FloatArray, scan: FloatArray, quiet: BoolArray, width: list[float]
) -> FloatArray:
    """Return the logarithm of the gain between two images, averaged over quiet voxels nearby."""
    ratio = np.log(np.maximum(scan, LEAST_SIGNAL) / np.maximum(fitted, LEAST_SIGNAL))
    total = ndimage.gaussian_filter(np.where(quiet, ratio, 0), width)
    count = ndimage.gaussian_filter(quiet.astype(float), width)
    return np.asarray(total / np.maximum(count, 1e-3))


def inner_of(brain: BoolArray) -> BoolArray:
    """Return the brain (k, j, i) without its surface."""
    return np.asarray(ndimage.binary_erosion(brain, iterations=INNER_VOXELS))


def departure_of(matched: Matched, pre: FloatArray, post: FloatArray, brain: BoolArray) -> float:
    """Return :func:`curve_departure` of two scans (k, j, i) in the inner brain.

    ``post`` is in means of its brain, ``pre`` in any unit.
    """
    scale = np.median(post[brain]) / np.median(pre[brain])
    return curve_departure(matched.curve, pre[inner_of(brain)] * scale)


def curve_departure(curve: FloatArray, intensities: FloatArray) -> float:
    """Return how far a map of intensities at LEVELS is from a straight line through 0.

    It is the root mean square over usual ``intensities`` (n,), in the unit of LEVELS, of what the
    line that fits them best leaves.
    """
    low, high = np.percentile(intensities, USUAL_PERCENTILES)
    usual = intensities[(intensities >= low) & (intensities <= high)].astype(np.float64)
    mapped = np.interp(usual, LEVELS, curve)
    slope = (usual * mapped).sum() / max((usual**2).sum(), 1e-9)
    return float(np.sqrt(np.mean((mapped - slope * usual) ** 2)))


def range_of(target: FloatArray, brain: BoolArray) -> float:
    """Return what stands for the span of intensities: the 99.9th percentile in the brain."""
    return float(np.percentile(target[brain], ROBUST_MAXIMUM_PERCENTILE))


def soft_uptake(rise: FloatArray, span: float, blur: float = 0.6) -> FloatArray:
    """Return the label of the uptake, 0 to 1, of the rise from target to post.

    ``span`` is the range of intensities; ``blur`` is the sigma in voxels of a smoothing that keeps
    the noise of single voxels out.
    """
    smooth = ndimage.gaussian_filter(rise, blur) if blur else rise
    low, high = UPTAKE_SPAN
    return np.asarray(np.clip((smooth / span - low) / (high - low), 0, 1), dtype=np.float32)


def trust_in(post: FloatArray, target: FloatArray, agent: FloatArray) -> FloatArray:
    """Return how far the rise from target to post (slices, rows, columns) may be due to agent.

    From LEAST_TRUST, where it cannot be, to 1: what to weigh a loss by. ``agent``, 0 to 1, says
    where a rise is taken for that of the agent. Differences of single voxels are smoothed away
    first, so that noise is not told apart by its sign.
    """
    sigma = (0, 1, 1)
    rise, bright = (ndimage.gaussian_filter(image, sigma) for image in (post - target, post))
    low, high = UNLIKELY
    fallen, risen = (np.clip((sign * rise - low) / (high - low), 0, 1) for sign in (-1, 1))
    dark = np.clip((DARK[1] - bright) / (DARK[1] - DARK[0]), 0, 1)
    doubt = np.maximum(fallen, risen * np.maximum(dark, 1 - agent))
    return np.asarray(1 - (1 - LEAST_TRUST) * doubt, dtype=np.float32)
