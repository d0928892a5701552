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
``--injection`` is the time of the injection after the first volume. What is measured is told in
``evaluation/later_phases.py``. ``--csv`` keeps it, of all phases and of each by itself.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from evaluation.later_phases import (
    BASELINES,
    HEADINGS,
    OF_A_PHASE,
    Case,
    Curves,
    agreement,
    curves_of,
    measured,
    measured_by_phase,
)
from evaluation.table import NOTE, markdown

from ContrastSynthLib import __version__
from ContrastSynthLib.errors import ContrastSynthError, RequestError
from ContrastSynthLib.files.images import read_mask
from ContrastSynthLib.files.series import read_series
from ContrastSynthLib.phantom.breast.lesions import PAPER_TIMES_S
from ContrastSynthLib.phantom.breast.patient import breast_patient
from ContrastSynthLib.phantom.breast.space import AIR
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.run import run
from ContrastSynthLib.volumes import FloatArray, Series
from ContrastSynthLib.weights.bundles import look_up

MODES = ("", "forced", "once")
ALL = "all"
COLUMNS = (
    *("case", "patient", "phase", "label", "weights", "contrastsynth"),
    *(HEADINGS | OF_A_PHASE),
)
"""Of --csv; ``phase`` is its time in seconds, or ALL."""
SIZE = (160, 160, 64)
SNR, MOTION_MM = 20.0, 0.4


@dataclass(frozen=True)
class Row:
    """What makes the phases: weights in a mode, or one of BASELINES."""

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

    @property
    def weights_id(self) -> str:
        """The id of the weights; "" without any."""
        return "" if self.what in BASELINES else look_up(self.what).id

    def make(self, case: Case) -> FloatArray:
        """Return the wanted phases (t, k, j, i) of a case."""
        if self.what in BASELINES:
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


# ---- cases


def virtual_cases(count: int, seed: int) -> Iterator[Case]:
    """Yield virtual patients at the times of the paper."""
    for number in range(seed, seed + count):
        patient = breast_patient(number, size=SIZE, snr=SNR, motion_mm=MOTION_MM)
        labels = patient.lesion_labels
        lesions = tuple(labels == label for label in range(1, labels.max() + 1))
        body = patient.tissue != AIR
        frames = len(PAPER_TIMES_S)
        series = Series(tuple(patient.phases))
        lesions = tuple(mask for mask in lesions if mask.any())
        yield Case(f"{number}", series, 1, tuple(range(2, frames)), lesions, body)


def chosen_cases(chosen: argparse.Namespace) -> Iterator[Case]:
    """Return what the command line asks for."""
    if chosen.series:
        return iter([case_of_file(chosen)])
    return virtual_cases(chosen.virtual, chosen.seed)


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


# ---- the script


def main(arguments: list[str] | None = None) -> int:
    """Measure the rows on all cases and print the table."""
    chosen = parse(arguments)
    try:
        rows = [Row.parse(text) for text in chosen.row]
        lines: list[dict[str, str]] = []
        kept: list[dict[str, str]] = []
        curves: dict[str, Curves] = {row.name: [] for row in rows}
        for case in chosen_cases(chosen):
            phases = {row.name: row.make(case) for row in rows}
            for row in rows:
                made = phases[row.name]
                lines.append(line_of(row, case, ALL, measured(case, made)))
                times = [f"{case.times_s[frame]:g}" for frame in case.wanted]
                each = zip(times, measured_by_phase(case, made), strict=True)
                kept += [lines[-1], *(line_of(row, case, time, found) for time, found in each)]
                curves[row.name] += curves_of(case, made)
            print(case.name, file=sys.stderr, flush=True)
        several = len(lines) > len(rows)
        print(markdown(lines, [row.name for row in rows], HEADINGS, 4, tested=several))
        print(f"\n{NOTE}\n\n{agreement(curves)}")
        if chosen.csv:
            chosen.csv.write_text(as_csv(kept), encoding="utf-8")
        if chosen.plot:
            plot_curves_of(case, phases, chosen.plot)
    except ContrastSynthError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def line_of(row: Row, case: Case, phase: str, values: Mapping[str, float | None]) -> dict[str, str]:
    """Return what was measured as the writer of tables takes it, and as --csv keeps it."""
    told = {"case": case.name, "patient": case.name, "phase": phase, "label": row.name}
    told |= {"weights": row.weights_id, "contrastsynth": __version__}
    shown = {name: "" if value is None else f"{value:.7g}" for name, value in values.items()}
    return dict.fromkeys(COLUMNS, "") | told | shown


def as_csv(lines: Sequence[Mapping[str, str]]) -> str:
    """Return the lines as the text of a CSV file."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


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


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_cases_and_rows(parser)
    parser.add_argument("--csv", type=Path, metavar="FILE", help="keeps what was measured")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="curves of the last case")
    return parser.parse_args(arguments)


def add_cases_and_rows(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is made, and of which series."""
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


if __name__ == "__main__":
    sys.exit(main())
