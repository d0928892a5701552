"""The model card of a bundle of weights, ``metadata.json``: its required keys and their check."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ContrastSynthLib import __version__
from ContrastSynthLib.errors import RequestError

SCHEMA_VERSION = 1

REQUIRED: Mapping[str, tuple[type, ...]] = {
    "schema_version": (int,),
    "name": (str,),
    "version": (str,),
    "oldest_library_version": (str,),
    "sha256": (str,),
    "task": (str,),
    "method": (str,),
    "network": (dict,),
    "network.name": (str,),
    "network.arguments": (dict,),
    "inputs": (dict, list),
    "normalisation": (str, dict),
    "training": (dict,),
    "training.data": (str, dict, list),
    "training.data_licence": (str,),
    "training.commit": (str,),
    "training.command": (str,),
    "training.seed": (int,),
    "training.steps": (int,),
    "training.hours": (int, float),
    "training.hardware": (str,),
    "metrics": (dict,),
    "limits": (str, list),
    "licence": (str,),
    "trained_on_virtual_patients": (bool,),
}
"""The required keys of a model card and their types; it may have more keys."""

FORMS = {
    # Name and version become the name of a folder.
    "name": (r"[A-Za-z0-9][A-Za-z0-9_]*", "letters, digits and underscores"),
    "version": (r"\d+(\.\d+)*", "numbers with dots, such as 1.0"),
    "oldest_library_version": (r"\d+\.\d+\.\d+", "three numbers with dots, such as 0.1.0"),
    "sha256": (r"[0-9a-f]{64}", "a SHA-256, 64 digits of 0-9 and a-f"),
}
MAX_CARD_BYTES = 1_000_000
TYPE_NAMES = {
    bool: "true or false",
    dict: "an object",
    float: "a number",
    int: "a whole number",
    list: "a list",
    str: "a text",
}


def parse_card(content: bytes, path: Path) -> dict[str, Any]:
    """Return the model card in ``content``; ``path`` is its file, for messages.

    Raises RequestError, with the file and the key, for a missing or wrong value.
    """
    if len(content) > MAX_CARD_BYTES:
        raise RequestError(f"{path}: has {len(content)} bytes. Expected at most {MAX_CARD_BYTES}.")
    try:
        card = json.loads(content)
        # json.loads accepts NaN and 1e999, but provenance, which has the card, must be valid JSON.
        json.dumps(card, allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"{path}: is not JSON ({_short(error)}).") from None
    if not isinstance(card, dict):
        raise RequestError(f"{path}: expected an object with {', '.join(REQUIRED)}.")
    for key, types in REQUIRED.items():
        *above, last = key.split(".")
        section = card[above[0]] if above else card
        if last not in section or section[last] == "":
            raise RequestError(f"{path}: '{key}' is missing.")
        if not isinstance(section[last], types):
            wanted = " or ".join(TYPE_NAMES[kind] for kind in types)
            raise RequestError(f"{path}: '{key}' is {section[last]!r}. Expected {wanted}.")
    for key in FORMS:
        check_form(key, card[key], f"{path}: '{key}'")
    if card["schema_version"] != SCHEMA_VERSION:
        raise RequestError(
            f"{path}: 'schema_version' is {card['schema_version']}. "
            f"ContrastSynth {__version__} reads {SCHEMA_VERSION}."
        )
    return card


def check_form(key: str, text: str, named: str) -> None:
    """Raise RequestError, which calls it ``named``, for a text that a card may not have there."""
    pattern, words = FORMS[key]
    if not re.fullmatch(pattern, text):
        raise RequestError(f"{named} is '{text}'. Expected {words}.")


def _short(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(error).split(";")[0]


def refuse_newer(card: Mapping[str, Any], place: Path) -> None:
    """Raise RequestError, with the path ``place``, for weights that need a newer library."""
    oldest = card["oldest_library_version"]
    if _numbers(oldest) > _numbers(__version__):
        raise RequestError(
            f"{place}: these weights need ContrastSynth {oldest} or newer; this is "
            f"{__version__}. Install that version, or use older weights."
        )


def _numbers(version: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", version)[:3]]
