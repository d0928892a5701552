"""What became of each case: ``batch.csv``, a row a case, and the log of all that happened."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.csv_rows import plain_cell, safe_cell
from ContrastSynthLib.files.writing import write_text
from ContrastSynthLib.running.batch.cells import one_line
from ContrastSynthLib.running.batch.grid import read_grid

SCHEMA_VERSION = 2
"""1 had a row for each run of a case, and the columns up to ``message``."""
RECORD = "batch.csv"
LOG = "batch-log.jsonl"
LOCK = ".batch.lock"
FILES_OF_THE_BATCH = {RECORD, LOG, LOCK}
DONE = "done"
FAILED = "failed"
COLUMNS = (
    *("schema_version", "case", "method", "status", "seconds", "message"),
    *("date_utc", "parameters", "seed", "weights"),
)

Row = dict[str, str]


def read_record(out: Path) -> dict[str, Row]:
    """Return the row of each case in ``batch.csv``, the last one where there are several.

    It may be of an older version, or come from a spreadsheet. Raises RequestError for a file that
    is no such record.
    """
    grid = read_grid(out / RECORD, COLUMNS)
    if not {"case", "method", "status"} <= set(grid.headings):
        raise RequestError(
            f"{out / RECORD}: is no record of a batch. Move it away, or choose another --out."
        )
    record: dict[str, Row] = {}
    for line in grid.rows:
        found = dict(zip(grid.headings, map(plain_cell, line.cells), strict=True))
        row = {name: found.get(name, "") for name in COLUMNS}
        record.pop(row["case"], None)  # where it stands in the table is when it was run
        record[row["case"]] = row | {"schema_version": str(SCHEMA_VERSION)}
    return record


class Record:
    """The table and the log in the folder of a batch, written after each case."""

    def __init__(self, out: Path, order: Sequence[str]):
        """Go on with what is in ``out``; cases in ``order`` come first, in that order."""
        self._out = out
        self._order = {case: index for index, case in enumerate(order)}
        self.rows = read_record(out) if (out / RECORD).exists() else {}
        self._unwritten: RequestError | None = None

    def note(self, row: Mapping[str, Any], **log_only: Any) -> None:
        """Take the last state of a case, in the table and, with ``log_only``, in the log.

        A table that cannot be written now, such as one that a spreadsheet holds open on Windows,
        is tried again with the next case and by :meth:`finish`.
        """
        self.rows[str(row["case"])] = {n: _as_text(n, row.get(n)) for n in COLUMNS}
        self.log("case", **{name: row.get(name) for name in COLUMNS[1:]}, **log_only)
        self.write()

    def log(self, kind: str, **content: Any) -> None:
        """Add one line to the log, with the time; a log that cannot be written stops nothing."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"schema_version": SCHEMA_VERSION, "type": kind, "logged_utc": now, **content}
        try:
            with (self._out / LOG).open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(line, default=str) + "\n")
        except OSError as error:
            self._unwritten = RequestError(f"{self._out / LOG}: could not be written ({error}).")

    def write(self) -> None:
        """Write the table: it is replaced as a whole, and so never half-written."""
        last = len(self._order)
        cases = sorted(self.rows, key=lambda case: self._order.get(case, last))
        stream = io.StringIO(newline="")
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        for case in cases:
            cells = {name: safe_cell(text) for name, text in self.rows[case].items()}
            writer.writerow(cells | {"schema_version": SCHEMA_VERSION})
        try:
            write_text(self._out / RECORD, stream.getvalue())
            self._unwritten = None
        except RequestError as error:
            self._unwritten = error

    def finish(self) -> None:
        """Write the table a last time; raises RequestError where that is impossible."""
        self.write()
        if self._unwritten:
            raise self._unwritten


def _as_text(column: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return json.dumps(value, ensure_ascii=False)
    return one_line(str(value)) if column == "message" else str(value)
