"""Slabs, a few neighbouring axial slices of a patient, and where they come from.

A source of slabs has a function ``draw(rng)``, which returns one slab: of virtual patients made
while training, of virtual patients kept on the disk, or of the cases of ``prepare_data.py``.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch.utils.data import DataLoader, IterableDataset

from ContrastSynthLib.inference.slicing import neighbours
from ContrastSynthLib.phantom.brain.slices import SLAB_SLICES
from ContrastSynthLib.phantom.tissue import TISSUES
from ContrastSynthLib.preprocessing.normalisation import radiometric_gain
from data.prepared_cases import Case, read_cases

NEIGHBOURS = 3
"""Slices that SPHERE sees at once, unless told otherwise: the one to change and its neighbours."""
ROLES = ("post", "unenhanced", "pre", "corrupted", "brain", "tissue")
"""Images of a slab for SPHERE, in this order; ``unenhanced`` is the post scan without agent."""
SLABS_PER_SEED = 8
MakeSlabs = Callable[[int], Iterator[np.ndarray]]
"""Yields the slabs of a seed, (roles, slices, rows, cols)."""


@dataclass
class Slab:
    """Images (roles, slices, rows, cols) of one patient, slices ``spacing_mm`` apart.

    Intensities are those of the scanner. ``levels`` and ``lesions`` are of slabs with ROLES.
    """

    images: np.ndarray
    spacing_mm: float = 1.0

    def neighbourhood(self, slice_: int, count: int = NEIGHBOURS) -> np.ndarray:
        """Return (roles, count, rows, cols) about a slice, 1 mm apart, float32, as in use."""
        return neighbourhood(self.images, slice_, count, self.spacing_mm)

    @cached_property
    def levels(self) -> dict[str, float]:
        """Means of the scans in the brain, or in the head where there is one, and two gains.

        ``rise`` is how much brighter the contrast agent makes the brain as a whole; ``agent`` the
        gain between the post scan and the same scan without agent.
        """
        few = self.images[:, ::4, ::2, ::2].astype(np.float32)
        named = dict(zip(ROLES, few, strict=True))
        found = {}
        for role in ("post", "pre", "corrupted"):
            image, brain = named[role], named["brain"] > 0
            whole = (image > 0).mean() > 1.5 * brain.mean()
            where = image > 0.3 * image[brain].mean() if whole else brain
            found[role] = float(image[where].mean())
        pre, post = named["pre"], named["post"]
        inside = (named["brain"] > 0) & (pre > 0) & (post > 0)
        rise = post[inside].mean() / pre[inside].mean()
        found["rise"] = float(rise / radiometric_gain(pre, post, inside))
        found["agent"] = float(radiometric_gain(named["unenhanced"], post, inside))
        return found

    @cached_property
    def lesions(self) -> np.ndarray:
        """Places in lesions that take up agent, (n, 3) as slice, row and column."""
        tissue = np.asarray(self.images[ROLES.index("tissue")][:, ::2, ::2])
        places = np.argwhere(tissue == TISSUES["tumour"].label)
        chosen: np.ndarray = places[:: 1 + len(places) // 500] * [1, 2, 2]
        return chosen


def neighbourhood(images: np.ndarray, slice_: int, count: int, spacing_mm: float) -> np.ndarray:
    """Return (roles, count, rows, cols), 1 mm apart, of images with slices ``spacing_mm`` apart.

    What lies between two slices is interpolated.
    """
    lower, upper, share = neighbours(np.array([slice_]), count, spacing_mm, images.shape[1])
    first = lower.min()
    # A slab may lie on the disk: no slice of it is read twice.
    read = np.asarray(images[:, first : upper.max() + 1], dtype=np.float32)
    share = share[0, :, None, None]
    between: np.ndarray = read[:, lower[0] - first] * (1 - share)
    between += read[:, upper[0] - first] * share
    return between


class VirtualSlabs:
    """Slabs of virtual patients, made while training; each serves a while before the next comes."""

    def __init__(self, make: MakeSlabs, seed: int, keep: int = 8) -> None:
        self.make, self.seed, self.keep = make, seed, keep
        self.slabs: list[Slab] = []

    def draw(self, rng: np.random.Generator) -> Slab:
        """Return one of the last few slabs; a new one comes in every SLAB_SLICES draws."""
        if len(self.slabs) < 2 or rng.random() < 1 / SLAB_SLICES:
            self.slabs = [*self.slabs, Slab(next(self._new))][-self.keep :]
        return self.slabs[rng.integers(len(self.slabs))]

    @property
    def _new(self) -> Iterator[np.ndarray]:
        if not hasattr(self, "_stream"):
            worker = torch.utils.data.get_worker_info()
            # Every process and every worker of it makes patients of its own.
            first = 10**8 * self.seed + 10**6 * (worker.id if worker else 0)
            self._stream = itertools.chain.from_iterable(map(self.make, itertools.count(first)))
        return self._stream


class KeptSlabs:
    """Slabs on the disk, as ``make_slabs.py`` leaves them.

    Ends the script with a message when the folder holds none.
    """

    def __init__(self, folder: Path) -> None:
        paths = sorted(folder.glob("*.npy"))
        if not paths:
            raise SystemExit(f"{folder} holds no slabs: run python training/make_slabs.py {folder}")
        self.slabs = [Slab(np.load(path, mmap_mode="r")) for path in paths]

    def draw(self, rng: np.random.Generator) -> Slab:
        """Return one slab; the disk is read when its slices are used."""
        return self.slabs[rng.integers(len(self.slabs))]


class PreparedSlabs:
    """The volumes of prepared cases of one split, each as one slab, made by ``slab_of``.

    Only cases with all scans of ``needs`` count. Ends the script with a message without any.
    """

    def __init__(
        self,
        folder: Path,
        slab_of: Callable[[Case], Slab],
        needs: tuple[str, ...] = (),
        split: str = "train",
    ) -> None:
        self.slab_of = slab_of
        self.cases = [case for case in read_cases(folder, split) if {*needs} <= {*case.roles}]
        if not self.cases:
            scans = f" with the scans {', '.join(needs)}" if needs else ""
            raise SystemExit(f"{folder} holds no cases{scans} of the split '{split}'")

    def draw(self, rng: np.random.Generator) -> Slab:
        """Return the volume of one case."""
        return self.slab_of(self.cases[rng.integers(len(self.cases))])


def write_slabs(folder: Path, seed: int, make: MakeSlabs, count: int = SLABS_PER_SEED) -> None:
    """Write the ``count`` slabs of one seed into a folder; those that are there already stay."""
    wanted = [folder / f"{seed:05d}_{n}.npy" for n in range(count)]
    if all(path.exists() for path in wanted):
        return
    for path, slab in zip(wanted, make(seed), strict=True):
        if path.exists():
            continue
        part = path.with_suffix(".part")
        with open(part, "wb") as file:
            np.save(file, slab)
        os.replace(part, path)


def in_batches(
    examples: IterableDataset, batch: int, workers: int
) -> Iterator[dict[str, torch.Tensor]]:
    """Yield batches of examples for ever."""
    loader = DataLoader(
        examples,
        batch_size=batch,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_on_one_thread,
    )
    return iter(loader)


def _on_one_thread(_worker: int) -> None:
    """Keep numpy from starting threads in a worker: they would wait for each other's cores."""
    threadpool_limits(1)
