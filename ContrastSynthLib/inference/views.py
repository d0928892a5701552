"""Averaging what a network on slices makes of a volume over three directions of slicing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.inference.pieces import Slices
from ContrastSynthLib.inference.slicing import plan_slices
from ContrastSynthLib.volumes import BoolArray, FloatArray

if TYPE_CHECKING:
    from torch.nn import Module

Predict = Callable[..., dict[str, FloatArray]]
"""Runs a network over pieces, for a ``part`` of the progress: ``Context.predict``."""


@dataclass(frozen=True)
class Views:
    """A network on slices, and how it is asked about a volume.

    ``seen`` is the number of neighbouring slices of 1 mm that the network sees; ``axes`` are the
    array axes along which the volume is sliced, one after the other; with ``mirrored`` each slice
    is shown from both sides.
    """

    network: Module
    seen: int
    axes: Sequence[int]
    mirrored: bool

    def average(
        self,
        image: FloatArray,
        grid: Grid,
        mask: BoolArray,
        predict: Predict,
        part: tuple[float, float] = (0.0, 1.0),
    ) -> dict[str, FloatArray]:
        """Return the mean over all directions of what the network makes of ``image`` (k, j, i).

        The arrays (k, j, i) returned are the network's outputs by name, with ``change`` in place
        of ``pre``: what to add to the scan. Only the change is interpolated where pixels were
        resampled, so that the image keeps its own detail. ``spread`` is the standard deviation of
        the change over directions and mirrored images. All are 0 outside of what was sliced: the
        ``mask`` and a margin.
        """
        means: dict[str, FloatArray] = {}
        square = np.zeros_like(image)
        share = np.float32(1 / len(self.axes))
        ends = np.linspace(*part, len(self.axes) + 1).tolist()
        for axis, within in zip(self.axes, pairwise(ends), strict=True):
            found = self._in_one(image, grid, mask, axis, partial(predict, part=within))
            square += share * found["change"] ** 2
            if self.mirrored:
                square += share * found.pop("pre_spread") ** 2
            for name, array in found.items():
                array *= share
                means[name] = means[name] + array if name in means else array
        spread = np.sqrt(np.maximum(square - means["change"] ** 2, 0))
        return {**means, "spread": spread}

    def _in_one(
        self,
        image: FloatArray,
        grid: Grid,
        mask: BoolArray,
        axis: int,
        predict: Predict,
    ) -> dict[str, FloatArray]:
        """Return the network's outputs on the grid, with ``change`` in place of ``pre``."""
        from ContrastSynthLib.networks.mirrored import Mirrored

        plan = plan_slices(grid, mask, across=axis)
        stack = plan.slices(image)
        pieces = Slices(lambda which: plan.with_neighbours(stack, self.seen, which), plan.shape[0])
        asked = Mirrored(self.network, spread=("pre",)) if self.mirrored else self.network
        found = predict(asked, pieces)
        found["change"] = found.pop("pre") - stack
        return {name: plan.restore(each, outside=0.0) for name, each in found.items()}
