"""Slabs of tissue maps of virtual brains, from which a scan is computed anew for each crop.

A slab on the disk is an array (channels, slices, rows, columns), half precision, with CHANNELS. As
nothing but the anatomy is fixed, sequence, tissue contrast and agent differ from crop to crop, and
the agent of each structure (vessels, dura, choroid plexus and pituitary, pia, lesions) can be
switched off, weakened or strengthened on its own. What the agent does to healthy tissue as a whole
is left in the image without agent: in a scan it cannot be told from a gain.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter

from ContrastSynthLib.phantom.brain.anatomy import Anatomy, make_anatomy, prepare_patient
from ContrastSynthLib.phantom.brain.fields import Box
from ContrastSynthLib.phantom.brain.parameters import (
    AGENTS,
    CONTRAST,
    draw_parameters,
    draw_scans,
)
from ContrastSynthLib.phantom.brain.slices import HEIGHTS_MM
from ContrastSynthLib.phantom.images import (
    Relaxation,
    clean_signal,
    gadolinium,
    tissue_with_agent,
)
from ContrastSynthLib.phantom.tissue import TISSUES, tissue_table
from ContrastSynthLib.physics.constants import STANDARD_DOSE_MMOL_PER_KG, TABULATED_FIELDS_T

CHANNELS = ("r1", "r2", "density", "plasma", "leak", "flow", "structure", "tissue")
STRUCTURES = ("tissue", "vessels", "dura", "plexus", "lesions")
"""What takes up agent; a voxel belongs to the nearest within NEAR voxels, else to the tissue."""
STRUCTURE_OF = {
    "blood": "vessels",
    "dura": "dura",
    "choroid": "plexus",
    "pituitary": "plexus",
    "tumour": "lesions",
    "necrosis": "lesions",
}
NEAR = 2.0
HEALTHY_PLASMA = 0.05
"""Plasma that healthy tissue has at most; more of it, near the surface, is that of the pia."""
AGENT_RANGE = (0.2, 2.5)
"""Factor of the agent in each structure, log-uniform."""
OFF_SHARE = 0.2
"""How often a structure has no agent at all."""
CONTRAST_SPREAD = 0.12
"""Standard deviation of the logarithm of R1 and proton density of each tissue."""
SLAB_SHAPE = (40, 224, 192)
LARGE_SHARE = 0.5
LARGE = {"lesions": 3, "lesion_mm": (15.0, 60.0)}
SLABS_PER_PATIENT = 3
TEXTURE_WIDTHS = ((1.0, 3.0), (2.0, 4.0), (2.5, 5.0))
"""Widths in voxels of what grades, folds and hollows a lesion."""
MOST_GRADED = 0.6
"""Standard deviation of the logarithm of the graded leak, at most."""
FOLDED_SHARE, HOLLOW_SHARE = 0.4, 0.3
MOTTLE_WIDTHS = ((0.7, 2.0), (3.0, 8.0))
"""Widths in voxels of what is fine and of what is coarse in the texture of a tissue."""
MOTTLE = {"r1": 0.08, "density": 0.05}
"""Standard deviation of the logarithm within a tissue, at most."""
FEW = 4
NO_AGENT: Mapping[str, float] = dict.fromkeys((*STRUCTURES, "pia"), 0.0)
ALL_AGENT: Mapping[str, float] = dict.fromkeys(NO_AGENT, 1.0)


def maps_of_seed(seed: int) -> Iterator[np.ndarray]:
    """Yield SLABS_PER_PATIENT slabs of the patient of a seed, about its lesions where it can."""
    rng = np.random.default_rng([seed, 3])
    large = LARGE if rng.random() < LARGE_SHARE else {}
    patient = prepare_patient(draw_parameters(seed, only=(), corruption=None, **large))
    for number in range(SLABS_PER_PATIENT):
        height = float(rng.uniform(*HEIGHTS_MM))
        if number < len(patient.lesions):
            height = float(patient.lesions[number].centre_mm[0] + rng.uniform(-8, 8))
        k, j, i = SLAB_SHAPE
        centre = (0.0, -18.0, float(np.clip(height, *HEIGHTS_MM)))
        yield as_channels(make_anatomy(patient, Box.centred((i, j, k), 1.0, centre)))


def as_channels(anatomy: Anatomy) -> np.ndarray:
    """Return CHANNELS of an anatomy, with 0 in ``density`` and ``tissue`` outside of the brain."""
    r1, r2, density, _, plasma, leak, flow = anatomy.maps
    tissue = anatomy.tissue * anatomy.brain
    maps = [r1, r2, density * anatomy.brain, plasma, leak, flow, structures(tissue), tissue]
    return np.stack(maps).astype(np.float16)


def structures(tissue: np.ndarray) -> np.ndarray:
    """Return the index in STRUCTURES of each voxel of a map of labels."""
    found = np.zeros(tissue.shape, np.uint8)
    for name, structure in STRUCTURE_OF.items():
        found[tissue == TISSUES[name].label] = STRUCTURES.index(structure)
    if not found.any():
        return found
    away, nearest = distance_transform_edt(found == 0, return_indices=True)
    near: np.ndarray = np.where(away <= NEAR, found[tuple(nearest)], 0)
    return near


@dataclass(frozen=True)
class Protocol:
    """How the maps become a scan: settings, agent, and a contrast of the tissues of its own.

    ``factors`` (2, labels) multiply R1 and proton density of each tissue label.
    """

    scan: Mapping[str, Any]
    contrast: Mapping[str, float]
    agent: str
    field_strength_t: float
    factors: np.ndarray

    @classmethod
    def draw(cls, rng: np.random.Generator, *, own_contrast: bool = True) -> Protocol:
        """Return a protocol of a T1-weighted scan after the full dose.

        With ``own_contrast`` the tissues differ by other factors than those of the literature.
        """
        roles = {"pre": {"dose": 0.0}, "post": {"dose": 1.0}}
        scan = draw_scans(rng, {"kind": "training", "scans": roles})["post"]
        labels = 1 + max(tissue.label for tissue in TISSUES.values())
        return cls(
            scan,
            {name: span.draw(rng, "training") for name, span in CONTRAST.items()},
            str(rng.choice(AGENTS)),
            float(rng.choice(TABULATED_FIELDS_T)),
            np.exp(rng.normal(0, own_contrast * CONTRAST_SPREAD, (2, labels))).astype(np.float32),
        )

    def images(self, maps: np.ndarray, agent: Mapping[str, float]) -> tuple[np.ndarray, np.ndarray]:
        """Return the noise-free scan with and without agent, of maps (CHANNELS, ...).

        ``agent`` holds a factor for each of STRUCTURES and for "pia".
        """
        tissues = self._tissues(maps)
        return self._scan(*tissues, agent), self._scan(*tissues, NO_AGENT)

    def at_dose(
        self, maps: np.ndarray, agent: Mapping[str, float], dose_fraction: float
    ) -> np.ndarray:
        """Return the noise-free scan after a fraction of the full dose, of maps (CHANNELS, ...).

        Before any dose no tissue has agent, not even the healthy one, unlike in :meth:`images`.
        """
        return self._scan(*self._tissues(maps), agent, dose_fraction)

    def _tissues(self, maps: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Return the maps by name, and R1, R2 and density with the contrast of the protocol."""
        named = dict(zip(CHANNELS, np.asarray(maps, dtype=np.float32), strict=True))
        label = named["tissue"].astype(np.intp)
        r1, density = (
            named[name] * factor[label]
            for name, factor in zip(("r1", "density"), self.factors, strict=True)
        )
        return named, np.stack([r1, named["r2"], density, np.zeros_like(r1)])

    def _scan(
        self,
        named: Mapping[str, np.ndarray],
        base: np.ndarray,
        agent: Mapping[str, float],
        dose_fraction: float = 1.0,
    ) -> np.ndarray:
        whole = np.concatenate([base, np.stack([*_agent_in(named, agent), named["flow"]])])
        dose, time_s = dose_fraction * STANDARD_DOSE_MMOL_PER_KG, self.contrast["time_s"]
        given = gadolinium(whole, self.contrast, dose, time_s)
        tissue: Relaxation = tissue_with_agent(whole, given, self.agent, self.field_strength_t)
        csf_r1 = float(tissue_table(self.field_strength_t)["csf"][0])
        return np.asarray(clean_signal(tissue, self.scan, csf_r1), dtype=np.float32)


