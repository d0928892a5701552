"""LPIPS: similarity by a network trained on human judgements of similarity; needs torch."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ContrastSynthLib.errors import MissingError, RequestError, unknown_name
from ContrastSynthLib.metrics.common import Array, axes_of, check_range, mask_of, pair_of

NETWORKS = ("alex", "squeeze", "vgg")
PACKAGES = ("torch", "torchmetrics", "torchvision")

# The networks halve the resolution several times, so smaller slices cannot be compared.
SMALLEST_SLICE_VOXELS = 64


def lpips(
    reference: ArrayLike,
    synthetic: ArrayLike,
    *,
    data_range: float,
    mask: ArrayLike | None = None,
    network: str = "alex",
) -> float:
    """Return the learned perceptual image patch similarity (Zhang et al. 2018); 0 is best.

    The mean over the slices of images (k, j, i). Intensities are clipped to 0-``data_range`` and
    scaled to grey levels from 0 to 1. With a mask, both images are set to 0 outside of it, and
    slices without a voxel of it are left out. ``network`` is alex (the papers' default), squeeze
    or vgg, with the weights of torchvision, which are downloaded on first use. Raises MissingError
    when a package or the weights are missing, and RequestError for slices of fewer than 64 x 64
    voxels and wrong input.
    """
    if network not in NETWORKS:
        raise unknown_name("LPIPS network", network, NETWORKS)
    check_range(data_range)
    real, made = pair_of(reference, synthetic)
    axes_of(real.shape, 2)
    if min(real.shape[1:]) < SMALLEST_SLICE_VOXELS:
        raise RequestError(
            f"LPIPS needs slices of at least {SMALLEST_SLICE_VOXELS} voxels along j and i; the "
            f"volume has {' x '.join(str(n) for n in real.shape)} (k x j x i)."
        )
    inside = mask_of(mask, real.shape)
    distance = _distance(network)
    distances = [
        distance(*(np.where(where, np.clip(s / data_range, 0.0, 1.0), 0.0) for s in slices))
        for *slices, where in zip(real, made, inside, strict=True)
        if where.any()
    ]
    return float(np.mean(distances))


def _distance(network: Any) -> Callable[[Array, Array], float]:
    """Return a function that computes the distance of two slices (j, i) in [0, 1]."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise MissingError(
            f"LPIPS needs {' and '.join(missing)}, which is not installed. Install torch as "
            "pytorch.org says, then 'pip install torchmetrics[image]', or leave LPIPS out."
        )
    import torch
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    try:
        metric = LearnedPerceptualImagePatchSimilarity(net_type=network, normalize=True)
    except OSError as error:
        raise MissingError(
            f"The weights of the LPIPS network '{network}' could not be downloaded ({error}). "
            "Connect to the internet once, or copy them into torch's folder of checkpoints, "
            f"{torch.hub.get_dir()}/checkpoints."
        ) from error

    def distance(real: Array, made: Array) -> float:
        colours = [
            torch.as_tensor(s, dtype=torch.float32).expand(1, 3, -1, -1) for s in (real, made)
        ]
        with torch.no_grad():
            return float(metric(*colours))

    return distance
