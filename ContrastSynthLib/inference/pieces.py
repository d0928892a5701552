"""Cutting a volume into slices or tiles for a network, and assembling its outputs to a volume.

Slices and three-dimensional tiles implement one protocol, :class:`Pieces`, so that
:func:`~ContrastSynthLib.inference.ladder.run_pieces` runs networks over both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Protocol

import numpy as np

from ContrastSynthLib.volumes import FloatArray

Batches = Iterable[tuple[slice, Mapping[str, FloatArray]]]
"""For each batch, in order: which pieces it holds, and the outputs (b, channels, ...) by name."""

BLENDINGS = ("gaussian", "constant")
GAUSSIAN_SIGMA = 0.125
"""Standard deviation of the Gaussian weights as a fraction of a tile's side, as in nnU-Net."""
SMALLEST_WEIGHT = 1e-2
"""Along one side, relative to the middle: keeps the weights of a tile's corners above 0."""


class Pieces(Protocol):
    """How a volume is cut into inputs of a network, and its outputs become a volume again."""

    @property
    def count(self) -> int:
        """How many pieces there are."""

    @property
    def noun(self) -> str:
        """The name of one piece in messages, in the singular, such as "slice"."""

    def piece(self, which: slice) -> FloatArray:
        """Return the pieces ``which`` as input of the network, (b, channels, ...), float32."""

    def restore(self, batches: Batches) -> dict[str, FloatArray]:
        """Return each output by name, (n, rows, columns) or (channels, n, rows, columns)."""

    def smaller(self) -> Pieces | None:
        """Return smaller pieces, which need less memory; None where there are none."""


@dataclass(frozen=True)
class Slices:
    """The slices of a stack; ``channels(which)`` gives the input (b, channels, rows, columns)."""

    channels: Callable[[slice], FloatArray]
    count: int
    noun: str = "slice"

    @classmethod
    def of(cls, *channels: FloatArray) -> Slices:
        """Return slices whose channels are the given stacks (n, rows, columns) of one shape."""
        stacked = np.stack(channels, axis=1)
        return cls(lambda which: stacked[which], len(stacked))

    def piece(self, which: slice) -> FloatArray:
        """Return (b, channels, rows, columns)."""
        return self.channels(which)

    def restore(self, batches: Batches) -> dict[str, FloatArray]:
        """Return each output (n, rows, columns) or (channels, n, rows, columns)."""
        parts: dict[str, list[FloatArray]] = {}
        for _, outputs in batches:
            for name, values in outputs.items():
                parts.setdefault(name, []).append(values)
        return {name: _without_one_channel(np.concatenate(part)) for name, part in parts.items()}

    def smaller(self) -> None:
        """Return None: a slice is not divided."""


