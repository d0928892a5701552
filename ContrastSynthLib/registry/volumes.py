"""Declarations of the volumes that a method takes and gives, and the check of its outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ContrastSynthLib.errors import MethodError

ROLES = {
    "pre": "before the agent",
    "post": "after the full dose",
    "low": "after a low dose",
    "corrupted": "before the agent, with artefacts",
    "t2": "T2-weighted",
    "flair": "FLAIR",
    "adc": "apparent diffusion coefficient",
    "phase": "dynamic phase after the agent",
    "guess": "a full dose that another method made",
    "mask": "the brain or breast, always optional",
}
MASK_ROLE = "mask"
AUTO_MASK = "auto"
"""In place of the mask's file: the brain is to be found."""
PHASE_ROLE = "phase"

IMAGE, MAP, LABELS = KINDS = ("image", "map", "labels")
UPTAKE, TAKEN_UP = "uptake", 0.5
"""The output that maps contrast uptake, 0 to 1, and the value from which on a voxel counts."""
ROUNDING = 1e-5
"""Tolerance, as a fraction of a map's range, for values outside of it by rounding."""


@dataclass(frozen=True)
class Input:
    """A volume that a method takes, or with ``series`` several volumes with their times.

    The function gets a ``Volume``, for a series a ``Series``, and None for an optional input that
    was not given.
    """

    title: str
    modality: str = "T1"
    optional: bool = False
    series: bool = False


@dataclass(frozen=True)
class Output:
    """A volume that a method gives, on the grid of its reference input.

    ``kind`` is one of:

    - ``image``: a synthetic scan; ``units_of`` is the role of the input whose intensity units and
      acquisition it has.
    - ``map``: a quantity in ``unit`` ("": dimensionless) from ``low`` to ``high``.
    - ``labels``: whole numbers; ``labels`` names each of them, and 0 is the background.

    ``series``: the method returns a ``Series``, several volumes with their times.
    ``dose``: the dose of contrast agent in an image, a fraction of the full dose (0: pre-contrast)
    or the name of the parameter that has it.
    Raises ValueError for a declaration that contradicts itself.
    """

    title: str
    units_of: str | None = None
    kind: str = IMAGE
    unit: str = ""
    low: float | None = None
    high: float | None = None
    labels: Mapping[int, str] = field(default_factory=dict)
    series: bool = False
    dose: float | str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.title}: unknown kind '{self.kind}'; known: {', '.join(KINDS)}")
        if (self.kind == IMAGE) != (self.units_of is not None):
            raise ValueError(f"{self.title}: an image, and only an image, needs units_of.")
        if self.kind != MAP and (self.unit or self.low is not None or self.high is not None):
            raise ValueError(f"{self.title}: only a map has a unit and a range.")
        if (self.kind == LABELS) != bool(self.labels) or 0 in self.labels:
            raise ValueError(f"{self.title}: labels, and only labels, need names above 0.")
        if self.kind != IMAGE and self.dose is not None:
            raise ValueError(f"{self.title}: only an image has a dose.")

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest allowed value, infinite where none is declared."""
        if self.kind == LABELS:
            return 0.0, float(max(self.labels))
        return (
            -np.inf if self.low is None else self.low,
            np.inf if self.high is None else self.high,
        )


def check_output(where: str, declared: Output, array: NDArray[Any], shape: tuple[int, ...]) -> None:
    """Raise MethodError unless an array (k, j, i) is as declared.

    ``where`` names method and output in messages; ``shape`` is that of the reference grid. All
    values must be finite and in the declared range, all labels declared.
    """
    if array.shape != shape:
        raise MethodError(f"{where} has the shape {array.shape}; its grid has {shape}.")
    if not np.isfinite(array).all():
        raise MethodError(f"{where} has values that are not finite.")
    if declared.kind == LABELS:
        unknown = sorted(set(np.unique(array).tolist()) - {0, *declared.labels})
        if unknown:
            shown = ", ".join(f"{value:g}" for value in unknown[:5])
            raise MethodError(f"{where} has the labels {shown}, which are not declared.")
        return
    low, high = declared.range
    slack = ROUNDING * (high - low) if np.isfinite(high - low) else 0.0
    smallest, largest = float(array.min()), float(array.max())
    if smallest < low - slack or largest > high + slack:
        raise MethodError(
            f"{where} has values from {smallest:g} to {largest:g}; declared: {low:g} to {high:g}."
        )
