"""The evaluation itself: each row on each case, at each noise, in each region."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.volumes import BoolArray
from evaluation.cache import Cache, Key
from evaluation.cases import Item, Scans, neighbours_with_most
from evaluation.rows import Row, synthesise
from evaluation.task import KEPT, Task

WHOLE = "whole"


@dataclass(frozen=True)
class Evaluation:
    """What is to be measured: the name of the data, a task, rows, added noise and regions.

    ``around_uptake`` above 0 measures that many slices around the uptake beside all of them.
    """

    data: str
    task: Task
    rows: Sequence[Row]
    noise: Sequence[float] = (0.0,)
    around_uptake: int = 0

    @property
    def regions(self) -> list[str]:
        """The names of the regions in which is measured."""
        around = [f"{self.around_uptake} slices around the uptake"] if self.around_uptake else []
        return [WHOLE, *around]

    def mask(self, region: str, scans: Scans) -> BoolArray:
        """Return the voxels (k, j, i) of a region."""
        if region == WHOLE:
            return scans.brain
        return around_uptake(scans, self.task.uptake(scans), self.around_uptake)


def around_uptake(scans: Scans, uptake: BoolArray, slices: int) -> BoolArray:
    """Return the brain in the ``slices`` neighbouring slices that hold the most uptake."""
    counts = uptake.sum(axis=(1, 2))
    chosen = np.zeros_like(scans.brain)
    chosen[neighbours_with_most(counts, slices)] = True
    return scans.brain & chosen


def measure_all(
    evaluation: Evaluation, items: Sequence[Item], cache: Cache
) -> tuple[list[dict[str, str]], list[str]]:
    """Measure what the cache does not have; return all lines, and a sentence for each failed case.

    A case that fails does not stop the others.
    """
    weights = {row: row.weights_id(evaluation.task) for row in evaluation.rows}
    found: list[dict[str, str]] = []
    failed = []
    for item in items:
        keys = _keys(evaluation, item, weights)
        try:
            _measure_case(evaluation, item, keys, cache)
        except RequestError as error:
            failed.append(f"{item.name}: {error}")
            print(failed[-1], file=sys.stderr, flush=True)
        found += [cache.lines[key] for its in keys.values() for key in its if key in cache.lines]
    return found, failed


Keys = dict[tuple[float, Row], dict[Key, str]]
"""For each noise and row the keys of its lines, with the regions that they are of."""


def _keys(evaluation: Evaluation, item: Item, weights: dict[Row, str]) -> Keys:
    return {
        (sigma, row): {
            (
                *(evaluation.data, item.name, region, f"{sigma:g}"),
                *(row.name, row.method, weights[row], row.settings),
            ): region
            for region in evaluation.regions
        }
        for sigma in evaluation.noise
        for row in evaluation.rows
    }


def _measure_case(evaluation: Evaluation, item: Item, keys: Keys, cache: Cache) -> None:
    missing = {what: [key for key in its if key not in cache.lines] for what, its in keys.items()}
    if not any(missing.values()):
        return
    task = evaluation.task
    clean = task.prepare(item.read())
    for (sigma, row), wanted in missing.items():
        if not wanted:
            continue
        noise = f", added noise {sigma:g}" if sigma else ""
        print(f"{item.name}: {row.name}{noise}", file=sys.stderr, flush=True)
        outputs = {**synthesise(row, task, task.with_noise(clean, sigma), clean)}
        if task.without_agent:
            without = task.without_agent(clean)
            again = synthesise(row, task, without, without)
            outputs |= {KEPT: again[task.output]} if task.output in again else {}
        for key in wanted:
            mask = evaluation.mask(keys[sigma, row][key], clean)
            cache.add(key, item.patient, task.measure(clean, outputs, mask))
