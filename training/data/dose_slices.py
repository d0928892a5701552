"""Slices for LIP-CAR: before the contrast agent, after a low dose and after the full dose.

They come from virtual patients (``make_slabs.py --for lip_car``, or made while training) or from
the cases of ``prepare_data.py`` that have a ``low`` scan, and beside either from real pairs whose
low dose is simulated (``make_slabs.py --for lip_car --pairs``).

An example is a dictionary of tensors (1, rows, cols) in the unit of ``low_dose`` (see
preprocessing/normalisation.py), with the gain and shading of the low-dose scan, 0 outside of the
brain:

    pre, low, post    as they were scanned
    denoised          the low-dose scan after non-local means: what forward operators learn
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import IterableDataset

from ContrastSynthLib.inference.slicing import plan_slices
from ContrastSynthLib.phantom.brain.slices import brain_slabs
from ContrastSynthLib.preprocessing.denoising import denoise, noise_sigma
from ContrastSynthLib.preprocessing.normalisation import fit
from ContrastSynthLib.preprocessing.shading import gain_field
from data import DOSE
from data.prepared_cases import Case, holds_pairs
from data.slabs import (
    SLABS_PER_SEED,
    KeptSlabs,
    PreparedSlabs,
    Slab,
    VirtualSlabs,
    in_batches,
)

ROLES = ("pre", "low", "post", "denoised")
MOST_TRIES = 10_000
"""Slices without enough brain in a row after which the data are taken to hold none."""
LEAST_BRAIN = 400
"""Pixels of brain that a slice needs to be trained on."""


def make_slabs(seed: int) -> Iterator[np.ndarray]:
    """Yield the slabs of one seed, two patients: (roles, slices, rows, cols), half precision."""
    scanned = ("pre", "low", "post", "brain")
    slabs = brain_slabs(seed, roles=scanned, doses=(DOSE,), corruption=None, only=("low",))
    for slab in itertools.islice(slabs, SLABS_PER_SEED):
        yield as_examples(slab, slab["brain"] > 0)


def as_examples(
    scans: Mapping[str, np.ndarray],
    brain: np.ndarray,
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> np.ndarray:
    """Return the images of ROLES in the unit of the low-dose scan, with its gain and shading."""
    unit = fit("low_dose", scans["low"], brain)
    images = {"low": unit.apply(scans["low"]) * brain}
    for role in ("pre", "post"):
        gain = gain_field(scans["low"], scans[role], brain, spacing_mm)
        images[role] = unit.apply(scans[role] / gain) * brain
    sigma = noise_sigma(images["low"], brain)
    images["denoised"] = denoise(images["low"], sigma) * brain
    return np.stack([images[role] for role in ROLES]).astype(np.float16)


@lru_cache(maxsize=64)
def slab_of_case(case: Case) -> Slab:
    """Return a prepared case with a low-dose scan as a slab."""
    mask = case.mask.array > 0
    plan = plan_slices(case.low.grid, mask)
    scans = {r: plan.slices(getattr(case, r).array) for r in ("pre", "low", "post")}
    spacing_mm = (plan.spacing_mm[0], *plan.pixel_mm)
    return Slab(as_examples(scans, plan.slices(mask) > 0, spacing_mm), plan.spacing_mm[0])


class DoseSlices(IterableDataset):
    """Training examples for ever; each worker of each process has its own stream."""

    def __init__(self, slabs: Any, *, crop: int, seed: int) -> None:
        self.slabs, self.crop, self.seed = slabs, crop, seed

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        """Yield single examples, half of them with left as right."""
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        tries = 0
        while True:
            images = self.slabs.draw(rng).images
            tries += 1
            if tries > MOST_TRIES:
                raise SystemExit(f"{MOST_TRIES} slices in a row hold no brain: look at the data")
            found = np.asarray(images[:, rng.integers(images.shape[1])], dtype=np.float32)
            brain = np.argwhere(found[ROLES.index("low")] > 0)
            if len(brain) < LEAST_BRAIN:
                continue
            tries = 0
            cut = _cut(found, brain[rng.integers(len(brain))], self.crop)
            cut = cut[..., ::-1] if rng.random() < 0.5 else cut
            tensors = torch.from_numpy(np.ascontiguousarray(cut))[:, None]
            yield dict(zip(ROLES, tensors, strict=True))


def _cut(images: np.ndarray, middle: np.ndarray, crop: int) -> np.ndarray:
    """Return (roles, crop, crop) about a pixel, with zeros where the slice is smaller."""
    for axis, centre in enumerate(middle, start=1):
        size = images.shape[axis]
        first = int(np.clip(centre - crop // 2, 0, max(size - crop, 0)))
        images = images.take(range(first, min(first + crop, size)), axis=axis)
    missing = [crop - size for size in images.shape[1:]]
    return np.pad(images, [(0, 0), *((m // 2, m - m // 2) for m in missing)])


class MixedSlabs:
    """Slabs of two sources: of ``real`` with a probability of ``share``, else of ``others``."""

    def __init__(self, others: Any, real: Any, share: float) -> None:
        self.others, self.real, self.share = others, real, share

    def draw(self, rng: np.random.Generator) -> Slab:
        """Return one slab."""
        slab: Slab = (self.real if rng.random() < self.share else self.others).draw(rng)
        return slab


def batches(
    data: str,
    *,
    crop: int,
    batch: int,
    seed: int,
    workers: int,
    real: Path | None = None,
    share: float = 0.5,
) -> Iterator[dict[str, torch.Tensor]]:
    """Yield batches for ever from "virtual", a folder of slabs or one of prepared cases.

    ``share`` is how much of it comes from ``real``, a folder of slabs of pairs, where that is
    given: of 1, nothing else is read.
    """
    if real is None:
        slabs = _slabs_of(data, seed)
    elif share >= 1:
        slabs = KeptSlabs(real)
    else:
        slabs = MixedSlabs(_slabs_of(data, seed), KeptSlabs(real), share)
    return in_batches(DoseSlices(slabs, crop=crop, seed=seed), batch, workers)


def _slabs_of(data: str, seed: int) -> Any:
    if data == "virtual":
        return VirtualSlabs(make_slabs, seed)
    if holds_pairs(data):
        return PreparedSlabs(Path(data), slab_of_case, needs=("low",))
    return KeptSlabs(Path(data))
