"""Shared by SPHERE and SPHERE-Art, whose networks see slices: run them, record changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from ContrastSynthLib.inference.pieces import Slices
from ContrastSynthLib.inference.slicing import SlicePlan, plan_slices, slicing_axes
from ContrastSynthLib.physics.constants import UPTAKE_THRESHOLD
from ContrastSynthLib.registry import Context, Param
from ContrastSynthLib.volumes import BoolArray, FloatArray, Volume

LEAST_SIDE_MM = 64.0
"""Slices across a slab thinner than this show too little of a brain: our choice."""


@dataclass(frozen=True)
class SliceParameters:
    """How the trained network is run."""

    mirrored: Annotated[
        bool,
        Param(
            "Average with the mirrored image",
            help="Runs the network on the mirrored image too and averages the two results: a "
            "little better, twice the time.",
        ),
    ] = True
    three_directions: Annotated[
        bool,
        Param(
            "Average three directions",
            help="Runs the network on axial, coronal and sagittal slices and averages the three "
            "results: better, three times the time. Scans of thick slices, or of less than "
            f"{LEAST_SIDE_MM:g} mm along any side, have one direction.",
        ),
    ] = True

    def axes(self, reference: Volume) -> tuple[int, ...]:
        """Return the array axes along which a scan is to be sliced, one after the other."""
        found = slicing_axes(reference.grid)
        sides_mm = np.multiply(reference.grid.shape[::-1], reference.grid.spacing_mm)
        whole = float(sides_mm.min()) >= LEAST_SIDE_MM
        return found if self.three_directions and whole else found[:1]


def run_on_slices(
    name: str,
    images: Sequence[tuple[FloatArray, int]],
    reference: Volume,
    context: Context,
    *,
    mirrored: bool,
    part: tuple[float, float] = (0.0, 1.0),
) -> tuple[SlicePlan, dict[str, FloatArray]]:
    """Return the plan of slices, and the network's outputs by name, (n, rows, columns) each.

    ``name`` is the network's in the declaration. ``images`` are normalised scans (k, j, i) on the
    grid of ``reference``, each with the number of adjacent slices that the network sees at once.
    These are its channels, in this order. Progress is that of a ``part`` of the run.
    """
    from ContrastSynthLib.networks.mirrored import Mirrored

    network = context.network(name)
    plan = plan_slices(reference.grid, context.mask)
    stacks = [(plan.slices(image), count) for image, count in images]

    def channels(which: slice) -> FloatArray:
        seen = [plan.with_neighbours(stack, count, which) for stack, count in stacks]
        return np.concatenate(seen, axis=1)

    pieces = Slices(channels, plan.shape[0])
    return plan, context.predict(Mirrored(network) if mirrored else network, pieces, part)


def changed_by(change: FloatArray, image: FloatArray, mask: BoolArray) -> FloatArray:
    """Return ``image`` plus a change, both (k, j, i): not below 0, ``image`` outside the mask."""
    changed: FloatArray = np.maximum(image + change, np.minimum(image, 0))
    np.copyto(changed, image, where=~mask)
    return changed


def record_removed(
    outputs: Mapping[str, FloatArray], image: FloatArray, reference: Volume, context: Context
) -> None:
    """Record the volume and mean of the enhancement removed from ``image``, and of the uptake.

    ``image`` and ``outputs["pre"]`` (k, j, i) are divided by the mean of the brain.
    """
    change = image - outputs["pre"]
    removed = context.mask & (change > UPTAKE_THRESHOLD)
    taken = change[removed]
    context.record.update(
        enhancement_removed_ml=float(removed.sum() * reference.grid.voxel_volume_ml),
        mean_enhancement_removed_of_brain_mean=float(taken.mean()) if taken.size else 0.0,
        uptake_ml=float((outputs["uptake"] > 0.5).sum() * reference.grid.voxel_volume_ml),
    )
