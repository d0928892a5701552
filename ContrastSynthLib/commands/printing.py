"""Output of the commands: JSON or text on stdout, warnings on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

LONGEST_LIST_SHOWN = 8


def print_json(content: dict[str, Any]) -> None:
    """Print a result as JSON; raises ValueError for NaN and infinity, which JSON does not have."""
    print(json.dumps(content, indent=2, allow_nan=False))


def print_nested(content: dict[str, Any], indent: str = "") -> None:
    """Print a result as indented text, lists of records as tables."""
    for name, value in content.items():
        if isinstance(value, dict):
            print(f"{indent}{name}")
            print_nested(value, indent + "  ")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            print(f"{indent}{name}")
            _print_table(value, indent + "  ")
        else:
            print(f"{indent}{name:<28} {_shown(value)}")


def _print_table(rows: Sequence[dict[str, Any]], indent: str) -> None:
    cells = [list(rows[0]), *([_shown(value) for value in row.values()] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    for line in cells:
        padded = (cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        print(indent + "  ".join(padded))


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.5g}"
    if not isinstance(value, (list, tuple)):
        return str(value)
    if len(value) > LONGEST_LIST_SHOWN:
        return f"{len(value)} numbers, shown by --json"
    return " ".join(_shown(item) for item in value) or "none"


def print_warnings(warnings: Sequence[str]) -> None:
    """Print warnings on stderr, apart from the results on stdout."""
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
