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
    """Return whether the bundle may serve one of the method's networks.

    Weights of another method serve the network of their name, or the only one of that method.
    """
    if bundle.method == method.key:
        return bool(method.networks)
    names = [n.weights or name for name, n in method.networks.items() if n.of == bundle.method]
    return len(names) == 1 or bundle.name in names


def serves(bundle: Bundle, method: Method, network: str) -> bool:
    """Return whether the bundle may serve this network: of its method, not of another network."""
    names = {name: n.weights or name for name, n in method.networks.items()}
    owner = method.networks[network].of or method.key
    return bundle.method == owner and bundle.name not in {*names.values()} - {names[network]}


def choose_bundles(
    method: Method, values: Any, wanted: Wanted = None, *, verify: bool = True
) -> dict[str, Bundle]:
    """Return the bundle of each network that the method needs with the parameters ``values``.

    ``wanted``, where it is a string, replaces the weights of the same name, else those of the only
    network. ``verify`` reads the weights and checks their SHA-256. Raises RequestError for weights
    that fit no network, are damaged or need a newer version of the library, and for those of a
    network that is not needed; MissingError where there are none.
    """
    needed = method.networks_for(values)
    chosen = _by_network(method, needed, wanted)
    found: dict[str, Bundle] = {}
    # Those that others may spare come last.
    for name in sorted(needed, key=lambda name: method.networks[name].spared_by is not None):
        if not (spares := _sparing(method, name, found)):
            found[name] = _bundle_of(method, name, chosen.get(name, needed[name]), verify)
        elif name in chosen:
            raise RequestError(
                f"With the weights {spares.id} {method.key} needs none of the network '{name}'. "
                "Leave those out, or choose others."
            )
    return {name: found[name] for name in needed if name in found}


def _sparing(method: Method, name: str, found: Mapping[str, Bundle]) -> Bundle | None:
    """Return the weights among those ``found``, by network, that make this network needless."""
    if (spared_by := method.networks[name].spared_by) is None:
        return None
    other, spares = spared_by
    return found[other] if other in found and spares(found[other].metadata["network"]) else None


def _bundle_of(method: Method, name: str, wanted: str, verify: bool) -> Bundle:
    """Return the weights ``wanted``, checked for use by a network of the method."""
    network = method.networks[name]
    found = find_bundle(wanted, network.of or method.key, check_hash=verify)
    if not serves(found, method, name):
        raise RequestError(
            f"The weights {found.id} are those of another network of {method.key}, not of '{name}'."
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
    alone = [name for name in needed if not _sparing(method, name, dict.fromkeys(needed, bundle))]
    if not matching and len(alone) == 1 and (bundle.method == method.key or len(networks) == 1):
        matching = alone
    if not matching:
        of_owner = [n for n in needed if (networks[n].of or method.key) == bundle.method]
        raise RequestError(
            f"{method.key} needs weights named {' and '.join(needed.values())} with these "
            f"parameters; {bundle.id} is none of them. Name the network that they are for "
            f"(--weights {[*of_owner, *needed][0]}={wanted})."
        )
    return dict.fromkeys(matching, wanted)
