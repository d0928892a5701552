"""Tables as CSV that people open in a spreadsheet and pass on.

A spreadsheet runs a cell that begins with ``=``, ``+``, ``-`` or ``@`` as a formula. An apostrophe
before it makes it text; reading takes that away again.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

STARTS_A_FORMULA = "=+\\-@＝＋－＠\t\r\n"
FORMULA = re.compile(rf"'*[{STARTS_A_FORMULA}]")


def rows_as_csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Return rows as CSV with a line of column names; None is an empty cell, texts are safe."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {name: safe_cell(cell) if isinstance(cell, str) else cell for name, cell in row.items()}
        )
    return text.getvalue()


def safe_cell(text: str) -> str:
    """Return a text that no spreadsheet runs; :func:`plain_cell` gives it back."""
    return f"'{text}" if FORMULA.match(text) else text


def plain_cell(cell: str) -> str:
    """Return what :func:`safe_cell` was given."""
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell
