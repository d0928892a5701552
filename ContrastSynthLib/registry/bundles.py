"""Which bundles of weights a run takes for the networks that its method declares.

The run and the panel ask here, so that they never choose differently.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ContrastSynthLib.errors import RequestError, unknown_name
from ContrastSynthLib.registry.declaration import Method
from ContrastSynthLib.weights.bundles import Bundle, look_up
from ContrastSynthLib.weights.bundles import verify as verify_bundle
from ContrastSynthLib.weights.model_card import refuse_newer

Wanted = str | Mapping[str, str] | None
"""Other weights than the method's own: a name, an id or a folder, or such a one by network."""


def fits(bundle: Bundle, method: Method) -> bool:
    """Return whether one of the method's networks may have these weights."""
    if bundle.method == method.key:
        return bool(method.networks)
    borrowed = {(n.of, n.weights or name) for name, n in method.networks.items() if n.of}
    return (bundle.method, bundle.name) in borrowed


def choose_bundles(
    method: Method, values: Any, wanted: Wanted = None, *, verify: bool = True
) -> dict[str, Bundle]:
    """Return the bundle of each network that the method needs with these parameters.

    A text in ``wanted`` replaces the weights of the same name, else those of the only network.
    ``verify`` reads the weights and compares their SHA-256. Raises RequestError for weights that
    no network takes, are damaged, or need a newer library; MissingError where none are there.
    """
    needed = method.networks_for(values)
    asked = _by_network(method, needed, wanted)
    found = {}
    for name, own in needed.items():
        bundle = look_up(asked.get(name, own))
        owner = method.networks[name].of or method.key
        if bundle.method != owner:
            raise RequestError(
                f"The weights {bundle.id} belong to the method '{bundle.method}', not to "
                f"'{owner}'. 'contrastsynth weights list' shows which belong to which."
            )
        refuse_newer(bundle.metadata, bundle.folder)
        if verify:
            verify_bundle(bundle)
        found[name] = bundle
    return found


def _by_network(method: Method, needed: Mapping[str, str], wanted: Wanted) -> dict[str, str]:
    """Return the weights that were asked for, by the name of their network."""
    if not wanted:
        return {}
    if not needed:
        how = " with these parameters" if method.networks else ""
        raise RequestError(f"{method.key} has no weights{how}; leave --weights out.")
    if not isinstance(wanted, str):
        for name in wanted:
            if name not in needed:
                raise unknown_name(f"network of {method.key} with these parameters", name, needed)
        return dict(wanted)
    bundle = look_up(wanted)
    networks = method.networks
    places = [name for name, own in needed.items() if own == bundle.name]
    if not places and len(needed) == 1 and (bundle.method == method.key or len(networks) == 1):
        places = list(needed)
    if not places:
        raise RequestError(
            f"{method.key} needs weights named {' and '.join(needed.values())} with these "
            f"parameters; {bundle.id} is none of them. Say for which network they are "
            f"(--weights {next(iter(needed))}={wanted})."
        )
    return dict.fromkeys(places, wanted)
