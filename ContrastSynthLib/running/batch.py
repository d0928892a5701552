"""The same run for a table of patients: resumable, with a record of what happened to each."""

from __future__ import annotations

import csv
import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import ContrastSynthLib.methods  # noqa: F401 - declares the methods
from ContrastSynthLib.errors import ContrastSynthError, RequestError, unknown_name
from ContrastSynthLib.files.writing import check_writable
from ContrastSynthLib.registry import MASK_ROLE, Method, declared_parameters, find_method
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.result import PROVENANCE
from ContrastSynthLib.running.run import run

SCHEMA_VERSION = 1
RECORD = "batch.csv"
COLUMNS = ("schema_version", "case", "method", "status", "seconds", "message")
CASE = "case"
TIME = "time"
SEED = "seed"
SERIES_SEPARATOR = ";"


def read_cases(path: Path, method_key: str) -> list[dict[str, str]]:
    """Return the rows of a table with a column ``case`` and one for each role or parameter.

    Files are taken relative to the table. Several volumes of a series, and their seconds after
    injection in a column ``time``, are separated by semicolons. ``seed`` is a column, too. Raises
    RequestError for an unknown column, a case that stands twice or has no name, and an empty table.
    """
    chosen = find_method(method_key)
    known = [CASE, *chosen.inputs, MASK_ROLE, TIME, SEED, *declared_parameters(chosen)]
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            columns = list(reader.fieldnames or [])
            rows = [{k: v or "" for k, v in row.items() if k} for row in reader]
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"{path}: cannot be read as a table of cases ({error}).") from error
    for column in columns:
        if column not in known:
            raise unknown_name(f"column of {path.name}", column, known)
    if CASE not in columns or not rows:
        raise RequestError(f"{path}: expected a column '{CASE}' and at least one row below it.")
    names = [row[CASE] for row in rows]
    for name in names:
        if not name or name in (".", "..") or set(name) & set('/\\:*?"<>|'):
            raise RequestError(f"{path}: '{name}' names no folder. Give each case a plain name.")
        if names.count(name) > 1:
            raise RequestError(f"{path}: the case '{name}' stands there twice.")
    return rows


def case_inputs(method_key: str, row: Mapping[str, str], folder: Path) -> dict[str, list[Path]]:
    """Return the files of a row by role; the mask's too. ``folder`` is the table's."""
    chosen = find_method(method_key)
    return {
        role: [folder / name for name in row[role].split(SERIES_SEPARATOR)]
        for role in [*chosen.inputs, MASK_ROLE]
        if row.get(role) and not _is_choice(chosen, role, row[role])
    }


def _is_choice(chosen: Method, column: str, value: str) -> bool:
    """Return whether a column that is a role and a parameter at once holds the parameter."""
    declared = declared_parameters(chosen).get(column)
    return declared is not None and value in declared.param.choices


def read_record(out: Path) -> dict[str, dict[str, str]]:
    """Return what ``batch.csv`` tells of each case, the last time it was run."""
    with (out / RECORD).open(newline="", encoding="utf-8") as stream:
        return {row["case"]: row for row in csv.DictReader(stream)}


def run_batch(
    method_key: str,
    table: Path,
    out: Path,
    *,
    parameters: Mapping[str, Any],
    common: Mapping[str, Any],
    workers: int = 1,
    resume: bool = False,
    say: Callable[[str], None] = print,
) -> None:
    """Run the method on each row of ``table`` and write ``out/<case>/`` and ``out/batch.csv``.

    ``common`` holds the fields of Request that all cases share; a parameter in the table
    comes before the same one in ``parameters``. ``resume`` leaves out the cases whose
    results are there. One case that fails does not stop the others; raises RequestError at
    the end when any failed.
    """
    rows = read_cases(table, method_key)
    check_writable(out)
    if resume:
        rows = [row for row in rows if not (out / row[CASE] / PROVENANCE).exists()]
    requests = {
        row[CASE]: _request(method_key, row, table.parent, parameters, common) for row in rows
    }
    out.mkdir(parents=True, exist_ok=True)
    failed = 0
    for case, outcome in _outcomes(requests, out, workers):
        failed += outcome["status"] != "done"
        _append(out / RECORD, {"case": case, "method": method_key, **outcome})
        say(f"{case}: {outcome['status']} {outcome['message']}".rstrip())
    if failed:
        raise RequestError(f"{failed} of {len(rows)} cases failed; {out / RECORD} says why.")


def _request(
    method_key: str,
    row: Mapping[str, str],
    folder: Path,
    parameters: Mapping[str, Any],
    common: Mapping[str, Any],
) -> Request:
    chosen = find_method(method_key)
    own = {
        name: row[name]
        for name in declared_parameters(chosen)
        if row.get(name) and (name not in chosen.inputs or _is_choice(chosen, name, row[name]))
    }
    inputs = case_inputs(method_key, row, folder)
    times_s = _times_in(row)
    fields = dict(common) | ({SEED: _seed_in(row)} if row.get(SEED) else {})
    return Request(method_key, inputs, {**parameters, **own}, times_s=times_s, **fields)


def _times_in(row: Mapping[str, str]) -> list[float]:
    try:
        return [float(text) for text in row.get(TIME, "").split(SERIES_SEPARATOR) if text.strip()]
    except ValueError:
        raise RequestError(
            f"Case '{row[CASE]}': the times '{row[TIME]}' are no numbers of seconds, separated by "
            "semicolons."
        ) from None


def _seed_in(row: Mapping[str, str]) -> int:
    try:
        return int(row[SEED])
    except ValueError:
        raise RequestError(
            f"Case '{row[CASE]}': the seed '{row[SEED]}' is no whole number."
        ) from None


def _outcomes(
    requests: Mapping[str, Request], out: Path, workers: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    if workers == 1:
        for case, request in requests.items():
            yield case, _run_case(request, out / case)
        return
    # A forked process would inherit threads of SimpleITK and torch in an unknown state.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        running = {pool.submit(_run_case, r, out / case): case for case, r in requests.items()}
        for future in as_completed(running):
            yield running[future], future.result()


def _run_case(request: Request, folder: Path) -> dict[str, Any]:
    """Run one case; what is wrong with it becomes a row of the record."""
    try:
        result = run(request)
        result.write(folder)
    except ContrastSynthError as error:
        return {"status": "failed", "seconds": "", "message": " ".join(str(error).split())}
    return {
        "status": "done",
        "seconds": result.provenance["seconds"],
        "message": " ".join(result.warnings),
    }


def _append(path: Path, outcome: Mapping[str, Any]) -> None:
    """Add one row and close the file: a power cut costs the case that runs, not the record."""
    is_new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        if is_new:
            writer.writeheader()
        writer.writerow({"schema_version": SCHEMA_VERSION, **outcome})
