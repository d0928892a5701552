"""Contrast enhancement without an agent by a Bayesian U-Net: a mean, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ContrastSynthLib.methods._without_agent import INPUTS, STEP, Slabs
from ContrastSynthLib.registry import MAP, Context, Network, Output, Param, method
from ContrastSynthLib.volumes import FloatArray, Volume


@dataclass(frozen=True)
class BayesianUNetParameters:
    """How often the network is run, and how the slabs follow each other."""

    samples: Annotated[
        int,
        Param(
            "Passes",
            low=2,
            high=50,
            help="With other features dropped each time: their mean is the image, their standard "
            "deviation the uncertainty.",
        ),
    ] = 8
    step: Annotated[int, STEP] = 3


@method(
    key="bayesian_unet",
    title="Bayesian U-Net, without an agent",
    task="enhance",
    inputs=INPUTS,
    outputs={
        "post": Output("Guess of the full dose", units_of="pre", dose=1),
        "uncertainty": Output("Uncertainty", kind=MAP, unit="99.9th percentile of T1", low=0),
    },
    parameters=BayesianUNetParameters,
    reference="pre",
    presets={"paper": {"samples": 20, "step": 1}, "fast": {"samples": 2}},
    networks={"bayesian_unet": Network()},
    random=True,
    citation="kleesiek2019",
    intended_use="Research. Brains before an agent. Where an agent would go is guessed from other "
    "scans, not seen. The uncertainty is that of the network alone.",
)
def bayesian_unet(
    pre: Volume,
    t2: Volume | None = None,
    flair: Volume | None = None,
    adc: Volume | None = None,
    *,
    parameters: BayesianUNetParameters,
    context: Context,
) -> dict[str, FloatArray]:
    """Predict Y as the mean of passes with dropout, the comparison of the high-resolution FCN.

    Scans, voxels, slabs and inputs that are left out are those of ``hrfcn``. ``uncertainty`` is the
    standard deviation of the passes (Kleesiek et al. 2019; there the noise of the scan is predicted
    as well), in 99.9th percentiles of the T1 scan, 0 outside of the mask.
    """
    from ContrastSynthLib.networks.bayesian_unet import Sampled

    scans = {"pre": pre, "t2": t2, "flair": flair, "adc": adc}
    slabs = Slabs.of(scans, "bayesian_unet", parameters.step, context)
    network = Sampled(context.network("bayesian_unet"), parameters.samples)
    made = context.predict(network, slabs.tiles, (0.05, 1.0))
    spread = slabs.plan.restore(made["uncertainty"], outside=0.0) * context.mask
    return {"post": slabs.full_dose(made["post"], context), "uncertainty": spread}
