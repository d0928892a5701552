"""Scales of colours, from low values to high ones; without words, so that batches read it too."""

from __future__ import annotations

from typing import Any

import numpy as np

STEPS = 255  # of a scale: an odd number, so that its middle is one of them
# Viridis (S. van der Walt and N. Smith, 2015; CC0): its lightness rises in equal steps, also to the
# colour-blind. None of its colours is a grey of the scan below, or a red of the uptake.
VIRIDIS = (
    (0.267, 0.005, 0.329),
    (0.283, 0.141, 0.458),
    (0.254, 0.265, 0.530),
    (0.207, 0.372, 0.553),
    (0.164, 0.471, 0.558),
    (0.128, 0.567, 0.551),
    (0.135, 0.659, 0.518),
    (0.267, 0.749, 0.441),
    (0.478, 0.821, 0.318),
    (0.741, 0.873, 0.150),
    (0.993, 0.906, 0.144),
)


def scale(of: Any) -> np.ndarray:
    """Return colours in equal steps from the first of ``of`` to the last, one a row."""
    place = np.linspace(0.0, len(of) - 1.0, STEPS)
    return np.stack([np.interp(place, range(len(of)), one) for one in np.transpose(of)], axis=1)


def entries(of: Any) -> list[tuple[str, Any]]:
    """Return a scale as numbered entries of a colour table."""
    return [(str(n), tuple(colour)) for n, colour in enumerate(scale(of))]
