"""Text for the cells of a table that people open in a spreadsheet and pass on.

A spreadsheet runs a cell that begins with ``=``, ``+``, ``-`` or ``@`` as a formula. An apostrophe
before it makes it text; reading takes that away again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

STARTS_A_FORMULA = "=+\\-@＝＋－＠\t\r\n"
FORMULA = re.compile(rf"'*[{STARTS_A_FORMULA}]")
FORMULA_WITHIN = re.compile(rf"([;\t|]\s*)(?=[{STARTS_A_FORMULA}])")
"""What would begin a cell where the spreadsheet splits at other signs than commas."""
MESSAGE_LENGTH = 1000
END_OF_PATH = r"""[^\s'":,;()]*[^\s'":,;().]"""
SOME_PATH = re.compile(rf"(?<![\w.~/\\])(?:[A-Za-z]:[\\/]|\\\\|~?/){END_OF_PATH}")
"""What looks like a full path: of POSIX, of Windows, of a network drive."""


def safe_cell(text: str) -> str:
    """Return a text that no spreadsheet runs; :func:`plain_cell` gives it back."""
    return f"'{text}" if FORMULA.match(text) else text


def plain_cell(cell: str) -> str:
    """Return what :func:`safe_cell` was given."""
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell


def one_line(text: str) -> str:
    """Return a message for a cell: one line, not endless, and no formula inside."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    line = FORMULA_WITHIN.sub(r"\1'", line)
    return line if len(line) <= MESSAGE_LENGTH else f"{line[:MESSAGE_LENGTH]}..."


def without_paths(text: str, known: Mapping[str, str]) -> str:
    """Return the text with a word for each path: what it is where known, else ``(a path)``.

    ``known`` maps paths to what they are, such as "the file of 'pre'". Files beside them and below
    them go, too.
    """
    for path in sorted(known, key=len, reverse=True):
        pieces = re.split(re.escape(path) + rf"(?:[/\\]{END_OF_PATH})?", text)
        text = known[path].join(pieces)
    for folder in sorted({str(Path(path).parent) for path in known}, key=len, reverse=True):
        if len(folder) > 1:
            text = re.sub(re.escape(folder) + rf"[/\\]{END_OF_PATH}", "(a path)", text)
    return SOME_PATH.sub("(a path)", text)
