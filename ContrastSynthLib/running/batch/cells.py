"""Messages for the cells of a table that people pass on: one line, and no paths."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ContrastSynthLib.files.csv_rows import STARTS_A_FORMULA

FORMULA_WITHIN = re.compile(rf"([;\t|]\s*)(?=[{STARTS_A_FORMULA}])")
"""What would begin a cell where the spreadsheet splits at other signs than commas."""
MESSAGE_LENGTH = 1000
END_OF_PATH = r"""[^\s'":,;()]*[^\s'":,;().]"""
SOME_PATH = re.compile(rf"(?<![\w.~/\\])(?:[A-Za-z]:[\\/]|\\\\|~?/){END_OF_PATH}")
"""What looks like a full path: of POSIX, of Windows, of a network drive."""


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
