"""What was measured, as a CSV file that a later run goes on with."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from ContrastSynthLib import __version__
from ContrastSynthLib.errors import RequestError
from evaluation.any_dose import ANY_DOSE
from evaluation.enhance import ENHANCE
from evaluation.low_to_full import LOW_TO_FULL
from evaluation.matched_pairs import MATCHED_PAIRS
from evaluation.post_to_pre import POST_TO_PRE

KEY = ("data", "case", "region", "noise", "label", "method", "weights", "settings")
"""The columns that no two lines have alike."""
TASKS = (POST_TO_PRE, LOW_TO_FULL, MATCHED_PAIRS, ANY_DOSE, ENHANCE)
MEASURES = tuple({name: None for task in TASKS for name in task.headings})
COLUMNS = (*KEY, "patient", "contrastsynth", *MEASURES)
Key = tuple[str, ...]


class Cache:
    """The lines of a CSV file, by their KEY; without a path they are kept in memory only.

    A line that an interruption cut off is removed. Raises RequestError for a file with other
    columns.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.lines: dict[Key, dict[str, str]] = {}
        if path is None or not path.exists():
            return
        text = path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            path.write_text(whole, encoding="utf-8")
        reader = csv.DictReader(io.StringIO(whole))
        if whole and tuple(reader.fieldnames or ()) != COLUMNS:
            raise RequestError(
                f"{path}: its columns are not those that this version writes. Choose another --csv."
            )
        self.lines = {tuple(row[name] for name in KEY): row for row in reader}

    def add(self, key: Key, patient: str, values: Mapping[str, float | None]) -> None:
        """Add what was measured; a measure that is undefined leaves its field empty.

        The file is closed at once: an interruption costs only the line that is being measured.
        """
        line = dict(zip(KEY, key, strict=True))
        line |= {"patient": patient, "contrastsynth": __version__}
        line |= dict.fromkeys(MEASURES, "")
        line |= {name: "" if v is None else f"{v:.7g}" for name, v in values.items()}
        self.lines[key] = line
        if self.path is None:
            return
        is_new = not self.path.exists() or not self.path.stat().st_size
        with self.path.open("a", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
            if is_new:
                writer.writeheader()
            writer.writerow(line)
