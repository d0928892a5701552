"""How well a mask of uptake finds the agent, where the truth is known: on virtual patients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import dice as dice_distance

from ContrastSynthLib.analysis.enhancement import missed_and_invented
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.physics.constants import UPTAKE_THRESHOLD
from ContrastSynthLib.volumes import BoolArray, FloatArray

TRUE_RISE = UPTAKE_THRESHOLD
"""Agent is where the noise-free signal rises by this share of the brain's median: tau of eq. 22.

Beyond the median rise, which cannot be distinguished from a gain between two scans."""
FOUND = 0.5
"""Where a mask from 0 to 1 says that there is agent."""
SMALLEST_LESION_ML = 0.03
FOUND_SHARE = 0.1
"""A lesion is found when this share of what enhances in it is."""
MEASURES = ("uptake_dice", "lesion_recall", "invented_regions", "invented_ml")


def measure_uptake(
    uptake: FloatArray, truth: Mapping[str, NDArray[Any]], brain: BoolArray, grid: Grid
) -> dict[str, float | None]:
    """Return MEASURES of ``uptake`` (k, j, i), from 0 to 1; all None without ``truth``.

    ``truth`` holds ``rise``, of the noise-free signal in medians of the brain, and ``lesion``,
    the labels of lesions. Recall counts the lesions of which at least SMALLEST_LESION_ML
    enhances; None without any. Invented is a region that large of which less than a tenth
    truly enhances.
    """
    if not truth:
        return dict.fromkeys(MEASURES)
    rise = truth["rise"] - np.median(truth["rise"][brain])
    found, real = brain & (uptake > FOUND), brain & (rise > TRUE_RISE)
    regions = missed_and_invented(
        real.astype(np.float32), found.astype(np.float32), brain, grid, threshold=FOUND
    )
    invented = [lesion for lesion in regions.lesions if lesion.kind == "invented"]
    either = found.any() or real.any()
    return {
        "uptake_dice": 1 - float(dice_distance(found[brain], real[brain])) if either else None,
        "lesion_recall": _recall(found, real, truth["lesion"], grid),
        "invented_regions": float(len(invented)),
        "invented_ml": regions.invented_ml,
    }


def _recall(found: BoolArray, real: BoolArray, lesion: NDArray[Any], grid: Grid) -> float | None:
    agent = [(lesion == label) & real for label in np.unique(lesion[lesion > 0])]
    shares = [
        found[where].mean() >= FOUND_SHARE
        for where in agent
        if where.sum() * grid.voxel_volume_ml >= SMALLEST_LESION_ML
    ]
    return float(np.mean(shares)) if shares else None
