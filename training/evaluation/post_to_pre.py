"""From the post- to the pre-contrast scan: rows that are no method, and the measures.

What is made of the post scan is that scan without its agent. Of virtual patients it is known, and
is the truth that :data:`POST_TO_TARGET` compares with. The scan before the agent, which is all that
real pairs have, differs from it by noise, settings and gain, which no method can know: against it
(:data:`POST_TO_PRE`) even a perfect answer leaves an error.

Each volume is divided by its own median in the brain and clipped at 0; the range is the 99.9th
percentile of the pre scan. Uptake is where post exceeds pre by more than a tenth of that range.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ContrastSynthLib.analysis.evaluation import evaluate
from ContrastSynthLib.analysis.uptake import uptake
from ContrastSynthLib.errors import MissingError
from ContrastSynthLib.metrics import lpips, mae
from ContrastSynthLib.metrics.perceptual import SMALLEST_SLICE_VOXELS
from ContrastSynthLib.preprocessing.normalisation import fit
from ContrastSynthLib.volumes import BoolArray, FloatArray, Volume
from evaluation.cases import SECOND, TARGET, UNENHANCED, Scans
from evaluation.task import BuiltIn, Measures, Outputs, Rise, Task
from evaluation.uptake import MEASURES as UPTAKE_MEASURES
from evaluation.uptake import measure_uptake

CONVENTION = "real_scans"
CLAMP_MEDIANS = 1.2
BOUNDS = ("ceiling=target", "second scan=second_scan")
"""Rows that say what a table is worth: the answer that the network was asked for, and another scan
of the same patient."""
HEADINGS = {
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
NOTE = """\
PSNR, SSIM and RMSE (in medians): brain. CNR error:
|CNR - true CNR|, uptake against the rest of the brain. LPIPS: brain, where its network is
installed. GMSD (eq. 26, the RMSE of gradient magnitudes), CFS, IRC, EIS and MAE (in medians):
inside the uptake. Of reachable: the gain in dB over taking post for pre, as a share of what the
true pre scan in the uptake would gain; a method that sees more than the post scan may exceed 1.
Of doing nothing: the MAE inside the uptake over that of the post scan. Change outside: the mean
absolute difference from the post scan in the brain outside the uptake, as a share of the range
(99.9th percentile of pre). Dice, lesions found and invented regions (of at least 0.03 ml) are
explained in evaluation/uptake.py; only where the truth is known. A dash stands where a measure is
undefined: the PSNR of an image that equals the truth is infinite."""
OF_THE_TARGET = """\
Compared with the target: the post scan as it would be without agent, with its noise. Where 'pre'
stands above, it is meant. Ceiling: the target itself. Second scan: the scan before the agent."""
OF_THE_SECOND_SCAN = """\
Compared with the scan before the agent, which has noise, settings and a gain of its own. Ceiling:
what the target, the post scan as it would be without agent, reaches: a perfect answer."""


def _nothing(given: Scans, clean: Scans) -> Outputs:
    """Return the post scan, taken for the pre scan."""
    return {"pre": given["post"]}


def _clamp(given: Scans, clean: Scans) -> Outputs:
    """Return the post scan, with what exceeds 1.2 medians of the brain set to the median."""
    post = given["post"]
    median = np.median(post.array[given.brain])
    clamped = np.where(post.array > CLAMP_MEDIANS * median, median, post.array)
    return {"pre": post.with_array(clamped)}


def _corrupted(given: Scans, clean: Scans) -> Outputs:
    """Return the pre scan with its artefacts, as it is."""
    return {"pre": given["corrupted"]}


def _reachable(given: Scans, clean: Scans) -> Outputs:
    """Return nothing: what can be reached at best is put together by :func:`measure`."""
    return {}


def _target(given: Scans, clean: Scans) -> Outputs:
    """Return what was asked for: the post scan without its agent."""
    return {"pre": clean[TARGET]}


def _second_scan(given: Scans, clean: Scans) -> Outputs:
    """Return the scan before the agent, as if it were an answer."""
    return {"pre": clean[SECOND]}


def uptake_of(scans: Scans) -> BoolArray:
    """Return where the agent went, (k, j, i)."""
    return uptake(scans["pre"], scans["post"], scans.brain, convention=CONVENTION).binary


def measure(scans: Scans, outputs: Outputs, brain: BoolArray) -> Measures:
    """Return the measures of HEADINGS inside ``brain`` (k, j, i).

    ``outputs`` are ``pre`` and perhaps ``uptake``. Without ``pre`` it is the true one in the
    uptake and post outside, put together in medians, and not divided by a median of its own.
    """
    pre, post = scans["pre"], scans["post"]
    where = uptake(pre, post, brain, convention=CONVENTION).binary
    real, given = (in_medians(volume, brain) for volume in (pre, post))
    made = in_medians(outputs["pre"], brain) if "pre" in outputs else np.where(where, real, given)
    before, after, synthetic = (pre.with_array(image) for image in (real, given, made))
    report = evaluate(before, synthetic, pre=before, post=after, brain=brain, normalise="none")
    whole, agent = report["regions"]["brain"], report["regions"]["uptake"]
    span, rest = report["data_range"], brain & ~where
    found: Measures = dict.fromkeys(UPTAKE_MEASURES)
    if "uptake" in outputs:
        found = measure_uptake(outputs["uptake"].array, scans.truth, brain, pre.grid)
    return {
        "psnr_db": whole["psnr_db"],
        "ssim": whole["ssim"],
        "rmse": whole["rmse"],
        "cnr_error": report["contrast"]["cnr_error"],
        "lpips": _lpips(real, made, brain, span),
        "gradient_rmse": agent["gradient_magnitude_rmse"],
        "cfs": agent["cfs"],
        "irc": agent["irc"],
        "eis": agent["eis"],
        "share_of_reachable": report["scale"]["share_of_reachable"],
        "uptake_mae": agent["mae"],
        "uptake_mae_of_nothing": report["scale"]["uptake_mae_of_do_nothing"],
        "outside_change": mae(given, made, mask=rest) / span if rest.any() else None,
        **found,
    }


def in_medians(volume: Volume, brain: BoolArray) -> FloatArray:
    """Return a scan (k, j, i) in medians of the brain, clipped at 0."""
    return np.maximum(fit("median", volume.array, brain).apply(volume.array), np.float32(0))


def rise(scans: Scans) -> Rise:
    """Return how a case rises with the agent, in medians of the brain."""
    brain = scans.brain
    before, after = in_medians(scans["pre"], brain), in_medians(scans["post"], brain)

    def rise_with(outputs: Outputs) -> FloatArray:
        return after - (in_medians(outputs["pre"], brain) if "pre" in outputs else before)

    return rise_with


def _lpips(real: FloatArray, made: FloatArray, brain: BoolArray, span: float) -> float | None:
    if min(real.shape[1:]) < SMALLEST_SLICE_VOXELS:
        return None
    try:
        return lpips(real, made, data_range=span, mask=brain)
    except MissingError:
        return None


def with_second_scan(scans: Scans) -> Scans:
    """Return the case with its scan before the agent as SECOND, and its TARGET where known."""
    case = scans.with_scan(SECOND, scans["pre"])
    if UNENHANCED not in scans.truth:
        return case
    return case.with_scan(TARGET, scans["post"].with_array(scans.truth[UNENHANCED]))


def with_target(scans: Scans) -> Scans:
    """Return the case with its TARGET in place of ``pre``: the truth that it is measured against.

    Raises RequestError where it is not known, as of real scans.
    """
    case = with_second_scan(scans)
    return case.with_scan("pre", case[TARGET])


def _no_noise(scans: Scans, sigma: float) -> Scans:
    return scans


POST_TO_PRE = Task(
    name="post to pre",
    output="pre",
    built_in={
        "nothing": BuiltIn(_nothing),
        "clamp": BuiltIn(_clamp),
        "corrupted": BuiltIn(_corrupted),
        "reachable": BuiltIn(_reachable),
        "target": BuiltIn(_target),
        "second_scan": BuiltIn(_second_scan),
    },
    measure=measure,
    headings=HEADINGS,
    uptake=uptake_of,
    with_noise=_no_noise,
    note=NOTE,
    prepare=with_second_scan,
    rise=rise,
)
"""Against the scan before the agent."""
POST_TO_TARGET = replace(POST_TO_PRE, prepare=with_target, note=f"{NOTE}\n\n{OF_THE_TARGET}")
"""Against the post scan as it would be without agent: virtual patients."""
