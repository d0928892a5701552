"""Which bundle of weights a run takes for each network that its method declares.

Both a run and the panel call these functions, so that they always choose the same weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ContrastSynthLib.errors import RequestError, unknown_name
from ContrastSynthLib.registry.declaration import Method
from ContrastSynthLib.weights.bundles import Bundle, find_bundle, look_up

Wanted = str | Mapping[str, str] | None
"""Weights that replace the method's own: a name, an id or a folder, or one of these per network."""


def fits(bundle: Bundle, method: Method) -> bool:
    """Return whether the bundle may serve one of the method's networks."""
    if bundle.method == method.key:
        return bool(method.networks)
    borrowed = {(n.of, n.weights or name) for name, n in method.networks.items() if n.of}
    return (bundle.method, bundle.name) in borrowed


def choose_bundles(
    method: Method, values: Any, wanted: Wanted = None, *, verify: bool = True
) -> dict[str, Bundle]:
    """Return the bundle of each network that the method needs with the parameters ``values``.

    ``wanted``, where it is a string, replaces the weights of the same name, else those of the only
    network. ``verify`` reads the weights and checks their SHA-256. Raises RequestError for weights
    that fit no network, are damaged or need a newer version of the library; MissingError where
    there are none.
    """
    needed = method.networks_for(values)
    chosen = _by_network(method, needed, wanted)
    found = {}
    for name, own in needed.items():
        owner = method.networks[name].of or method.key
        found[name] = find_bundle(chosen.get(name, own), owner, check_hash=verify)
        others = {n.weights or other for other, n in method.networks.items()} - {own}
        if found[name].name in others:
            raise RequestError(
                f"The weights {found[name].id} are those of another network of {method.key}, not "
                f"of '{name}'."
            )
    return found


def _by_network(method: Method, needed: Mapping[str, str], wanted: Wanted) -> dict[str, str]:
    """Return the user's choice of weights by the name of the network."""
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
    matching = [name for name, own in needed.items() if own == bundle.name]
    if not matching and len(needed) == 1 and (bundle.method == method.key or len(networks) == 1):
        matching = list(needed)
    if not matching:
        raise RequestError(
            f"{method.key} needs weights named {' and '.join(needed.values())} with these "
            f"parameters; {bundle.id} is none of them. Name the network that they are for "
            f"(--weights {next(iter(needed))}={wanted})."
        )
    return dict.fromkeys(matching, wanted)
