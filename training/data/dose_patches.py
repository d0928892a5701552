"""Patches in 3D for the low-dose GAN: two scans, a dose, and what that dose adds to the first.

A batch is a dictionary of tensors, images (n, 1, depth, side, side) divided by the 0.95 quantile
of the native scan in the brain, with its gain, 0 outside of the brain:

    native      before the agent
    standard    after the full dose
    residual    the low-dose scan less the native one, with the noise of both
    dose        its fraction of the full dose, (n,), one of DOSES
    noise       standard deviation of the noise of the scans, (n,)
    field       field strength in tesla, (n,)

They are of virtual patients, scanned anew for each patch from maps (``make_slabs.py --for
real_pairs``), and of real pairs, whose low dose is **simulated** by the signal equation from both
scans after a denoising, with other settings and another relaxivity for each patch. Its noise has
the strength of that of the pair. The native scan of a pair is the pre scan in the contrast and
shading of the post scan, as in :mod:`data.dose_pairs`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import IterableDataset

from ContrastSynthLib.preprocessing.denoising import denoise, noise_sigma
from ContrastSynthLib.preprocessing.normalisation import fit, radiometric_gain
from ContrastSynthLib.volumes import FloatArray
from data.agent_maps import CHANNELS, KeptMaps, Protocol, draw_agent, mottled, textured
from data.dose_pairs import draw_simulation
from data.dose_simulation import rician, simulated_signal
from data.mixed_crops import (
    ABOUT_UPTAKE,
    NOISE,
    OTHER_VIEWS,
    POINT_SPREAD,
    log_uniform,
    place_viewed,
    spread,
    viewed,
    window,
)
from data.real_pairs import (
    MAPS,
    RealPair,
    held_out_of,
    keep_whole,
    prepare_pairs,
    read_table,
)

DOSES = (0.1, 0.2, 0.33)
"""Fractions of the full dose, as the paper's patients were given."""
SIDE = 32
LEAST_BRAIN = 0.3
"""Share of a patch that is brain."""
MOST_TRIES = 1000
IMAGES = ("native", "standard", "low")
VIEWS = ("axial", *OTHER_VIEWS)


@dataclass(frozen=True)
class Patch:
    """IMAGES (3, depth, side, side) in the unit of a batch, and the numbers of one."""

    images: FloatArray
    brain: FloatArray
    dose: float
    noise: float
    field_strength_t: float


@dataclass(frozen=True)
class DosePair:
    """A real pair with its scans after denoising, on the disk, and its noise.

    ``clean`` (2, k, j, i) are target and post scan; ``sigma`` is the mean standard deviation of the
    noise of both, ``median`` and ``p95`` are of the target in the brain, all in its unit.
    """

    pair: RealPair
    clean: np.ndarray
    sigma: float
    median: float
    p95: float

    @classmethod
    def of(cls, pair: RealPair, folder: Path) -> DosePair:
        """Return a pair whose denoised scans are kept in ``folder``, made where they are not."""
        post, target, brain = (
            np.asarray(pair.maps[MAPS.index(role)], dtype=np.float32)
            for role in ("post", "target", "brain")
        )
        inside = brain > 0
        sigmas = [noise_sigma(scan, inside) for scan in (target, post)]
        path = folder / f"{pair.name}.npy"
        if not path.exists() or path.stat().st_mtime < pair.path.stat().st_mtime:
            clean = [denoise(scan, s) for scan, s in zip((target, post), sigmas, strict=True)]
            keep_whole(path, (np.stack(clean) * inside).astype(np.float16))
        values = target[inside]
        return cls(
            pair,
            np.load(path, mmap_mode="r"),
            float(np.mean(sigmas)),
            float(np.median(values)),
            fit("p95", target, inside).scale,
        )


def read_pairs(arguments: argparse.Namespace) -> tuple[list[DosePair], list[DosePair]]:
    """Return the pairs to learn from, and those of the patients held out.

    ``arguments`` are those of :mod:`data.pair_options`, with ``data``, ``out`` and ``clean``.
    """
    table = read_table(Path(arguments.data), arguments.same_patient)
    held_out = held_out_of(table, arguments.held_out)
    clean = arguments.clean or arguments.out / "clean"
    clean.mkdir(parents=True, exist_ok=True)
    matched = prepare_pairs(table, arguments.pairs or arguments.out / "pairs")
    pairs = [DosePair.of(pair, clean) for pair in matched]
    others = [each for each in pairs if each.pair.patient in held_out]
    learnt = [each for each in pairs if each.pair.patient not in held_out]
    print(f"{len(learnt)} pairs to learn from, {len(others)} of {len(held_out)} patients held out")
    return learnt, others


