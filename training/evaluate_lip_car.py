"""Measure LIP-CAR as its paper does, on virtual patients and on simulated low doses of real scans.

    python training/evaluate_lip_car.py --virtual same --patients 10 --table 3
    python training/evaluate_lip_car.py --pool POOL --table 2     # patients that were trained on
    python training/evaluate_lip_car.py --cases REAL --simulation mismatched --noise 0.03 --table 3
    python training/evaluate_lip_car.py --virtual same --table stability --plot stability.png

``--table 1``: the four networks as image-to-image operators, by what their low dose is (as scanned
or denoised). ``--table 2``: relative errors of pl2h and ph2l without and with noise of 0.1 that
they never saw. ``--table 3``: the full doses of all approaches. ``--table stability``: their SSIM
against noise of growing sigma. Intensities are in the unit of ``low_dose``, [0, 1]; every value is
a mean over the slices of a patient, inside the brain. What was measured is kept in ``--csv``, and
not measured again.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from evaluation_table import interval
from low_dose_cases import (
    DOSE,
    SIMULATIONS,
    LowDoseCase,
    LowDoseItem,
    pool_cases,
    real_cases,
    virtual_cases,
)

from ContrastSynthLib.errors import ContrastSynthError, RequestError
from ContrastSynthLib.metrics import mae, psnr, relative_error, ssim
from ContrastSynthLib.preprocessing.denoising import denoise, noise_of_pair, noise_sigma
from ContrastSynthLib.preprocessing.normalisation import fit
from ContrastSynthLib.running.run import Request, run
from ContrastSynthLib.volumes import FloatArray

HELD_OUT_SEEDS = 10_000
SIGMAS = (0.0, 0.011, 0.022, 0.033, 0.044, 0.055, 0.066)
OUT_OF_DOMAIN_SIGMA = 0.1
MEASURES = ("ssim", "psnr_db", "relative_error", "uptake_mae", "outside_mae")
HEADINGS = ("SSIM ↑", "PSNR dB ↑", "relative error ↓", "uptake MAE ↓", "MAE outside ↓")
COLUMNS = ("data", "case", "sigma", "approach", *MEASURES)


# ---- approaches: from a case to a full (or low) dose, in the units of the low-dose scan


def method(key: str, **parameters: Any) -> Callable[[LowDoseCase], FloatArray]:
    """Return an approach that runs a method of the library."""

    def approach(case: LowDoseCase) -> FloatArray:
        inputs = {"low": case.low, "pre": case.pre, "mask": case.mask}
        return run(Request(key, inputs, parameters)).outputs["post"].array

    return approach


def scaled_difference(case: LowDoseCase, denoiser: str = "none") -> FloatArray:
    """Return pre + (low - pre) / dose, of the low dose as it is or denoised."""
    pre, low = case.pre_as_low, case.low.array
    low = denoise(low, noise_of_pair(low, pre, case.brain), denoiser)
    return np.maximum(pre + (low - pre) / np.float32(DOSE), 0)


FULL_DOSE: dict[str, Callable[[LowDoseCase], FloatArray]] = {
    "pre-dose": lambda case: case.pre_as_low,
    "low-dose": lambda case: case.low.array,
    "scaled difference": scaled_difference,
    "denoised difference": lambda case: scaled_difference(case, "nlm"),
    "NN-L2H": method("direct_low_to_full", network="l2h"),
    "NN-PL2H": method("direct_low_to_full", network="pl2h"),
    "LIP-H2L-TV": method("lip_car", forward="h2l", prior="tv"),
    "LIP-PH2L-TV": method("lip_car", forward="ph2l", prior="tv"),
    "LIP-PH2L-GenTV": method("lip_car", forward="ph2l", prior="gentv"),
    "LIP-physics-TV": method("lip_car", forward="physics", prior="tv"),
    "LIP-physics-GenTV(pre)": method("lip_car", forward="physics", prior="gentv", guess="pre"),
    "LIP-physics-GenTV(difference)": method(
        "lip_car", forward="physics", prior="gentv", guess="difference"
    ),
    "LIP-physics-GenTV(PL2H)": method("lip_car", forward="physics", prior="gentv"),
}
"""What makes a full dose; those with ``physics`` need no weights for their forward operator."""
NOISY = (
    *("NN-L2H", "NN-PL2H", "LIP-H2L-TV", "LIP-PH2L-TV", "LIP-PH2L-GenTV"),
    "LIP-physics-GenTV(pre)",
)
OPERATORS = ("l2h", "pl2h", "h2l", "ph2l")


def operator(network: str, denoiser: str, case: LowDoseCase) -> tuple[FloatArray, FloatArray]:
    """Return what a network makes of its true input, and what it aims at, in units of the scan."""
    low = case.low.array * case.brain
    if denoiser != "none":
        low = denoise(low, noise_sigma(case.low.array, case.brain), denoiser) * case.brain
    aims_low = network in ("h2l", "ph2l")
    given = case.low.with_array(low.astype(np.float32), "denoised, for research only")
    if not aims_low:
        made = method("direct_low_to_full", network=network)
        return made(LowDoseCase(case.pre, given, case.full, case.brain)), case.full.array
    return _forward(network, case), low


def _forward(network: str, case: LowDoseCase) -> FloatArray:
    """Return the low dose that a forward operator makes of the true full one."""
    import torch
    from ContrastSynthLib.inference.networks import load_network

    from ContrastSynthLib.inference.slicing import plan_slices
    from ContrastSynthLib.weights.bundles import find_bundle

    unit = fit("low_dose", case.low.array, case.brain)
    plan = plan_slices(case.low.grid, case.brain)
    inside = plan.slices(case.brain)
    seen = [case.full.array] if network == "h2l" else [case.pre_as_low, case.full.array]
    channels = np.stack([plan.slices(unit.apply(image)) * inside for image in seen], axis=1)
    loaded = load_network(find_bundle(network, None)).eval()
    with torch.inference_mode():
        parts = [loaded(torch.from_numpy(part[None]))[0, 0].numpy() for part in channels]
    return unit.undo(plan.restore(np.stack(parts), outside=0.0))


# ---- measuring


def with_noise(case: LowDoseCase, sigma: float, seed: int = 0) -> LowDoseCase:
    """Return the case with white Gaussian noise, eq. 12, in the unit of ``low_dose``."""
    if not sigma:
        return case
    scale = fit("low_dose", case.low.array, case.brain).scale
    noise = np.random.default_rng(seed).normal(0, sigma * scale, case.low.array.shape)
    noisy = (case.low.array + noise * case.brain).astype(np.float32)
    mark = "virtual low dose with noise, for research only"
    return LowDoseCase(case.pre, case.low.with_array(noisy, mark), case.full, case.brain)


def measure(case: LowDoseCase, made: FloatArray, aim: FloatArray | None = None) -> dict[str, float]:
    """Return the measures inside the brain, in the unit of ``low_dose`` of the case."""
    unit = fit("low_dose", case.low.array, case.brain)
    real = unit.apply(case.full.array if aim is None else aim) * case.brain
    image = unit.apply(made) * case.brain
    agent = case.uptake
    found = {
        "ssim": ssim(real, image, data_range=1.0, mask=case.brain, dimensions=2),
        "psnr_db": psnr(real, image, data_range=1.0, mask=case.brain),
        "relative_error": relative_error(real, image, mask=case.brain),
        "outside_mae": mae(real, image, mask=case.brain & ~agent),
    }
    found["uptake_mae"] = mae(real, image, mask=agent) if agent.any() else float("nan")
    return found


class Kept:
    """What was measured, in a CSV file that a later run goes on with."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.rows: dict[tuple[str, ...], dict[str, str]] = {}
        if path is not None and path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    self.rows[tuple(row[name] for name in COLUMNS[:4])] = row

    def get(self, key: tuple[str, ...], compute: Callable[[], dict[str, float]]) -> dict[str, str]:
        """Return the row of ``key``, computed when it is not there yet."""
        if key not in self.rows:
            values = {name: f"{value:.6g}" for name, value in compute().items()}
            row = {**dict(zip(COLUMNS[:4], key, strict=True)), **values}
            if self.path is not None:
                new = not self.path.exists()
                with self.path.open("a", newline="", encoding="utf-8") as file:
                    writer = csv.DictWriter(file, COLUMNS)
                    if new:
                        writer.writeheader()
                    writer.writerow(row)
            self.rows[key] = row
        return self.rows[key]