@dataclass(frozen=True)
class Tiles:
    """Overlapping boxes of a volume (channels, n, rows, columns), for a three-dimensional network.

    ``size`` is that of a box along slices, rows and columns, in voxels; None is the whole side,
    padded to a multiple of ``multiple``. Neighbouring boxes overlap by at least ``overlap`` voxels.
    For slabs of three slices: ``size=(3, None, None), overlap=(2, 0, 0)``. Where boxes overlap the
    outputs are averaged, with weights that fall towards the faces of a box (``gaussian``) or are
    equal (``constant``). A volume thinner than a box is padded with its outermost voxels, which
    are removed from the outputs.

    ``least`` is the smallest box that may be used when memory is short; None: only ``size``.
    Raises ValueError for an overlap that is not smaller than the box, or an unknown blending.
    """

    volume: FloatArray
    size: tuple[int | None, int | None, int | None]
    overlap: tuple[int, int, int] = (0, 0, 0)
    blending: str = "gaussian"
    multiple: int = 16
    least: tuple[int, int, int] | None = None
    noun: str = "tile"

    def __post_init__(self) -> None:
        if self.blending not in BLENDINGS:
            raise ValueError(f"Unknown blending '{self.blending}'; known: {', '.join(BLENDINGS)}.")
        if any(not 0 <= o < s for o, s in zip(self.overlap, self.box, strict=True)):
            raise ValueError(f"An overlap of {self.overlap} does not fit boxes of {self.box}.")

    @cached_property
    def box(self) -> tuple[int, int, int]:
        """The size of a box in voxels."""
        whole = (math.ceil(n / self.multiple) * self.multiple for n in self.shape)
        depth, rows, columns = (
            n if side is None else side for side, n in zip(self.size, whole, strict=True)
        )
        return depth, rows, columns

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the volume, (n, rows, columns)."""
        depth, rows, columns = self.volume.shape[1:]
        return depth, rows, columns

    @property
    def count(self) -> int:
        """How many boxes there are."""
        return len(self._corners)

    def piece(self, which: slice) -> FloatArray:
        """Return (b, channels, depth, rows, columns)."""
        return np.stack(
            [self._padded[(slice(None), *self._place(c))] for c in self._corners[which]]
        )

    def restore(self, batches: Batches) -> dict[str, FloatArray]:
        """Return each output (n, rows, columns) or (channels, n, rows, columns), blended."""
        weights = self._weights
        total = np.zeros(self._padded.shape[1:], dtype=np.float32)
        sums: dict[str, FloatArray] = {}
        for which, outputs in batches:
            corners = self._corners[which]
            for corner in corners:
                total[self._place(corner)] += weights
            for name, values in outputs.items():
                found = sums.setdefault(
                    name, np.zeros((values.shape[1], *total.shape), dtype=np.float32)
                )
                for corner, value in zip(corners, values, strict=True):
                    found[(slice(None), *self._place(corner))] += weights * value
        inside = tuple(
            slice(before, before + n)
            for (before, _), n in zip(self._padding, self.shape, strict=True)
        )
        whole = {name: (found / total)[(slice(None), *inside)] for name, found in sums.items()}
        return {name: found[0] if len(found) == 1 else found for name, found in whole.items()}

    def smaller(self) -> Tiles | None:
        """Return boxes with half the longest side that ``least`` allows; None when at ``least``."""
        if self.least is None:
            return None
        sides = [(n, axis) for axis, n in enumerate(self.box) if n // 2 >= self.least[axis]]
        if not sides:
            return None
        _, axis = max(sides)
        depth, rows, columns = (n // 2 if a == axis else n for a, n in enumerate(self.box))
        size = depth, rows, columns
        near, middle, far = (min(o, n // 2) for o, n in zip(self.overlap, size, strict=True))
        return replace(self, size=size, overlap=(near, middle, far))

    @cached_property
    def _padding(self) -> tuple[tuple[int, int], ...]:
        """Voxels of padding before and after the volume along each side."""
        missing = (max(0, b - n) for b, n in zip(self.box, self.shape, strict=True))
        return tuple((m // 2, m - m // 2) for m in missing)

    @cached_property
    def _padded(self) -> FloatArray:
        return np.pad(self.volume, ((0, 0), *self._padding), mode="edge")

    @cached_property
    def _corners(self) -> Sequence[tuple[int, ...]]:
        sides = zip(self._padded.shape[1:], self.box, self.overlap, strict=True)
        return list(product(*(starts(n, b, o) for n, b, o in sides)))

    @cached_property
    def _weights(self) -> FloatArray:
        """Return the weights of a box (depth, rows, columns), 1 in its middle."""
        if self.blending == "constant":
            return np.ones(self.box, dtype=np.float32)
        sides = []
        for n in self.box:
            distance = (np.arange(n) - (n - 1) / 2) / (GAUSSIAN_SIGMA * n)
            sides.append(np.maximum(np.exp(-0.5 * distance**2), SMALLEST_WEIGHT))
        weights = sides[0][:, None, None] * sides[1][:, None] * sides[2]
        return np.asarray(weights, dtype=np.float32)

    def _place(self, corner: Sequence[int]) -> tuple[slice, ...]:
        return tuple(slice(c, c + n) for c, n in zip(corner, self.box, strict=True))


def starts(length: int, box: int, overlap: int) -> list[int]:
    """Return the first voxel of each box along a side of ``length`` voxels.

    The boxes are evenly spaced, cover the side and overlap by at least ``overlap`` voxels.
    """
    count = max(1, math.ceil((length - overlap) / (box - overlap)))
    return [round(start) for start in np.linspace(0, length - box, count)]


def _without_one_channel(values: FloatArray) -> FloatArray:
    """Return (n, channels, ...) as (channels, n, ...), or as (n, ...) of a single channel."""
    if values.shape[1] == 1:
        return np.asarray(values[:, 0])
    return np.ascontiguousarray(np.moveaxis(values, 1, 0))
