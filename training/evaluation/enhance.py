"""From scans without an agent to the full dose, as the high-resolution FCN is measured.

The post scan is brought to the gain and shading of the pre scan; both are divided by the 99.9th
percentile of the pre scan in the brain, as in the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from data.enhance_slabs import OTHERS

from ContrastSynthLib.analysis.enhancement import missed_and_invented
from ContrastSynthLib.metrics import gradient_ratio, psnr, ssim
from ContrastSynthLib.physics.constants import UPTAKE_THRESHOLD
from ContrastSynthLib.preprocessing.normalisation import fit
from ContrastSynthLib.preprocessing.shading import gain_field
from ContrastSynthLib.volumes import BoolArray, FloatArray, Volume
from evaluation.cases import Item, Scans, grid_of, neighbours_with_most
from evaluation.held_out_hrfcn import area_under_curve
from evaluation.task import BuiltIn, Measures, Outputs, Rise, Task

HEADINGS = {
    "psnr_brain_db": "PSNR brain dB ↑",
    "psnr_rising_db": "PSNR enhancing dB ↑",
    "ssim_brain": "SSIM ↑",
    "gradient_ratio": "edges 1",
    "auc": "AUC ↑",
    "lesions_found": "found ↑",
    "lesions_missed": "missed ↓",
    "lesions_invented": "invented ↓",
}
NOTE = """\
Scans in 99.9th percentiles of the pre scan in the brain; the post scan at its gain and shading.
PSNR (range 1): brain, and voxels that rise by more than 0.1. SSIM: brain. Edges: mean gradient
magnitude in the brain over that of the scan, below 1 where it is blurrier. AUC: of the predicted
rise, for those voxels. Found, missed, invented: connected regions of at least 0.1 ml that rise by
more than 0.1; the vessels and the dura are one of them."""
LEAST_LESION_MM3 = 100.0


def _t1(given: Scans, clean: Scans) -> Outputs:
    """Return T1, taken for the scan after the agent."""
    return {"post": given["pre"]}


def in_units(scans: Scans) -> tuple[FloatArray, FloatArray]:
    """Return the pre scan and the full dose (k, j, i), the latter at the gain of the former."""
    pre, brain = scans["pre"], scans.brain
    gain = gain_field(pre.array, scans["post"].array, brain, pre.grid.spacing_mm[::-1])
    unit = fit("unit", pre.array, brain)
    return unit.apply(pre.array) * brain, unit.apply(scans["post"].array / gain) * brain


def rising(scans: Scans) -> BoolArray:
    """Return the voxels (k, j, i) that enhance."""
    before, after = in_units(scans)
    return np.asarray(after - before > UPTAKE_THRESHOLD)


def rise(scans: Scans) -> Rise:
    """Return how a case rises with the agent, in 99.9th percentiles of the pre scan."""
    before, after = in_units(scans)
    unit = fit("unit", scans["pre"].array, scans.brain)

    def rise_with(outputs: Outputs) -> FloatArray:
        made = unit.apply(outputs["post"].array) * scans.brain if "post" in outputs else after
        return np.asarray(made - before, dtype=np.float32)

    return rise_with


def about_most_uptake(items: Sequence[Item], slices: int | None) -> list[Item]:
    """Return pairs cut to the ``slices`` slices about the most uptake; None: whole."""
    return [replace(i, read=partial(_cut, i, slices)) for i in items] if slices else [*items]


def _cut(item: Item, slices: int) -> Scans:
    scans = item.read()
    cut = neighbours_with_most(rising(scans).sum(axis=(1, 2)), slices)
    grid = grid_of(scans["pre"].grid, cut)

    def part(volume: Volume) -> Volume:
        return replace(volume, array=volume.array[cut], grid=grid)

    parts = {role: part(scan) for role, scan in scans.scans.items()}
    return Scans(parts, part(scans.mask) if scans.mask else None)


def measure(scans: Scans, outputs: Outputs, brain: BoolArray) -> Measures:
    """Return the measures of HEADINGS inside ``brain`` (k, j, i)."""
    before, after = in_units(scans)
    unit = fit("unit", scans["pre"].array, scans.brain)
    made = unit.apply(outputs["post"].array) * scans.brain
    enhancing = (after - before > UPTAKE_THRESHOLD) & brain
    report = missed_and_invented(
        after - before,
        made - before,
        brain,
        scans["pre"].grid,
        threshold=UPTAKE_THRESHOLD,
        minimum_volume_mm3=LEAST_LESION_MM3,
    )
    kinds = [lesion.kind for lesion in report.lesions]
    found: Measures = {
        "psnr_brain_db": psnr(after, made, data_range=1.0, mask=brain),
        "ssim_brain": ssim(after, made, data_range=1.0, mask=brain, dimensions=2),
        "gradient_ratio": gradient_ratio(after, made, mask=brain),
        **{f"lesions_{kind}": float(kinds.count(kind)) for kind in ("found", "missed", "invented")},
    }
    if not enhancing.any() or enhancing[brain].all():
        return {**found, "psnr_rising_db": None, "auc": None}
    return {
        **found,
        "psnr_rising_db": psnr(after, made, data_range=1.0, mask=enhancing),
        "auc": area_under_curve((made - before)[brain], enhancing[brain]),
    }


def _no_noise(scans: Scans, sigma: float) -> Scans:
    return scans


ENHANCE = Task(
    name="without an agent",
    output="post",
    built_in={"t1": BuiltIn(_t1)},
    measure=measure,
    headings=HEADINGS,
    uptake=rising,
    with_noise=_no_noise,
    note=NOTE,
    others=OTHERS,
    rise=rise,
)
