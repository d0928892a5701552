"""The losses over the steps of a training, as CSV and for TensorBoard."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor


class Curves:
    """Writes ``curves.csv`` and the folder ``tensorboard``: means over ``every`` steps.

    A training that goes on from ``step`` drops what was written of later steps.
    """

    def __init__(self, folder: Path, step: int = 0, every: int = 25) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
        self.path, self.every = folder / "curves.csv", every
        self.sums: dict[str, list[float]] = {}
        self.columns: list[str] = []
        if self.path.exists():
            with open(self.path, encoding="utf-8") as file:
                header, *rows = csv.reader(file)
            self.columns = header
            with open(self.path, "w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([header, *(r for r in rows if int(r[0]) <= step)])

    def add(self, step: int, losses: Mapping[str, Tensor | float]) -> None:
        """Take the losses of one step; after every few steps their means are written."""
        for name, value in losses.items():
            self.sums.setdefault(name, []).append(
                float(value.detach() if isinstance(value, Tensor) else value)
            )
        if step % self.every:
            return
        means = {name: sum(values) / len(values) for name, values in self.sums.items()}
        self.sums = {}
        for name, value in means.items():
            self.board.add_scalar(name, value, step)
        self._write({"step": step, **means})
        shown = "  ".join(f"{name} {value:.4f}" for name, value in means.items())
        print(f"{step:6d}  {shown}", flush=True)

    def _write(self, row: Mapping[str, float]) -> None:
        """Append a row; a loss that was not there before becomes a new column."""
        new = [name for name in row if name not in self.columns]
        rows = []
        if new and self.columns:
            with open(self.path, encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
        if new:
            self.columns += new
            with open(self.path, "w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, self.columns)
                writer.writeheader()
                writer.writerows(rows)
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self.columns).writerow(row)
