"""Any dose from a pre-contrast and a full-dose scan, by the signal equation alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from ContrastSynthLib.methods._slabs import slabs
from ContrastSynthLib.methods._spgr import (
    field_strength,
    flip_angle,
    median_signal,
    proton_density,
    repetition_time,
)
from ContrastSynthLib.physics import DOSE_RANGE, signal_at_dose
from ContrastSynthLib.physics.constants import (
    DEFAULT_FIELD_STRENGTH_T,
    DEFAULT_FLIP_ANGLE_DEG,
    DEFAULT_REPETITION_TIME_S,
)
from ContrastSynthLib.preprocessing.normalisation import radiometric_gain
from ContrastSynthLib.registry import Context, Input, Output, Param, method
from ContrastSynthLib.volumes import FloatArray, Volume


@dataclass(frozen=True)
class PhysicsDoseParameters:
    """Defaults of TR, flip angle and field strength are those of SPHERE's site A (Table 1)."""

    dose: Annotated[
        float,
        Param(
            "Dose",
            "of the full dose",
            *DOSE_RANGE,
            help="0 is the pre scan, 1 the post scan.",
            main=True,
        ),
    ] = 0.33
    repetition_time_s: Annotated[float, repetition_time("post")] = DEFAULT_REPETITION_TIME_S
    flip_angle_deg: Annotated[float, flip_angle("post")] = DEFAULT_FLIP_ANGLE_DEG
    field_strength_t: Annotated[float, field_strength("post")] = DEFAULT_FIELD_STRENGTH_T


@dataclass(frozen=True)
class Measured:
    """Measured over the whole brain: the gain post / pre, and the median of the pre scan."""

    gain: float
    median: float


def measure(pre: Volume, post: Volume, *, context: Context) -> Measured:
    """Return the numbers of the whole brain that every voxel's computation needs."""
    context.progress(0.1, "Estimating the gain between the scans")
    return Measured(
        radiometric_gain(pre.array, post.array, context.mask),
        median_signal(pre.array, context.mask),
    )


@method(
    key="physics_dose",
    title="Any dose by the signal equation",
    task="dose",
    inputs={"pre": Input("Pre-contrast"), "post": Input("Post-contrast, full dose")},
    outputs={"low": Output("Synthetic dose", units_of="post", dose="dose")},
    parameters=PhysicsDoseParameters,
    reference="pre",
    measure=measure,
    signal_model="spgr",
    recommended=True,
    then="vcm",
    citation="sphere2025",
    intended_use="Research. Assumes a spoiled gradient echo and a relaxation rate that changes "
    "in proportion to the dose. A dose above 1 is an extrapolation.",
)
def physics_dose(
    pre: Volume,
    post: Volume,
    *,
    parameters: PhysicsDoseParameters,
    measured: Measured,
    context: Context,
) -> dict[str, FloatArray]:
    """Scale the change of the relaxation rate (eq. 7) and return the signal (eq. 1) at that dose.

    Dose 0 gives the pre scan and dose 1 the post scan exactly; each voxel is monotone in the dose.
    The receiver gain g of post over pre is estimated from tissue that does not enhance; at dose d
    the gain is g^min(d, 1). Voxels where the signal equation has no solution are interpolated
    linearly, and their number is recorded.
    """
    settings = {
        "repetition_time_s": parameters.repetition_time_s,
        "flip_angle_deg": parameters.flip_angle_deg,
    }
    density = proton_density(
        measured.median, field_strength_t=parameters.field_strength_t, **settings
    )
    low, unsolved = np.empty(pre.grid.shape, np.float32), 0
    for slab in slabs(low.shape, context, 0.3, "Solving the signal equation"):
        low[slab], solved = signal_at_dose(
            pre.array[slab].astype(np.float64),
            post.array[slab].astype(np.float64),
            parameters.dose,
            gain=measured.gain,
            proton_density=density,
            **settings,
        )
        unsolved += int((~solved & context.mask[slab]).sum())
    context.record.update(
        gain_post_over_pre=measured.gain,
        proton_density=density,
        voxels_in_mask=int(context.mask.sum()),
        voxels_interpolated_linearly=unsolved,
    )
    if parameters.dose > 1:
        context.warn(
            f"A dose of {parameters.dose:g} is above the full dose that was given: the result is "
            "an extrapolation."
        )
    return {"low": low}