@dataclass(frozen=True)
class PatchSources:
    """Where patches come from: real pairs, with the probability ``real``, and virtual patients.

    A patch has ``depth`` slices of ``side`` x ``side`` voxels; without ``depth`` it is a cube. Real
    pairs are cut in each of the VIEWS as often where ``all_views`` says so, else in axial slices.
    """

    pairs: Sequence[DosePair]
    maps: KeptMaps | None
    real: float = 0.5
    side: int = SIDE
    depth: int | None = None
    all_views: bool = False
    doses: Sequence[float] = ()
    """The lowest and the highest dose, drawn uniformly; without them one of DOSES is drawn."""

    def draw(self, rng: np.random.Generator) -> Patch:
        """Return one patch. Ends the script where patch after patch holds no brain."""
        for _ in range(MOST_TRIES):
            of_pair = self.maps is None or (self.pairs and rng.random() < self.real)
            patch = self._of_pair(rng) if of_pair else self._virtual(rng)
            if patch is not None and patch.brain.mean() >= LEAST_BRAIN:
                return patch
        raise SystemExit(f"{MOST_TRIES} patches in a row hold no brain: look at the data")

    def _of_pair(self, rng: np.random.Generator) -> Patch | None:
        found = self.pairs[int(rng.integers(len(self.pairs)))]
        pair, places = found.pair, found.pair.inside
        if rng.random() < ABOUT_UPTAKE and len(pair.places):
            places = pair.lesions if len(pair.lesions) else pair.places
        middle = places[int(rng.integers(len(places)))]
        view = str(rng.choice(VIEWS)) if self.all_views else VIEWS[0]
        maps, clean = (self._cut(each, middle, view) for each in (pair.maps, found.clean))
        post, target, brain = (maps[MAPS.index(role)] for role in ("post", "target", "brain"))
        by, _ = draw_simulation(rng)
        dose = self._dose(rng)
        # The gain is that of the native scan: the method removes the difference of gains.
        signal = simulated_signal(*clean, dose, by, found.median) * (brain > 0)
        low = rician(signal, found.sigma, rng)
        images = np.stack([target, post, low]) / np.float32(found.p95)
        return Patch(images, brain, dose, found.sigma / found.p95, by.field_strength_t)

    def _virtual(self, rng: np.random.Generator) -> Patch | None:
        assert self.maps is not None
        slab, protocol, agent = self.maps.draw(rng), Protocol.draw(rng), draw_agent(rng)
        places = slab.inside
        if rng.random() < ABOUT_UPTAKE and len(slab.lesions):
            places = slab.lesions
        maps = self._cut(slab.maps, places[int(rng.integers(len(places)))])
        maps = mottled(textured(maps, rng), rng)
        dose = self._dose(rng)
        doses = dict(zip(IMAGES, (0.0, 1.0, dose), strict=True))
        level = _levels(slab.few, protocol, agent, doses)
        brain = (maps[CHANNELS.index("tissue")] > 0).astype(np.float32)
        noise = log_uniform(rng, NOISE) * level["median"]
        clean = [protocol.at_dose(maps, agent, each) / level[name] for name, each in doses.items()]
        seen = spread(clean, brain, float(rng.uniform(*POINT_SPREAD)))
        scans = [rician(scan, noise, rng) for scan in seen]
        images = np.stack(scans) / np.float32(level["p95"])
        return Patch(images, brain, dose, noise / level["p95"], protocol.field_strength_t)

    def _dose(self, rng: np.random.Generator) -> float:
        """Return the dose of one patch."""
        return float(rng.uniform(*self.doses) if self.doses else rng.choice(DOSES))

    def _cut(self, maps: np.ndarray, middle: np.ndarray, view: str = VIEWS[0]) -> np.ndarray:
        """Return the window of maps (channels, k, j, i) about a voxel in one view, float32."""
        shown, place = viewed(maps, view), place_viewed(middle, maps.shape[1:], view)
        return window(shown, place, self.depth or self.side, self.side).astype(np.float32)


def _levels(
    few: np.ndarray, protocol: Protocol, agent: Any, doses: dict[str, float]
) -> dict[str, float]:
    """Return the gain of each scan over the native one, whose median and 0.95 quantile too."""
    brain = few[CHANNELS.index("tissue")] > 0
    scans = {name: protocol.at_dose(few, agent, dose) for name, dose in doses.items()}
    native = scans["native"]
    found = {name: float(radiometric_gain(native, scan, brain)) for name, scan in scans.items()}
    found["median"] = float(np.median(native[brain]))
    return {**found, "p95": fit("p95", native, brain).scale}


class DosePatches(IterableDataset):
    """Examples for ever; each worker of each process has its own stream."""

    def __init__(self, sources: PatchSources, seed: int) -> None:
        self.sources, self.seed = sources, seed

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        """Yield single examples, turned by flips."""
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        while True:
            yield as_example(self.sources.draw(rng), rng)


def as_example(patch: Patch, rng: np.random.Generator) -> dict[str, torch.Tensor]:
    """Return a patch as an example, flipped along axes at random."""
    native, standard, low = patch.images * (patch.brain > 0)
    flips = [axis for axis in range(3) if rng.random() < 0.5]
    shown = {"native": native, "standard": standard, "residual": low - native}
    example = {
        name: torch.from_numpy(np.ascontiguousarray(np.flip(image, flips)[None], dtype=np.float32))
        for name, image in shown.items()
    }
    numbers = {"dose": patch.dose, "noise": patch.noise, "field": patch.field_strength_t}
    return example | {name: torch.tensor(value) for name, value in numbers.items()}


def seen_by_generator(batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return noise of the strength of the scans', native and standard scan (n, 3, k, j, i)."""
    native, standard = batch["native"], batch["standard"]
    noise = batch["noise"].reshape(-1, 1, 1, 1, 1) * torch.randn_like(native)
    return torch.cat([noise, native, standard], dim=1)
