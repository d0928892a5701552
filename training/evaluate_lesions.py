"""Measure lesions one by one: large beside small ones, or distinct beside indistinct ones.

    python training/evaluate_lesions.py --virtual same --patients 20 --table sphere_2 \\
        --row SPHERE=sphere:sphere_paper@paper --by volume_ml
    python training/evaluate_lesions.py --cases PAIRS --table enhance --row HR-FCN=hrfcn@paper \\
        --by contrast --csv lesions.csv

Table, rows and cases are given as to ``evaluate.py``, for the tables sphere_2, sphere_5,
sphere_real and enhance. The lesions of all cases are parted at their median volume, or at their
median contrast in the scans that a row is given; ``evaluation/lesions.py`` tells what is measured
of each. A row is printed as two: "ROW, large" and "ROW, small", or "ROW, distinct" and "ROW,
indistinct". ``--csv`` keeps a line for each lesion and row.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from evaluate import add_cases_and_rows, asked_for
from evaluation.cases import Item
from evaluation.lesions import HEADINGS, NOTE, lesions_of, rise_of
from evaluation.rows import Row, synthesise
from evaluation.table import NOTE as OF_INTERVALS
from evaluation.table import markdown
from evaluation.task import Task

from ContrastSynthLib import __version__
from ContrastSynthLib.errors import ContrastSynthError, RequestError
from ContrastSynthLib.files.csv_rows import rows_as_csv
from ContrastSynthLib.files.writing import write_text

HALVES = {"volume_ml": ("large", "small"), "contrast": ("distinct", "indistinct")}
"""What lesions from the median on, and those below it, are called."""
COLUMNS = (
    *("data", "case", "patient", "lesion", "label", "weights", "contrastsynth"),
    *HALVES,
    *HEADINGS,
)
Line = dict[str, str]


def main(arguments: list[str] | None = None) -> int:
    """Measure the lesions of all cases and print the table."""
    chosen = parse(arguments)
    try:
        task, rows, data, items = asked_for(chosen)
        lines = [{**line, "data": data} for item in items for line in measured(task, rows, item)]
        if not lines:
            raise RequestError("None of the cases has a lesion that enhances. Choose other cases.")
        labels = part(lines, chosen.by)
        known = [f"{row.name}, {half}" for row in rows for half in HALVES[chosen.by]]
        shown = [label for label in known if label in labels]
        print(f"\n{data}, {len(lines) // len(rows)} lesions:\n")
        print(markdown(lines, shown, HEADINGS))
        print(f"\n{OF_INTERVALS}\n\n{NOTE}")
        if chosen.csv:
            write_text(chosen.csv, rows_as_csv(lines, COLUMNS))
    except ContrastSynthError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def measured(task: Task, rows: Sequence[Row], item: Item) -> Iterator[Line]:
    """Yield what each row makes of each lesion of a case."""
    scans = task.prepare(item.read())
    rise = rise_of(task, scans)
    true = rise({})
    lesions = lesions_of(task, scans, true)
    print(f"{item.name}: {len(lesions)} lesions", file=sys.stderr, flush=True)
    for row in rows if lesions else ():
        made = rise(synthesise(row, task, scans, scans))
        of_row = {"label": row.name, "weights": row.weights_id(task)}
        for number, lesion in enumerate(lesions, start=1):
            values = {"volume_ml": lesion.volume_ml, "contrast": lesion.contrast}
            values |= lesion.measure(true, made)
            told = {"case": item.name, "patient": item.patient, "lesion": f"{number}"}
            told |= {name: f"{value:.7g}" for name, value in values.items()}
            yield {**told, **of_row, "contrastsynth": __version__}


def part(lines: Sequence[Line], by: str) -> set[str]:
    """Add to the labels of ``lines`` in which half a lesion is; return the labels."""
    middle = np.median([float(line[by]) for line in lines])
    for line in lines:
        line["label"] += f", {HALVES[by][int(float(line[by]) < middle)]}"
    return {line["label"] for line in lines}


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_cases_and_rows(parser)
    parser.add_argument("--by", choices=tuple(HALVES), required=True, help="what parts them")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="keeps what was measured")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
