"""From the native and the full-dose scan to a low dose, as the low-dose cGAN measures it: Table 1.

Every scan is brought to the gain of the native one and divided by its 0.95 quantile in the brain.
Of real pairs the low dose is simulated as in :mod:`data.dose_patches`: from the post scan and the
pre scan in its contrast, both denoised, with Rician noise of the strength of the pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from data.dose_simulation import SIMULATIONS, Simulation, rician, simulated_signal
from data.real_pairs import largest_part

from ContrastSynthLib.analysis.enhancement import missed_and_invented
from ContrastSynthLib.metrics import enhancing_voxels, mae_ce, mae_sigma, psnr, ssim
from ContrastSynthLib.metrics.contrast import ENHANCING_SHARE
from ContrastSynthLib.preprocessing.denoising import denoise, noise_sigma
from ContrastSynthLib.preprocessing.normalisation import fit
from ContrastSynthLib.preprocessing.shading import gain_field
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.run import run
from ContrastSynthLib.volumes import BoolArray, FloatArray, Volume
from evaluation.cases import Item, Scans, grid_of, neighbours_with_most
from evaluation.low_dose import MARK, at_dose
from evaluation.matched_pairs import matched_target
from evaluation.task import BuiltIn, Measures, Outputs, Task

HEADINGS = {
    "psnr_db": "PSNR dB ↑",
    "ssim": "SSIM ↑",
    "mae_ce": "MAE_CE ↓",
    "mae_sigma": "MAE_sigma ↓",
    "noise_ratio": "noise / true noise",
    "sigma_ratio": "deviation / true one",
    "rise": "mean rise in CE",
    "rise_error": "error of that ↓",
    "invented": "invented lesions ↓",
    "true_rise": "true mean rise in CE",
    "deviation": "deviation",
    "true_deviation": "true deviation",
}
PLOTTED = ("true_rise", "deviation", "true_deviation")
"""Measures that are no column of the table."""
NOTE = """\
Scans at the gain of the native scan, in its 0.95 quantile q in the brain. CE: voxels that rise by
at least 0.1 q at the full dose. PSNR (range q) and SSIM: brain. MAE_CE: mean absolute error in CE.
MAE_sigma: error of the standard deviation of the difference to the native scan where nothing
enhances; beside it that deviation relative to the true one, and the noise of the image there
relative to the true one (from differences of neighbouring voxels, Immerkaer 1996). Mean rise: over
the native scan in CE; its error is absolute. Invented lesions: connected regions of at least 0.1 ml
that rise by 0.1 q and do not at the full dose."""
LEAST_LESION_MM3 = 100.0


def doses_of_pairs(
    items: Sequence[Item], simulation: str, dose: float, slices: int | None, seed: int = 0
) -> list[Item]:
    """Return pairs with a simulated low dose, whole or ``slices`` slices about the most uptake.

    ``simulation`` is a key of SIMULATIONS; its gain is not applied, as the scans are matched.
    """
    by = SIMULATIONS[simulation]
    return [replace(i, read=partial(_with_dose, i, by, dose, slices, seed)) for i in items]


def _with_dose(item: Item, by: Simulation, dose: float, slices: int | None, seed: int) -> Scans:
    pair = item.read()
    brain = largest_part(pair.brain)
    target = matched_target(pair["pre"], pair["post"], brain)
    post = np.maximum(pair["post"].array, 0)
    rises = enhancing_voxels(target, post, mask=brain).sum(axis=(1, 2))
    cut = neighbours_with_most(rises, slices)
    inside = brain[cut]
    before, after = (image[cut] * inside for image in (target, post))
    sigmas = [noise_sigma(scan, inside) for scan in (before, after)]
    clean = [denoise(s, n) * inside for s, n in zip((before, after), sigmas, strict=True)]
    signal = simulated_signal(*clean, dose, by, float(np.median(before[inside]))) * inside
    low = rician(signal, float(np.mean(sigmas)), np.random.default_rng(seed)) * inside
    grid = grid_of(pair["pre"].grid, cut)
    images = {"pre": before, "low": low, "post": after}
    scans = {r: Volume(i.astype(np.float32), grid, synthetic=MARK) for r, i in images.items()}
    mask = Volume(inside.astype(np.float32), grid, synthetic=MARK)
    return Scans({**scans, "low": at_dose(scans["low"], dose)}, mask)


def dose_of(scans: Scans) -> float:
    """Return the dose of the low-dose scan, a fraction of the full one."""
    dose = scans["low"].acquisition.dose_fraction
    assert dose is not None
    return dose


def like_native(scans: Scans, image: FloatArray) -> FloatArray:
    """Return an image (k, j, i) at the gain and shading of the native scan."""
    native = scans["pre"]
    spacing_mm = native.grid.spacing_mm[::-1]
    return image / gain_field(native.array, image, scans.brain, spacing_mm)


def _linear(given: Scans, clean: Scans) -> Outputs:
    """Return the linear interpolation between the native and the full-dose scan."""
    native, dose = given["pre"].array, np.float32(dose_of(given))
    low = native + dose * (like_native(given, given["post"].array) - native)
    return {"low": given["pre"].with_array(low.astype(np.float32), MARK)}


def _native(given: Scans, clean: Scans) -> Outputs:
    """Return the native scan as it is."""
    return {"low": given["pre"]}


def _full(given: Scans, clean: Scans) -> Outputs:
    """Return the full-dose scan, at the gain of the native one."""
    full = like_native(given, given["post"].array).astype(np.float32)
    return {"low": given["pre"].with_array(full, MARK)}


def _post_alone(given: Scans, clean: Scans) -> Outputs:
    """Return the low dose that the signal equation makes without a native scan.

    ``sphere`` makes that of the full-dose scan. Table 4 of SPHERE, figure 7 (A).
    """
    mask = {} if given.mask is None else {"mask": given.mask}
    made = run(Request("sphere", {"post": given["post"], **mask})).outputs["pre"]
    scans = {"pre": made, "post": given["post"], **mask}
    return run(Request("physics_dose", scans, {"dose": dose_of(given)})).outputs


def enhancing_in(scans: Scans) -> BoolArray:
    """Return the CE voxels (k, j, i)."""
    full = like_native(scans, scans["post"].array)
    return enhancing_voxels(scans["pre"].array, full, mask=scans.brain)


def measure(scans: Scans, outputs: Outputs, brain: BoolArray) -> Measures:
    """Return the measures of HEADINGS inside ``brain`` (k, j, i)."""
    native = scans["pre"].array
    unit = fit("p95", native, scans.brain)
    before = unit.apply(native) * brain
    whole = like_native(scans, scans["post"].array)
    real, made = (
        unit.apply(like_native(scans, scan.array)) * brain
        for scan in (scans["low"], outputs["low"])
    )
    enhancing = enhancing_voxels(native, whole, mask=scans.brain) & brain
    quiet = brain & ~enhancing
    noise = noise_sigma(real, quiet)
    full = unit.apply(whole) * brain
    report = missed_and_invented(
        full - before,
        made - before,
        brain,
        scans["pre"].grid,
        threshold=ENHANCING_SHARE,
        minimum_volume_mm3=LEAST_LESION_MM3,
    )
    deviations = [float((image - before)[quiet].std()) for image in (real, made)]
    found: Measures = {
        "invented": float(sum(lesion.kind == "invented" for lesion in report.lesions)),
        "psnr_db": psnr(real, made, data_range=1.0, mask=brain),
        "ssim": ssim(real, made, data_range=1.0, mask=brain, dimensions=2),
        "mae_sigma": mae_sigma(real, made, native=before, enhancing=enhancing, mask=brain),
        "noise_ratio": noise_sigma(made, quiet) / noise if noise else None,
        "sigma_ratio": deviations[1] / deviations[0],
        "deviation": deviations[1],
        "true_deviation": deviations[0],
    }
    if not enhancing.any():
        return {**found, **dict.fromkeys(("mae_ce", "rise", "rise_error", "true_rise"))}
    rises = [float((image - before)[enhancing].mean()) for image in (real, made)]
    return {
        **found,
        "mae_ce": mae_ce(real, made, enhancing=enhancing),
        "rise": rises[1],
        "true_rise": rises[0],
        "rise_error": abs(rises[1] - rises[0]),
    }


def _no_noise(scans: Scans, sigma: float) -> Scans:
    return scans


ANY_DOSE = Task(
    name="any dose",
    output="low",
    built_in={
        "linear": BuiltIn(_linear),
        "native": BuiltIn(_native),
        "full": BuiltIn(_full),
        "post_alone": BuiltIn(_post_alone),
    },
    measure=measure,
    headings=HEADINGS,
    uptake=enhancing_in,
    with_noise=_no_noise,
    note=NOTE,
    asked=lambda scans: {"dose": dose_of(scans)},
)
