"""The volumes that a method takes and gives, as its declaration describes them."""

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
PHASE_ROLE = "phase"

IMAGE, MAP, LABELS = KINDS = ("image", "map", "labels")
ROUNDING = 1e-5
"""By how much of its range a map may miss it: single precision, and linear interpolation."""


@dataclass(frozen=True)
class Input:
    """A volume that a method takes, or with ``series`` several volumes, each with its time.

    A method gets a ``Volume``, for a series a ``Series``, and None for an optional input that
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

    - ``image``: a scan that ``units_of``, the role of an input, has the units and settings of.
    - ``map``: a measure in ``unit``, "" for a number without one, from ``low`` to ``high``.
    - ``labels``: whole numbers; ``labels`` names each of them, and 0 is the background.

    ``series`` gives several volumes, each with its time; the method then returns a ``Series``.
    ``dose`` is the share of the full dose that an image shows, 0 for a scan before the agent: a
    number, or the name of the parameter that holds it.
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
            raise ValueError(f"{self.title}: an image, and nothing else, names units_of.")
        if self.kind != MAP and (self.unit or self.low is not None or self.high is not None):
            raise ValueError(f"{self.title}: only a map has a unit and a range.")
        if (self.kind == LABELS) != bool(self.labels) or 0 in self.labels:
            raise ValueError(f"{self.title}: labels, and nothing else, name each label above 0.")
        if self.kind != IMAGE and self.dose is not None:
            raise ValueError(f"{self.title}: only an image shows a dose.")

    @property
    def range(self) -> tuple[float, float]:
        """The values that it may have, infinite where nothing is declared."""
        if self.kind == LABELS:
            return 0.0, float(max(self.labels))
        return (
            -np.inf if self.low is None else self.low,
            np.inf if self.high is None else self.high,
        )


def check_output(where: str, declared: Output, array: NDArray[Any], shape: tuple[int, ...]) -> None:
    """Raise MethodError unless an array (k, j, i) is what the method declares.

    ``where`` names method and output; ``shape`` is that of the reference grid. Every value has to
    be finite and inside the declared range, and every label a declared one.
    """
    if array.shape != shape:
        raise MethodError(f"{where} has the shape {array.shape}; its grid has {shape}.")
    if not np.isfinite(array).all():
        raise MethodError(f"{where} holds values that are not finite numbers.")
    if declared.kind == LABELS:
        unknown = sorted(set(np.unique(array).tolist()) - {0, *declared.labels})
        if unknown:
            shown = ", ".join(f"{value:g}" for value in unknown[:5])
            raise MethodError(f"{where} holds the labels {shown}, which it does not declare.")
        return
    low, high = declared.range
    slack = ROUNDING * (high - low) if np.isfinite(high - low) else 0.0
    smallest, largest = float(array.min()), float(array.max())
    if smallest < low - slack or largest > high + slack:
        raise MethodError(
            f"{where} goes from {smallest:g} to {largest:g}; it declares {low:g} to {high:g}."
        )
