"""What a synthetic pre scan gains over the post scan, in the contrast of the latter.

    share   gain in PSNR over returning the post scan, divided by that of an oracle, which gives the
            target inside the uptake and the post scan outside
    left    mean absolute error inside the uptake, relative to returning the post scan
    out     mean absolute change outside the uptake, in the range of intensities

All images have one shape and are in means of the brain.
"""

from __future__ import annotations

import numpy as np

from ContrastSynthLib.physics.constants import UPTAKE_THRESHOLD
from ContrastSynthLib.volumes import BoolArray, FloatArray

LEAST_SQUARE = 1e-12
"""Mean squared errors below this, in means of the brain squared, are taken for it."""


def gains(
    post: FloatArray,
    target: FloatArray,
    made: FloatArray,
    where: BoolArray,
    up: BoolArray,
    span: float,
) -> dict[str, float | None]:
    """Return share, left and out of ``made`` in ``where``.

    ``up`` is the uptake in it, ``span`` the range of intensities. None: there is no uptake, or
    nothing else.
    """
    found: dict[str, float | None] = {"share": None, "left": None, "out": None}
    if (rest := where & ~up).any():
        found["out"] = float(np.abs(made - post)[rest].mean() / span)
    if up.any():
        nothing, reached, best = (
            np.log(np.maximum(np.mean((image - target)[where] ** 2), LEAST_SQUARE))
            for image in (post, made, np.where(up, target, post))
        )
        error, before = (np.abs(image - target)[up].mean() for image in (made, post))
        found["share"] = float((nothing - reached) / (nothing - best))
        found["left"] = float(error / before)
    return found


def fallen(before: FloatArray, after: FloatArray, where: BoolArray, span: float) -> float | None:
    """Return the share of ``where`` that falls by more than a tenth of the range."""
    if not where.any():
        return None
    return float(np.mean((before - after)[where] > UPTAKE_THRESHOLD * span))
