"""What evaluate_lip_car.py measures on: a low dose with its full one, virtual or simulated.

The low dose of a real pair is simulated by the signal equation. A solver that uses that same
equation with the same settings would commit an inverse crime, so there are two ways: ``matched``,
with the settings that ``lip_car`` takes by default, and ``mismatched``, with others for TR, flip
angle, field strength (the T1 that the brain is taken to have), relaxivity and gain.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from dose_slices import DOSE
from evaluation_cases import MARK, VIRTUAL_KINDS

from ContrastSynthLib.analysis.uptake import uptake
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.images import read_volume
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.methods._spgr import median_signal, proton_density
from ContrastSynthLib.phantom.brain.parameters import draw_parameters
from ContrastSynthLib.phantom.brain.patient import build_patient
from ContrastSynthLib.physics import signal_at_dose
from ContrastSynthLib.physics.constants import (
    DEFAULT_FIELD_STRENGTH_T,
    DEFAULT_FLIP_ANGLE_DEG,
    DEFAULT_REPETITION_TIME_S,
)
from ContrastSynthLib.preprocessing.normalisation import radiometric_gain
from ContrastSynthLib.preprocessing.shading import gain_field
from ContrastSynthLib.volumes import BoolArray, FloatArray, Volume

UPTAKE_CONVENTION = "real_scans"


@dataclass(frozen=True)
class Simulation:
    """How a low dose is simulated from a real pair; ``relaxivity`` and ``gain`` are factors."""

    repetition_time_s: float
    flip_angle_deg: float
    field_strength_t: float
    relaxivity: float
    gain: float


SIMULATIONS = {
    "matched": Simulation(
        DEFAULT_REPETITION_TIME_S, DEFAULT_FLIP_ANGLE_DEG, DEFAULT_FIELD_STRENGTH_T, 1.0, 1.0
    ),
    "mismatched": Simulation(0.010, 14.0, 1.5, 1.15, 1.1),
}


@dataclass(frozen=True)
class LowDoseCase:
    """Scans on one grid: ``pre``, ``low``, and the full dose with gain and shading of ``low``."""

    pre: Volume
    low: Volume
    full: Volume
    brain: BoolArray

    @property
    def mask(self) -> Volume:
        """The brain as a volume."""
        return self.low.with_array(self.brain.astype(np.float32), MARK)

    @property
    def uptake(self) -> BoolArray:
        """Where the full dose exceeds the pre scan, (k, j, i)."""
        before = self.pre.with_array(self.pre_as_low, MARK)
        found: BoolArray = uptake(
            before, self.full, self.brain, convention=UPTAKE_CONVENTION
        ).binary
        return found

    @property
    def pre_as_low(self) -> FloatArray:
        """The pre scan (k, j, i) with the gain and shading of the low-dose scan."""
        spacing_mm = self.low.grid.spacing_mm[::-1]
        return self.pre.array / gain_field(self.low.array, self.pre.array, self.brain, spacing_mm)


@dataclass(frozen=True)
class LowDoseItem:
    """A case to measure; ``read`` makes it when it is needed."""

    name: str
    read: Callable[[], LowDoseCase]


def virtual_cases(
    kind: str, seeds: Sequence[int], slices: int, cache: Path | None
) -> list[LowDoseItem]:
    """Return virtual patients of a key of VIRTUAL_KINDS, ``slices`` about their largest lesion."""
    return [
        LowDoseItem(f"{kind}_{seed}", partial(_virtual, kind, seed, slices, cache))
        for seed in seeds
    ]


def _virtual(kind: str, seed: int, slices: int, cache: Path | None) -> LowDoseCase:
    file = cache / f"lowdose_{kind}_{seed}_{slices}.npz" if cache else None
    if file is not None and file.is_file():
        with np.load(file) as stored:
            return _case(**stored)
    parameters = draw_parameters(
        seed, kind=VIRTUAL_KINDS[kind], corruption=None, doses=(DOSE,), only=("low",)
    )
    patient = build_patient(parameters)
    lesion, brain = patient.truth["lesion"], patient.truth["brain"]
    counts = np.bincount(lesion[lesion > 0])
    held = np.flatnonzero((lesion == counts.argmax() if counts.size else brain).any(axis=(1, 2)))
    first = int(np.clip((held[0] + held[-1] - slices) // 2, 0, len(brain) - slices))
    cut = slice(first, first + slices)
    arrays = {role: patient.scans[role].array[cut] for role in ("pre", "low", "post")}
    matrix = patient.scans["low"].grid.index_to_lps
    matrix[:, 3] = matrix @ (0, 0, first, 1)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(file, brain=brain[cut], matrix=matrix, **arrays)
    return _case(brain=brain[cut], matrix=matrix, **arrays)


def _case(
    pre: FloatArray, low: FloatArray, post: FloatArray, brain: BoolArray, matrix: FloatArray
) -> LowDoseCase:
    grid = Grid.from_index_to_lps(low.shape[::-1], matrix)
    brain = np.asarray(brain) > 0
    full = post / gain_field(low, post, brain, grid.spacing_mm[::-1])
    return LowDoseCase(*(Volume(i, grid, synthetic=MARK) for i in (pre, low, full)), brain)


def pool_cases(folder: Path, count: int, slices: int) -> list[LowDoseItem]:
    """Return slabs that ``dose_slices.py`` kept, one of every seed: what networks were trained on.

    Raises RequestError where there is none.
    """
    files = sorted(folder.glob("*_0.npy"))[:count]
    if not files:
        raise RequestError(f"{folder} holds no slabs: run dose_slices.py first.")
    return [LowDoseItem(file.stem, partial(_of_pool, file, slices)) for file in files]


def _of_pool(file: Path, slices: int) -> LowDoseCase:
    pre, low, full, _ = np.load(file, mmap_mode="r")
    first = (len(low) - slices) // 2
    cut = [np.asarray(i[first : first + slices], dtype=np.float32) for i in (pre, low, full)]
    grid = Grid(cut[0].shape[::-1])
    return LowDoseCase(*(Volume(image, grid, synthetic=MARK) for image in cut), cut[1] > 0)


def real_cases(
    folder: Path, simulation: str, noise: float, slices: int, seed: int = 0
) -> list[LowDoseItem]:
    """Return the pairs of a folder with a simulated low dose, ``slices`` about the most uptake.

    ``noise`` is the deviation of its Rician noise in medians of the brain. Raises RequestError
    without a list of cases.
    """
    path = folder / "cases.json"
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RequestError(f"{path}: cannot be read as a list of cases ({error}).") from error
    items = []
    for name, files in listed.items():
        if {"pre", "post"} <= set(files):
            scans = [folder / name / files[role] for role in ("pre", "post")]
            read = partial(_real, scans, SIMULATIONS[simulation], noise, slices, seed)
            items.append(LowDoseItem(name, read))
    return items


def _real(
    files: Sequence[Path], simulation: Simulation, noise: float, slices: int, seed: int
) -> LowDoseCase:
    pre, post = (read_volume(file) for file in files)
    brain = (pre.array > 0) & (post.array > 0)
    agent = uptake(pre, post, brain, convention=UPTAKE_CONVENTION).binary.sum(axis=(1, 2))
    first = int(np.convolve(agent, np.ones(min(slices, len(agent))), mode="valid").argmax())
    cut = slice(first, first + slices)
    matrix = pre.grid.index_to_lps
    matrix[:, 3] = matrix @ (0, 0, first, 1)
    before, after, inside = (array[cut] for array in (pre.array, post.array, brain))
    grid = Grid.from_index_to_lps(before.shape[::-1], matrix)
    before, after = (np.maximum(image, 0).astype(np.float32) for image in (before, after))
    full = after / radiometric_gain(before, after, inside) * simulation.gain
    low = simulated_low_dose(before, full / simulation.gain, inside, simulation, noise, seed)
    volumes = (Volume(image, grid) for image in (before, low * inside, full))
    return LowDoseCase(*volumes, inside)


def simulated_low_dose(
    pre: FloatArray, full: FloatArray, brain: BoolArray, by: Simulation, noise: float, seed: int
) -> FloatArray:
    """Return a scan (k, j, i) after DOSE, with Rician noise, from a pair at one gain."""
    settings = {"repetition_time_s": by.repetition_time_s, "flip_angle_deg": by.flip_angle_deg}
    density = proton_density(
        median_signal(pre, brain), field_strength_t=by.field_strength_t, **settings
    )
    clean, _ = signal_at_dose(
        pre.astype(np.float64),
        full.astype(np.float64),
        DOSE * by.relaxivity,
        gain=1.0,
        proton_density=density,
        **settings,
    )
    rng = np.random.default_rng(seed)
    sigma = noise * by.gain * float(np.median(pre[brain]))
    real, imaginary = rng.normal(0, sigma, (2, *pre.shape))
    return np.hypot(by.gain * clean + real, imaginary).astype(np.float32)
