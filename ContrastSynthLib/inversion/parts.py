"""A large stack of slices, solved part by part: the solver holds many copies of its images."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

PART_VOXELS = 2**23
"""The solver takes about 300 bytes a voxel: 2.5 GB at a time. A brain of 1 mm is one part."""
OVERLAP_SLICES = 4
"""What a part sees beyond its slices where the prior reaches across them."""


def overlapping_parts(
    shape: tuple[int, ...], dimensions: int = 2, voxels: int = PART_VOXELS
) -> list[tuple[slice, slice]]:
    """Return the slices that each part of a stack (n, rows, columns) solves: kept, and seen.

    A part has about ``voxels`` voxels at most; with a prior of 3 ``dimensions``, which reaches
    across slices, it sees OVERLAP_SLICES more on both sides. A small stack is one part.
    """
    overlap = OVERLAP_SLICES if dimensions == 3 else 0
    count = math.ceil(shape[0] / max(1, voxels // (shape[1] * shape[2])))
    edges = np.linspace(0, shape[0], count + 1).round().astype(int).tolist()
    return [
        (slice(first, last), slice(max(0, first - overlap), min(shape[0], last + overlap)))
        for first, last in itertools.pairwise(edges)
    ]


def combined_history(histories: Sequence[Mapping[str, list[float]]]) -> dict[str, list[float]]:
    """Return the history of all parts together, as columns.

    Objective and its terms are sums over slices, so they add up, as do evaluations; of the
    relative change the largest counts. A part that stopped earlier stays where it was.
    """
    if len(histories) == 1:
        return dict(histories[0])
    rows = max(len(history["iteration"]) for history in histories)
    found: dict[str, list[float]] = {}
    for name in histories[0]:
        columns = [
            history[name] + history[name][-1:] * (rows - len(history[name]))
            for history in histories
        ]
        joined = max if name in ("iteration", "change") else sum
        found[name] = [joined(values) for values in zip(*columns, strict=True)]
    return found
