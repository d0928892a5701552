"""From a low to the full dose, as LIP-CAR measures it: rows that are no method, and the measures.

Intensities are in the unit of ``low_dose`` (see preprocessing/normalisation.py), so that the brain
lies in [0, 1]; every measure is taken inside the brain.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
from data import DOSE

from ContrastSynthLib.analysis.uptake import uptake
from ContrastSynthLib.metrics import mae, psnr, relative_error, ssim
from ContrastSynthLib.preprocessing.denoising import denoise, noise_of_pair, noise_sigma
from ContrastSynthLib.preprocessing.normalisation import fit
from ContrastSynthLib.preprocessing.shading import gain_field
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.run import run
from ContrastSynthLib.volumes import BoolArray, FloatArray, Volume
from evaluation.cases import Scans
from evaluation.low_dose import MARK, UPTAKE_CONVENTION, pre_like_low
from evaluation.task import BuiltIn, Measures, Outputs, Task

HEADINGS = {
    "ssim": "SSIM ↑",
    "psnr_db": "PSNR dB ↑",
    "relative_error": "relative error ↓",
    "uptake_mae": "uptake MAE ↓",
    "outside_mae": "MAE outside ↓",
}
NOTE = """\
Intensities in the unit of low_dose (three medians of the brain of the low-dose scan), range 1.
SSIM (mean over the slices), PSNR and relative error: brain; MAE: inside the uptake, and in the
rest of the brain."""
DENOISERS = ("none", "nlm")
FORWARD_OPERATORS = ("h2l", "ph2l")
NETWORKS = ("l2h", "pl2h", *FORWARD_OPERATORS)


def _pre(given: Scans, clean: Scans) -> Outputs:
    """Return the pre scan with the gain and shading of the low-dose scan."""
    return {"post": given["low"].with_array(pre_like_low(given), MARK)}


def _low(given: Scans, clean: Scans) -> Outputs:
    """Return the low-dose scan as it is."""
    return {"post": given["low"]}


def _difference(given: Scans, clean: Scans, denoiser: str = "none") -> Outputs:
    """Return pre + (low - pre) / dose, of the low dose as it is or denoised."""
    pre, low = pre_like_low(given), given["low"].array
    low = denoise(low, noise_of_pair(low, pre, given.brain), denoiser)
    dose = given["low"].acquisition.dose_fraction or DOSE
    full = np.maximum(pre + (low - pre) / np.float32(dose), 0)
    return {"post": given["low"].with_array(full, MARK)}


def _chain(given: Scans, clean: Scans) -> Outputs:
    """Return the full dose that ``vcm`` makes of the low dose that ``lowdose_gan`` makes of it.

    It is brought to the gain of the low-dose scan of the case, which is not used otherwise.
    """
    dose = given["low"].acquisition.dose_fraction or DOSE
    mask = {} if given.mask is None else {"mask": given.mask}
    scans = {"pre": given["pre"], "post": given["post"], **mask}
    low = run(Request("lowdose_gan", scans, {"dose": dose}, seed=0)).outputs["low"]
    again = {"low": low, "pre": given["pre"], **mask}
    full = run(Request("vcm", again, {"dose": dose})).outputs["post"].array
    real = given["low"]
    full = full / gain_field(real.array, full, given.brain, real.grid.spacing_mm[::-1])
    return {"post": real.with_array(full.astype(np.float32), MARK)}


def _network(
    given: Scans, clean: Scans, network: str, denoiser: str = "none", weights: str = ""
) -> Outputs:
    """Return what one of LIP-CAR's networks, or other ``weights`` of it, makes of its true input.

    A forward operator (h2l, ph2l) sees the full dose and makes ``low``, to be compared with
    ``aim``: the low dose without added noise, as it was scanned or denoised. Added noise is on what
    it sees, the full dose.
    """
    if network not in FORWARD_OPERATORS:
        low = _denoised(given["low"], given.brain, denoiser)
        request = Request(
            "direct_low_to_full",
            {"low": low, "pre": given["pre"], "mask": given.mask},
            {"network": network},
            weights=weights or None,
        )
        return run(request).outputs
    noise = given["low"].array - clean["low"].array
    full = clean["post"].with_array(clean["post"].array + noise, MARK)
    made = _forward(network, clean.with_scan("post", full), weights=weights or network)
    return {"low": made, "aim": _denoised(clean["low"], clean.brain, denoiser)}


def _denoised(low: Volume, brain: BoolArray, denoiser: str) -> Volume:
    """Return the brain of a low dose, after a denoiser unless that is "none"."""
    image = low.array * brain
    if denoiser != "none":
        image = denoise(image, noise_sigma(low.array, brain), denoiser) * brain
    return low.with_array(image.astype(np.float32), MARK)


def _forward(network: str, scans: Scans, weights: str) -> Volume:
    """Return the low dose that a forward operator makes of the full one."""
    import torch

    from ContrastSynthLib.inference.networks import load_network
    from ContrastSynthLib.inference.slicing import plan_slices
    from ContrastSynthLib.weights.bundles import look_up

    low, brain = scans["low"], scans.brain
    unit = fit("low_dose", low.array, brain)
    plan = plan_slices(low.grid, brain)
    inside = plan.slices(brain)
    full = scans["post"].array
    seen = [full] if network == "h2l" else [pre_like_low(scans), full]
    channels = np.stack([plan.slices(unit.apply(image)) * inside for image in seen], axis=1)
    loaded = load_network(look_up(weights)).eval()
    with torch.inference_mode():
        parts = [loaded(torch.from_numpy(part[None]))["image"][0, 0].numpy() for part in channels]
    return low.with_array(unit.undo(plan.restore(np.stack(parts), outside=0.0)), MARK)


def uptake_of(scans: Scans) -> BoolArray:
    """Return where the full dose exceeds the pre scan, (k, j, i)."""
    before = scans["pre"].with_array(pre_like_low(scans), MARK)
    return uptake(before, scans["post"], scans.brain, convention=UPTAKE_CONVENTION).binary


def with_noise(scans: Scans, sigma: float, seed: int = 0) -> Scans:
    """Return the case with white Gaussian noise on the low dose, eq. 12 of LIP-CAR.

    ``sigma`` is its standard deviation in the unit of ``low_dose``.
    """
    if not sigma:
        return scans
    low, brain = scans["low"], scans.brain
    scale = fit("low_dose", low.array, brain).scale
    noise = np.random.default_rng(seed).normal(0, sigma * scale, low.array.shape)
    noisy = (low.array + noise * brain).astype(np.float32)
    return replace(scans.with_scan("low", low.with_array(noisy, MARK)), added_noise=sigma)


def measure(scans: Scans, outputs: Outputs, brain: BoolArray) -> Measures:
    """Return the measures of HEADINGS inside ``brain`` (k, j, i), in the unit of ``low_dose``.

    ``outputs`` are ``post``, compared with the full dose, or ``low``, compared with ``aim``.
    """
    made, aim = outputs.get("post"), scans["post"]
    if made is None:
        made, aim = outputs["low"], outputs["aim"]
    unit = fit("low_dose", scans["low"].array, brain)

    def inside(image: FloatArray) -> FloatArray:
        return unit.apply(image) * brain

    real, image, agent = inside(aim.array), inside(made.array), uptake_of(scans) & brain
    return {
        "ssim": ssim(real, image, data_range=1.0, mask=brain, dimensions=2),
        "psnr_db": psnr(real, image, data_range=1.0, mask=brain),
        "relative_error": relative_error(real, image, mask=brain),
        "uptake_mae": mae(real, image, mask=agent) if agent.any() else None,
        "outside_mae": mae(real, image, mask=brain & ~agent),
    }


LOW_TO_FULL = Task(
    name="low to full",
    output="post",
    built_in={
        "pre": BuiltIn(_pre),
        "low": BuiltIn(_low),
        "difference": BuiltIn(_difference, {"denoiser": DENOISERS}),
        "chain": BuiltIn(_chain),
        **{
            name: BuiltIn(partial(_network, network=name), {"denoiser": DENOISERS}, weights=name)
            for name in NETWORKS
        },
    },
    measure=measure,
    headings=HEADINGS,
    uptake=uptake_of,
    with_noise=with_noise,
    note=NOTE,
)
