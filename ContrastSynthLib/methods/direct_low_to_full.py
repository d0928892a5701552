"""The full dose from a low one, by a network alone: NN-L2H and NN-PL2H of LIP-CAR."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from ContrastSynthLib.inference.pieces import Slices
from ContrastSynthLib.methods._low_dose import LowDose, denoiser, low_dose_slices, need_pre, one_of
from ContrastSynthLib.registry import Context, Input, Network, Output, method
from ContrastSynthLib.volumes import FloatArray, Volume

NETWORKS = {"pl2h": "with the pre scan", "l2h": "from the low dose alone"}
NETWORK_TITLES = {"pl2h": "PL2H: with the pre scan", "l2h": "L2H: low dose alone"}


@dataclass(frozen=True)
class DirectParameters:
    """Which of the paper's two networks is run, and whether its input is denoised first."""

    network: Annotated[str, one_of("Network", NETWORKS, NETWORK_TITLES)] = "pl2h"
    denoiser: Annotated[str, denoiser()] = "none"


@method(
    key="direct_low_to_full",
    title="Full dose from low dose by a network",
    task="full",
    inputs={
        "low": Input("After a low dose"),
        "pre": Input("Pre-contrast", optional=True),
    },
    outputs={"post": Output("Synthetic full dose", units_of="low", dose=1)},
    parameters=DirectParameters,
    reference="low",
    presets={"paper": {"network": "pl2h", "denoiser": "none"}},
    networks={name: Network(when={"network": (name,)}) for name in NETWORKS},
    citation="lipcar",
    intended_use="Research. T1-weighted brains after a quarter of the usual dose of gadolinium. "
    "Enhancement may be missed or invented.",
)
def direct_low_to_full(
    low: Volume, pre: Volume | None = None, *, parameters: DirectParameters, context: Context
) -> dict[str, FloatArray]:
    """Return x_H = Psi(x_L), eq. 2 of LIP-CAR, with the pre scan Psi(x_P, x_L), eq. 5.

    The result has the gain of the low-dose scan. The network was trained on one dose, stated in
    its model card.
    """
    if parameters.network == "pl2h":
        pre = need_pre(pre, "The network pl2h", "the network l2h (--set network=l2h)")
    slices = low_dose_slices(low, pre if parameters.network == "pl2h" else None, context)
    full = direct_slices(slices, parameters.network, parameters.denoiser, context, (0.1, 1.0))
    return {"post": slices.volume(full, low)}


def direct_slices(
    slices: LowDose, network: str, denoiser: str, context: Context, part: tuple[float, float]
) -> FloatArray:
    """Return the full dose (n, rows, columns) that a network, a key of NETWORKS, computes.

    ``part`` is the range of the run's progress, from 0 to 1, that this takes.
    """
    seen = [slices.denoised(denoiser)]
    if network == "pl2h":
        assert slices.pre is not None
        seen.insert(0, slices.pre)
    found = context.predict(context.network(network), Slices.of(*seen), part)
    return np.asarray(found["image"] * slices.inside, dtype=np.float32)
