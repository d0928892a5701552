"""A pair of scans whose tissue, lesion and vessel are known, for tests of training on pairs."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter


def scans(shape=(40, 60, 50)):
    """A pair in arbitrary units: a ball of tissue with a bright lesion, thin vessel and fluid."""
    places = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    away = sum(((p - n / 2) / (0.46 * n)) ** 2 for p, n in zip(places, shape, strict=True))
    brain = away < 1
    noise = gaussian_filter(np.random.default_rng(0).normal(size=shape), 2)
    tissue = np.where(brain, np.clip(1 + 0.1 * noise / noise.std(), 0.6, 1.4), 0)
    lesion = sum((p - c) ** 2 for p, c in zip(places, (20, 30, 25), strict=True)) < 6**2
    vessel = (np.hypot(places[0] - 20, places[1] - 14) < 1) & brain
    return 300 * tissue, 500 * (tissue + 0.9 * lesion + 0.9 * vessel), brain, lesion, vessel
