"""What the methods share whose network sees a few neighbouring slices: load it, run it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from ContrastSynthLib.inference.pieces import Slices
from ContrastSynthLib.inference.slicing import SlicePlan, plan_slices
from ContrastSynthLib.physics.constants import UPTAKE_THRESHOLD
from ContrastSynthLib.registry import Context, Param
from ContrastSynthLib.volumes import FloatArray, Volume


@dataclass(frozen=True)
class SliceParameters:
    """How the trained network is asked; what it learnt is in its weights."""

    mirrored: Annotated[
        bool,
        Param(
            "Ask twice, once in the mirror",
            help="Means of both answers: a little better, twice the time.",
        ),
    ] = True


def run_on_slices(
    images: Sequence[tuple[FloatArray, int]], reference: Volume, context: Context, *, mirrored: bool
) -> tuple[SlicePlan, dict[str, FloatArray]]:
    """Return the plan of slices, and the network's outputs on them, (n, rows, columns).

    ``images`` are normalised scans (k, j, i) on the grid of ``reference``, each with how many
    neighbouring slices of it the network sees; they become its channels in this order.
    """
    from ContrastSynthLib.networks.mirrored import Mirrored

    (name,) = context.bundles
    network = context.network(name)
    plan = plan_slices(reference.grid, context.mask)
    stacks = [(plan.slices(image), count) for image, count in images]

    def channels(which: slice) -> FloatArray:
        seen = [plan.with_neighbours(stack, count, which) for stack, count in stacks]
        return np.concatenate(seen, axis=1)

    pieces = Slices(channels, plan.shape[0])
    return plan, context.predict(Mirrored(network) if mirrored else network, pieces)


def changed_by(
    slices: FloatArray, image: FloatArray, plan: SlicePlan, context: Context
) -> FloatArray:
    """Return ``image`` (k, j, i) changed by what its ``slices`` changed by, never below 0.

    Only the change goes from the slices back to the grid, so that where pixels were resampled
    the image keeps its own detail. Outside of the mask nothing changes.
    """
    changed = plan.restore(slices, outside=0.0)
    changed += image
    np.maximum(changed, np.minimum(image, 0), out=changed)
    np.copyto(changed, image, where=~context.mask)
    return changed


def record_removed(
    outputs: Mapping[str, FloatArray], image: FloatArray, reference: Volume, context: Context
) -> None:
    """Note how much enhancement was taken out of ``image``; both are in means of the brain."""
    change = image - outputs["pre"]
    removed = context.mask & (change > UPTAKE_THRESHOLD)
    taken = change[removed]
    context.record.update(
        enhancement_removed_ml=float(removed.sum() * reference.grid.voxel_volume_ml),
        mean_enhancement_removed_of_brain_mean=float(taken.mean()) if taken.size else 0.0,
        uptake_ml=float((outputs["uptake"] > 0.5).sum() * reference.grid.voxel_volume_ml),
    )
