"""Slabs for the high-resolution FCN: what a scan has before the agent, and the scan after it.

They are of virtual patients (``make_slabs.py --for hrfcn``) or of pairs of real scans, and hold

    t1, t2, flair, adc    before the agent; one that a patient lacks is 0 everywhere
    post                  after the full dose, at the gain and shading of t1

in [0, 1]: each scan is divided by its own 99.9th percentile in the brain, ``post`` by that of t1,
and is 0 outside of the brain. The largest values exceed 1.

An example is a dictionary of tensors (1, slices, rows, columns): ``t1``, ``post``, and ``scans``
(4, ...), some of which were left out: any of them but one that is there, t1 more seldom.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import IterableDataset

from ContrastSynthLib.phantom.brain.slices import brain_slabs
from ContrastSynthLib.physics.constants import UPTAKE_THRESHOLD
from ContrastSynthLib.preprocessing.normalisation import fit
from ContrastSynthLib.preprocessing.shading import gain_field
from data.mixed_crops import jittered, window
from data.real_pairs import keep_whole, largest_part, read_axial
from data.slabs import SLABS_PER_SEED

SCANS = ("t1", "t2", "flair", "adc")
OTHERS = SCANS[1:]
"""Scans that a case may have beside its pair."""
ROLES = (*SCANS, "post")
OF_PHANTOM = {"t1": "pre", "t2": "t2", "flair": "flair", "adc": "adc", "post": "post"}
LEFT_OUT = {"t1": 0.1, "t2": 0.25, "flair": 0.5, "adc": 0.4}
"""Probability that a scan is left out of an example, if another one stays: our choice."""
ABOUT_UPTAKE = 0.6
"""Share of examples about tissue that enhances: our choice."""
MOST_PLACES = 20_000


def make_slabs(seed: int) -> Iterator[np.ndarray]:
    """Yield the slabs of one seed, two patients: ROLES (5, slices, rows, cols), half precision."""
    roles = (*OF_PHANTOM.values(), "brain")
    for slab in itertools.islice(brain_slabs(seed, roles=roles, corruption=None), SLABS_PER_SEED):
        scans = {role: slab[name] for role, name in OF_PHANTOM.items()}
        yield as_slab(scans, slab["brain"] > 0)


def slab_of_files(files: Mapping[str, Path]) -> np.ndarray:
    """Return the whole volume of a pair, ROLES (5, k, j, i), from its files by role.

    The scans are skull-stripped and co-registered. Raises RequestError for one that cannot be read.
    """
    scans = {role: read_axial(path) for role, path in files.items()}
    brain = largest_part((scans["t1"] > 0) & (scans["post"] > 0))
    return as_slab(scans, brain)


def write_row(row: tuple[str, Mapping[str, str]], folders: Mapping[str, Path]) -> None:
    """Write the volume of a case of ``read_table`` into its folder, where it is not there yet."""
    case, files = row
    path = folders[case] / f"{case}.npy"
    if not path.exists():
        names = {"t1": "pre", "post": "post", **{role: role for role in OTHERS if role in files}}
        keep_whole(path, slab_of_files({role: Path(files[n]) for role, n in names.items()}))


def as_slab(
    scans: Mapping[str, np.ndarray],
    brain: np.ndarray,
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> np.ndarray:
    """Return the images of ROLES, half precision; a scan that is not among ``scans`` is 0."""
    images = np.zeros((len(ROLES), *brain.shape), dtype=np.float16)
    for role, scan in scans.items():
        if role != "post":
            unit = fit("unit", scan, brain)
            images[ROLES.index(role)] = np.clip(unit.apply(scan), 0, None) * brain
    unit = fit("unit", scans["t1"], brain)
    gain = gain_field(scans["t1"], scans["post"], brain, spacing_mm)
    images[ROLES.index("post")] = np.clip(unit.apply(scans["post"] / gain), 0, None) * brain
    return images


class EnhanceSlab:
    """A slab on the disk: where its brain is, and where it enhances."""

    def __init__(self, path: Path) -> None:
        self.images = np.load(path, mmap_mode="r")
        t1, post = (
            np.asarray(self.images[ROLES.index(role)][:, ::2, ::2], dtype=np.float32)
            for role in ("t1", "post")
        )
        self.inside = _places(post > 0)
        self.agent = _places((post - t1 > UPTAKE_THRESHOLD) & (post > 0))


def _places(where: np.ndarray) -> np.ndarray:
    found = np.argwhere(where) * [1, 2, 2]
    return np.asarray(found[:: 1 + len(found) // MOST_PLACES])


class EnhanceSlices(IterableDataset):
    """Examples of ``depth`` slices for ever; each worker of each process has its own stream.

    ``real`` is the share of examples from the folder of pairs; ``roles`` are the scans that are
    shown. Ends the script with a message for a folder without slabs.
    """

    def __init__(
        self,
        virtual: Sequence[Path],
        pairs: Sequence[Path],
        *,
        real: float,
        depth: int,
        crop: int,
        roles: Sequence[str] = SCANS,
        seed: int = 0,
    ) -> None:
        if (real < 1 and not virtual) or (real > 0 and not pairs):
            raise SystemExit("There are no slabs to learn from: run make_slabs.py --for hrfcn")
        self.sources = tuple([*map(EnhanceSlab, paths)] for paths in (virtual, pairs))
        self.real, self.depth, self.crop, self.seed = real, depth, crop, seed
        self.roles = tuple(roles)

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        """Yield single examples, half of them with left as right."""
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        while True:
            source = self.sources[int(rng.random() < self.real)]
            yield self._example(source[int(rng.integers(len(source)))], rng)

    def _example(self, slab: EnhanceSlab, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        about = len(slab.agent) and rng.random() < ABOUT_UPTAKE
        places = slab.agent if about else slab.inside
        middle = jittered(places[int(rng.integers(len(places)))], rng, self.crop)
        images = window(slab.images, middle, self.depth, self.crop).astype(np.float32)
        if rng.random() < 0.5:
            images = images[..., ::-1]
        named = dict(zip(ROLES, images, strict=True))
        kept = shown(rng, [role for role in self.roles if named[role].any()])
        scans = [named[role] if role in kept else np.zeros_like(named[role]) for role in self.roles]
        example = {"scans": np.stack(scans), "t1": named["t1"][None], "post": named["post"][None]}
        return {name: torch.from_numpy(np.ascontiguousarray(i)) for name, i in example.items()}


def shown(rng: np.random.Generator, there: Sequence[str]) -> set[str]:
    """Return which of the scans that are there an example shows: one at least, if there is one."""
    kept = {role for role in there if rng.random() >= LEFT_OUT[role]}
    if there and not kept:
        kept = {there[int(rng.integers(len(there)))]}
    return kept
