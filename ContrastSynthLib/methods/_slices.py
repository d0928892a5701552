"""Shared by SPHERE, SPHERE-Art and the virtual contrast model, whose networks see slices: how they
are run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from ContrastSynthLib.inference.slicing import slicing_axes
from ContrastSynthLib.registry import Param
from ContrastSynthLib.volumes import Volume

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
        found = axes_of(reference)
        return found if self.three_directions else found[:1]


def axes_of(reference: Volume) -> tuple[int, ...]:
    """Return the array axes along which a scan can be sliced, the best one first.

    It is one for thick slices, and where the scan is too thin to be sliced across.
    """
    found = slicing_axes(reference.grid)
    sides_mm = np.multiply(reference.grid.shape[::-1], reference.grid.spacing_mm)
    return found if float(sides_mm.min()) >= LEAST_SIDE_MM else found[:1]
