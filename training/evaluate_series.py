"""Measure later phases of breasts as iterU-Net does, and print a table.

    python training/evaluate_series.py --virtual 20 --row iterU-Net=runs/iter_unet/best \\
        --row "from the true phase=runs/iter_unet/best,forced" --row held=held
    python training/evaluate_series.py --series dce.nii.gz --mask tumour.nii.gz --interval 16.43 \\
        --injection 60 --early 85 --times 155 225 295 --row iterU-Net=iter_unet --plot curve.png

A row is NAME=WEIGHTS, weights of ``iter_unet``: each phase is made from the one made before;
NAME=WEIGHTS,forced: from the true one before; NAME=WEIGHTS,once: in one step from the early one.
Or one of these, which need no network:

    held         the early phase, as it is
    exponential  1 - exp(-t / T) fitted in each voxel to the phases up to the early one
    population   the early rise, times the mean course of lesions of other virtual patients

Virtual patients are made anew, from ``--seed`` on; every lesion is a mask. Of a series of a file
``--injection`` is the time of the injection after the first volume. Scans are in standard
deviations of the early phase (TI-norm). Lesions: the squared error of the mean in the last phase
and over all of them, Spearman's rho and dynamic time warping of the curve, which includes the scans
before and the early phase, and whether the type is the true one. Image: PSNR over all phases in the
body, its range that of the 99.9th percentile of the early phase.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from evaluation.table import NOTE, markdown

from ContrastSynthLib.analysis.kinetics import measure_curve
from ContrastSynthLib.errors import ContrastSynthError, RequestError
from ContrastSynthLib.files.images import read_mask
from ContrastSynthLib.files.series import read_series
from ContrastSynthLib.metrics import dtw, enhancement_error, psnr, spearman_rho
from ContrastSynthLib.phantom.breast.lesions import PAPER_TIMES_S
from ContrastSynthLib.phantom.breast.patient import breast_patient
from ContrastSynthLib.phantom.breast.space import AIR
from ContrastSynthLib.preprocessing.normalisation import fit
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.run import run
from ContrastSynthLib.volumes import BoolArray, FloatArray, Series, Volume

HEADINGS = {
    "last": "(error of the last phase)² ↓",
    "all": "(error of all)² ↓",
    "rho": "Spearman ↑",
    "dtw": "DTW ↓",
    "same_type": "same type ↑",
    "psnr_db": "PSNR dB ↑",
}
WITHOUT_NETWORK = ("held", "exponential", "population")
MODES = ("", "forced", "once")
SIZE = (160, 160, 64)
SNR, MOTION_MM = 20.0, 0.4
OTHERS = range(900, 912)
"""Seeds of the virtual patients of the population curve."""
SLOWEST_S, FASTEST_S = 400.0, 8.0
"""Time constants that are fitted."""


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


@dataclass(frozen=True)
class Row:
    """What makes the phases: weights in a mode, or one of WITHOUT_NETWORK."""

    name: str
    what: str
    mode: str

    @classmethod
    def parse(cls, text: str) -> Row:
        """Return the row that a text describes. Raises RequestError for a wrong one."""
        name, equals, rest = text.partition("=")
        what, _, mode = rest.partition(",")
        if not (name and equals and what) or mode not in MODES:
            raise RequestError(f"'{text}': a row is NAME=WEIGHTS[,forced|once].")
        return cls(name, what, mode)

    def make(self, case: Case) -> FloatArray:
        """Return the wanted phases (t, k, j, i) of a case."""
        if self.what in WITHOUT_NETWORK:
            return BASELINES[self.what](case)
        if self.mode == "once":
            return np.concatenate([self._made(case, case.early, [frame]) for frame in case.wanted])
        if self.mode == "forced":
            steps = pairwise((case.early, *case.wanted))
            return np.concatenate([self._made(case, now, [later]) for now, later in steps])
        return self._made(case, case.early, case.wanted)

    def _made(self, case: Case, given: int, wanted: Sequence[int]) -> FloatArray:
        times = case.times_s
        phase = case.series.volumes[given]
        mask = phase.with_array(case.body.astype(np.float32), phase.synthetic)
        request = Request(
            "iter_unet",
            {"pre": case.pre, "phase": phase, "mask": mask},
            {"times": tuple(times[frame] for frame in wanted), "phase_time_s": times[given]},
            weights=None if self.what == "iter_unet" else self.what,
        )
        return run(request).outputs["phases"].array


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


# ---- cases


def virtual_cases(count: int, seed: int) -> list[Case]:
    """Return virtual patients at the times of the paper."""
    cases = []
    for number in range(seed, seed + count):
        patient = breast_patient(number, size=SIZE, snr=SNR, motion_mm=MOTION_MM)
        labels = patient.lesion_labels
        lesions = tuple(labels == label for label in range(1, labels.max() + 1))
        body = patient.tissue != AIR
        frames = len(PAPER_TIMES_S)
        series = Series(tuple(patient.phases))
        lesions = tuple(mask for mask in lesions if mask.any())
        cases.append(Case(f"{number}", series, 1, tuple(range(2, frames)), lesions, body))
    return cases


def case_of_file(chosen: argparse.Namespace) -> Case:
    """Return the series of a file; frames are those nearest to the times asked for."""
    if chosen.mask is None or chosen.interval is None:
        raise RequestError("A series of a file needs --mask and --interval, in seconds.")
    count = len(read_series(chosen.series, None))
    times = np.arange(count) * chosen.interval - chosen.injection
    series = Series(tuple(read_series(chosen.series, times.tolist())))
    lesion = read_mask(chosen.mask).array > 0
    nearest = [int(np.abs(times - time).argmin()) for time in (chosen.early, *chosen.times)]
    body = series.volumes[0].array > 0
    name = chosen.series.name.split(".")[0]
    return Case(name, series, nearest[0], tuple(nearest[1:]), (lesion,), body)


def measured(case: Case, made: FloatArray) -> dict[str, float | None]:
    """Return the measures of HEADINGS of phases (t, k, j, i), means over the lesions."""
    early = case.series.volumes[case.early].array
    unit = fit("ti", early, case.body)
    real = [unit.apply(case.series.volumes[frame].array) for frame in case.wanted]
    synthetic = [unit.apply(frame) for frame in made]
    seen = [unit.apply(case.pre.array), unit.apply(early)]
    span = float(np.percentile(early[case.body], 99.9)) / unit.scale
    found: dict[str, list[float]] = {name: [] for name in HEADINGS if name != "psnr_db"}
    for lesion in case.lesions:
        errors = [
            enhancement_error(r, s, mask=lesion) for r, s in zip(real, synthetic, strict=True)
        ]
        curves = [[float(image[lesion].mean()) for image in (*seen, *f)] for f in (real, synthetic)]
        found["last"].append(errors[-1])
        found["all"].append(float(np.mean(errors)))
        found["rho"].append(spearman_rho(*curves))
        found["dtw"].append(dtw(*curves))
        times = [0.0, *(case.times_s[frame] for frame in (case.early, *case.wanted))]
        types = [
            measure_curve(times, unit.undo(np.array(curve)), baseline_frames=1, arrival_s=0.0).type
            for curve in curves
        ]
        found["same_type"].append(float(types[0] == types[1]))
    psnrs = [
        psnr(r, s, data_range=span, mask=case.body) for r, s in zip(real, synthetic, strict=True)
    ]
    means = {name: float(np.nanmean(values)) for name, values in found.items() if values}
    return {**dict.fromkeys(HEADINGS), **means, "psnr_db": float(np.mean(psnrs))}


# ---- the script


def main(arguments: list[str] | None = None) -> int:
    """Measure the rows on all cases and print the table."""
    chosen = parse(arguments)
    try:
        rows = [Row.parse(text) for text in chosen.row]
        cases = (
            [case_of_file(chosen)] if chosen.series else virtual_cases(chosen.virtual, chosen.seed)
        )
        lines: list[dict[str, str]] = []
        curves: dict[str, FloatArray] = {}
        for case in cases:
            for row in rows:
                made = row.make(case)
                curves[row.name] = made
                values = measured(case, made)
                lines.append(line_of(row.name, case.name, values))
            print(case.name, file=sys.stderr, flush=True)
        print(markdown(lines, [row.name for row in rows], HEADINGS, 4, tested=len(cases) > 1))
        print(f"\n{NOTE}")
        if chosen.plot:
            plot_curves_of(cases[-1], curves, chosen.plot)
    except ContrastSynthError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def line_of(label: str, case: str, values: Mapping[str, float | None]) -> dict[str, str]:
    """Return what was measured as the writer of tables takes it."""
    shown = {name: "" if value is None else f"{value:.7g}" for name, value in values.items()}
    return {"label": label, "case": case, "patient": case, **shown}


def plot_curves_of(case: Case, curves: Mapping[str, FloatArray], path: Path) -> None:
    """Draw the mean of the first lesion over time: all real frames, and the phases of each row."""
    from ContrastSynthLib.plots.figures import LINE_COLOURS, figure_png, load_matplotlib

    figure_class, _ = load_matplotlib()
    figure = figure_class(figsize=(7, 4.5), facecolor="white", layout="constrained")
    axes, lesion = figure.subplots(), case.lesions[0]
    real = [float(volume.array[lesion].mean()) for volume in case.series]
    axes.plot(case.times_s, real, color="0.5", marker=".", label="real")
    times = [case.times_s[frame] for frame in (case.early, *case.wanted)]
    for (name, made), colour in zip(curves.items(), LINE_COLOURS, strict=False):
        means = [real[case.early], *(float(frame[lesion].mean()) for frame in made)]
        axes.plot(times, means, color=colour, marker="o", markersize=4, label=name)
    axes.set_xlabel("time after the injection (s)")
    axes.set_ylabel("mean signal of the lesion (a.u.)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False)
    path.write_bytes(figure_png(figure))


def parse(arguments: list[str] | None) -> Any:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument("--virtual", type=int, metavar="PATIENTS")
    data.add_argument("--series", type=Path, metavar="FILE")
    add = parser.add_argument
    add("--seed", type=int, default=2_000_000, help="of the first virtual patient")
    add("--mask", type=Path, metavar="FILE", help="the lesion of --series")
    add("--interval", type=float, metavar="S", help="between the volumes of --series")
    add("--injection", type=float, default=0.0, metavar="S", help="after the first volume")
    add("--early", type=float, default=PAPER_TIMES_S[1], metavar="S", help="the given phase")
    add("--times", type=float, nargs="+", default=PAPER_TIMES_S[2:], metavar="S", help="wanted")
    add("--row", action="append", required=True, metavar="NAME=WEIGHTS[,MODE]", help="see above")
    add("--plot", type=Path, metavar="PNG", help="curves of the last case")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
