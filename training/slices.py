"""Slices to train on, from virtual patients or from a folder of real pairs, ready in batches.

    python training/slices.py POOL --patients 100 --processes 8

keeps slabs of virtual patients on the disk, so that many runs see the same ones and none waits
for them; ``--data virtual`` makes them while training, ``--data PREPARED`` takes what
``prepare_data.py`` wrote.

A batch is a dictionary of tensors (n, 1, rows, cols), ``post`` (n, NEIGHBOURS, rows, cols):

    post        after the agent, divided by the mean of the brain
    pre         what to make of it: the same scan without agent, or the second scan
    uptake      the true mask of eq. 22 of SPHERE, from these two
    second      the pre scan as it was scanned, by its own mean: what SPHERE-Art restores
    corrupted   the same with artefacts, by its own mean
    brain       where there is a brain, 0 or 1
"""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset

from ContrastSynthLib.inference.slicing import plan_slices
from ContrastSynthLib.phantom.brain.parameters import CORRUPTION
from ContrastSynthLib.phantom.brain.slices import SLAB_SLICES, brain_slabs
from ContrastSynthLib.phantom.tissue import TISSUES
from ContrastSynthLib.physics.constants import UPTAKE_THRESHOLD
from ContrastSynthLib.preprocessing.normalisation import radiometric_gain

NEIGHBOURS = 3
ROLES = ("post", "unenhanced", "pre", "corrupted", "brain", "tissue")
SLABS_PER_SEED = 8
HEAD_SHARE = 0.2
"""Share of patients that keep scalp, fat and orbits."""
LARGE_SHARE = 0.35
"""Share of patients with large lesions: of those drawn as usual, most are under 15 mm."""
LARGE = {"lesions": 2, "lesion_mm": (20.0, 60.0)}
GAIN_SPREAD = 0.2
"""A slab's mean is not that of its brain: intensities vary by this share either way."""
ZOOM_RANGE = (0.8, 1.3)
TURN_DEG = 12.0
CONTRAST_EXPONENTS = (0.8, 1.25)
"""Of the intensities of all scans alike: protocols whose tissues differ more, or less."""
AGENT_RANGE = (0.6, 1.8)
"""What the agent adds is made weaker or stronger by this, as lesions and doses differ."""
LESION_SHARE = 0.5
"""Share of crops about a lesion that takes up agent, of slabs that hold one."""
CHANGED_SHARE = 0.5
"""Share of slices that are turned and zoomed; the others keep the noise as it was scanned."""
THICK_SHARE = 0.25
"""Share whose neighbours are drawn nearer to the slice, as between thick slices."""


# ---- slabs: neighbouring axial slices of all roles, in scanner units


@dataclass
class Slab:
    """Images (roles, slices, rows, cols) of one patient, slices ``spacing_mm`` apart."""

    images: np.ndarray
    spacing_mm: float = 1.0

    def neighbourhood(self, slice_: int) -> np.ndarray:
        """Return (roles, NEIGHBOURS, rows, cols) about a slice, 1 mm apart, float32."""
        step = max(1, round(1 / self.spacing_mm))
        where = np.clip(slice_ + step * np.array([-1, 0, 1]), 0, self.images.shape[1] - 1)
        found = np.asarray(self.images[:, where], dtype=np.float32)
        # Where slices are further apart than 1 mm, what lies in between is interpolated.
        share = min(1.0, 1 / (step * self.spacing_mm))
        found[:, ::2] = found[:, 1:2] + share * (found[:, ::2] - found[:, 1:2])
        return found

    @cached_property
    def levels(self) -> dict[str, float]:
        """Means inside the brain, or the head where there is one, and what agent adds to them."""
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


def make_slabs(seed: int) -> Iterator[np.ndarray]:
    """Yield the slabs of one seed: two patients, one kind of artefact, some with their head."""
    corruption = list(CORRUPTION)[seed % len(CORRUPTION)]
    with_head, with_large = np.random.default_rng([seed, 7]).random(2) < (HEAD_SHARE, LARGE_SHARE)
    large = LARGE if with_large else {}
    slabs = brain_slabs(seed, roles=ROLES, corruption=corruption, head=bool(with_head), **large)
    for slab in itertools.islice(slabs, SLABS_PER_SEED):
        yield np.stack([slab[role] for role in ROLES]).astype(np.float16)


def write_slabs(
    folder: Path, seed: int, make: Callable[[int], Iterator[np.ndarray]] = make_slabs
) -> None:
    """Keep the slabs of one seed in a folder; those that are there already are left alone."""
    wanted = [folder / f"{seed:05d}_{n}.npy" for n in range(SLABS_PER_SEED)]
    if all(path.exists() for path in wanted):
        return
    for path, slab in zip(wanted, make(seed), strict=True):
        if path.exists():
            continue
        part = path.with_suffix(".part")
        with open(part, "wb") as file:
            np.save(file, slab)
        os.replace(part, path)


