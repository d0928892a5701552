"""The network that a bundle of weights describes, ready to be asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ContrastSynthLib.weights.bundles import Bundle
from ContrastSynthLib.weights.storage import load_state

if TYPE_CHECKING:
    from torch import nn


def load_network(bundle: Bundle, build: Callable[..., nn.Module] | None = None) -> nn.Module:
    """Return the network that a bundle of weights describes, with these weights, on the CPU.

    ``build`` makes it from the arguments on the model card; without it the card names one of the
    library's networks. Raises RequestError where card, network and weights do not belong together,
    MissingError where a package is not installed.
    """
    from ContrastSynthLib.networks import build_network

    card = bundle.metadata["network"]
    network = build(**card["arguments"]) if build else build_network(**card)
    network.load_state_dict(load_state(bundle))
    return network
