"""Intensity normalisation of a scan, as in each paper, and its inverse.

All of the papers' normalisations are an affine map

    normalised = (intensity - offset) / scale

Where a paper does not state the voxels, those in the mask of the brain or breast are used (our
choice).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ContrastSynthLib.errors import RequestError, unknown_name
from ContrastSynthLib.physics.constants import ROBUST_MAXIMUM_PERCENTILE
from ContrastSynthLib.volumes import BoolArray, FloatArray

Intensities = TypeVar("Intensities")
"""A numpy array or a torch tensor; the result has the type of the input."""

HEADROOM = 3.0
"""The intensity that becomes 1 in ``low_dose``, in medians of the brain: our choice.

The maximum of the full-dose image is not known from the low dose. Hardly any voxel of a brain
exceeds this value.
"""

# This many voxels are enough to estimate the mode to 0.1 %.
ENOUGH_RATIOS = 200_000

# Width of the kernel of the mode estimate, as a share of the shortest interval with half of the
# ratios. In simulated pairs 0.15 was noisier, and 0.4 more biased by the enhancement.
KERNEL_SHARE = 0.25


@dataclass(frozen=True)
class Normalisation:
    """The normalisation of one scan; ``scale`` and ``offset`` are in the units of that scan."""

    name: str
    scale: float
    offset: float = 0.0

    def apply(self, array: Intensities) -> Intensities:
        """Return normalised intensities: float32 for numpy, the tensor's own dtype for torch."""
        normalised: Intensities = (_numbers(array) - self.offset) / self.scale
        return normalised

    def undo(self, array: Intensities) -> Intensities:
        """Return normalised intensities converted back to the units of the scan."""
        restored: Intensities = _numbers(array) * self.scale + self.offset
        return restored


def _mean(inside: NDArray[np.float64]) -> tuple[float, float]:
    """SPHERE: the mean becomes 1."""
    return float(inside.mean()), 0.0


def _p95(inside: NDArray[np.float64]) -> tuple[float, float]:
    """Low-dose cGAN: the 0.95 quantile of the native scan becomes 1."""
    return float(np.percentile(inside, 95)), 0.0


def _unit(inside: NDArray[np.float64]) -> tuple[float, float]:
    """HR-FCN, values in [0, 1]: 0 stays 0, the 99.9th percentile becomes 1."""
    return float(np.percentile(inside, ROBUST_MAXIMUM_PERCENTILE)), 0.0


def _median(inside: NDArray[np.float64]) -> tuple[float, float]:
    """Used for measures of results: the median becomes 1."""
    return float(np.median(inside)), 0.0


def _low_dose(inside: NDArray[np.float64]) -> tuple[float, float]:
    """LIP-CAR, values in [0, 1]: HEADROOM medians of the low-dose scan become 1."""
    return HEADROOM * float(np.median(inside)), 0.0


def _ti(inside: NDArray[np.float64]) -> tuple[float, float]:
    """iterU-Net, eq. 1: mean 0, standard deviation 1; fitted to the first post-contrast phase."""
    return float(inside.std()), float(inside.mean())


KINDS: dict[str, Callable[[NDArray[np.float64]], tuple[float, float]]] = {
    "mean": _mean,
    "p95": _p95,
    "unit": _unit,
    "median": _median,
    "low_dose": _low_dose,
    "ti": _ti,
}


def fit(kind: str, array: FloatArray, mask: BoolArray) -> Normalisation:
    """Return the normalisation of that kind for the voxels of ``array`` inside ``mask``.

    Both have the shape (k, j, i). ``kind`` is ``mean``, ``p95``, ``unit``, ``median``,
    ``low_dose`` or ``ti``. For a pair or a series, fit the scan that the paper names and apply
    the result to all scans. ``unit`` does not clip: values above the 99.9th percentile become
    larger than 1, so that the inverse restores them.

    Raises RequestError for an unknown kind, an empty mask, and a scale that is not above 0.
    """
    if kind not in KINDS:
        raise unknown_name("normalisation", kind, KINDS)
    inside = np.asarray(array[mask], dtype=np.float64)
    if inside.size == 0:
        raise RequestError(
            f"The mask is empty: the normalisation '{kind}' has no voxels to be fitted to. "
            "Give a mask that covers the brain or breast."
        )
    scale, offset = KINDS[kind](inside)
    if not (np.isfinite(scale) and scale > 0):
        raise RequestError(
            f"The level of the scan inside the mask is {scale:g}; the normalisation '{kind}' needs "
            "one above 0. Does the mask lie on the brain or breast, and is this the scan itself "
            "rather than a difference image?"
        )
    return Normalisation(kind, scale, offset)


def radiometric_gain(pre: FloatArray, post: FloatArray, mask: BoolArray) -> float:
    """Return the factor between the post and the pre scan in tissue that does not enhance.

    All three have the shape (k, j, i). The gain is the mode of the ratio post / pre: unlike a mean
    or a median it is hardly changed by enhancing voxels, whose ratios are larger. Only voxels of
    at least half the median intensity are used, because noise makes the ratios of dark voxels
    unreliable. The "radiometric registration" of the low-dose cGAN has no published formula;
    this one is our choice.

    In simulated pairs with 30 % enhancing voxels the error is below 2 % for noise up to 1/20 of
    the tissue's signal, and 5 % at 1/10. It is 3 % for enhancement as weak as the noise, which
    cannot be distinguished from a gain.

    Raises RequestError when no voxel of the mask is above 0 in both scans.
    """
    signal = mask & (pre > 0) & (post > 0)
    if not signal.any():
        raise RequestError(
            "No voxel of the mask is above 0 in both scans: there is no gain between them. "
            "Check that both scans and the mask show the same region."
        )
    before, after = pre[signal].astype(np.float64), post[signal].astype(np.float64)
    bright = before >= 0.5 * np.median(before)
    return float(np.exp(_mode(np.log(after[bright] / before[bright]))))


def _mode(values: NDArray[np.float64]) -> float:
    """Return the mode: mean shift with a Gaussian kernel, started in the shortest half."""
    values = np.sort(values)[:: 1 + values.size // ENOUGH_RATIOS]
    half = values.size // 2
    widths = values[half:] - values[: values.size - half]
    start = int(widths.argmin())
    mode = float(values[start : start + half + 1].mean())
    kernel = KERNEL_SHARE * widths[start]
    for _ in range(100 if kernel > 0 else 0):
        weights = np.exp(-0.5 * ((values - mode) / kernel) ** 2)
        moved = float((weights * values).sum() / weights.sum())
        if abs(moved - mode) < 1e-6:
            break
        mode = moved
    return mode


def _numbers(array: Any) -> Any:
    return array.astype(np.float32, copy=False) if isinstance(array, np.ndarray) else array
