"""Slabs of real pairs for LIP-CAR, whose low dose is simulated: ``make_slabs.py --pairs``.

They have the format of those of virtual patients (ROLES of :mod:`data.dose_slices`). ``pre`` is the
pre scan in the contrast and shading of the post scan (``target`` of :mod:`data.real_pairs`), not
the pre scan itself: two scans of a session differ by sequence and shading too, and the signal
equation would take that for agent, a share of which the low dose would show.

The low dose is simulated from the two scans after a mild denoising (non-local means by the noise of
each), and then has Rician noise of its own: else it would show the very noise of both. Of
interpolated scans, whose noise is not told from anatomy, part of it stays. Settings, relaxivity,
gain and noise differ from slab to slab. What a scan with a lower dose has besides, such as another
position of the head, another shading or another time after the injection, is not simulated.

A folder of such slabs holds ``pairs.json``, which says who is learnt from and who is held out, and
the slabs of the latter in the folder ``held_out``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.phantom.brain.slices import SLAB_SLICES
from ContrastSynthLib.physics.constants import TABULATED_FIELDS_T
from ContrastSynthLib.preprocessing.denoising import denoise, noise_sigma
from data import DOSE
from data.dose_simulation import Simulation, simulated_low_dose
from data.dose_slices import as_examples
from data.mixed_crops import log_uniform
from data.real_pairs import MAPS, RealPair, keep_whole

SCHEMA_VERSION = 1
RECORD = "pairs.json"
HELD_OUT = "held_out"
SLABS_PER_PAIR, SLABS_HELD_OUT = 8, 2
ABOUT_UPTAKE = 0.6
"""Share of slabs about uptake, of a lesion where there is one."""
REPETITION_TIME_S, FLIP_ANGLE_DEG = (0.004, 0.008), (12.0, 20.0)
"""Ranges of TR and flip angle, uniform. With longer TR or smaller angles the signal equation has no
solution for the brightest vessels; with these it has none for at most 0.2 % of the uptake of a
pair."""
RELAXIVITY, GAIN = (0.85, 1.18), (0.8, 1.25)
"""Ranges of these factors, log-uniform."""
NOISE = (0.007, 0.05)
"""Range of the standard deviation of the noise of the low dose, in medians of the brain,
log-uniform: that of virtual patients, and some more."""


def draw_simulation(rng: np.random.Generator) -> tuple[Simulation, float]:
    """Return how to simulate a low dose, and the standard deviation of its noise in medians."""
    by = Simulation(
        repetition_time_s=float(rng.uniform(*REPETITION_TIME_S)),
        flip_angle_deg=float(rng.uniform(*FLIP_ANGLE_DEG)),
        field_strength_t=float(rng.choice(TABULATED_FIELDS_T)),
        relaxivity=log_uniform(rng, RELAXIVITY),
        gain=log_uniform(rng, GAIN),
    )
    return by, log_uniform(rng, NOISE)


def slab_of_pair(pair: RealPair, rng: np.random.Generator) -> np.ndarray:
    """Return a slab (ROLES, slices, rows, columns), slices 1 mm apart, half precision.

    It has SLAB_SLICES slices, or all of a scan with fewer.
    """
    by, noise = draw_simulation(rng)
    maps = _cut_about(pair, rng)
    post, target, brain = (maps[MAPS.index(role)] for role in ("post", "target", "brain"))
    inside = brain > 0
    before, full = (denoise(i, noise_sigma(i, inside)) * inside for i in (target, post))
    low = simulated_low_dose(before, full, inside, by, noise, rng)
    return as_examples({"pre": target, "low": low, "post": post}, inside)


def _cut_about(pair: RealPair, rng: np.random.Generator) -> np.ndarray:
    """Return the MAPS of neighbouring slices about a place of the brain, float32."""
    places = pair.inside
    if rng.random() < ABOUT_UPTAKE and len(pair.places):
        places = pair.lesions if len(pair.lesions) else pair.places
    middle = int(places[int(rng.integers(len(places)))][0])
    first = int(np.clip(middle - SLAB_SLICES // 2, 0, max(pair.maps.shape[1] - SLAB_SLICES, 0)))
    return np.asarray(pair.maps[:, first : first + SLAB_SLICES], dtype=np.float32)


@dataclass(frozen=True)
class PairSlabs:
    """Whose slabs a folder holds: the patient of each pair, of those learnt from and held out."""

    learnt: Mapping[str, str]
    held_out: Mapping[str, str]
    seed: int
    dose: float = DOSE
    schema_version: int = SCHEMA_VERSION

    @classmethod
    def of(cls, pairs: Sequence[RealPair], others: set[str], seed: int) -> PairSlabs:
        """Return the record of pairs, of which the patients ``others`` are held out."""
        patients = {pair.name: pair.patient for pair in pairs}
        learnt = {name: patient for name, patient in patients.items() if patient not in others}
        return cls(learnt, {n: p for n, p in patients.items() if n not in learnt}, seed)

    def enter(self, folder: Path) -> None:
        """Write the record into a folder, which may hold slabs of the same pairs and seed.

        Raises RequestError where it holds any others: who was held out would be learnt from.
        """
        path = folder / RECORD
        if path.exists():
            if PairSlabs.read(folder) != self:
                raise RequestError(
                    f"{folder.name} holds slabs of other pairs, of another seed, or with other "
                    "patients held out. Give another folder."
                )
            return
        if any(folder.glob("*.npy")):
            raise RequestError(
                f"{folder.name} holds slabs of virtual patients. Give another folder for real "
                "pairs, so that their share can be chosen."
            )
        (folder / HELD_OUT).mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> PairSlabs:
        """Return the record of a folder. Raises RequestError where there is none of this version.

        ``folder`` is one that :meth:`enter` was called for.
        """
        try:
            found = cls(**json.loads((folder / RECORD).read_text(encoding="utf-8")))
            if found.schema_version != SCHEMA_VERSION:
                raise ValueError(f"version {found.schema_version}, not {SCHEMA_VERSION}")
            return found
        except (OSError, ValueError, TypeError) as error:
            raise RequestError(
                f"{folder / RECORD}: is no record of slabs of pairs ({error}). Run make_slabs.py "
                "--for lip_car --pairs."
            ) from None

    def files(self, folder: Path, pair: str) -> list[Path]:
        """Return the files of the slabs of a pair."""
        if pair in self.held_out:
            return [folder / HELD_OUT / f"{pair}_{n}.npy" for n in range(SLABS_HELD_OUT)]
        return [folder / f"{pair}_{n}.npy" for n in range(SLABS_PER_PAIR)]

    def write(self, folder: Path, pair: RealPair) -> None:
        """Write the slabs of a pair into a folder; those that are there already stay.

        Each depends on the seed, the name of the pair and its own number alone. One that is older
        than the maps of the pair is made again.
        """
        name = int(hashlib.sha256(pair.name.encode()).hexdigest()[:8], 16)
        for number, path in enumerate(self.files(folder, pair.name)):
            if path.exists() and path.stat().st_mtime >= pair.path.stat().st_mtime:
                continue
            rng = np.random.default_rng([self.seed, name, number])
            keep_whole(path, slab_of_pair(pair, rng))

    def check_whole(self, folder: Path) -> None:
        """Raise RequestError where a slab is missing: the model card would not be true."""
        for name in (*self.learnt, *self.held_out):
            if not all(path.exists() for path in self.files(folder, name)):
                raise RequestError(
                    f"{folder.name} lacks slabs of {name}: run make_slabs.py again, to its end."
                )
