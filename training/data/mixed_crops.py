"""Crops to learn the rise of the contrast agent from: of real pairs and of virtual patients, mixed.

A batch is a dictionary of tensors (n, 1, crop, crop), ``post`` (n, SEEN, crop, crop):

    post      after the contrast agent, in means of the brain
    pre       what to make of it: the pre scan in its contrast (real), or itself without agent
    uptake    soft label of the agent, 0 to 1
    brain     where there is a brain, 0 or 1
    trust     how far ``pre`` is to be trusted, up to 1: a real pair may differ by more than agent

What is done to a crop before it is learnt from is in :mod:`data.crop_changes`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch.utils.data import IterableDataset

from ContrastSynthLib.errors import RequestError, unknown_name
from data.agent_maps import (
    ALL_AGENT,
    CHANNELS,
    NO_AGENT,
    KeptMaps,
    Protocol,
    draw_agent,
    mottled,
    textured,
)
from data.crop_changes import Crop, changed, depth_for, draw_thickness, noisy, pasted, turned
from data.matched import UPTAKE_SPAN, trust_in
from data.real_pairs import MAPS, RealPair

SEEN = 5
"""Slices that the network sees at once: the one to change and two neighbours on either side."""
ABOUT_UPTAKE = 0.5
"""Share of crops about uptake."""
ABOUT_LESION = 0.6
"""Share of these about an enhancing lesion, of patients that have one."""
REAL_AGENT = (0.7, 1.4)
"""What the agent adds to a real scan is made weaker or stronger by this."""
OTHER_VIEWS = ("coronal", "sagittal")
SURELY = 3.0
"""Times this the soft label of a real pair says how much of a rise is that of the agent."""
JITTER = 0.32
"""How far the place that a crop is about may be from its middle, as a share of its width."""
TYPICAL_RANGE = 1.5
"""Range of intensities, in means of the brain, that virtual uptake is labelled by."""
POINT_SPREAD = (0.3, 0.8)
"""Standard deviation of the point spread of virtual scans, in voxels."""
NOISE = (0.006, 0.05)
"""Standard deviation of the noise of virtual scans, in means of the brain, log-uniform."""


@dataclass(frozen=True)
class Recipe:
    """How often examples are of each kind, as shares, 0 to 1; a share of 0 leaves a part out.

    real            of real pairs; the others are of virtual patients
    no_agent        without any agent: the network must learn that there may be none
    pasted          with an enhancing lesion of another real patient
    virtual_agent   real ones with the agent of a virtual lesion
    other_views     real ones cut along coronal or sagittal slices
    only_agent      real ones that are to change below the uptake alone, see :func:`crop_of`
    switched        virtual ones with the agent of each structure switched and scaled on its own
    own_contrast    virtual ones with a contrast of the tissues of their own
    uneven          virtual lesions that take up agent unevenly
    mottled         virtual tissues that are not uniform
    point_spread    virtual ones whose voxels mix what is beside them
    changed         changed as another scanner might have made them
    """

    real: float = 0.5
    no_agent: float = 0.2
    pasted: float = 0.33
    virtual_agent: float = 0.25
    other_views: float = 0.4
    only_agent: float = 1.0
    switched: float = 1.0
    own_contrast: float = 1.0
    uneven: float = 1.0
    mottled: float = 1.0
    point_spread: float = 1.0
    changed: float = 1.0

    def without(self, parts: Iterable[str]) -> Recipe:
        """Return the recipe with these shares at 0. Raises RequestError for an unknown part."""
        return self.changed_to(dict.fromkeys(parts, 0.0))

    def changed_to(self, shares: Mapping[str, float]) -> Recipe:
        """Return the recipe with other shares of some parts.

        Raises RequestError for an unknown part, and for a share that is not 0 to 1.
        """
        known = [field.name for field in fields(self)]
        for part, share in shares.items():
            if part not in known:
                raise unknown_name("part of the recipe", part, known)
            if not 0 <= share <= 1:
                raise RequestError(f"{part} is {share:g}, but a share is 0 to 1.")
        return replace(self, **shares)


@dataclass(frozen=True)
class Sources:
    """Where the examples come from, how large they are, and how often they are of each kind."""

    pairs: Sequence[RealPair]
    maps: KeptMaps | None
    crop: int
    recipe: Recipe = Recipe()

    def draw(self, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        """Return one example."""
        recipe = self.recipe
        other_scanner = rng.random() < recipe.changed
        thickness = draw_thickness(rng) if other_scanner else 1.0
        depth = depth_for(thickness, SEEN)
        without = rng.random() < recipe.no_agent
        if self.maps is None or rng.random() < recipe.real:
            crop, donor = self._real(rng, depth, without=without)
        else:
            crop, donor = self._virtual(rng, depth, without=without), None
        if rng.random() < recipe.pasted:
            crop = self._with_lesion(rng, crop, donor, without=without)
        return as_tensors(changed(crop, rng, thickness, SEEN) if other_scanner else crop)

    def _real(
        self, rng: np.random.Generator, depth: int, *, without: bool
    ) -> tuple[Crop, RealPair]:
        """Return a crop of a real pair, with the agent made weaker, stronger or taken away."""
        pair = self.pairs[int(rng.integers(len(self.pairs)))]
        places = pair.inside
        if rng.random() < ABOUT_UPTAKE and len(pair.places):
            about_lesion = len(pair.lesions) and rng.random() < ABOUT_LESION
            places = pair.lesions if about_lesion else pair.places
        view = "axial"
        if rng.random() < self.recipe.other_views:
            view = OTHER_VIEWS[int(rng.integers(len(OTHER_VIEWS)))]
        maps = viewed(pair.maps, view)
        place = place_viewed(places[int(rng.integers(len(places)))], pair.maps.shape[1:], view)
        middle = jittered(place, rng, self.crop)
        only_agent = not without and rng.random() < self.recipe.only_agent
        crop = crop_of(window(maps, middle, depth, self.crop), only_agent=only_agent)
        if without:
            return before_agent(crop), pair
        crop = crop.with_agent(log_uniform(rng, REAL_AGENT))
        if self.maps is not None and rng.random() < self.recipe.virtual_agent:
            crop = self._with_virtual_agent(rng, crop)
        return crop, pair

    def _virtual(self, rng: np.random.Generator, depth: int, *, without: bool) -> Crop:
        """Return a crop of a virtual patient under a protocol of its own."""
        assert self.maps is not None
        slab = self.maps.draw(rng)
        recipe = self.recipe
        agent = draw_agent(rng) if rng.random() < recipe.switched else ALL_AGENT
        agent = NO_AGENT if without else agent
        protocol = Protocol.draw(rng, own_contrast=rng.random() < recipe.own_contrast)
        whole, _ = protocol.images(slab.few, agent)
        level = np.float32(whole[slab.few[CHANNELS.index("tissue")] > 0].mean())
        about_lesion = len(slab.lesions) > 5 and rng.random() < ABOUT_UPTAKE
        places = slab.lesions if about_lesion else slab.inside
        middle = jittered(places[int(rng.integers(len(places)))], rng, self.crop)
        maps = window(slab.maps, middle, depth, self.crop)
        if rng.random() < recipe.uneven:
            maps = textured(maps, rng)
        if rng.random() < recipe.mottled:
            maps = mottled(maps, rng)
        brain = (maps[CHANNELS.index("tissue")] > 0).astype(np.float32)
        images: Sequence[np.ndarray] = protocol.images(maps, agent)
        if rng.random() < recipe.point_spread:
            images = spread(images, brain, float(rng.uniform(*POINT_SPREAD)))
        post, pre = (image / level * brain for image in images)
        crop = Crop(post, pre, label_of(post - pre), brain, np.ones_like(brain))
        return noisy(crop, rng, log_uniform(rng, NOISE))

    def _with_lesion(
        self, rng: np.random.Generator, crop: Crop, own: RealPair | None, *, without: bool
    ) -> Crop:
        """Return the crop with an enhancing lesion of another patient, pre and post alike."""
        donors = [
            pair
            for pair in self.pairs
            if len(pair.lesions) and (own is None or pair.patient != own.patient)
        ]
        if not donors:
            return crop
        pair = donors[int(rng.integers(len(donors)))]
        place = pair.lesions[int(rng.integers(len(pair.lesions)))]
        maps = window(pair.maps, place, len(crop.post), self.crop)
        lesion = crop_of(maps).with_agent(0.0 if without else log_uniform(rng, REAL_AGENT))
        halo = np.asarray(maps[MAPS.index("lesion")], dtype=np.float32)
        return pasted(crop, lesion, halo, rng)

    def _with_virtual_agent(self, rng: np.random.Generator, crop: Crop) -> Crop:
        """Return a real crop with the agent of a virtual lesion upon what a scan of it shows.

        That is the scan after the agent or the one before it, as often.
        """
        assert self.maps is not None
        slab = self.maps.draw(rng)
        if not len(slab.lesions):
            return crop
        place = slab.lesions[int(rng.integers(len(slab.lesions)))]
        maps = window(slab.maps, place, len(crop.post), self.crop)
        if rng.random() < self.recipe.uneven:
            maps = textured(maps, rng)
        if rng.random() < 0.5:
            crop = before_agent(crop)
        protocol = Protocol.draw(rng)
        alone = {**NO_AGENT, "lesions": log_uniform(rng, (0.3, 2.0))}
        post, pre = protocol.images(maps, alone)
        level = float(pre[maps[CHANNELS.index("tissue")] > 0].mean())
        rise = turned((post - pre) / max(level, 1e-6), rng) * crop.brain
        rise *= 1 + 0.25 * np.clip(crop.pre - 1, -1, 1)
        label = np.maximum(crop.uptake, label_of(rise))
        return replace(crop, post=crop.post + rise.astype(np.float32), uptake=label)


def crop_of(maps: np.ndarray, *, only_agent: bool = False) -> Crop:
    """Return the crop of a window of the maps of a real pair.

    With ``only_agent`` what to make of the scan is the scan itself where there is no uptake: two
    scans differ by their noise and their sequences too, which nothing can be learnt from.
    """
    named = dict(zip(MAPS, np.asarray(maps, dtype=np.float32), strict=True))
    post, target, uptake = named["post"], named["target"], named["uptake"]
    agent = np.minimum(SURELY * uptake, 1)
    trust = trust_in(post, target, agent)
    if only_agent:
        target = post - agent * np.maximum(post - target, 0)
    return Crop(post, target, uptake, named["brain"], trust)


def before_agent(crop: Crop) -> Crop:
    """Return a crop of a real pair whose scan before the agent stands for one after it."""
    nothing, certain = np.zeros_like(crop.uptake), np.ones_like(crop.trust)
    return replace(crop, post=crop.pre, uptake=nothing, trust=certain)


def viewed(maps: np.ndarray, view: str) -> np.ndarray:
    """Return axial maps (channels, k, j, i) cut as :class:`SlicePlan` orders the slices of a view.

    Coronal slices go to the posterior, rows to the inferior, columns to the left; sagittal ones to
    the right, rows to the inferior, columns to the posterior.
    """
    if view == "axial":
        return maps
    upside_down = maps[:, ::-1]
    if view == "coronal":
        return upside_down.transpose(0, 2, 1, 3)
    return upside_down[..., ::-1].transpose(0, 3, 1, 2)


def place_viewed(place: np.ndarray, shape: Sequence[int], view: str) -> np.ndarray:
    """Return where a place (k, j, i) of axial maps of a shape is in those of a view."""
    (k, j, i), (slices, _, columns) = place, shape
    if view == "axial":
        return place
    if view == "coronal":
        return np.array([j, slices - 1 - k, i])
    return np.array([columns - 1 - i, slices - 1 - k, j])


def window(maps: np.ndarray, middle: Sequence[int], depth: int, crop: int) -> np.ndarray:
    """Return (channels, depth, crop, crop) of maps (channels, k, j, i) about a voxel.

    Along the slices the window stays inside as far as it can, in-plane it is padded with zeros.
    """
    size = maps.shape[1]
    first = int(np.clip(middle[0] - depth // 2, 0, max(size - depth, 0)))
    which = np.clip(np.arange(first, first + depth), 0, size - 1)
    starts = [int(place) - crop // 2 for place in middle[1:]]
    cuts = [
        slice(max(start, 0), min(start + crop, size))
        for start, size in zip(starts, maps.shape[2:], strict=True)
    ]
    part = maps[:, which[0] : which[-1] + 1, cuts[0], cuts[1]]
    out = np.zeros((len(maps), depth, crop, crop), maps.dtype)
    j, i = (
        slice(cut.start - start, cut.stop - start) for cut, start in zip(cuts, starts, strict=True)
    )
    out[:, : part.shape[1], j, i] = part
    return out


def jittered(place: np.ndarray, rng: np.random.Generator, crop: int) -> np.ndarray:
    """Return a place (slice, row, column) moved in its slice, by a share JITTER of a crop."""
    most = int(JITTER * crop)
    moved: np.ndarray = place + np.r_[0, rng.integers(-most, most + 1, 2)]
    return moved


def spread(images: Sequence[np.ndarray], brain: np.ndarray, sigma: float) -> Sequence[np.ndarray]:
    """Return images (n, rows, columns) seen through a Gaussian point spread of ``sigma`` voxels.

    Nothing outside of the brain is mixed in: at its surface there is more tissue in a scan.
    """
    weight = np.maximum(gaussian_filter(brain, sigma), 1e-3)
    return [gaussian_filter(image * brain, sigma) / weight * brain for image in images]


def label_of(rise: np.ndarray) -> np.ndarray:
    """Return the soft label of the rise of a noise-free virtual scan, in means of the brain."""
    low, high = UPTAKE_SPAN
    label: np.ndarray = np.clip((rise / TYPICAL_RANGE - low) / (high - low), 0, 1)
    return label.astype(np.float32)


def log_uniform(rng: np.random.Generator, span: tuple[float, float]) -> float:
    """Return a number between the two of ``span``, uniform in its logarithm."""
    return float(np.exp(rng.uniform(*np.log(span))))


def as_tensors(crop: Crop) -> dict[str, torch.Tensor]:
    """Return an example: all slices of ``post``, and the middle one of the rest."""
    middle = len(crop.post) // 2
    images = {
        "post": crop.post,
        "pre": crop.pre[middle : middle + 1],
        "uptake": crop.uptake[middle : middle + 1],
        "brain": crop.brain[middle : middle + 1],
        "trust": crop.trust[middle : middle + 1],
    }
    return {
        name: torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))
        for name, image in images.items()
    }


class Crops(IterableDataset):
    """Examples for ever; each worker of each process has its own stream."""

    def __init__(self, sources: Sources, seed: int) -> None:
        self.sources, self.seed = sources, seed

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield single examples."""
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        while True:
            yield self.sources.draw(rng)
