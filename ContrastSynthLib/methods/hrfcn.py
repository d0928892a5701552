"""Contrast enhancement without an agent: the high-resolution FCN."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from ContrastSynthLib.inference.pieces import Tiles
from ContrastSynthLib.inference.slicing import changed_by, plan_slices, stripped
from ContrastSynthLib.preprocessing.normalisation import fit
from ContrastSynthLib.registry import Context, Input, Network, Output, Param, method
from ContrastSynthLib.volumes import FloatArray, Volume

SLAB = (3, None, None)
"""Slices, rows and columns of a box: slabs of the paper, of the whole plane."""
SLICE_MM = 1.0
ROLE_OF = {"t1": "pre"}
"""The role of an input of the network, where it is not its name."""


@dataclass(frozen=True)
class HrfcnParameters:
    """How the slabs follow each other."""

    step: Annotated[
        int,
        Param(
            "Step of the slabs",
            "slices",
            1,
            3,
            help="Slabs of three slices are averaged where they overlap; at 3 they do not.",
        ),
    ] = 3


@method(
    key="hrfcn",
    title="Enhancement without an agent",
    task="enhance",
    recommended=True,
    inputs={
        "pre": Input("T1, pre-contrast"),
        "t2": Input("T2", modality="T2", optional=True),
        "flair": Input("FLAIR", modality="FLAIR", optional=True),
        "adc": Input("ADC", modality="ADC", optional=True),
    },
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
    given = {role: scan.array for role, scan in scans.items() if scan is not None}
    plan = plan_slices(pre.grid, context.mask, slice_mm=SLICE_MM)
    units = {role: fit("unit", array, context.mask) for role, array in given.items()}
    slices = {
        role: plan.slices(stripped(units[role].apply(array), context.mask))
        for role, array in given.items()
    }
    inputs = context.bundles["hrfcn"].metadata["network"]["arguments"]["inputs"]
    roles = [ROLE_OF.get(name, name) for name in inputs]
    nothing = np.zeros(plan.shape, np.float32)
    channels = [np.maximum(slices.get(role, nothing), 0) for role in roles]
    overlap = (SLAB[0] - parameters.step, 0, 0)
    slabs = Tiles(np.stack(channels), SLAB, overlap, blending="constant", noun="slab")
    made = context.predict(context.network("hrfcn"), slabs, (0.05, 1.0))["post"]
    change = units["pre"].scale * plan.restore(made - slices["pre"], outside=0.0)
    context.record["scans_seen"] = [*given]
    return {"post": changed_by(change, pre.array, context.mask)}
