"""Pre-contrast from post-contrast alone, by the hyperintensity prior and the signal equation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from scipy.special import expit

from ContrastSynthLib.methods._spgr import (
    field_strength,
    flip_angle,
    median_signal,
    proton_density,
    repetition_time,
)
from ContrastSynthLib.physics import (
    HIGHEST_R1_PER_S,
    pre_from_post,
    relaxivity,
    spgr_r1,
    spgr_signal,
)
from ContrastSynthLib.physics.constants import (
    DEFAULT_AGENT,
    DEFAULT_FIELD_STRENGTH_T,
    DEFAULT_FLIP_ANGLE_DEG,
    DEFAULT_REPETITION_TIME_S,
    HYPERINTENSITY_SENSITIVITY,
    HYPERINTENSITY_THRESHOLD,
)
from ContrastSynthLib.physics.relaxivity import RELAXIVITY_PER_MMOL_S
from ContrastSynthLib.registry import MAP, Context, Input, Output, Param, method
from ContrastSynthLib.volumes import FloatArray, Volume


@dataclass(frozen=True)
class PhysicsPreParameters:
    """``threshold`` is beta_0 and ``sensitivity`` is u of eq. 20 of SPHERE.

    The paper starts its training at u = 5. Here no trained network follows, and a steeper prior is
    needed to exclude white matter (our choice).
    """

    threshold: Annotated[
        float,
        Param(
            "Brightness threshold",
            "of the brain's median, above it",
            0.05,
            2.0,
            help="beta_0 of SPHERE: tissue brighter than the median by more than this is taken "
            "to enhance.",
        ),
    ] = HYPERINTENSITY_THRESHOLD
    sensitivity: Annotated[
        float, Param("Sensitivity", "", 1.0, 100.0, help="u of SPHERE: steepness of the prior.")
    ] = 20.0
    agent: Annotated[str, Param("Contrast agent", choices=tuple(sorted(RELAXIVITY_PER_MMOL_S)))] = (
        DEFAULT_AGENT
    )
    repetition_time_s: Annotated[float, repetition_time("post")] = DEFAULT_REPETITION_TIME_S
    flip_angle_deg: Annotated[float, flip_angle("post")] = DEFAULT_FLIP_ANGLE_DEG
    field_strength_t: Annotated[float, field_strength("post")] = DEFAULT_FIELD_STRENGTH_T


def measure(post: Volume, *, context: Context) -> float:
    """Return the median signal of the brain."""
    return median_signal(post.array, context.mask)


@method(
    key="physics_pre",
    title="Pre-contrast by the hyperintensity prior",
    task="pre",
    inputs={"post": Input("Post-contrast")},
    outputs={
        "pre": Output("Synthetic pre-contrast", units_of="post", dose=0),
        "uptake": Output("Uptake, 0 to 1", kind=MAP, low=0, high=1),
    },
    parameters=PhysicsPreParameters,
    reference="post",
    presets={
        "paper": {"sensitivity": HYPERINTENSITY_SENSITIVITY, "threshold": HYPERINTENSITY_THRESHOLD}
    },
    measure=measure,
    signal_model="spgr",
    citation="sphere2025",
    intended_use="Research. A baseline: it darkens whatever is bright, fat and blood products too, "
    "and leaves faint enhancement where it is.",
)
def physics_pre(
    post: Volume, *, parameters: PhysicsPreParameters, measured: float, context: Context
) -> dict[str, FloatArray]:
    """Remove the agent from voxels brighter than brain, by eq. 20 and eq. 11 of SPHERE.

    The hyperintensity prior H = sigmoid(u (S' - beta_0)) is used as the uptake M of eq. 9.
    S' = gamma A(S_post), which SPHERE learns, is replaced by the brightness above the median of the
    brain, S_post / median - 1 (our choice). The concentration beta at M = 1 is the one that raises
    the relaxation rate of brain tissue to that of the voxel (our choice: the paper does not state
    it), so that a voxel with M = 1 gets the signal of brain.
    """
    settings = {
        "repetition_time_s": parameters.repetition_time_s,
        "flip_angle_deg": parameters.flip_angle_deg,
    }
    density = proton_density(measured, field_strength_t=parameters.field_strength_t, **settings)
    r1_of_agent = relaxivity(parameters.agent, parameters.field_strength_t)
    signal = post.array.astype(np.float64)

    context.progress(0.2, "Segmenting voxels brighter than brain")
    brightness = signal / measured - 1.0
    uptake = expit(parameters.sensitivity * (brightness - parameters.threshold))
    uptake[~context.mask] = 0.0

    context.progress(0.5, "Removing the agent")
    ceiling = spgr_signal(HIGHEST_R1_PER_S, proton_density=density, **settings)
    saturated = (signal > ceiling) & context.mask
    signal = np.minimum(signal, np.where(uptake > 0.5, ceiling, np.inf))
    r1 = spgr_r1(signal, proton_density=density, **settings)
    brain_r1 = spgr_r1(np.float64(measured), proton_density=density, **settings)
    beta = np.maximum(r1 - brain_r1, 0.0) / r1_of_agent
    pre = pre_from_post(
        signal,
        uptake,
        peak_concentration_mmol_per_l=beta,
        relaxivity_per_mmol_s=r1_of_agent,
        proton_density=density,
        **settings,
    )
    pre = np.where(context.mask, pre, post.array)
    enhancing = uptake > 0.5
    context.record.update(
        proton_density=density,
        relaxivity_per_mmol_s=r1_of_agent,
        uptake_ml=float(enhancing.sum() * post.grid.voxel_volume_ml),
        mean_concentration_mmol_per_l=float(beta[enhancing].mean()) if enhancing.any() else 0.0,
        voxels_saturated=int(saturated.sum()),
    )
    return {"pre": pre.astype(np.float32), "uptake": uptake.astype(np.float32)}
