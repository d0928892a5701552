"""A CSV file as people and spreadsheets leave it, to its cells with their line numbers."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ContrastSynthLib.errors import RequestError

DELIMITERS = (",", ";", "\t", "|")
MOST_BYTES = 64 << 20
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""In this order: the mark of UTF-32 begins with that of UTF-16."""
ZIP = b"PK\x03\x04"


@dataclass(frozen=True)
class CsvRow:
    """The cells of a row without the white space around them, and the line that it begins in."""

    line: int
    cells: list[str]


@dataclass(frozen=True)
class CsvGrid:
    """The headings as they are known, the rows below them, and what was remarkable.

    ``delimiter`` stands between the cells. ``notes`` are sentences for the user.
    """

    headings: list[str]
    rows: list[CsvRow]
    delimiter: str
    notes: list[str]


def read_grid(path: Path, known: Sequence[str]) -> CsvGrid:
    """Return the cells of a table whose headings are hoped to be among ``known``.

    Commas, semicolons, tabs or bars between the cells, UTF-8, UTF-16 or Windows-1252, blank rows,
    capital letters and spaces in headings are all read. Raises RequestError, with the line, for a
    quote that never ends, values under no heading, two equal headings, and what is no text.
    """
    text, notes = _decoded(path)
    separator = re.match(r"sep=(.)\r?\n", text)
    if separator:
        text = "\n" + text[separator.end() :]  # the lines keep their numbers
    delimiter = separator[1] if separator else _delimiter(text, known)
    try:
        rows = list(_rows(text, delimiter))
    except csv.Error as error:
        raise RequestError(f"{path}: {error}.") from None
    if not rows:
        return CsvGrid([], [], delimiter, notes)
    first, *rest = rows
    headings = [heading(cell) for cell in first.cells]
    named = [one for one in headings if one]
    for twice in (one for index, one in enumerate(named) if one in named[:index]):
        raise RequestError(f"{path}: line {first.line}: the column '{twice}' stands there twice.")
    return CsvGrid(headings, [_fitted(path, row, headings) for row in rest], delimiter, notes)


def heading(cell: str) -> str:
    """Return a heading as columns are named: in small letters, with underscores for spaces."""
    return re.sub(r"[\s-]+", "_", cell.strip()).lower()


def _fitted(path: Path, row: CsvRow, headings: Sequence[str]) -> CsvRow:
    """Return the row with as many cells as there are headings."""
    for index, cell in enumerate(row.cells):
        if cell and (index >= len(headings) or not headings[index]):
            raise RequestError(
                f"{path}: line {row.line}: '{cell}' stands under no heading. A cell that holds the "
                "sign between the cells, such as a decimal comma, needs quotes around it."
            )
    missing = len(headings) - len(row.cells)
    return CsvRow(row.line, (row.cells + [""] * missing)[: len(headings)])


def _decoded(path: Path) -> tuple[str, list[str]]:
    """Return the text of a file, and a note where its encoding had to be guessed."""
    unreadable = f"{path}: cannot be read as a table"
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise RequestError(f"{unreadable} ({error}).") from error
    if len(content) > MOST_BYTES:
        raise RequestError(f"{unreadable} (it has more than {MOST_BYTES >> 20} MB).")
    if content.startswith(ZIP):
        raise RequestError(f"{unreadable} (it is a workbook). Save it as CSV UTF-8 first.")
    encoding, notes = _encoding(content), []
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise RequestError(f"{unreadable} ({error}).") from None
        text = content.decode("cp1252", errors="replace")
        notes = [
            f"{path.name} is not UTF-8; it was read as Windows-1252. Check names with accents."
        ]
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise RequestError(f"{unreadable} (line {line} is no text).")
    return text, notes


def _encoding(content: bytes) -> str:
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            return encoding
    if len(content) % 2 == 0 and content[1:2] == b"\0":
        return "utf-16-le"
    if len(content) % 2 == 0 and content[:1] == b"\0":
        return "utf-16-be"
    return "utf-8"


def _delimiter(text: str, known: Sequence[str]) -> str:
    """Return the sign between the cells with which the first row has most known headings."""

    def score(delimiter: str) -> int:
        try:
            first = next(_rows(text, delimiter), None)
        except csv.Error:
            return -1
        return sum(heading(cell) in known for cell in first.cells) if first else 0

    return max(DELIMITERS, key=score)


def _rows(text: str, delimiter: str) -> Iterator[CsvRow]:
    """Yield the rows that are not blank. csv.Error names the line where one cannot be read."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = [cell.strip() for cell in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            raise csv.Error(f"line {line}: cannot be read as cells ({error})") from None
        if any(cells):
            yield CsvRow(line, cells)
