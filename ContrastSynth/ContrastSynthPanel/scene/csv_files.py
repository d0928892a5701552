"""Tables as CSV files that spreadsheets open with the right letters."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.writing import write_text

BYTE_ORDER_MARK = "\ufeff"  # without it, some spreadsheets take UTF-8 for another encoding


def write_cells(path: str | Path, rows: Iterable[Sequence[Any]]) -> None:
    """Write rows of cells as CSV, the headings first; the file is there whole or not at all.

    Raises RequestError when it cannot be written.
    """
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    try:
        write_text(Path(path), BYTE_ORDER_MARK + text.getvalue())
    except RequestError as error:
        why = getattr(error.__cause__, "strerror", error)
        said = _("{path}: cannot be written ({error}). Choose another folder.")
        raise RequestError(said.format(path=path, error=why)) from error
