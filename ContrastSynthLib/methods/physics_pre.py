"""Pre-contrast from post-contrast alone, by the hyperintensity prior and the signal equation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from scipy.special import expit

from ContrastSynthLib.methods._slabs import slabs
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
            "of the median in the mask, above it",
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
    ceiling = spgr_signal(HIGHEST_R1_PER_S, proton_density=density, **settings)
    brain_r1 = spgr_r1(np.float64(measured), proton_density=density, **settings)
    pre, uptakes = np.empty(post.grid.shape, np.float32), np.empty(post.grid.shape, np.float32)
    saturated, enhancing, concentrations = 0, 0, []
    for slab in slabs(pre.shape, context, 0.2, "Removing the agent"):
        inside = context.mask[slab]
        signal = post.array[slab].astype(np.float64)
        brightness = signal / measured - 1.0
        uptake = expit(parameters.sensitivity * (brightness - parameters.threshold))
        uptake[~inside] = 0.0
        saturated += int(((signal > ceiling) & inside).sum())
        signal = np.minimum(signal, np.where(uptake > 0.5, ceiling, np.inf))
        r1 = spgr_r1(signal, proton_density=density, **settings)
        beta = np.maximum(r1 - brain_r1, 0.0) / r1_of_agent
        without_agent = pre_from_post(
            signal,
            uptake,
            peak_concentration_mmol_per_l=beta,
            relaxivity_per_mmol_s=r1_of_agent,
            proton_density=density,
            **settings,
        )
        pre[slab] = np.where(inside, without_agent, post.array[slab])
        uptakes[slab] = uptake
        enhancing += int((uptake > 0.5).sum())
        concentrations.append(beta[uptake > 0.5])
    found = np.concatenate(concentrations)
    context.record.update(
        proton_density=density,
        relaxivity_per_mmol_s=r1_of_agent,
        uptake_ml=float(enhancing * post.grid.voxel_volume_ml),
        mean_concentration_mmol_per_l=float(found.mean()) if found.size else 0.0,
        voxels_saturated=saturated,
    )
    return {"pre": pre, "uptake": uptakes}
