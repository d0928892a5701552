"""What a safetensors file holds, read without torch, and whether it suits the declared network."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ContrastSynthLib.errors import RequestError

Shapes = dict[str, tuple[int, ...]]
MAX_HEADER_BYTES = 2_000_000
ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1}
ITEM_BYTES |= {"U8": 1, "BOOL": 1}
FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
NAMED = 4
"""At most so many tensors are named in a message."""


def check_tensors(content: bytes, path: Path) -> Shapes:
    """Return the shapes of the tensors in a safetensors file, by name.

    Raises RequestError, with ``path`` and the tensor, for a header that is damaged or does not
    agree with the bytes behind it, and for values that are not finite.
    """
    header, start = _header(content, path)
    shapes, places = {}, []
    for name, entry in header.items():
        kind, shape, (first, last) = _entry(name, entry, path)
        size = math.prod(shape) * ITEM_BYTES[kind]
        if last - first != size or first < 0 or start + last > len(content):
            raise RequestError(
                f"{path}: the tensor '{name}' of {'x'.join(map(str, shape)) or 1} values needs "
                f"{size} bytes; the file has {max(0, min(last, len(content) - start) - first)}."
            )
        places.append((first, last))
        shapes[name] = shape
        if kind in FLOATS:
            values = np.frombuffer(content, FLOATS[kind], math.prod(shape), start + first)
            if not np.isfinite(values).all():
                raise RequestError(f"{path}: the tensor '{name}' holds NaN or infinity.")
    places.sort()
    if any(last > first for (_, last), (first, _) in pairwise(places)):
        raise RequestError(f"{path}: tensors overlap in the file.")
    return shapes


def _header(content: bytes, path: Path) -> tuple[dict[str, Any], int]:
    """Return the header, without its remarks, and where the tensors start."""
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > min(MAX_HEADER_BYTES, len(content) - 8):
        raise RequestError(f"{path}: is no safetensors file: its header is cut off or too long.")
    try:
        header = json.loads(content[8 : 8 + length])
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise RequestError(f"{path}: is no safetensors file: its header is no JSON object.")
    header.pop("__metadata__", None)
    return header, 8 + length


def _entry(name: str, entry: Any, path: Path) -> tuple[str, tuple[int, ...], tuple[int, int]]:
    """Return type, shape and place of a tensor, each of the right kind."""
    try:
        kind = entry["dtype"]
        shape = tuple(entry["shape"])
        first, last = entry["data_offsets"]
    except (TypeError, KeyError, ValueError):
        raise RequestError(f"{path}: the tensor '{name}' has no type, shape and place.") from None
    numbers = (*shape, first, last)
    if kind not in ITEM_BYTES or not all(type(n) is int and 0 <= n < 2**40 for n in numbers):
        raise RequestError(
            f"{path}: the tensor '{name}' is of type {kind!r} and shape {list(shape)!r}. Expected "
            f"one of {', '.join(ITEM_BYTES)} and whole numbers."
        )
    return kind, shape, (first, last)


def check_network(card: Mapping[str, Any], found: Shapes, path: Path) -> None:
    """Raise RequestError unless the tensors are those of the network that a model card declares.

    The network is built without memory for its tensors. Nothing is compared where torch is not
    installed, or the card names a network of a user's own method.
    """
    try:
        import torch

        from ContrastSynthLib.networks import NETWORKS, build_network
    except ImportError:
        return
    if card["network"]["name"] not in NETWORKS:
        return
    with torch.device("meta"):
        network = build_network(**card["network"])
    wanted = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    missing, extra = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    other = sorted(n for n in wanted.keys() & found.keys() if wanted[n] != found[n])
    faults = [
        f"{what} {_listed(names)}"
        for what, names in (("lacks", missing), ("also has", extra), ("has other shapes of", other))
        if names
    ]
    if faults:
        raise RequestError(
            f"{path}: does not suit the network '{card['network']['name']}' of its model card: it "
            f"{', '.join(faults)}."
        )


def _listed(names: list[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:NAMED])
    return shown if len(names) <= NAMED else f"{shown} and {len(names) - NAMED} more"