def _agent_in(
    named: Mapping[str, np.ndarray], agent: Mapping[str, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the maps of plasma and leak that the agent fills, each structure by its factor."""
    belongs = named["structure"].astype(np.intp)
    factor = np.array([agent[name] for name in STRUCTURES], np.float32)[belongs]
    healthy = np.minimum(named["plasma"], HEALTHY_PLASMA)
    of_pia = (belongs == 0) * np.float32(agent["pia"])
    more = np.where(belongs == 0, of_pia, factor)
    kept = np.where(belongs == 0, healthy, factor * healthy)
    return kept + more * (named["plasma"] - healthy), factor * named["leak"]


def draw_agent(rng: np.random.Generator) -> dict[str, float]:
    """Return a factor of the agent for each structure and the pia; some have none."""
    low, high = np.log(AGENT_RANGE)
    names = (*STRUCTURES, "pia")
    drawn = np.exp(rng.uniform(low, high, len(names))) * (rng.random(len(names)) > OFF_SHARE)
    return {name: float(factor) for name, factor in zip(names, drawn, strict=True)}


def textured(maps: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return maps (CHANNELS, slices, rows, columns) whose lesions take up agent unevenly.

    Real lesions are not filled evenly: the leak is graded, septa and folds of a wall take up more,
    cavities nothing. Each is a level set of a smooth random field.
    """
    lesion = maps[CHANNELS.index("structure")] == STRUCTURES.index("lesions")
    if not lesion.any():
        return maps
    graded, folded, hollow = (
        _smooth_noise(rng, lesion.shape, float(rng.uniform(*width))) for width in TEXTURE_WIDTHS
    )
    factor = np.exp(rng.uniform(0, MOST_GRADED) * graded)
    if rng.random() < FOLDED_SHARE:
        base = rng.uniform(0.1, 0.7)
        factor *= base + (1.6 - base) * np.exp(-((folded / 0.35) ** 2))
    if rng.random() < HOLLOW_SHARE:
        factor *= np.clip((1.0 - hollow) / 0.3, 0, 1)
    changed = maps.copy()
    for name in ("leak", "plasma"):
        changed[CHANNELS.index(name)] *= np.where(lesion, factor, 1).astype(maps.dtype)
    return changed


def mottled(maps: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return maps (CHANNELS, slices, rows, columns) whose tissues are not uniform.

    Iron, myelin and cells differ from place to place: R1 and proton density vary smoothly.
    """
    changed = maps.copy()
    for name, most in MOTTLE.items():
        fine, coarse = (
            _smooth_noise(rng, maps.shape[1:], float(rng.uniform(*width)))
            for width in MOTTLE_WIDTHS
        )
        log_factor = most * (rng.uniform() * fine + rng.uniform() * coarse) / np.sqrt(2)
        changed[CHANNELS.index(name)] *= np.exp(log_factor).astype(maps.dtype)
    return changed


def _smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], width: float) -> np.ndarray:
    noise = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), width, mode="wrap")
    return np.asarray(noise / max(float(noise.std()), 1e-6))


@dataclass(frozen=True)
class Maps:
    """One slab: ``maps`` (CHANNELS, k, j, i) on the disk, and every FEW-th voxel of it."""

    maps: np.ndarray

    @cached_property
    def few(self) -> np.ndarray:
        """Every FEW-th voxel of the maps along each axis."""
        return np.ascontiguousarray(self.maps[:, ::FEW, ::FEW, ::FEW])

    @cached_property
    def inside(self) -> np.ndarray:
        """Places in the brain, (n, 3)."""
        return FEW * np.argwhere(self.few[CHANNELS.index("tissue")] > 0)

    @cached_property
    def lesions(self) -> np.ndarray:
        """Places in lesions, (n, 3)."""
        lesion = STRUCTURES.index("lesions")
        return FEW * np.argwhere(self.few[CHANNELS.index("structure")] == lesion)


class KeptMaps:
    """Slabs of maps on the disk. Ends the script with a message when the folder holds none."""

    def __init__(self, folder: Path) -> None:
        paths = sorted(folder.glob("*.npy"))
        if not paths:
            raise SystemExit(f"{folder} holds no maps: run make_slabs.py {folder} --for real_pairs")
        self.slabs = [Maps(np.load(path, mmap_mode="r")) for path in paths]

    def draw(self, rng: np.random.Generator) -> Maps:
        """Return one slab; the disk is read when it is used."""
        return self.slabs[int(rng.integers(len(self.slabs)))]
