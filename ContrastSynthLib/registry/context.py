"""The context that a run passes to a method besides its volumes and parameters."""

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
    """Ignore progress."""


def no_measures(values: Mapping[str, float]) -> None:
    """Ignore the numbers of an iteration."""


@dataclass
class Context:
    """Mask, device, networks and random numbers of a run, its progress, warnings and record.

    - ``mask``: True inside the brain or breast, of the shape (k, j, i) of the reference grid.
    - ``device``: ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    - ``progress``: call it with a fraction from 0 to 1 and a message. It raises Cancelled when the
      user has cancelled the run.
    - ``measured``: call it with the numbers of an iteration by name, such as the objective, before
      the call of ``progress`` for that iteration.
    - ``bundles``: the verified weights of the networks that this run needs, by network name.
    - ``builders``: the functions that build networks outside of the library, by network name.
    - ``seed``: starts ``generator``; None unless the method is declared as ``random``.
    - ``warnings``: the messages given to :meth:`warn`.
    - ``record``: what the method adds to the provenance, by name; it must be valid JSON.
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
        """Source of random numbers; raises MethodError unless the method is declared random."""
        if self.seed is None:
            raise MethodError("The method draws random numbers, but does not declare random=True.")
        return np.random.default_rng(self.seed)

    def network(self, name: str) -> nn.Module:
        """Return a declared network with its weights, on the CPU, in evaluation mode.

        Raises MissingError where a package is not installed, RequestError for damaged weights,
        MethodError for a network that is not declared for these parameters.
        """
        if name not in self.bundles:
            raise MethodError(
                f"The method uses the network '{name}' without declaring it for these parameters."
            )
        if name not in self._networks:
            from ContrastSynthLib.inference.networks import load_network

            self._networks[name] = load_network(self.bundles[name], self.builders.get(name))
            self._networks[name].eval().requires_grad_(False)
        return self._networks[name]

    def predict(
        self, network: nn.Module, pieces: Pieces, part: tuple[float, float] = (0.0, 1.0)
    ) -> dict[str, FloatArray]:
        """Return the outputs of a network over all pieces of a volume, by name.

        Progress is reported from the first to the second number of ``part``. When memory does not
        suffice, smaller batches, smaller pieces and the CPU are tried, with a warning; see
        :func:`~ContrastSynthLib.inference.ladder.run_pieces`, also for what it raises.
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
        """Add a warning, which is shown to the user and recorded in the provenance."""
        self.warnings.append(message)
