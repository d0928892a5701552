"""The two tables that ``kinetics`` and ``profile`` write: curves, and beside them measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.csv_rows import rows_as_csv
from ContrastSynthLib.files.writing import write_text

Table = tuple[Path, tuple[str, ...]]
"""A file, and its columns."""


def two_tables(path: Path, curves: tuple[str, ...], measures: tuple[str, ...]) -> list[Table]:
    """Return the files of both tables: ``path``, and ``-measures`` beside it.

    Raises RequestError for another ending than .csv, and where a file is in the way that is no
    such table.
    """
    if path.suffix.lower() != ".csv":
        raise RequestError(f"{path}: the tables are CSV; name the file with .csv.")
    beside = path.with_name(f"{path.stem}-measures{path.suffix}")
    tables = [(path, curves), (beside, measures)]
    for place, columns in tables:
        _refuse_other_table(place, columns)
    return tables


def write_tables(tables: Sequence[Table], *rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the rows of each table. Raises RequestError for a place that cannot be written."""
    for (place, columns), of_table in zip(tables, rows, strict=True):
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RequestError(f"{place}: cannot be written ({error.strerror}).") from error
        write_text(place, rows_as_csv(of_table, columns))


def _refuse_other_table(place: Path, columns: tuple[str, ...]) -> None:
    try:
        with place.open(encoding="utf-8", errors="replace") as file:
            heading = file.readline(1000)
    except FileNotFoundError:
        return
    except OSError as error:
        raise RequestError(f"{place}: cannot be written ({error.strerror}).") from error
    if heading.strip() != ",".join(columns):
        raise RequestError(
            f"{place}: is there already, and is no such table of ContrastSynth. Choose another "
            "place (--csv), or move that file away."
        )
