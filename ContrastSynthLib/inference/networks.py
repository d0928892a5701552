"""The network that a bundle of weights describes, ready to be asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ContrastSynthLib.weights.bundles import Bundle, load_state

if TYPE_CHECKING:
    from torch import nn


def load_network(bundle: Bundle) -> nn.Module:
    """Return the network that a bundle of weights describes, with these weights."""
    from ContrastSynthLib.networks import build_network

    network = build_network(**bundle.metadata["network"])
    network.load_state_dict(load_state(bundle))
    return network
