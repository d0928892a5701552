"""What a run lends to a method besides its volumes and parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ContrastSynthLib.volumes import BoolArray
from ContrastSynthLib.weights.bundles import Bundle

ProgressFunction = Callable[[float, str], None]
MeasuresFunction = Callable[[Mapping[str, float]], None]


def no_progress(fraction: float, message: str) -> None:
    """Take progress and do nothing with it."""


def no_measures(values: Mapping[str, float]) -> None:
    """Take measures and do nothing with them."""


@dataclass
class Context:
    """The region of interest, the device, the weights, and the ways to say something to the user.

    ``mask`` is True inside the brain or breast, shape (k, j, i) of the reference grid.
    ``device`` is ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    ``progress`` takes a fraction from 0 to 1 and what is being done; it raises Cancelled
    when the user gave up, so that a method which reports can be stopped.
    ``measured`` takes numbers of the step that ``progress`` tells of next, such as an objective.
    ``bundles`` are the weights that the method declares, by the names that it declares, checked.
    """

    mask: BoolArray
    device: str = "cpu"
    progress: ProgressFunction = no_progress
    measured: MeasuresFunction = no_measures
    bundles: Mapping[str, Bundle] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def weights(self) -> Bundle | None:
        """The weights of a method that declares one name; None for a method without any."""
        (found,) = self.bundles.values() if self.bundles else (None,)
        return found

    def warn(self, message: str) -> None:
        """Tell the user, and the provenance, what to be careful about."""
        self.warnings.append(message)
