"""Measures of the agreement of a synthetic image with the real one, named as in the papers."""

from ContrastSynthLib.metrics.contrast import (
    cfs,
    cnr,
    cnr_error,
    enhancement_error,
    enhancing_voxels,
    irc,
    mae_ce,
)
from ContrastSynthLib.metrics.curves import dtw, spearman_rho
from ContrastSynthLib.metrics.gradients import (
    eis,
    gmsd,
    gradient_magnitude_rmse,
    gradient_ratio,
)
from ContrastSynthLib.metrics.image import mae, psnr, relative_error, rmse, ssim
from ContrastSynthLib.metrics.noise import NoisePower, mae_sigma, nps
from ContrastSynthLib.metrics.perceptual import lpips

__all__ = [
    "NoisePower",
    "cfs",
    "cnr",
    "cnr_error",
    "dtw",
    "eis",
    "enhancement_error",
    "enhancing_voxels",
    "gmsd",
    "gradient_magnitude_rmse",
    "gradient_ratio",
    "irc",
    "lpips",
    "mae",
    "mae_ce",
    "mae_sigma",
    "nps",
    "psnr",
    "relative_error",
    "rmse",
    "spearman_rho",
    "ssim",
]