def measure_all(
    data: str,
    items: Sequence[LowDoseItem],
    approaches: Sequence[str],
    sigmas: Sequence[float],
    kept: Kept,
) -> list[dict[str, str]]:
    """Return a row for each case, noise and approach; an approach is a name of FULL_DOSE, or an
    operator and its denoiser as in ``ph2l/nlm``."""
    rows = []
    for item in items:
        # Read once, and only where something is missing.
        read = cache(item.read)
        for sigma in sigmas:
            for name in approaches:
                compute = partial(_measured, read, sigma, name)
                rows.append(kept.get((data, item.name, f"{sigma:g}", name), compute))
                print(f"{item.name}, sigma {sigma:g}, {name}", file=sys.stderr, flush=True)
    return rows


def _measured(read: Callable[[], LowDoseCase], sigma: float, name: str) -> dict[str, float]:
    """Measure in the unit of the clean case, whatever the noise."""
    clean = read()
    noisy = with_noise(clean, sigma)
    if name in FULL_DOSE:
        return measure(clean, FULL_DOSE[name](noisy))
    network, denoiser = name.split("/")
    if network in ("h2l", "ph2l") and noisy is not clean:
        return measure(clean, _forward(network, _noisy_full(clean, noisy)), clean.low.array)
    made, aim = operator(network, denoiser, noisy)
    return measure(clean, made, aim)


