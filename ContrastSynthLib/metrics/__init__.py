"""Measures of how close a synthetic image is to the real one."""

from ContrastSynthLib.metrics.image import mae, psnr, rmse, ssim

__all__ = ["mae", "psnr", "rmse", "ssim"]