class VirtualSlabs:
    """Ever new slabs of virtual patients, each used for some slices before the next is made."""

    make = staticmethod(make_slabs)

    def __init__(self, seed: int, keep: int = 8) -> None:
        self.seed, self.keep = seed, keep
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
    """Slabs that :func:`write_slabs` kept."""

    def __init__(self, folder: Path) -> None:
        paths = sorted(folder.glob("*.npy"))
        if not paths:
            raise SystemExit(f"{folder} holds no slabs: run python training/slices.py {folder}")
        self.slabs = [Slab(np.load(path, mmap_mode="r")) for path in paths]

    def draw(self, rng: np.random.Generator) -> Slab:
        """Return one slab, read as its slices are asked for."""
        return self.slabs[rng.integers(len(self.slabs))]


class PairSlabs:
    """Volumes of the real pairs that ``prepare_data.py`` wrote, of one split."""

    def __init__(self, folder: Path, split: str = "train") -> None:
        from prepare_data import read_cases

        self.cases = read_cases(folder, split)
        if not self.cases:
            raise SystemExit(f"{folder} holds no cases of the split '{split}'")

    def draw(self, rng: np.random.Generator) -> Slab:
        """Return one volume as a slab; without a corrupted scan, the pre scan stands there."""
        return _slab_of_case(self.cases[rng.integers(len(self.cases))])


@lru_cache(maxsize=64)
def _slab_of_case(case: Any) -> Slab:
    mask = case.mask.array > 0
    plan = plan_slices(case.pre.grid, mask)
    pre, post = plan.slices(case.pre.array), plan.slices(case.post.array)
    corrupted = pre if case.corrupted is None else plan.slices(case.corrupted.array)
    brain = plan.slices(mask)
    # No scan without agent was made with the settings of the post scan.
    images = np.stack([post, pre, pre, corrupted, brain, np.zeros_like(pre)])
    return Slab(images.astype(np.float16), plan.spacing_mm[0])


# ---- slices: cropped, changed, normalised


class Slices(IterableDataset):
    """Training examples for ever; each worker of each process has its own stream."""

    def __init__(
        self,
        slabs: Any,
        *,
        crop: int,
        seed: int,
        tau: float = UPTAKE_THRESHOLD,
        target: str = "same_scan",
    ) -> None:
        self.slabs, self.crop, self.seed = slabs, crop, seed
        self.tau, self.target = tau, target

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        """Yield single examples."""
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        while True:
            example = take(self.slabs.draw(rng), rng, self.crop, self.target)
            if example is not None:
                example["uptake"] = ((example["post"][1:2] - example["pre"]) > self.tau).float()
                yield example


def take(
    slab: Slab, rng: np.random.Generator, crop: int, target: str
) -> dict[str, torch.Tensor] | None:
    """Return one example of ``crop`` x ``crop`` pixels; None where there is too little brain."""
    slice_ = int(rng.integers(slab.images.shape[1]))
    lesion = slab.lesions[rng.integers(len(slab.lesions))] if len(slab.lesions) else None
    if rng.random() > LESION_SHARE:
        lesion = None
    images = slab.neighbourhood(slice_ if lesion is None else int(lesion[0]))
    inside = np.argwhere(images[ROLES.index("brain"), 1] > 0)
    if len(inside) < 200:
        return None
    middle = inside[rng.integers(len(inside))] if lesion is None else lesion[1:]
    cut = [_window(m, crop, size) for m, size in zip(middle, images.shape[2:], strict=True)]
    images = _padded(images[:, :, cut[0], cut[1]], crop)
    images = _changed(images, rng)
    if rng.random() < 0.5:
        images = images[..., ::-1].copy()
    if rng.random() < THICK_SHARE:
        share = rng.uniform(0, 1)
        images[:, ::2] += share * (images[:, 1:2] - images[:, ::2])
    return _normalised(dict(zip(ROLES, images, strict=True)), slab.levels, rng, target)


