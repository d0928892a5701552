"""A network with its optimiser. SPHERE has two of them: the generator and the discriminator."""

from __future__ import annotations

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from ContrastSynthLib.errors import RequestError

MOST_SKIPPED = 20
"""Steps in a row whose gradient may not be finite."""


def fast_layout(network: nn.Module) -> nn.Module:
    """Return the network with channels last in memory, which makes convolutions faster.

    Convolutions of slices and of volumes alike.
    """
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for weights in network.parameters():
        if weights.dim() in formats:
            weights.data = weights.data.contiguous(memory_format=formats[weights.dim()])
    return network


class Learner:
    """A network and its optimiser, on the devices of ``fabric``.

    Call ``learner.network``, not the network that was given: with several processes it is the one
    that averages their gradients. ``max_norm`` limits the norm of the gradient, and a step whose
    gradient is not finite is skipped; ``channels_last`` is the layout in memory.
    """

    def __init__(
        self,
        fabric: Fabric,
        network: nn.Module,
        optimiser: Optimizer,
        max_norm: float | None = None,
        *,
        channels_last: bool = True,
    ) -> None:
        self.fabric, self.max_norm, self._skipped = fabric, max_norm, 0
        network = fast_layout(network) if channels_last else network
        self.network, self.optimiser = fabric.setup(network, optimiser)

    def descend(self, loss: Tensor, rate: float) -> None:
        """Take one step that makes the loss smaller, at a learning rate.

        Raises RequestError where the gradient was not finite for MOST_SKIPPED steps in a row, which
        is found out with a ``max_norm``.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad()
        self.fabric.backward(loss)
        if self.max_norm is not None:
            norm = self.fabric.clip_gradients(
                self.network, self.optimiser, max_norm=self.max_norm, error_if_nonfinite=False
            )
            if norm is not None and not torch.isfinite(norm):
                self._skip()
                return
            self._skipped = 0
        self.optimiser.step()

    def _skip(self) -> None:
        self.optimiser.zero_grad()
        self._skipped += 1
        if self._skipped >= MOST_SKIPPED:
            raise RequestError(
                f"The gradient was not finite for {MOST_SKIPPED} steps in a row. Lower "
                "--learning-rate, or train with --precision 32-true."
            )
