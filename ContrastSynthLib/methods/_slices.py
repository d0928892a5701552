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
from ContrastSynthLib.volumes import BoolArray, FloatArray, Volume


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


def run_in_views(
    image: FloatArray, reference: Volume, context: Context, *, mirrored: bool, axes: Sequence[int]
) -> dict[str, FloatArray]:
    """Return what the network makes of one scan, averaged over the directions of slicing.

    ``image`` (k, j, i) is the normalised scan on the grid of ``reference``; ``axes`` are the array
    axes along which it is sliced, one after the other, with as many neighbouring slices as the
    network sees. The arrays (k, j, i) returned are the network's outputs by name, with ``change``
    in place of ``pre``: what to add to the scan. Only the change is interpolated where pixels were
    resampled, so that the image keeps its own detail. ``spread`` is the standard deviation of the
    change over directions and mirrored images.
    """
    means: dict[str, FloatArray] = {}
    square = np.zeros_like(image)
    share = np.float32(1 / len(axes))
    for turn, axis in enumerate(axes):
        plan = plan_slices(reference.grid, context.mask, across=axis)
        part = (turn / len(axes), (turn + 1) / len(axes))
        found = _in_one_view(image, plan, context, part, mirrored=mirrored)
        square += share * found["change"] ** 2
        if mirrored:
            square += share * found.pop("pre_spread") ** 2
        for key, array in found.items():
            array *= share
            means[key] = means[key] + array if key in means else array
    spread = np.sqrt(np.maximum(square - means["change"] ** 2, 0))
    return {**means, "spread": spread}


def _in_one_view(
    image: FloatArray,
    plan: SlicePlan,
    context: Context,
    part: tuple[float, float],
    *,
    mirrored: bool,
) -> dict[str, FloatArray]:
    """Return the network's outputs on the grid (k, j, i), with ``change`` in place of ``pre``."""
    from ContrastSynthLib.networks.mirrored import Mirrored

    (name,) = context.bundles
    network, seen = context.network(name), slices_seen(context)
    stack = plan.slices(image)
    pieces = Slices(lambda which: plan.with_neighbours(stack, seen, which), plan.shape[0])
    asked = Mirrored(network, spread=("pre",)) if mirrored else network
    found = context.predict(asked, pieces, part)
    found["change"] = found.pop("pre") - stack
    return {key: plan.restore(each, outside=0.0) for key, each in found.items()}


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
