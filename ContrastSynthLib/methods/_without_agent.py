"""What the methods share that guess the full dose from scans without an agent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ContrastSynthLib.inference.pieces import Tiles
from ContrastSynthLib.inference.slicing import SlicePlan, changed_by, plan_slices, stripped
from ContrastSynthLib.preprocessing.normalisation import fit
from ContrastSynthLib.registry import Context, Input, Param
from ContrastSynthLib.volumes import FloatArray, Volume

SLAB = (3, None, None)
"""Slices, rows and columns of a box: slabs of the paper, of the whole plane."""
SLICE_MM = 1.0
ROLE_OF = {"t1": "pre"}
"""The role of an input of the network, where it is not its name."""
INPUTS = {
    "pre": Input("T1, pre-contrast"),
    "t2": Input("T2", modality="T2", optional=True),
    "flair": Input("FLAIR", modality="FLAIR", optional=True),
    "adc": Input("ADC", modality="ADC", optional=True),
}
STEP = Param(
    "Step of the slabs",
    "slices",
    1,
    3,
    help="Slabs of three slices are averaged where they overlap; at 3 they do not.",
)


@dataclass(frozen=True)
class Slabs:
    """Scans as slabs for a network, and the way back.

    ``t1`` (n, rows, columns) is the pre scan as the network sees it, ``scale`` its unit, the 99.9th
    percentile in the mask.
    """

    pre: Volume
    plan: SlicePlan
    t1: FloatArray
    scale: float
    tiles: Tiles

    @classmethod
    def of(
        cls, scans: Mapping[str, Volume | None], network: str, step: int, context: Context
    ) -> Slabs:
        """Return the slabs of the scans by role, ``step`` slices apart, for a network.

        Each scan is divided by its 99.9th percentile in the mask, as in the paper, and stripped of
        what is outside; voxels are of about 1 mm. A scan that is None is left out, as in Table III:
        its channel is 0 everywhere.
        """
        given = {role: scan for role, scan in scans.items() if scan is not None}
        plan = plan_slices(given["pre"].grid, context.mask, slice_mm=SLICE_MM)
        units = {role: fit("unit", scan.array, context.mask) for role, scan in given.items()}
        slices = {
            role: plan.slices(stripped(units[role].apply(scan.array), context.mask))
            for role, scan in given.items()
        }
        wanted = context.bundles[network].metadata["network"]["arguments"]["inputs"]
        nothing = np.zeros(plan.shape, np.float32)
        channels = [np.maximum(slices.get(ROLE_OF.get(name, name), nothing), 0) for name in wanted]
        overlap = (SLAB[0] - step, 0, 0)
        tiles = Tiles(np.stack(channels), SLAB, overlap, blending="constant", noun="slab")
        context.record["scans_seen"] = [*given]
        return cls(given["pre"], plan, slices["pre"], units["pre"].scale, tiles)

    def full_dose(self, made: FloatArray, context: Context) -> FloatArray:
        """Return T1 (k, j, i) and what a network added to it in ``made`` (n, rows, columns)."""
        change = self.scale * self.plan.restore(made - self.t1, outside=0.0)
        return changed_by(change, self.pre.array, context.mask)
