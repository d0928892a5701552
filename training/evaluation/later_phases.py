"""Later phases of a breast: cases, rows that need no network, and what is measured.

Scans are in standard deviations of the early phase (TI-norm). Lesions: the squared error of the
mean in the last phase and over all of them, Spearman's rho and dynamic time warping of the curve,
which includes the scans before and the early phase, and whether the type is the true one. Image:
PSNR over all phases in the body, its range that of the 99.9th percentile of the early phase.
Of each phase by itself, as in the paper's Table 1: the squared error, PSNR and SSIM.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from ContrastSynthLib.analysis.kinetics import KineticCurve, measure_curve
from ContrastSynthLib.analysis.kinetics_report import bland_altman, cohens_kappa
from ContrastSynthLib.metrics import dtw, enhancement_error, psnr, spearman_rho, ssim
from ContrastSynthLib.phantom.breast.patient import breast_patient
from ContrastSynthLib.preprocessing.normalisation import Normalisation, fit
from ContrastSynthLib.volumes import BoolArray, FloatArray, Series, Volume

HEADINGS = {
    "last": "(error of the last phase)² ↓",
    "all": "(error of all)² ↓",
    "rho": "Spearman ↑",
    "dtw": "DTW ↓",
    "same_type": "same type ↑",
    "psnr_db": "PSNR dB ↑",
}
OF_A_PHASE = {"error": "(error)² ↓", "psnr_db": "PSNR dB ↑", "ssim": "SSIM ↑"}
OTHERS = range(900, 912)
"""Seeds of the virtual patients of the population curve."""
SLOWEST_S, FASTEST_S = 400.0, 8.0
"""Time constants that are fitted."""

Curves = list[tuple[KineticCurve, KineticCurve]]
"""The real and the synthetic curve of each lesion."""


@dataclass(frozen=True)
class Case:
    """A series, which of its frames are the early one and those to be made, and its masks.

    The frames before ``early`` are those that a user has.
    """

    name: str
    series: Series
    early: int
    wanted: tuple[int, ...]
    lesions: tuple[BoolArray, ...]
    body: BoolArray

    @property
    def times_s(self) -> list[float]:
        """Times of all frames after the injection."""
        return [float(time) for time in self.series.times_s]

    @property
    def before(self) -> int:
        """How many frames are before the injection."""
        return max(1, sum(time <= 0 for time in self.times_s))

    @property
    def pre(self) -> Volume:
        """The mean of the frames before the injection."""
        first = self.series.volumes[0]
        return first.with_array(self.series.array[: self.before].mean(axis=0), first.synthetic)


# ---- rows without a network


def held(case: Case) -> FloatArray:
    """Return the early phase for each."""
    return np.stack([case.series.volumes[case.early].array] * len(case.wanted))


def exponential(case: Case) -> FloatArray:
    """Return pre + A (1 - exp(-t / T)), fitted to the frames up to the early one.

    T is the best of some for the mean of the lesions, A the best of each voxel.
    """
    frames = range(case.before, case.early + 1)
    times = np.array([case.times_s[frame] for frame in frames])
    rises = np.stack([case.series.volumes[frame].array - case.pre.array for frame in frames])
    lesion = np.logical_or.reduce(case.lesions)
    mean = rises[:, lesion].mean(axis=1)
    shapes = {
        tau: 1 - np.exp(-np.maximum(times, 0) / tau) for tau in np.geomspace(FASTEST_S, SLOWEST_S)
    }
    errors = {
        tau: np.square(mean - shape * (mean @ shape) / (shape @ shape)).sum()
        for tau, shape in shapes.items()
    }
    tau = min(errors, key=lambda each: float(errors[each]))
    shape = shapes[tau]
    amplitude = np.tensordot(shape, rises, 1) / (shape @ shape)
    later = [1 - np.exp(-case.times_s[frame] / tau) for frame in case.wanted]
    return np.stack([case.pre.array + share * amplitude for share in later]).astype(np.float32)


def population(case: Case) -> FloatArray:
    """Return pre + the early rise times the mean course of the lesions of OTHERS."""
    times, course = population_course()
    at = np.interp(case.times_s, times, course)
    rise = case.series.volumes[case.early].array - case.pre.array
    shares = [at[frame] / at[case.early] for frame in case.wanted]
    return np.stack([case.pre.array + share * rise for share in shares]).astype(np.float32)


@cache
def population_course() -> tuple[FloatArray, FloatArray]:
    """Return times in seconds and the mean rise of lesions over the scan before, as a share."""
    times = np.arange(0.0, 601.0, 20.0)
    curves = []
    for seed in OTHERS:
        patient = breast_patient(seed, size=(96, 96, 40), times_s=times, snr=np.inf)
        frames = np.stack([phase.array for phase in patient.phases])
        for label in range(1, int(patient.lesion_labels.max()) + 1):
            inside = patient.lesion_labels == label
            if inside.any():
                curve = frames[:, inside].mean(axis=1)
                curves.append(curve / curve[0] - 1)
    return times, np.mean(curves, axis=0)


BASELINES = {"held": held, "exponential": exponential, "population": population}


# ---- measures


def measured(case: Case, made: FloatArray) -> dict[str, float | None]:
    """Return the measures of HEADINGS of phases (t, k, j, i), means over the lesions."""
    unit, span = _unit_of(case)
    real, synthetic = _in_units(case, made)
    found: dict[str, list[float]] = {name: [] for name in HEADINGS if name != "psnr_db"}
    for lesion, curves in zip(case.lesions, curves_of(case, made), strict=True):
        errors = [
            enhancement_error(r, s, mask=lesion) for r, s in zip(real, synthetic, strict=True)
        ]
        values = [unit.apply(np.array(curve.values)) for curve in curves]
        found["last"].append(errors[-1])
        found["all"].append(float(np.mean(errors)))
        found["rho"].append(spearman_rho(*values))
        found["dtw"].append(dtw(*values))
        found["same_type"].append(float(curves[0].type == curves[1].type))
    psnrs = [
        psnr(r, s, data_range=span, mask=case.body) for r, s in zip(real, synthetic, strict=True)
    ]
    means = {name: float(np.nanmean(values)) for name, values in found.items() if values}
    return {**dict.fromkeys(HEADINGS), **means, "psnr_db": float(np.mean(psnrs))}


def measured_by_phase(case: Case, made: FloatArray) -> list[dict[str, float | None]]:
    """Return the measures of OF_A_PHASE of each phase of ``made`` (t, k, j, i)."""
    _, span = _unit_of(case)
    found = []
    for real, synthetic in zip(*_in_units(case, made), strict=True):
        errors = [enhancement_error(real, synthetic, mask=lesion) for lesion in case.lesions]
        alike = {"data_range": span, "mask": case.body}
        found.append(
            {
                "error": float(np.mean(errors)) if errors else None,
                "psnr_db": psnr(real, synthetic, **alike),
                "ssim": ssim(real, synthetic, dimensions=2, **alike),
            }
        )
    return found


def _unit_of(case: Case) -> tuple[Normalisation, float]:
    """Return the unit of the early phase (TI-norm), and in it the range of the images."""
    early = case.series.volumes[case.early].array
    unit = fit("ti", early, case.body)
    return unit, float(np.percentile(early[case.body], 99.9)) / unit.scale


def _in_units(case: Case, made: FloatArray) -> tuple[list[FloatArray], list[FloatArray]]:
    """Return the wanted phases and the synthetic ones, in units of the early phase."""
    unit, _ = _unit_of(case)
    real = [unit.apply(case.series.volumes[frame].array) for frame in case.wanted]
    return real, [unit.apply(frame) for frame in made]


def curves_of(case: Case, made: FloatArray) -> Curves:
    """Return the real and the synthetic curve of each lesion, of phases (t, k, j, i)."""
    early = case.series.volumes[case.early].array
    real = [case.series.volumes[frame].array for frame in case.wanted]
    times = [0.0, *(case.times_s[frame] for frame in (case.early, *case.wanted))]
    found = []
    for lesion in case.lesions:
        first, second = (
            measure_curve(
                times,
                [float(image[lesion].mean()) for image in (case.pre.array, early, *later)],
                baseline_frames=1,
                arrival_s=0.0,
            )
            for later in (real, made)
        )
        found.append((first, second))
    return found


def agreement(curves: Mapping[str, Curves]) -> str:
    """Return a table of how well type and delayed change agree over the lesions of each row."""
    lines = [
        "| over lesions | lesions | kappa of the type ↑ | delayed change: bias % | limits % |",
        "|---|---|---|---|---|",
    ]
    for name, pairs in curves.items():
        types = [[str(curve.type) for curve in each] for each in zip(*pairs, strict=True)]
        measured_too = [pair for pair in pairs if None not in _changes(pair)]
        cells = ["", ""]
        if measured_too:
            limits = bland_altman(*zip(*map(_changes, measured_too), strict=True))
            cells[0] = f"{limits.bias:.1f}"
            if limits.lower is not None:
                cells[1] = f"{limits.lower:.1f} to {limits.upper:.1f}"
        told = [name, str(len(pairs)), f"{cohens_kappa(*types):.2f}", *cells]
        lines.append(f"| {' | '.join(told)} |")
    return "\n".join(lines)


def _changes(pair: tuple[KineticCurve, KineticCurve]) -> list[float | None]:
    """Return the delayed changes in %."""
    changes = (curve.delayed_change for curve in pair)
    return [None if change is None else 100 * change for change in changes]
