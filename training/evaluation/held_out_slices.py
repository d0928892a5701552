"""How well a network makes the pre slices of virtual patients that it does not learn from.

Examples are drawn once, as those of the training are, from a folder of slabs of other patients.
The range r is the 99.9th percentile of the target in the brain; uptake is where the post slice
exceeds the target by more than 0.1 r. Share, left and out are those of ``gains.py``.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from data.matched import range_of
from data.slabs import KeptSlabs
from data.slices import Slices
from torch import nn

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.physics.constants import UPTAKE_THRESHOLD
from evaluation.gains import gains
from evaluation.held_out import applied

EXAMPLES = 48
SEED = 20_001
FIGURES = ("share", "left", "out")
Example = dict[str, np.ndarray]
"""Images (channels, rows, columns) by the names of ``data.slices``."""


def read_examples(folder: Path, crop: int, count: int = EXAMPLES, **options: Any) -> list[Example]:
    """Return the same examples of a folder of slabs each time; ``options`` are those of Slices."""
    drawn = Slices(KeptSlabs(folder), crop=crop, seed=SEED, **options)
    return [
        {name: image.numpy() for name, image in example.items()}
        for example in itertools.islice(drawn, count)
    ]


def judge(network: nn.Module, examples: Sequence[Example]) -> dict[str, float]:
    """Return the means of FIGURES over the examples, and the ``score``: share - left.

    Raises RequestError where no example has any uptake.
    """
    made = applied(network, np.stack([example["post"] for example in examples]))
    rows = [figures_of(*each) for each in zip(examples, made, strict=True)]
    means = {}
    for name in FIGURES:
        known = [row[name] for row in rows if row[name] is not None]
        if not known:
            raise RequestError("No slice to validate on has any uptake: make more slabs.")
        means[name] = float(np.mean(known))
    return {"score": means["share"] - means["left"], **means}


def judge_cleaned(
    network: nn.Module, given: np.ndarray, examples: Sequence[Example]
) -> dict[str, float]:
    """Return how much of the artefacts a network for SPHERE-Art leaves.

    ``given`` (n, channels, rows, columns) are what it sees of the examples. ``left`` is the sum of
    its mean absolute errors in the brain, relative to those of the corrupted slices, so that a
    slice with hardly any artefact hardly counts; the ``score`` is 1 - left. Raises RequestError
    where no example has artefacts.
    """
    errors, before = 0.0, 0.0
    for example, image in zip(examples, applied(network, given), strict=True):
        inside = example["brain"][0] > 0
        clean, corrupted = example["second"][0], example["corrupted"][0]
        errors += float(np.abs(image - clean)[inside].mean())
        before += float(np.abs(corrupted - clean)[inside].mean())
    if not before:
        raise RequestError("No slice to validate on has any artefact: make more slabs.")
    return {"score": 1 - errors / before, "left": errors / before}


def figures_of(example: Example, made: np.ndarray) -> dict[str, float | None]:
    """Return FIGURES of what was made (rows, columns) of one example."""
    post, target = example["post"][len(example["post"]) // 2], example["pre"][0]
    inside = example["brain"][0] > 0
    span = range_of(target, inside)
    up = (post - target > UPTAKE_THRESHOLD * span) & inside
    return gains(post, target, made, inside, up, span)
