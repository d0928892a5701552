"""Noise of a synthetic image: its standard deviation and its power spectrum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.metrics.common import axes_of, mask_of, pair_of, region_of
from ContrastSynthLib.physics.arrays import Float64Array


def mae_sigma(
    reference: ArrayLike,
    synthetic: ArrayLike,
    *,
    native: ArrayLike,
    enhancing: ArrayLike,
    mask: ArrayLike | None = None,
) -> float:
    """Return |s' - s|, the error of the noise's standard deviation (low-dose cGAN, sec. 3).

    s is the standard deviation of ``reference - native`` over the voxels of ``mask`` that do not
    enhance, s' that of ``synthetic - native``: without uptake these differences contain only noise.
    ``native`` is the pre-contrast scan, or the post-contrast scan when the pre-contrast scan is
    the one that was synthesised. The paper's MAE is the mean of this over patients. Raises
    RequestError for different shapes and when no voxel is left.
    """
    real, made = pair_of(reference, synthetic)
    scan, _ = pair_of(native, real, ("native scan", "reference"))
    agent = region_of(enhancing, real.shape, "set of enhancing voxels")
    quiet = mask_of(mask, real.shape) & ~agent
    where = mask_of(quiet, real.shape, "set of voxels that do not enhance")
    before = scan[where].astype(np.float64)
    return float(abs((made[where] - before).std() - (real[where] - before).std()))


@dataclass(frozen=True)
class NoisePower:
    """A noise power spectrum; u is the unit of the residual.

    ``map`` (j, i), in u^2 mm^2, has frequency 0 in the middle; its axes ``frequency_j_per_mm`` (j,)
    and ``frequency_i_per_mm`` (i,) are in cycles per mm. ``radial`` (n,) is the mean over rings
    around the middle, at ``radial_frequency_per_mm`` (n,). ``variance``, in u^2, is the integral of
    the map: its sum times the area of one of its pixels.
    """

    map: Float64Array
    frequency_j_per_mm: Float64Array
    frequency_i_per_mm: Float64Array
    radial: Float64Array
    radial_frequency_per_mm: Float64Array
    variance: float

    def as_dict(self) -> dict[str, Any]:
        """Return the radial average and the variance for JSON."""
        return {
            "radial_frequency_per_mm": self.radial_frequency_per_mm.tolist(),
            "radial": self.radial.tolist(),
            "variance": self.variance,
        }


def nps(
    residual: ArrayLike, *, spacing_mm: Sequence[float], mask: ArrayLike | None = None
) -> NoisePower:
    """Return the noise power spectrum of the slices of a residual (k, j, i) (SPHERE, fig. 5).

    NPS = di dj / N sum over slices |FFT(r)|^2, where r is the residual (synthetic - reference) in
    the mask and 0 outside, N the number of voxels in the mask, and di, dj the voxel's
    ``spacing_mm`` along i and j (the third one, along k, is not used). From each slice its own mean
    in the mask is subtracted and no other trend, so shading remains, at the lowest frequencies.
    White noise of standard deviation s gives s^2 di dj at all frequencies; with a mask, the
    spectrum is smoothed by that of the mask. Rings are as wide as the larger frequency step and end
    at the lower Nyquist frequency. Raises RequestError for slices of fewer than 2 x 2 voxels, an
    empty mask and spacings that are not positive.
    """
    values = np.asarray(residual)
    axes_of(values.shape, 2)
    _, rows, columns = values.shape
    di_mm, dj_mm = (float(s) for s in spacing_mm[:2])
    if min(rows, columns) < 2 or not min(di_mm, dj_mm) > 0:
        raise RequestError(
            f"Slices of {columns} x {rows} voxels of {di_mm:g} x {dj_mm:g} mm: a spectrum needs "
            "at least 2 x 2 voxels of a positive size."
        )
    inside = mask_of(mask, values.shape)
    power, squares = np.zeros((rows, columns)), 0.0
    for image, where in zip(values, inside, strict=True):
        if where.any():
            noise = np.zeros((rows, columns))
            noise[where] = image[where] - image[where].mean(dtype=np.float64)
            power += np.abs(np.fft.fft2(noise)) ** 2
            squares += float(np.sum(noise**2))
    voxels = int(inside.sum())
    spectrum = np.fft.fftshift(power) * di_mm * dj_mm / voxels
    frequency_j = np.fft.fftshift(np.fft.fftfreq(rows, dj_mm))
    frequency_i = np.fft.fftshift(np.fft.fftfreq(columns, di_mm))
    ring_frequency, radial = _radial(spectrum, frequency_j, frequency_i)
    return NoisePower(
        map=spectrum,
        frequency_j_per_mm=frequency_j,
        frequency_i_per_mm=frequency_i,
        radial=radial,
        radial_frequency_per_mm=ring_frequency,
        variance=squares / voxels,
    )


def _radial(
    spectrum: Float64Array, frequency_j: Float64Array, frequency_i: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Return the frequencies of the rings, without frequency 0, and the mean power in each."""
    width = max(f[1] - f[0] for f in (frequency_j, frequency_i))
    nyquist = min(-f[0] if f.size % 2 == 0 else f[-1] for f in (frequency_j, frequency_i))
    ring = np.rint(np.hypot(frequency_j[:, None], frequency_i[None, :]) / width).astype(int)
    count = int(nyquist / width + 1e-6)
    samples = np.bincount(ring.ravel())[1 : count + 1]
    sums = np.bincount(ring.ravel(), weights=spectrum.ravel())[1 : count + 1]
    return width * np.arange(1, count + 1), sums / samples
