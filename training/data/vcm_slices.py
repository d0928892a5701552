"""Patches of the low-dose GAN as slices for the virtual contrast model."""

from __future__ import annotations

import torch
from torch import Tensor

from ContrastSynthLib.metrics.contrast import ENHANCING_SHARE

Batch = dict[str, Tensor]
GAIN_SPREAD = 0.01
"""Standard deviation of the log gain that is left between the scans of a training example.

Of a tenth of the dose the extrapolation to the full one makes an error of a tenth out of that."""


def with_gain(batch: Batch) -> Batch:
    """Return a batch whose low-dose scans have a gain of their own, as small as what is left."""
    shape = (len(batch["native"]), 1, 1, 1, 1)
    gain = torch.exp(GAIN_SPREAD * torch.randn(shape, device=batch["native"].device))
    low = gain * (batch["native"] + batch["residual"])
    return {**batch, "residual": low - batch["native"]}


def as_slices(batch: Batch, count: int) -> Batch:
    """Return patches (n, 1, k, j, i) as the ``count`` slices in their middle.

    ``seen`` (n, 2 count, j, i) holds those of the native scan and of the low-dose one, extrapolated
    to the full dose; ``post`` (n, 1, j, i) is the middle slice after it, and ``rises`` says where
    that enhances.
    """
    first = (batch["native"].shape[2] - count) // 2
    native, standard, residual = (
        batch[name][:, 0, first : first + count] for name in ("native", "standard", "residual")
    )
    extrapolated = native + residual / batch["dose"][:, None, None, None]
    middle = slice(count // 2, count // 2 + 1)
    rise = standard[:, middle] - native[:, middle]
    return {
        "seen": torch.cat([native, extrapolated], dim=1),
        "post": standard[:, middle],
        "rises": (rise > ENHANCING_SHARE).to(native.dtype),
    }
