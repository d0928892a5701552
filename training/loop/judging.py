"""The record of how a network did on cases that are not trained on, and which was best."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

SCORE = "score"
"""The figure that decides; the higher the better."""


def is_best(path: Path, step: int, figures: Mapping[str, float]) -> bool:
    """Write the figures of a step into the table ``path``; return whether none before was better.

    Rows of later steps, of a training that was broken off after them, are dropped.
    """
    rows = []
    if path.exists():
        with open(path, newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if int(row["step"]) < step]
    best = max((float(row[SCORE]) for row in rows), default=float("-inf"))
    shown = {name: f"{value:.4f}" for name, value in figures.items()}
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["step", *shown])
        writer.writeheader()
        writer.writerows([*rows, {"step": str(step), **shown}])
    print(f"{step:6d}  held out: {'  '.join(f'{n} {v}' for n, v in shown.items())}", flush=True)
    return figures[SCORE] > best


def figures_of(folder: Path) -> list[dict[str, float]]:
    """Return what a run measured at each step so far, in the order of the steps."""
    path = folder / "validation.csv"
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def reached(folder: Path) -> int:
    """Return the step at which a run was measured last; 0 where it was not."""
    figures = figures_of(folder)
    return int(figures[-1]["step"]) if figures else 0
