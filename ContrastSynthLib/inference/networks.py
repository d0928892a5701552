"""Building the network that a bundle of weights describes, and loading the weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.weights.bundles import MODEL, Bundle
from ContrastSynthLib.weights.storage import load_state
from ContrastSynthLib.weights.tensors import check_network

if TYPE_CHECKING:
    from torch import nn

SLICES_SEEN = 3
"""How many neighbouring slices a network sees at once whose model card does not say it."""

_kept: dict[Any, nn.Module] | None = None


def slices_seen(arguments: Mapping[str, Any]) -> int:
    """Return how many neighbouring slices of a scan a network with these arguments sees at once."""
    return int(arguments.get("in_channels", SLICES_SEEN))


def keep_networks() -> None:
    """Make this process keep the networks it loads, for later runs with the same weights."""
    global _kept
    _kept = {}


def load_network(bundle: Bundle, build: Callable[..., nn.Module] | None = None) -> nn.Module:
    """Return the network that a bundle of weights describes, with these weights, on the CPU.

    ``build`` makes the network from the arguments in the model card; without it the card must name
    one of the library's networks. Raises RequestError for an unknown network, damaged weights and
    weights of another network; MissingError where a package is missing.
    """
    card = bundle.metadata["network"]
    key = bundle.sha256, json.dumps(card, sort_keys=True), build
    if _kept is not None and key in _kept:
        import torch

        # As it was after loading: an earlier run may have moved it, and changed its layout.
        return _kept[key].to("cpu", memory_format=torch.contiguous_format)
    from ContrastSynthLib.networks import build_network

    state = load_state(bundle)
    if build is None:  # first: what a card asks for may not fit into memory
        shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
        check_network(bundle.metadata, shapes, bundle.folder / MODEL)
    network = build(**card["arguments"]) if build else build_network(**card)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise RequestError(
            f"{bundle.folder / MODEL}: does not suit its network ({str(error).splitlines()[-1]})."
        ) from None
    if _kept is not None:
        _kept[key] = network
    return network
