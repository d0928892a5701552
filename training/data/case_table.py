"""The table of cases that a user writes for ``prepare_data.py``, checked row by row."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from ContrastSynthLib.errors import RequestError, unknown_name

NEEDED = ("case", "patient", "pre", "post")
OPTIONAL = ("mask", "corrupted", "low")
ROLES = ("pre", "post", "mask", "corrupted", "low")
"""The columns that name files."""


def read_table(path: Path) -> list[dict[str, str]]:
    """Return the rows of the table of cases, each with its ``line``; files become absolute.

    Raises RequestError, which names the row, for unknown and missing columns, empty fields,
    names that are no folder or stand there twice, and files that are not there.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            columns = list(reader.fieldnames or [])
            rows = [{k: (v or "").strip() for k, v in row.items() if k} for row in reader]
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"{path}: cannot be read as a table of cases ({error}).") from error
    for column in columns:
        if column not in (*NEEDED, *OPTIONAL):
            raise unknown_name(f"column of {path.name}", column, (*NEEDED, *OPTIONAL))
    missing = [column for column in NEEDED if column not in columns]
    if missing or not rows:
        raise RequestError(
            f"{path.name}: expected the columns {', '.join(NEEDED)} and at least one row; "
            f"missing: {', '.join(missing) or 'rows'}."
        )
    seen: dict[str, str] = {}
    for number, row in enumerate(rows, start=1):
        row["row"] = str(number)
        _check_row(path, row)
        if row["case"] in seen:
            raise in_row(path, row, f"the case is in row {seen[row['case']]} already.")
        seen[row["case"]] = str(number)
    return rows


def _check_row(path: Path, row: dict[str, str]) -> None:
    for column in NEEDED:
        if not row[column]:
            raise in_row(path, row, f"the column '{column}' is empty; each row needs it.")
    if row["case"].startswith(".") or set(row["case"]) & set('/\\:*?"<>|'):
        raise in_row(path, row, "the name is no folder's. Give each case a plain name.")
    for role in ROLES:
        if row.get(role):
            file = path.parent / row[role]
            if not file.exists():
                raise in_row(path, row, f"{role}: there is no '{row[role]}' beside the table.")
            row[role] = str(file)


def in_row(path: Path, row: Mapping[str, str], what: object) -> RequestError:
    """Return an error that names the table, the row and its case."""
    return RequestError(f"{path.name}, row {row['row']} (case '{row['case']}'): {what}")
