"""What a run lends to a method besides its volumes and parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ContrastSynthLib.errors import MethodError
from ContrastSynthLib.volumes import BoolArray, FloatArray
from ContrastSynthLib.weights.bundles import Bundle

if TYPE_CHECKING:
    from torch import nn

    from ContrastSynthLib.inference.pieces import Pieces

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
    ``bundles`` are the checked weights of the networks that this run needs, by their names.
    ``builders`` are the functions that make a method's own networks.
    ``seed`` starts the ``generator`` of a method that declares itself ``random``.
    """

    mask: BoolArray
    device: str = "cpu"
    progress: ProgressFunction = no_progress
    measured: MeasuresFunction = no_measures
    bundles: Mapping[str, Bundle] = field(default_factory=dict)
    seed: int | None = None
    builders: Mapping[str, Callable[..., Any] | None] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    record: dict[str, Any] = field(default_factory=dict)
    _networks: dict[str, nn.Module] = field(default_factory=dict, repr=False)

    @cached_property
    def generator(self) -> np.random.Generator:
        """The run's source of random numbers: the same seed gives the same numbers."""
        if self.seed is None:
            raise MethodError("The method draws random numbers, but does not declare random=True.")
        return np.random.default_rng(self.seed)

    def network(self, name: str) -> nn.Module:
        """Return a declared network with its weights, on the CPU, ready to be asked.

        Raises MissingError where a package is not installed, RequestError for damaged weights.
        """
        if name not in self.bundles:
            raise MethodError(
                f"The method asks for the network '{name}', but declares none for these parameters."
            )
        if name not in self._networks:
            from ContrastSynthLib.inference.networks import load_network

            self._networks[name] = load_network(self.bundles[name], self.builders.get(name))
            self._networks[name].eval().requires_grad_(False)
        return self._networks[name]

    def predict(
        self, network: nn.Module, pieces: Pieces, part: tuple[float, float] = (0.0, 1.0)
    ) -> dict[str, FloatArray]:
        """Return what a network makes of all pieces of a volume, in the memory that there is.

        It tells of its progress, which is the share of the run from ``part``'s first to its
        second number, and of memory that did not suffice. Raises as ``run_pieces`` does.
        """
        from ContrastSynthLib.inference.ladder import run_pieces

        first, last = part
        return run_pieces(
            network,
            pieces,
            device=self.device,
            progress=lambda share, doing: self.progress(first + share * (last - first), doing),
            warn=self.warn,
            record=self.record,
        )

    def warn(self, message: str) -> None:
        """Tell the user, and the provenance, what to be careful about."""
        self.warnings.append(message)