def _noisy_full(clean: LowDoseCase, noisy: LowDoseCase) -> LowDoseCase:
    """Return the clean case with the noise of the other one on its full dose instead."""
    noise = noisy.low.array - clean.low.array
    full = clean.full.with_array(clean.full.array + noise, "with noise, for research only")
    return LowDoseCase(clean.pre, clean.low, full, clean.brain)


# ---- tables


def table(rows: Sequence[Mapping[str, str]], sigma: float) -> str:
    """Return the means over patients of each approach at one noise, with intervals."""
    here = [row for row in rows if float(row["sigma"]) == sigma]
    names = list(dict.fromkeys(row["approach"] for row in here))
    patients = len({row["case"] for row in here})
    text = [f"| {patients} patients | " + " | ".join(HEADINGS) + " |"]
    text.append("|---" * (len(HEADINGS) + 1) + "|")
    for name in names:
        cells = []
        for measured in MEASURES:
            values = [float(row[measured]) for row in here if row["approach"] == name]
            known = np.array([value for value in values if np.isfinite(value)])
            low, high = interval(known)
            cells.append(f"{known.mean():.4f} [{low:.4f}, {high:.4f}]" if known.size else "–")
        text.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(text)


def plot_stability(rows: Sequence[Mapping[str, str]], path: Path) -> None:
    """Draw SSIM against sigma, and box plots over patients at no noise and at the middle sigma."""
    from ContrastSynthLib.plots.figures import LINE_COLOURS, figure_png, load_matplotlib

    figure_class, _ = load_matplotlib()
    figure = figure_class(figsize=(11, 4.2), facecolor="white", layout="constrained")
    curve, *boxes = figure.subplots(1, 3, width_ratios=(1.4, 1, 1))
    names = list(dict.fromkeys(row["approach"] for row in rows))
    sigmas = sorted({float(row["sigma"]) for row in rows})

    def values(name: str, sigma: float) -> list[float]:
        chosen = (r for r in rows if r["approach"] == name and float(r["sigma"]) == sigma)
        return [float(row["ssim"]) for row in chosen]

    for number, name in enumerate(names):
        colour = LINE_COLOURS[number % len(LINE_COLOURS)]
        means = [np.mean(values(name, sigma)) for sigma in sigmas]
        curve.plot(sigmas, means, color=colour, marker="o", markersize=3.5, label=name)
    curve.set_xlabel("Deviation of the added noise (unit of low_dose)")
    curve.set_ylabel("SSIM, mean over patients")
    for axes, sigma in zip(boxes, (sigmas[0], sigmas[len(sigmas) // 2]), strict=True):
        drawn = axes.boxplot([values(name, sigma) for name in names], patch_artist=True)
        for number, box in enumerate(drawn["boxes"]):
            box.set_facecolor(LINE_COLOURS[number % len(LINE_COLOURS)] + "55")
        axes.set_xticks(range(1, len(names) + 1), names, rotation=35, ha="right", fontsize=8)
        axes.set_title(f"sigma {sigma:g}", fontsize=10)
    for axes in (curve, *boxes):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#e3e6e8", linewidth=0.8)
        axes.set_axisbelow(True)
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=8)
    path.write_bytes(figure_png(figure))


TABLES: dict[str, tuple[tuple[str, ...], tuple[float, ...]]] = {
    "1": (tuple(f"{n}/{d}" for n in OPERATORS for d in ("none", "nlm")), (0.0,)),
    "2": (("pl2h/none", "ph2l/nlm"), (0.0, OUT_OF_DOMAIN_SIGMA)),
    "3": (tuple(FULL_DOSE), (0.0,)),
    "stability": (NOISY, SIGMAS),
}
"""What each table compares, and at which added noise."""


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument("--virtual", choices=("same", "different"))
    data.add_argument("--pool", type=Path, help="slabs that the networks were trained on")
    data.add_argument("--cases", type=Path, help="folder of pairs with a cases.json")
    parser.add_argument("--patients", type=int, default=10, help="virtual ones")
    parser.add_argument("--seed", type=int, default=HELD_OUT_SEEDS, help="of the first of them")
    parser.add_argument("--slab", type=int, default=8, metavar="SLICES", help="of each case")
    parser.add_argument("--simulation", choices=tuple(SIMULATIONS), default="mismatched")
    parser.add_argument("--noise", type=float, default=0.03, help="of simulated low doses, medians")
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="keeps virtual patients")
    parser.add_argument("--table", choices=tuple(TABLES), default="3")
    parser.add_argument("--approach", action="append", help="only these, see FULL_DOSE")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="keeps what was measured")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="of the stability")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Measure what is missing and print the table."""
    chosen = parse(arguments)
    names, sigmas = TABLES[chosen.table]
    try:
        if chosen.approach:
            names = tuple(chosen.approach)
            unknown = [name for name in names if name not in FULL_DOSE and "/" not in name]
            if unknown:
                raise RequestError(f"Unknown: {unknown[0]}. Known: {', '.join(FULL_DOSE)}.")
        if chosen.virtual:
            data = f"virtual {chosen.virtual}"
            seeds = range(chosen.seed, chosen.seed + chosen.patients)
            items = virtual_cases(chosen.virtual, seeds, chosen.slab, chosen.cache)
        elif chosen.pool:
            data = "virtual, trained on"
            items = pool_cases(chosen.pool, chosen.patients, chosen.slab)
        else:
            data = f"{chosen.cases.resolve().name}, {chosen.simulation}, noise {chosen.noise:g}"
            items = real_cases(chosen.cases, chosen.simulation, chosen.noise, chosen.slab)
        rows = measure_all(data, items, names, sigmas, Kept(chosen.csv))
    except ContrastSynthError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    for sigma in sigmas:
        print(f"\n{data}, added noise {sigma:g}:\n\n{table(rows, sigma)}")
    if chosen.plot:
        plot_stability(rows, chosen.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
