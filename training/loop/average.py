"""The running average of a network's weights, which is what a training keeps in the end."""

from __future__ import annotations

import copy

import torch
from torch import nn


class Average:
    """A copy of a network whose weights are the exponential average of the network's.

    ``decay`` is the share of the average that stays at each step; less in the first steps, so
    that the random weights of the start are soon forgotten.
    """

    def __init__(self, network: nn.Module, decay: float = 0.998) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay, self.updates = decay, 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take one step towards the weights of the network; counters are copied."""
        self.updates += 1
        decay = min(self.decay, self.updates / (self.updates + 10))
        own = self.network.state_dict()
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                own[name].lerp_(value, 1 - decay)
            else:
                own[name].copy_(value)
