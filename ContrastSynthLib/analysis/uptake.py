"""Uptake of contrast agent: voxels that are brighter in the post-contrast scan (SPHERE, eq. 22).

All papers threshold the difference of two scans at 0.1, but of different reference levels. Each
way is a named convention, which is part of the result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit

from ContrastSynthLib.errors import RequestError, unknown_name
from ContrastSynthLib.physics.constants import UPTAKE_THRESHOLD
from ContrastSynthLib.preprocessing.normalisation import fit, radiometric_gain
from ContrastSynthLib.volumes import BoolArray, FloatArray, Volume, check_same_grid

# Width of the soft mask's sigmoid, our choice: it is 0.98 at twice the threshold and 0.02 at 0.
SOFT_WIDTH_OF_THRESHOLD = 0.25

BELOW_HALF = np.nextafter(np.float32(0.5), np.float32(0.0))


@dataclass(frozen=True)
class UptakeResult:
    """Uptake of contrast agent, and the convention of its measurement.

    All arrays are (k, j, i) and 0 outside the brain. ``difference`` float32 is post - pre in units
    of the reference level; ``binary`` is where it exceeds ``threshold``; ``soft`` float32 in [0, 1]
    is at least 0.5 in the same voxels. ``reference_level`` names the level of 1.
    """

    binary: BoolArray
    soft: FloatArray
    difference: FloatArray
    threshold: float
    convention: str
    reference_level: str
    volume_ml: float
    share_of_brain: float


def _of_means(pre: FloatArray, post: FloatArray, brain: BoolArray) -> FloatArray:
    return fit("mean", post, brain).apply(post) - fit("mean", pre, brain).apply(pre)


def _of_upper_level(pre: FloatArray, post: FloatArray, brain: BoolArray) -> FloatArray:
    fitted = post / np.float32(radiometric_gain(pre, post, brain))
    return fit("p95", pre, brain).apply(fitted - pre)


def _of_own_peaks(pre: FloatArray, post: FloatArray, brain: BoolArray) -> FloatArray:
    return fit("unit", post, brain).apply(post) - fit("unit", pre, brain).apply(pre)


def _of_peak(pre: FloatArray, post: FloatArray, brain: BoolArray) -> FloatArray:
    before, after = (
        np.maximum(fit("median", scan, brain).apply(scan), np.float32(0)) for scan in (pre, post)
    )
    return fit("unit", before, brain).apply(after - before)


@dataclass(frozen=True)
class Convention:
    """A way to normalise the difference; ``difference`` takes pre, post and brain, (k, j, i)."""

    reference_level: str
    source: str
    difference: Callable[[FloatArray, FloatArray, BoolArray], FloatArray]


CONVENTIONS = {
    "sphere": Convention(
        "mean",
        "SPHERE, eq. 22: each scan divided by its mean in the brain",
        _of_means,
    ),
    "cgan": Convention(
        "p95",
        "Low-dose cGAN, supplement: post scaled to pre by a robust gain, in units of the "
        "0.95 quantile of pre",
        _of_upper_level,
    ),
    "hrfcn": Convention(
        "each scan's own p99.9",
        "3D high-resolution FCN, section III-C: each scan mapped to [0, 1]; our choice: by its "
        "99.9th percentile in the brain",
        _of_own_peaks,
    ),
    "real_scans": Convention(
        "p99.9",
        "Our choice: each scan divided by its median in the brain and clipped at 0, in units "
        "of the 99.9th percentile of pre",
        _of_peak,
    ),
}

REFERENCE_LEVELS = {"mean": "sphere", "p95": "cgan", "p99.9": "real_scans"}
"""Reference level, as on the command line (``--reference-level``), to its convention."""


def uptake(
    pre: Volume,
    post: Volume,
    brain: BoolArray,
    *,
    threshold: float = UPTAKE_THRESHOLD,
    convention: str = "sphere",
    reference_level: str | None = None,
) -> UptakeResult:
    """Return where ``post`` exceeds ``pre`` by more than ``threshold`` (SPHERE, eq. 22).

    ``threshold`` has the unit of the reference level. ``brain`` (k, j, i) limits both the
    normalisation and the result. ``convention`` is a key of CONVENTIONS; ``reference_level`` (mean,
    p95 or p99.9), when given, selects it instead. Raises RequestError for different grids, an
    unknown name, an empty mask or one of another shape, a threshold that is not above 0, and
    scans that cannot be normalised.
    """
    if reference_level is not None:
        if reference_level not in REFERENCE_LEVELS:
            raise unknown_name("reference level", reference_level, REFERENCE_LEVELS)
        convention = REFERENCE_LEVELS[reference_level]
    if not (np.isfinite(threshold) and threshold > 0):
        raise RequestError(
            f"The uptake threshold is {threshold:g}. It must be above 0, for example 0.1."
        )
    difference = difference_of(pre, post, brain, convention)
    inside = np.asarray(brain, dtype=bool)
    binary = difference > np.float32(threshold)
    return UptakeResult(
        binary=binary,
        soft=_soft(difference, binary, inside, threshold),
        difference=difference,
        threshold=float(threshold),
        convention=convention,
        reference_level=CONVENTIONS[convention].reference_level,
        volume_ml=float(binary.sum()) * pre.grid.voxel_volume_ml,
        share_of_brain=float(binary.sum() / inside.sum()),
    )


def difference_of(pre: Volume, post: Volume, brain: BoolArray, convention: str) -> FloatArray:
    """Return post - pre in the unit of a key of CONVENTIONS, 0 outside of the brain, (k, j, i).

    Raises RequestError as :func:`uptake` does.
    """
    if convention not in CONVENTIONS:
        raise unknown_name("uptake convention", convention, CONVENTIONS)
    check_same_grid({"pre": pre, "post": post})
    inside = _brain_of(brain, pre)
    difference = CONVENTIONS[convention].difference(pre.array, post.array, inside)
    return np.where(inside, difference, np.float32(0))


def limited_to(found: UptakeResult, kept: BoolArray) -> UptakeResult:
    """Return an uptake of which only the voxels of ``kept`` count, such as large regions.

    The soft mask is below 0.5 in the others.
    """
    binary = found.binary & kept
    share = float(binary.sum()) / max(int(found.binary.sum()), 1)
    return replace(
        found,
        binary=binary,
        soft=np.where(binary, found.soft, np.minimum(found.soft, BELOW_HALF)),
        volume_ml=found.volume_ml * share,
        share_of_brain=found.share_of_brain * share,
    )


def _soft(
    difference: FloatArray, binary: BoolArray, inside: BoolArray, threshold: float
) -> FloatArray:
    steps = (difference - np.float32(threshold)) / np.float32(SOFT_WIDTH_OF_THRESHOLD * threshold)
    soft = np.where(inside, expit(steps), np.float32(0))
    # Rounding must not put voxels at or just below the threshold at 0.5 or more.
    return np.asarray(np.where(binary, soft, np.minimum(soft, BELOW_HALF)), dtype=np.float32)


def _brain_of(brain: BoolArray, pre: Volume) -> BoolArray:
    inside = np.asarray(brain, dtype=bool)
    if inside.shape != pre.array.shape:
        raise RequestError(
            f"The brain mask has the shape {inside.shape}, the scans {pre.array.shape}. "
            "Draw it on the grid of the scans."
        )
    return inside
