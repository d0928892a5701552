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
    """``threshold`` is beta_0 and ``sensitivity`` is u of eq. 20.

    The paper starts training at u = 5; without the trained network that follows, a sharper
    prior keeps white matter out (our choice).
    """

    threshold: Annotated[
        float,
        Param(
            "Brightness threshold",
            "of the brain's median, above it",
            0.05,
            2.0,
            help="beta_0 of SPHERE: how much brighter than the median enhancing tissue is.",
        ),
    ] = HYPERINTENSITY_THRESHOLD
    sensitivity: Annotated[
        float, Param("Sensitivity", "", 1.0, 100.0, help="u of SPHERE: how sharp the prior is.")
    ] = 20.0
    agent: Annotated[str, Param("Contrast agent", choices=tuple(sorted(RELAXIVITY_PER_MMOL_S)))] = (
        DEFAULT_AGENT
    )
    repetition_time_s: Annotated[float, repetition_time("post")] = DEFAULT_REPETITION_TIME_S
    flip_angle_deg: Annotated[float, flip_angle("post")] = DEFAULT_FLIP_ANGLE_DEG
    field_strength_t: Annotated[float, field_strength("post")] = DEFAULT_FIELD_STRENGTH_T


def measure(post: Volume, *, context: Context) -> float:
    """Return the median of the brain."""
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
    """Take the agent out of what is brighter than brain, by eq. 20 and eq. 11 of SPHERE.

    The prior is H = sigmoid(u (S' - beta_0)). In place of the learned S' = gamma A(S_post)
    stands the brightness above the brain's median, S_post / median - 1 (our choice, gamma =
    1 and A the identity up to that shift). H is the uptake M of eq. 9. The concentration at
    M = 1, beta, is what lifts brain tissue to the voxel's relaxation rate (our choice: the
    paper leaves it open), so that M = 1 returns the signal of brain.
    """
    settings = {
        "repetition_time_s": parameters.repetition_time_s,
        "flip_angle_deg": parameters.flip_angle_deg,
    }
    density = proton_density(measured, field_strength_t=parameters.field_strength_t, **settings)
    r1_of_agent = relaxivity(parameters.agent, parameters.field_strength_t)
    signal = post.array.astype(np.float64)

    context.progress(0.2, "Finding what is brighter than brain")
    brightness = signal / measured - 1.0
    uptake = expit(parameters.sensitivity * (brightness - parameters.threshold))
    uptake[~context.mask] = 0.0

    context.progress(0.5, "Taking the agent out")
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
