"""The table that evaluate.py prints: means over patients, intervals, differences of pairs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
BOOTSTRAP_SEED = 0

MEASURES = {
    "psnr_db": "PSNR dB ↑",
    "ssim": "SSIM ↑",
    "rmse": "RMSE ↓",
    "cnr_error": "CNR error ↓",
    "lpips": "LPIPS ↓",
    "gradient_rmse": "GMSD (eq. 26) ↓",
    "cfs": "CFS ↑",
    "irc": "IRC ↑",
    "eis": "EIS ↑",
    "share_of_reachable": "of reachable ↑",
    "uptake_mae": "uptake MAE ↓",
    "uptake_mae_of_nothing": "of doing nothing ↓",
    "outside_change": "change outside ↓",
    "uptake_dice": "Dice of the uptake ↑",
    "lesion_recall": "lesions found ↑",
    "invented_regions": "invented regions ↓",
    "invented_ml": "invented ml ↓",
}
OURS = ("share_of_reachable", "uptake_mae", "uptake_mae_of_nothing", "outside_change")
CONTRAST = ("psnr_db", "ssim", "cnr_error", "lpips", "gradient_rmse", "cfs", "irc", "eis")
TABLES = {
    "2": (*CONTRAST, *OURS),
    "3": ("psnr_db", "ssim", "rmse", "cnr_error", "lpips", *OURS),
    "5": (*CONTRAST, *OURS),
    "uptake": ("uptake_dice", "lesion_recall", "invented_regions", "invented_ml", *OURS),
}
"""Columns of SPHERE's tables, and of ours: how well the uptake is found, on virtual patients."""
NOTE = f"""\
Mean over patients [95 % bootstrap interval over patients, percentile method, {RESAMPLES}
resamples, seed {BOOTSTRAP_SEED}]. PSNR, SSIM and RMSE (in medians): brain. CNR error:
|CNR - true CNR|, uptake against the rest of the brain. LPIPS: brain, where its network is
installed. GMSD (eq. 26, the RMSE of gradient magnitudes), CFS, IRC, EIS and MAE (in medians):
inside the uptake. Of reachable: the gain in dB over taking post for pre, as a share of what the
true pre scan in the uptake would gain; a method that sees more than the post scan may exceed 1.
Of doing nothing: the MAE inside the uptake over that of the post scan. Change outside: the mean
absolute difference from the post scan in the brain outside the uptake, as a share of the range
(99.9th percentile of pre). Dice, lesions found and invented regions (of at least 0.03 ml):
evaluation_uptake.py tells how; only where the truth is known. A star marks a difference whose
interval excludes 0. The paper's own values were measured on other data and cannot be set
beside these."""


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the mean of ``values`` (n,); NaN for one value."""
    if len(values) < 2:
        return math.nan, math.nan
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    means = values[rng.integers(len(values), size=(RESAMPLES, len(values)))].mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def by_patient(lines: Sequence[Mapping[str, str]], label: str, measure: str) -> dict[str, float]:
    """Return the mean of a measure over the cases of each patient, where it is defined."""
    values: dict[str, list[float]] = {}
    for line in lines:
        if line["label"] == label and line[measure]:
            values.setdefault(line["patient"], []).append(float(line[measure]))
    return {patient: float(np.mean(several)) for patient, several in values.items()}


def _cell(values: Sequence[float], patients: int, *, starred: bool) -> str:
    """Return mean and interval; the number of patients where not all of them have the measure."""
    if not values:
        return "–"
    low, high = interval(np.array(values))
    sign = "+" if starred else ""
    cell = f"{np.mean(values):{sign}.3f}"
    if not math.isnan(low):
        cell += f" [{low:{sign}.3f}, {high:{sign}.3f}]"
    if starred and (low > 0 or high < 0):
        cell += " *"
    return cell if len(values) == patients else f"{cell} (n={len(values)})"


def markdown(lines: Sequence[Mapping[str, str]], labels: Sequence[str], table: str) -> str:
    """Return the table of one region, and below it each row's difference from the first."""
    measures = TABLES[table]
    patients = len({line["patient"] for line in lines})
    header = " | ".join(MEASURES[name] for name in measures)
    rule = "|---" * (len(measures) + 1) + "|"
    text = [f"| {patients} patients | {header} |", rule]
    for label in labels:
        columns = [list(by_patient(lines, label, name).values()) for name in measures]
        cells = [_cell(values, patients, starred=False) for values in columns]
        text.append(f"| {label} | {' | '.join(cells)} |")
    if len(labels) > 1:
        text += ["", f"| difference from {labels[0]} | {header} |", rule]
    for label in labels[1:]:
        cells = []
        for name in measures:
            first, other = (by_patient(lines, which, name) for which in (labels[0], label))
            paired = [other[patient] - first[patient] for patient in first if patient in other]
            cells.append(_cell(paired, patients, starred=True))
        text.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(text)
