"""Slices for SPHERE and SPHERE-Art: post-contrast, pre-contrast, and the pre scan with artefacts.

They come from virtual patients (``make_slabs.py``, or made while training) or from the cases of
``prepare_data.py``.

A batch is a dictionary of tensors (n, 1, rows, cols), ``post`` (n, neighbours, rows, cols):

    post        after the contrast agent, divided by the mean of the brain: slices 1 mm apart
    pre         what to make of it: the same scan without agent, or the second scan
    uptake      the true mask of the uptake, eq. 22 of SPHERE, from these two: 0 or 1
    second      the pre scan as it was scanned, by its own mean: what SPHERE-Art restores
    corrupted   the same with artefacts, by its own mean
    brain       where there is a brain, 0 or 1
    tissue      labels of tissues, of virtual patients
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import IterableDataset

from ContrastSynthLib.inference.slicing import plan_slices
from ContrastSynthLib.phantom.brain.parameters import CORRUPTION
from ContrastSynthLib.phantom.brain.slices import brain_slabs
from ContrastSynthLib.physics.constants import UPTAKE_THRESHOLD
from data.prepared_cases import Case, holds_pairs
from data.slabs import (
    NEIGHBOURS,
    ROLES,
    SLABS_PER_SEED,
    KeptSlabs,
    PreparedSlabs,
    Slab,
    VirtualSlabs,
    in_batches,
    neighbourhood,
)

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


def make_slabs(seed: int) -> Iterator[np.ndarray]:
    """Yield the slabs of one seed: two patients, one kind of artefact, some with their head."""
    corruption = list(CORRUPTION)[seed % len(CORRUPTION)]
    with_head, with_large = np.random.default_rng([seed, 7]).random(2) < (HEAD_SHARE, LARGE_SHARE)
    large = LARGE if with_large else {}
    slabs = brain_slabs(seed, roles=ROLES, corruption=corruption, head=bool(with_head), **large)
    for slab in itertools.islice(slabs, SLABS_PER_SEED):
        yield np.stack([slab[role] for role in ROLES]).astype(np.float16)


@lru_cache(maxsize=64)
def slab_of_case(case: Case) -> Slab:
    """Return a prepared case as a slab; without a corrupted scan, the pre scan is used."""
    mask = case.mask.array > 0
    plan = plan_slices(case.pre.grid, mask)
    pre, post = plan.slices(case.pre.array), plan.slices(case.post.array)
    corrupted = pre if case.corrupted is None else plan.slices(case.corrupted.array)
    brain = plan.slices(mask)
    # No scan without agent was made with the settings of the post scan.
    images = np.stack([post, pre, pre, corrupted, brain, np.zeros_like(pre)])
    return Slab(images.astype(np.float16), plan.spacing_mm[0])


class Slices(IterableDataset):
    """Training examples for ever; each worker of each process has its own stream.

    ``tau`` is the threshold of eq. 22, in means of the brain. ``target`` says what ``pre`` is:
    "same_scan", the post scan without agent, or "second_scan", the scan before the agent.
    ``neighbours`` is the odd number of slices of the post scan that a network sees at once.
    """

    def __init__(
        self,
        slabs: Any,
        *,
        crop: int,
        seed: int,
        tau: float = UPTAKE_THRESHOLD,
        target: str = "same_scan",
        neighbours: int = NEIGHBOURS,
    ) -> None:
        self.slabs, self.crop, self.seed = slabs, crop, seed
        self.tau, self.target, self.neighbours = tau, target, neighbours

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        """Yield single examples."""
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        while True:
            example = take(self.slabs.draw(rng), rng, self.crop, self.target, self.neighbours)
            if example is not None:
                rise = middle_of(example["post"]) - example["pre"]
                example["uptake"] = (rise > self.tau).float()
                yield example


def take(
    slab: Slab, rng: np.random.Generator, crop: int, target: str, neighbours: int = NEIGHBOURS
) -> dict[str, torch.Tensor] | None:
    """Return one example of ``crop`` x ``crop`` pixels; None where there is too little brain."""
    slice_ = int(rng.integers(slab.images.shape[1]))
    lesion = slab.lesions[rng.integers(len(slab.lesions))] if len(slab.lesions) else None
    if rng.random() > LESION_SHARE:
        lesion = None
    images = slab.neighbourhood(slice_ if lesion is None else int(lesion[0]), neighbours)
    inside = np.argwhere(images[ROLES.index("brain"), neighbours // 2] > 0)
    if len(inside) < 200:
        return None
    middle = inside[rng.integers(len(inside))] if lesion is None else lesion[1:]
    cut = [_window(m, crop, size) for m, size in zip(middle, images.shape[2:], strict=True)]
    images = _padded(images[:, :, cut[0], cut[1]], crop)
    images = _changed(images, rng)
    if rng.random() < 0.5:
        images = images[..., ::-1].copy()
    if rng.random() < THICK_SHARE:
        nearer = rng.uniform(0, 1)
        images = neighbourhood(images, neighbours // 2, neighbours, 1 / (1 - nearer))
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
        "pre": middle_of(pre),
        "second": middle_of(images["pre"]) * own,
        "corrupted": middle_of(images["corrupted"]) * own,
        "brain": (middle_of(images["brain"]) > 0.5).astype(np.float32),
        "tissue": np.round(middle_of(images["tissue"])),
    }
    return {name: torch.from_numpy(np.ascontiguousarray(t)) for name, t in tensors.items()}


def middle_of(slices: Any) -> Any:
    """Return the middle one of neighbouring slices (neighbours, rows, cols), (1, rows, cols)."""
    centre = len(slices) // 2
    return slices[centre : centre + 1]


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


def batches(
    data: str, *, crop: int, batch: int, seed: int, workers: int, **options: Any
) -> Iterator[dict[str, torch.Tensor]]:
    """Yield batches for ever from "virtual", a folder of slabs or one of prepared cases.

    ``options`` are those of :class:`Slices`. Ends the script with a message for pairs of scans
    with the target "same_scan": no real post scan is known without its contrast agent.
    """
    if data == "virtual":
        slabs: Any = VirtualSlabs(make_slabs, seed)
    elif holds_pairs(data):
        if options.get("target") == "same_scan":
            raise SystemExit(f"{data} holds pairs of scans: give --target second_scan")
        slabs = PreparedSlabs(Path(data), slab_of_case)
    else:
        slabs = KeptSlabs(Path(data))
    return in_batches(Slices(slabs, crop=crop, seed=seed, **options), batch, workers)
