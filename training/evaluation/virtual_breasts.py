"""Virtual breasts to measure SPHERE on, held out from training: Table 4, figure 7 (C)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from data.breast_slices import BreastScans, breast_scans

from ContrastSynthLib.volumes import Volume
from evaluation.cases import UNENHANCED, Item, Scans, grid_of, neighbours_with_most

BREAST = "breast"
MARK = "virtual breast patient, research only"


def breast_items(seeds: Sequence[int], *, slices: int | None) -> list[Item]:
    """Return virtual breasts: whole, or the ``slices`` slices with the most lesion."""
    names = [f"{BREAST}_{seed}" for seed in seeds]
    reads = [partial(_cut, seed, slices) for seed in seeds]
    return [Item(name, name, read) for name, read in zip(names, reads, strict=True)]


def _cut(seed: int, slices: int | None) -> Scans:
    """Return some slices of a patient; the breast stands for the brain."""
    scans: BreastScans = breast_scans(seed)
    part = neighbours_with_most((scans.lesions > 0).sum(axis=(1, 2)), slices)
    grid = grid_of(scans.grid, part)
    images = {"pre": scans.pre, "post": scans.post}
    truth = {"rise": scans.rise, "lesion": scans.lesions, UNENHANCED: scans.unenhanced}
    return Scans(
        {role: Volume(image[part], grid, synthetic=MARK) for role, image in images.items()},
        Volume(scans.breast[part].astype(np.float32), grid, synthetic=MARK),
        {name: array[part] for name, array in truth.items()},
    )
