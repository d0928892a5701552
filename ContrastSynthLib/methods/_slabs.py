"""Whole volumes in slabs, for methods that compute each voxel by itself.

The signal equation in double precision needs ten arrays at once: of a slab they are small, of a
whole volume they take ten times the memory of the result.
"""

from __future__ import annotations

from collections.abc import Iterator

from ContrastSynthLib.registry import Context

SLAB_VOXELS = 2**20


def slabs(shape: tuple[int, ...], context: Context, first: float, doing: str) -> Iterator[slice]:
    """Yield parts of the first axis of arrays (k, j, i), each of about SLAB_VOXELS voxels.

    The progress goes from ``first`` to 1; ``doing`` says what is computed.
    """
    thickness = max(1, SLAB_VOXELS // max(1, shape[1] * shape[2]))
    for start in range(0, shape[0], thickness):
        context.progress(first + (1 - first) * start / shape[0], doing)
        yield slice(start, min(start + thickness, shape[0]))
