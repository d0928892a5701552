"""Shared by the methods from a low dose to the full dose: preparing the scans as slices.

Intensities are normalised, the pre scan is brought to the gain of the low-dose scan, and the noise
is estimated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.inference.slicing import SlicePlan, plan_slices, stripped
from ContrastSynthLib.preprocessing.denoising import DENOISERS, denoise, noise_of_pair, noise_sigma
from ContrastSynthLib.preprocessing.normalisation import Normalisation, fit
from ContrastSynthLib.preprocessing.shading import gain_field
from ContrastSynthLib.registry import Context, Param
from ContrastSynthLib.volumes import BoolArray, FloatArray, Volume


def one_of(
    title: str, choices: Mapping[str, str], titles: Mapping[str, str] | None = None
) -> Param:
    """Declare a parameter with ``choices``, key to meaning; the help lists the meanings."""
    help_text = "; ".join(f"{key}: {what}" for key, what in choices.items()) + "."
    return Param(title, choices=tuple(choices), help=help_text, titles=titles or {})


def denoiser() -> Param:
    """Declare the denoiser of the low-dose scan."""
    return Param(
        "Denoiser of the low dose",
        choices=tuple(DENOISERS),
        help="bm3d: needs the package bm3d.",
        titles={"nlm": "Non-local means", "bm3d": "BM3D"},
    )


def given_dose() -> Param:
    """Declare the dose of the low-dose scan, whose default is that of the file."""
    return Param(
        "Dose of the low scan",
        "of the full dose",
        0.02,
        1.0,
        from_acquisition=("low", "dose_fraction"),
        main=True,
    )


@dataclass(frozen=True)
class LowDose:
    """The scans as slices (n, rows, columns), 0 outside of the mask, normalised by ``low_dose``.

    ``pre`` was divided by its gain field relative to ``low``, whose median is ``gain``; both are
    None without a pre scan. ``mask`` (k, j, i) is the brain, ``inside`` the same as slices,
    ``sigma`` the standard deviation of the noise of ``low`` in normalised intensities.
    """

    plan: SlicePlan
    normalisation: Normalisation
    mask: BoolArray
    low: FloatArray
    pre: FloatArray | None
    inside: BoolArray
    sigma: float
    gain: float | None

    def part(self, which: slice) -> LowDose:
        """Return the scans of some of the slices; ``plan`` stays that of all."""
        pre = None if self.pre is None else self.pre[which]
        return replace(self, low=self.low[which], pre=pre, inside=self.inside[which])

    def slices(self, volume: Volume) -> FloatArray:
        """Return as slices another volume that has the gain of the low-dose scan."""
        return _slices(volume.array, self.normalisation, self.plan, self.mask, self.inside)

    def denoised(self, kind: str) -> FloatArray:
        """Return the low-dose slices after the denoiser ``kind``, a key of DENOISERS."""
        return denoise(self.low, self.sigma, kind) * self.inside

    def volume(self, full: FloatArray, low: Volume) -> FloatArray:
        """Return full-dose slices as an array (k, j, i) on the grid and in the units of ``low``.

        Only the difference to the low-dose slices is interpolated back to the grid and added to
        the scan, which keeps its own detail where pixels were resampled. Outside of the mask
        nothing changes.
        """
        change = self.plan.restore(full - self.low, outside=0.0)
        image = self.normalisation.apply(low.array)
        changed = np.maximum(image + change, np.minimum(image, 0))
        return np.where(self.mask, self.normalisation.undo(changed), low.array).astype(np.float32)


def low_dose_slices(low: Volume, pre: Volume | None, context: Context) -> LowDose:
    """Return the scans prepared for networks and solvers; scale, noise and gain are recorded."""
    context.progress(0.02, "Estimating gain and noise")
    normalisation = fit("low_dose", low.array, context.mask)
    plan = plan_slices(low.grid, context.mask)
    inside = plan.slices(context.mask) > 0.5
    prepared = (normalisation, plan, context.mask, inside)
    gain, before = None, None
    if pre is not None:
        field = gain_field(low.array, pre.array, context.mask, low.grid.spacing_mm[::-1])
        gain = float(np.median(field[context.mask]))
        before = _slices(pre.array / field, *prepared)
    stack = _slices(low.array, *prepared)
    sigma = noise_sigma(stack, inside) if before is None else noise_of_pair(stack, before, inside)
    context.record.update(
        unit_of_the_low_dose=normalisation.scale,
        noise_sigma=sigma,
        gain_pre_over_low=gain,
    )
    return LowDose(plan, normalisation, context.mask, stack, before, inside, sigma, gain)


def _slices(
    array: FloatArray,
    normalisation: Normalisation,
    plan: SlicePlan,
    mask: BoolArray,
    inside: BoolArray,
) -> FloatArray:
    """Return a scan (k, j, i) as normalised slices (n, rows, columns), 0 outside of the mask."""
    return plan.slices(stripped(normalisation.apply(array), mask)) * inside


def need_pre(pre: Volume | None, what: str, instead: str) -> Volume:
    """Return the pre scan; raises RequestError where there is none.

    The message says ``what`` needs it, and what works ``instead`` without it.
    """
    if pre is None:
        raise RequestError(
            f"{what} needs the pre-contrast scan. Choose it (--in pre=FILE), or use {instead}, "
            "which works without it."
        )
    return pre
