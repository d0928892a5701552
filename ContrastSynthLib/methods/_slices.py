"""Shared by the methods whose network sees a slice with its neighbours: run it, record changes."""

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
    """How the trained network is run."""

    mirrored: Annotated[
        bool,
        Param(
            "Average with the mirrored image",
            help="Runs the network on the mirrored image too and averages the two results: a "
            "little better, twice the time.",
        ),
    ] = True


def run_on_slices(
    images: Sequence[tuple[FloatArray, int]], reference: Volume, context: Context, *, mirrored: bool
) -> tuple[SlicePlan, dict[str, FloatArray]]:
    """Return the plan of slices, and the network's outputs by name, (n, rows, columns) each.

    ``images`` are normalised scans (k, j, i) on the grid of ``reference``, each with the number of
    adjacent slices that the network sees at once. These are its channels, in this order.
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


def slices_seen(context: Context, usual: int = 3) -> int:
    """Return how many neighbouring slices of a scan the network of this run sees at once."""
    (bundle,) = context.bundles.values()
    return int(bundle.metadata["network"]["arguments"].get("in_channels", usual))


def changed_by(
    slices: FloatArray, image: FloatArray, plan: SlicePlan, context: Context
) -> FloatArray:
    """Return ``image`` (k, j, i) plus a change given as ``slices`` (n, rows, columns).

    Only the change is interpolated back to the grid, so that the image keeps its own detail where
    pixels were resampled. The result is not below 0, and ``image`` outside of the mask.
    """
    changed = plan.restore(slices, outside=0.0)
    changed += image
    np.maximum(changed, np.minimum(image, 0), out=changed)
    np.copyto(changed, image, where=~context.mask)
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
