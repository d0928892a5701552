"""The table of cases: which patients there are, their files and their own parameters."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from ContrastSynthLib.errors import RequestError, unknown_name
from ContrastSynthLib.registry import AUTO_MASK, MASK_ROLE, Method, declared_parameters, find_method
from ContrastSynthLib.running.batch.cells import one_line
from ContrastSynthLib.running.batch.grid import CsvGrid, read_grid
from ContrastSynthLib.running.batch.names import same_folder, why_no_folder
from ContrastSynthLib.running.batch.record import FILES_OF_THE_BATCH

CASE = "case"
TIME = "time"
SEED = "seed"
SERIES_SEPARATOR = ";"
TYPING_ERROR = 0.75
"""How alike a heading and a known one are where it is taken for a typing error, from 0 to 1."""
MOST_FAULTS = 8
"""Faults of a table that one message names."""
DECIMAL_COMMA = re.compile(r"([+-]?\d+),(\d+(?:[eE][+-]?\d+)?)")


def read_cases(
    path: Path, method_key: str, warn: Callable[[str], None] = lambda text: None
) -> list[dict[str, str]]:
    """Return the rows of a table with a column ``case`` and one for each role or parameter.

    Files are taken relative to the table. Several volumes of a series, and their seconds after
    injection in a column ``time``, are separated by semicolons. ``seed`` is a column, too. A table
    with semicolons or tabs between its cells may have decimal commas. Columns that the method does
    not know are left out, for which ``warn`` gets a sentence.

    Raises RequestError, with the lines, for a heading that looks like a typing error, a name that
    cannot be that of a folder, two names that are one folder, a time or a seed that is no number,
    and an empty table.
    """
    chosen = find_method(method_key)
    known = list(
        dict.fromkeys([CASE, *chosen.inputs, MASK_ROLE, TIME, SEED, *declared_parameters(chosen)])
    )
    grid = read_grid(path, known)
    for note in grid.notes:
        warn(note)
    _check_headings(path, grid.headings, known, warn)
    if not grid.rows:
        raise RequestError(f"{path}: expected a column '{CASE}' and at least one row below it.")
    rows = [_row(chosen, grid, row.cells, known) for row in grid.rows]
    lines = [row.line for row in grid.rows]
    faults = [*_faults_of_names(rows, lines), *_faults_of_numbers(rows, lines)]
    if faults:
        more = f" And {len(faults) - MOST_FAULTS} more." if len(faults) > MOST_FAULTS else ""
        raise RequestError(f"{path}: {' '.join(faults[:MOST_FAULTS])}{more}")
    return rows


def case_inputs(method_key: str, row: Mapping[str, str], folder: Path) -> dict[str, list[Path]]:
    """Return the files of a row by role; the mask's too, unless the brain is to be found.

    ``folder`` is the table's.
    """
    chosen = find_method(method_key)
    return {
        role: [_as_path(folder, name) for name in row[role].split(SERIES_SEPARATOR)]
        for role in [*chosen.inputs, MASK_ROLE]
        if row.get(role)
        and not is_choice(chosen, role, row[role])
        and not (role == MASK_ROLE and row[role] == AUTO_MASK)
    }


def is_choice(chosen: Method, column: str, value: str) -> bool:
    """Return whether a column that is a role and a parameter at once holds the parameter."""
    declared = declared_parameters(chosen).get(column)
    return declared is not None and value in declared.param.choices


def times_in(row: Mapping[str, str]) -> list[float]:
    """Return the seconds after injection of a row; ValueError for what is no number."""
    return [float(text) for text in row.get(TIME, "").split(SERIES_SEPARATOR) if text.strip()]


def seed_in(row: Mapping[str, str]) -> int | None:
    """Return the seed of a row, None where it has none; ValueError for what is no number."""
    return int(row[SEED]) if row.get(SEED) else None


def _as_path(folder: Path, name: str) -> Path:
    """Return a file of the table; Windows' way of writing it is understood everywhere."""
    plain = name.strip().removeprefix('"').removesuffix('"')
    path = folder / plain
    if os.sep == "/" and "\\" in plain and not os.path.lexists(path):
        path = folder / plain.replace("\\", "/")
    return path


def _check_headings(
    path: Path, headings: Sequence[str], known: Sequence[str], warn: Callable[[str], None]
) -> None:
    unknown = [name for name in headings if name and name not in known]
    for name in unknown:
        if difflib.get_close_matches(name, known, n=1, cutoff=TYPING_ERROR):
            raise unknown_name(f"column of {path.name}", name, known)
    if CASE not in headings:
        found = ", ".join(f"'{name}'" for name in headings if name) or "nothing"
        raise RequestError(
            f"{path}: expected a column '{CASE}' and at least one row below it; found {found}."
        )
    if unknown:
        named = ", ".join(f"'{name}'" for name in unknown)
        warn(f"{path.name}: {named} is no role or parameter of the method and was left out.")


def _row(
    chosen: Method, grid: CsvGrid, cells: Sequence[str], known: Sequence[str]
) -> dict[str, str]:
    row = {name: cell for name, cell in zip(grid.headings, cells, strict=True) if name in known}
    if grid.delimiter != ",":
        numbers = {TIME} | {n for n, d in declared_parameters(chosen).items() if d.kind == "float"}
        for name in numbers & set(row):
            parts = row[name].split(SERIES_SEPARATOR)
            row[name] = SERIES_SEPARATOR.join(_with_a_point(part) for part in parts)
    return row


def _with_a_point(number: str) -> str:
    """Return a number with a decimal comma as one with a point; other text as it is."""
    found = DECIMAL_COMMA.fullmatch(number.strip())
    return f"{found[1]}.{found[2]}" if found else number


def _faults_of_names(rows: Sequence[Mapping[str, str]], lines: Sequence[int]) -> Iterator[str]:
    seen: dict[str, tuple[str, int]] = {}
    for row, line in zip(rows, lines, strict=True):
        name = row[CASE]
        if reason := why_no_folder(name, FILES_OF_THE_BATCH):
            shown = one_line(name if len(name) < 60 else f"{name[:40]}...")
            yield f"Line {line}: '{shown}' names no folder, {reason}. Give each case a plain name."
            continue
        other, where = seen.setdefault(same_folder(name), (name, line))
        if where != line:
            same = (
                "stands there twice"
                if other == name
                else f"is the same folder as '{other}' on some systems"
            )
            yield f"Line {line}: the case '{name}' {same} (line {where})."


def _faults_of_numbers(rows: Sequence[Mapping[str, str]], lines: Sequence[int]) -> Iterator[str]:
    for row, line in zip(rows, lines, strict=True):
        try:
            times_in(row)
        except ValueError:
            yield (
                f"Line {line}: the times '{row[TIME]}' are no numbers of seconds, separated by "
                "semicolons."
            )
        try:
            seed_in(row)
        except ValueError:
            yield f"Line {line}: the seed '{row[SEED]}' is no whole number."
