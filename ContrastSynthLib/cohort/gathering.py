"""The cases of a batch, gathered one at a time: its record, its folders, the table it came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ContrastSynthLib.cohort.budget import PictureSize, picture_size
from ContrastSynthLib.cohort.cache import Cache, key_of
from ContrastSynthLib.cohort.outliers import with_outliers
from ContrastSynthLib.cohort.reading import Files, Seen, read_case, read_provenance
from ContrastSynthLib.cohort.row import DAMAGED, DONE, FAILED, Row
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.running.batch import RECORD, case_inputs, read_cases, read_record
from ContrastSynthLib.running.batch.cells import without_paths
from ContrastSynthLib.running.batch.names import why_no_folder
from ContrastSynthLib.running.batch.record import FILES_OF_THE_BATCH

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Cohort:
    """The rows in the order of the batch, pictures as JPEG by case, and the size of those.

    ``reused`` cases had not changed since they were read before. ``not_run`` are cases of the
    table that the batch has no row of; None where no table was given.
    """

    rows: tuple[Row, ...]
    pictures: Mapping[str, bytes]
    size: PictureSize
    reused: int
    not_run: int | None = None


def gather(
    results: Path,
    out: Path,
    table: Path | None = None,
    progress: Progress = lambda fraction, message: None,
) -> Cohort:
    """Return the cases of the batch in ``results``; what was read is kept in ``out``.

    ``table`` is the table of cases that the batch ran on; with it the scans stand beside the
    results. Raises RequestError for a folder without a record of a batch, and for a table that
    cannot be used.
    """
    if not (results / RECORD).is_file():
        raise RequestError(
            f"{results}: no {RECORD} is there. Expected the folder that 'batch' wrote (its --out)."
        )
    record = read_record(results)
    scans = _scans(table, {told["method"] for told in record.values()})
    size = picture_size(max(len(record), len(scans)))
    cache = Cache(out)
    keys: dict[str, str] = {}
    rows: list[Row] = []
    pictures: dict[str, bytes] = {}
    reused = 0
    for number, (case, told) in enumerate(record.items()):
        progress(number / len(record), f"{number} of {len(record)} cases")
        row = _row(told)
        if row.status != DONE:
            rows.append(row)
            continue
        seen, keys[case], again = _read(row, results / case, scans.get(case, {}), size, cache)
        reused += again
        rows.append(seen.row)
        if seen.picture:
            pictures[case] = seen.picture
    cache.tidy(keys)
    progress(1.0, f"{len(record)} cases")
    missing = len(set(scans) - set(record)) if table is not None else None
    return Cohort(tuple(with_outliers(rows)), pictures, size, reused, missing)


def _scans(table: Path | None, methods: set[str]) -> dict[str, Files]:
    """Return the scans of each case by role, as the table has them for each of the methods."""
    found: dict[str, dict[str, list[Path]]] = {}
    if table is None:
        return {}
    for method in sorted(methods):
        for row in read_cases(table, method):
            files = case_inputs(method, row, table.parent)
            found.setdefault(row["case"], {}).update(files)
    return dict(found)


def _row(told: Mapping[str, str]) -> Row:
    """Return what the record of the batch tells of a case."""
    case, method = told["case"], told["method"]
    if reason := why_no_folder(case, FILES_OF_THE_BATCH):
        return Row(case, DAMAGED, f"Its name names no folder, {reason}.", method)
    seconds = _number(told["seconds"])
    if told["status"] == DONE:
        return Row(case, DONE, "", method, seconds)
    reason = without_paths(told["message"], {}) or "No reason was recorded."
    return Row(case, FAILED, reason, method, seconds)


def _number(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    return found if 0 <= found < float("inf") else None


def _read(
    row: Row, folder: Path, files: Files, size: PictureSize, cache: Cache
) -> tuple[Seen, str, bool]:
    """Return a case, the key under which it is kept, and whether it was."""
    try:
        provenance = read_provenance(folder)
    except RequestError as error:
        return Seen(Row(row.case, DAMAGED, str(error), row.method, row.seconds)), "", False
    key = key_of(provenance, files, size)
    seen = cache.get(row.case, key)
    if seen is not None:
        return seen, key, True
    seen = read_case(row, folder, provenance, files, size)
    if seen.row.status == DONE:  # what is damaged may be put right, without its provenance
        cache.add(key, seen)
    return seen, key, False
