"""The table and the page of a cohort, as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ContrastSynthLib.cohort.cache import CACHE
from ContrastSynthLib.cohort.failures import grouped
from ContrastSynthLib.cohort.gathering import Cohort, Progress, gather
from ContrastSynthLib.cohort.page import in_order, page
from ContrastSynthLib.cohort.plots import is_outlier, values_of
from ContrastSynthLib.cohort.row import COLUMNS, SCHEMA_VERSION, STATUSES
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.csv_rows import rows_as_csv
from ContrastSynthLib.files.writing import check_writable, write_text

TABLE = "cohort.csv"
PAGE = "cohort.html"
MARKS = {TABLE: "schema_version,case,status,", PAGE: "<!doctype html>\n<!-- ContrastSynth cohort"}
"""How these files begin."""


def write_cohort(
    results: Path,
    out: Path,
    table: Path | None = None,
    progress: Progress = lambda fraction, message: None,
) -> Cohort:
    """Write ``cohort.csv`` and ``cohort.html`` of the batch in ``results`` into ``out``.

    What was read is kept there as well, so that a second call reads only what is new. Raises
    RequestError as :func:`gather` does, and where a file in ``out`` is somebody else's;
    MissingError without matplotlib or Pillow.
    """
    check_writable(out)
    for name, mark in MARKS.items():
        _refuse_other(out / name, mark)
    own = out / TABLE
    if table is not None and own.exists() and table.exists() and table.samefile(own):
        raise RequestError(f"{table}: is where the table of the cohort goes. Choose another --out.")
    out.mkdir(parents=True, exist_ok=True)
    cohort = gather(results, out, table, progress)
    write_text(out / TABLE, rows_as_csv([row.as_cells() for row in cohort.rows], COLUMNS))
    write_text(out / PAGE, page(cohort))
    return cohort


def _refuse_other(place: Path, mark: str) -> None:
    if not place.exists():
        return
    try:
        with place.open(encoding="utf-8", errors="replace", newline="") as stream:
            ours = stream.read(len(mark)) == mark
    except OSError:
        ours = False
    if not ours:
        raise RequestError(
            f"{place}: is there already, and is no such output of ContrastSynth. Choose another "
            "place for the output (--out), or move that file away."
        )


def as_dict(cohort: Cohort) -> dict[str, Any]:
    """Return the head of the page as plain values."""
    rows = cohort.rows
    return {
        "schema_version": SCHEMA_VERSION,
        "cases": len(rows),
        **{status: sum(row.status == status for row in rows) for status in STATUSES},
        "not_run": cohort.not_run,
        "reused": cohort.reused,
        "outliers": [
            {"case": row.case, "score": row.outlier, "because": row.outlier_because}
            for row in in_order(rows)
            if is_outlier(row)
        ],
        "reasons": [
            {"status": group.status, "reason": group.reason, "cases": list(group.cases)}
            for group in grouped(rows)
        ],
        "seconds": sum(values_of(rows, "seconds")),
        "files": [TABLE, PAGE, CACHE],
    }