def _window(middle: int, crop: int, size: int) -> slice:
    first = int(np.clip(middle - crop // 2, 0, max(size - crop, 0)))
    return slice(first, first + crop)


def _padded(images: np.ndarray, crop: int) -> np.ndarray:
    missing = [max(crop - size, 0) for size in images.shape[2:]]
    return np.pad(images, [(0, 0), (0, 0), *((m // 2, m - m // 2) for m in missing)])


def _changed(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the images turned and zoomed, half of the time."""
    if rng.random() > CHANGED_SHARE:
        return images
    zoom, turn = rng.uniform(*ZOOM_RANGE), np.deg2rad(rng.uniform(-TURN_DEG, TURN_DEG))
    cosine, sine = np.cos(turn) / zoom, np.sin(turn) / zoom
    matrix = torch.tensor([[[cosine, -sine, 0], [sine, cosine, 0]]], dtype=torch.float32)
    flat = torch.from_numpy(images.reshape(1, -1, *images.shape[2:]))
    grid = torch.nn.functional.affine_grid(matrix, list(flat.shape), align_corners=False)
    sample = torch.nn.functional.grid_sample
    moved = sample(flat, grid, align_corners=False).numpy().reshape(images.shape)
    # Between two labels lies none that means anything.
    labels = torch.from_numpy(images[[ROLES.index("tissue")]])
    moved[ROLES.index("tissue")] = sample(labels, grid, mode="nearest", align_corners=False)[0]
    return moved


def _normalised(
    images: dict[str, np.ndarray], levels: dict[str, float], rng: np.random.Generator, target: str
) -> dict[str, torch.Tensor]:
    """Return the example in means of the brain, at gains that vary as they do in use."""
    images = _other_contrast(images, levels, rng, with_agent=target == "same_scan")
    gain = float(np.exp(rng.uniform(-GAIN_SPREAD, GAIN_SPREAD)))
    post = images["post"] * (gain / levels["post"])
    if target == "same_scan":
        pre = images["unenhanced"] * (gain / levels["post"])
    else:
        pre = images["pre"] * (gain / (levels["pre"] * levels["rise"]))
    own = float(np.exp(rng.uniform(-GAIN_SPREAD, GAIN_SPREAD))) / levels["corrupted"]
    tensors = {
        "post": post,
        "pre": pre[1:2],
        "second": images["pre"][1:2] * own,
        "corrupted": images["corrupted"][1:2] * own,
        "brain": (images["brain"][1:2] > 0.5).astype(np.float32),
        "tissue": np.round(images["tissue"][1:2]),
    }
    return {name: torch.from_numpy(np.ascontiguousarray(t)) for name, t in tensors.items()}


def _other_contrast(
    images: dict[str, np.ndarray],
    levels: dict[str, float],
    rng: np.random.Generator,
    *,
    with_agent: bool,
) -> dict[str, np.ndarray]:
    """Return the images as another protocol and, ``with_agent``, another dose might show them.

    What the agent adds is known only where ``unenhanced`` is the post scan without it.
    """
    exponent, agent = (
        float(np.exp(rng.uniform(*np.log(span)))) for span in (CONTRAST_EXPONENTS, AGENT_RANGE)
    )
    changed = dict(images)
    if with_agent:
        unenhanced = images["unenhanced"]
        changed["post"] = unenhanced + agent * (images["post"] - unenhanced)
        # Agent in the blood of all tissue is no more seen in one scan than a gain is.
        changed["unenhanced"] = unenhanced * (1 + agent * (levels["agent"] - 1))
    # One signal stands for one tissue in all scans, whatever their gains are.
    unit = {role: levels[role] * levels["rise"] for role in ("pre", "corrupted")}
    unit |= dict.fromkeys(("post", "unenhanced"), levels["post"])
    for role, one in unit.items():
        changed[role] = one * np.maximum(changed[role] / one, 0) ** exponent
    return changed


def holds_pairs(data: str) -> bool:
    """Tell whether this is a folder of prepared pairs: real scans, as far as anybody knows."""
    return data != "virtual" and (Path(data) / "cases.json").is_file()


def batches(
    data: str, *, crop: int, batch: int, seed: int, workers: int, **options: Any
) -> Iterator[dict[str, torch.Tensor]]:
    """Yield batches for ever from ``virtual``, a folder of kept slabs or one of prepared pairs."""
    if data == "virtual":
        slabs: Any = VirtualSlabs(seed)
    elif holds_pairs(data):
        if options.get("target") == "same_scan":
            raise SystemExit(f"{data} holds pairs of scans: give --target second_scan")
        slabs = PairSlabs(Path(data))
    else:
        slabs = KeptSlabs(Path(data))
    loader = DataLoader(
        Slices(slabs, crop=crop, seed=seed, **options),
        batch_size=batch,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
    )
    return iter(loader)


def keep_slabs(make: Callable[[int], Iterator[np.ndarray]], what: str) -> None:
    """Keep slabs of virtual patients in the folder that the command line names."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--patients", type=int, default=200)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.patients // 2)
    write = partial(write_slabs, arguments.folder, make=make)
    with ProcessPoolExecutor(arguments.processes) as pool:
        for done, _ in enumerate(pool.map(write, seeds), 1):
            print(f"{2 * done} of {2 * len(seeds)} patients", flush=True)


if __name__ == "__main__":
    keep_slabs(make_slabs, __doc__.split("\n")[0])
