"""Contrast enhancement without an agent: the high-resolution FCN."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ContrastSynthLib.methods._without_agent import INPUTS, STEP, Slabs
from ContrastSynthLib.registry import Context, Network, Output, method
from ContrastSynthLib.volumes import FloatArray, Volume


@dataclass(frozen=True)
class HrfcnParameters:
    """How the slabs follow each other."""

    step: Annotated[int, STEP] = 3


@method(
    key="hrfcn",
    title="Enhancement without an agent",
    task="enhance",
    recommended=True,
    inputs=INPUTS,
    outputs={"post": Output("Guess of the full dose", units_of="pre", dose=1)},
    parameters=HrfcnParameters,
    reference="pre",
    presets={"paper": {"step": 1}},
    networks={"hrfcn": Network()},
    citation="hrfcn",
    intended_use="Research. Brains before an agent. Where an agent would go is guessed from other "
    "scans, not seen: lesions are missed and invented.",
)
def hrfcn(
    pre: Volume,
    t2: Volume | None = None,
    flair: Volume | None = None,
    adc: Volume | None = None,
    *,
    parameters: HrfcnParameters,
    context: Context,
) -> dict[str, FloatArray]:
    """Predict Y = f(X_T1, X_T2, X_ADC) in slabs of three slices, ``step`` slices apart.

    Each scan is divided by its 99.9th percentile in the mask, as in the paper, and stripped of what
    is outside; the network sees voxels of about 1 mm. A scan that is not given is left out, as in
    Table III. FLAIR is our addition. What the network adds to the T1 scan is interpolated back to
    its grid and added. Outside of the mask nothing changes.
    """
    scans = {"pre": pre, "t2": t2, "flair": flair, "adc": adc}
    slabs = Slabs.of(scans, "hrfcn", parameters.step, context)
    made = context.predict(context.network("hrfcn"), slabs.tiles, (0.05, 1.0))["post"]
    return {"post": slabs.full_dose(made, context)}
