"""The losses of SPHERE (appendix B, tensors (n, 1, h, w)), and of the other networks."""

from ContrastSynthLib.losses.adversarial import discriminator_loss, generator_loss
from ContrastSynthLib.losses.image import l1_loss, ms_ssim_loss, perceptual_loss, ssim_loss
from ContrastSynthLib.losses.noise_preserving import noise_preserving_loss
from ContrastSynthLib.losses.uptake import hyperintensity_penalty, physics_penalty, uptake_loss
from ContrastSynthLib.losses.volumes import gradient_difference_loss, local_loss

__all__ = [
    "discriminator_loss",
    "generator_loss",
    "gradient_difference_loss",
    "hyperintensity_penalty",
    "l1_loss",
    "local_loss",
    "ms_ssim_loss",
    "noise_preserving_loss",
    "perceptual_loss",
    "physics_penalty",
    "ssim_loss",
    "uptake_loss",
]
