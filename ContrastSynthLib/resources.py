"""Files distributed with the library: citations, the table of weights, weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ContrastSynthLib.errors import MissingError

HERE = Path(__file__).resolve().parent
FOLDERS = (HERE / "Resources", HERE.parent / "Resources")
"""The folder in an installed package (wheel or Slicer), and in a source checkout."""


def resource(name: str) -> Path:
    """Return the path of a distributed file, for example ``resource("Citations.json")``.

    Raises MissingError when it does not exist.
    """
    for folder in FOLDERS:
        path = folder / name
        if path.is_file():
            return path
    raise MissingError(
        f"The file '{name}', which belongs to ContrastSynth, is neither in "
        + " nor in ".join(str(folder) for folder in FOLDERS)
        + ". Install ContrastSynth again."
    )


def citation(key: str) -> dict[str, Any]:
    """Return the paper that a method cites: authors, title, venue, year, and a url or doi."""
    listed = json.loads(resource("Citations.json").read_text(encoding="utf-8"))["citations"]
    found: dict[str, Any] = listed[key]
    return found
