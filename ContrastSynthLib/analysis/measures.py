"""The measures of the papers for two images in a region; ``metrics`` defines each measure.

A measure that is not defined in a region is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ContrastSynthLib.analysis.enhancement import EnhancementReport, missed_and_invented
from ContrastSynthLib.analysis.regions import DEFAULT_MINIMUM_VOLUME_MM3
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.metrics import (
    cfs,
    cnr_error,
    eis,
    gmsd,
    gradient_magnitude_rmse,
    irc,
    mae,
    mae_ce,
    mae_sigma,
    psnr,
    relative_error,
    rmse,
    ssim,
)
from ContrastSynthLib.metrics.image import SSIM_WINDOW_VOXELS
from ContrastSynthLib.volumes import BoolArray, FloatArray

IN_A_REGION: dict[str, Callable[..., float]] = {
    "mae": mae,
    "rmse": rmse,
    "relative_error": relative_error,
    "cfs": cfs,
    "irc": irc,
    "gradient_magnitude_rmse": gradient_magnitude_rmse,
    "eis": eis,
}
"""Measures of two images and a mask."""

IN_A_RANGE: dict[str, Callable[..., float]] = {"psnr_db": psnr, "gmsd": gmsd}
"""Measures that need the data range too."""


def measure_region(
    real: FloatArray, made: FloatArray, where: BoolArray, *, data_range: float, voxel_ml: float
) -> dict[str, Any]:
    """Return the size of a region and the measures of two images (k, j, i) in it."""
    voxels = int(where.sum())
    dimensions = 3 if min(where.shape) >= SSIM_WINDOW_VOXELS else 2
    wide_enough = min(where.shape[1:]) >= SSIM_WINDOW_VOXELS
    result: dict[str, Any] = {"voxels": voxels, "volume_ml": voxels * voxel_ml}
    result |= dict.fromkeys((*IN_A_REGION, *IN_A_RANGE, "ssim"), math.nan)
    result["ssim_dimensions"] = dimensions
    if voxels == 0:
        return result
    for name, measure in IN_A_REGION.items():
        result[name] = measure(real, made, mask=where)
    for name, measure in IN_A_RANGE.items():
        result[name] = measure(real, made, mask=where, data_range=data_range)
    if wide_enough:
        result["ssim"] = ssim(real, made, mask=where, data_range=data_range, dimensions=dimensions)
    return result


def measure_contrast(
    real: FloatArray,
    made: FloatArray,
    *,
    native: FloatArray,
    brain: BoolArray,
    uptake: BoolArray,
    enhancing: BoolArray,
) -> dict[str, float]:
    """Return the measures that compare the uptake with the rest of the brain.

    ``uptake`` is the region of SPHERE, ``enhancing`` that of the low-dose cGAN; ``native`` is the
    scan of the pair that was not synthesised. All are (k, j, i).
    """
    rest = brain & ~uptake
    defined = {
        "cnr_error": bool(uptake.any() and rest.any()),
        "mae_ce": bool((enhancing & brain).any()),
        "mae_sigma": bool((brain & ~enhancing).any()),
    }
    measures: dict[str, Callable[[], float]] = {
        "cnr_error": lambda: cnr_error(real, made, mask=uptake, background=rest),
        "mae_ce": lambda: mae_ce(real, made, enhancing=enhancing, mask=brain),
        "mae_sigma": lambda: mae_sigma(real, made, native=native, enhancing=enhancing, mask=brain),
    }
    return {name: take() if defined[name] else math.nan for name, take in measures.items()}


def compare_enhancement(
    real: FloatArray,
    made: FloatArray,
    *,
    other: FloatArray,
    real_is_pre: bool,
    brain: BoolArray,
    grid: Grid,
    threshold: float,
    minimum_volume_mm3: float = DEFAULT_MINIMUM_VOLUME_MM3,
    uncertainty: FloatArray | None = None,
) -> EnhancementReport:
    """Return missed and invented enhancement of the synthetic image ``made``.

    ``real`` is the image that it imitates, and ``other`` the second image of the differences: the
    post scan when a pre scan was synthesised (``real_is_pre``), else the pre scan. ``threshold`` is
    in the unit of the images. ``uncertainty`` is that of :func:`missed_and_invented`.
    """
    sign = -1.0 if real_is_pre else 1.0
    return missed_and_invented(
        sign * (real - other),
        sign * (made - other),
        brain,
        grid,
        threshold=threshold,
        minimum_volume_mm3=minimum_volume_mm3,
        uncertainty=uncertainty,
    )
