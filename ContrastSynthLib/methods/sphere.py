"""SPHERE: a pre-contrast image from a post-contrast scan, by a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from ContrastSynthLib.inference.networks import slices_seen
from ContrastSynthLib.inference.slicing import changed_by, stripped
from ContrastSynthLib.inference.views import Views
from ContrastSynthLib.methods._slices import SliceParameters
from ContrastSynthLib.physics.constants import UPTAKE_THRESHOLD
from ContrastSynthLib.preprocessing.normalisation import Normalisation, fit
from ContrastSynthLib.registry import MAP, Context, Input, Network, Output, Param, method
from ContrastSynthLib.volumes import FloatArray, Volume

NO_UNCERTAINTY = (
    "The uncertainty is 0 everywhere: these weights expect no error of their own, and the network "
    "ran once. With mirrored images or three directions their spread is shown."
)


@dataclass(frozen=True)
class SphereParameters(SliceParameters):
    """How the network is run, and which of its changes are applied."""

    least_change: Annotated[
        float,
        Param(
            "Least change",
            low=0.0,
            high=0.2,
            unit="means in the mask",
            help="Changes smaller than this are mostly suppressed. 0: all changes are applied, "
            "as in the paper. For weights of version 1, which change a little everywhere: 0.05.",
        ),
    ] = 0.0


@method(
    key="sphere",
    title="SPHERE: pre-contrast from post-contrast",
    task="pre",
    recommended=True,
    inputs={"post": Input("Post-contrast")},
    outputs={
        "pre": Output("Synthetic pre-contrast", units_of="post", dose=0),
        "uptake": Output("Uptake, 0 to 1", kind=MAP, low=0, high=1),
        "hyperintensity": Output("Hyperintensity prior, 0 to 1", kind=MAP, low=0, high=1),
        "uncertainty": Output("Uncertainty", kind=MAP, unit="means in the mask", low=0),
    },
    parameters=SphereParameters,
    reference="post",
    presets={
        "paper": {"mirrored": False, "three_directions": False, "least_change": 0.0},
        "fast": {"mirrored": False, "three_directions": False},
    },
    networks={"sphere": Network()},
    citation="sphere2025",
    intended_use="Research. T1-weighted brains after gadolinium. Enhancement may be left over, and "
    "what is bright without agent may be darkened.",
)
def sphere(
    post: Volume, *, parameters: SphereParameters, context: Context
) -> dict[str, FloatArray]:
    """Segment the uptake M and inpaint the tissue below it: eq. 18-24 of SPHERE.

    The scan is divided by its mean inside the mask, as in the paper, stripped of what is outside,
    and resampled to slices with pixels of about 1 mm; the network sees each slice with two or more
    neighbours. ``uptake`` is M of eq. 21 and ``hyperintensity`` H of eq. 20. A baseline network
    that predicts the pre-contrast image directly gives neither: then ``uptake`` is where the change
    exceeds the threshold of eq. 22, and ``hyperintensity`` is 0.
    """
    made = synthetic_pre(post, parameters, context, least_change=parameters.least_change)
    maps = {
        "uptake": made.uptake,
        "hyperintensity": made.found.get("hyperintensity", np.zeros_like(made.image)),
        "uncertainty": uncertainty(made.found),
    }
    if not maps["uncertainty"].any():
        context.warn(NO_UNCERTAINTY)
    outputs = {name: np.where(context.mask, array, np.float32(0)) for name, array in maps.items()}
    record_removed(outputs | {"pre": made.pre}, made.image, post, context)
    pre = made.normalisation.undo(made.pre)
    np.copyto(pre, post.array, where=~context.mask)
    return {**outputs, "pre": pre}


@dataclass(frozen=True)
class Synthetic:
    """The post scan ``image``, divided by its mean, and what SPHERE makes of it: (k, j, i) each."""

    image: FloatArray
    pre: FloatArray
    uptake: FloatArray
    found: Mapping[str, FloatArray]
    normalisation: Normalisation


def synthetic_pre(
    post: Volume,
    parameters: SliceParameters,
    context: Context,
    *,
    least_change: float = 0.0,
    part: tuple[float, float] = (0.0, 1.0),
) -> Synthetic:
    """Run the network ``sphere`` on a post scan; SPHERE and SPHERE-Art begin with it.

    ``least_change`` is as in :class:`SphereParameters`. Progress is that of a ``part`` of the run.
    """
    normalisation = fit("mean", post.array, context.mask)
    image = normalisation.apply(post.array)
    seen = slices_seen(context.bundles["sphere"].metadata["network"]["arguments"])
    axes = parameters.axes(post)
    views = Views(context.network("sphere"), seen, axes, parameters.mirrored)
    brain = stripped(image, context.mask)
    found = views.average(brain, post.grid, context.mask, context.predict, part)
    change = without_small(found["change"], least_change)
    pre = changed_by(change, image, context.mask)
    uptake = found.get("uptake")
    if uptake is None:
        uptake = (image - pre > UPTAKE_THRESHOLD).astype(np.float32)
    return Synthetic(image, pre, uptake, found, normalisation)


def uncertainty(found: Mapping[str, FloatArray]) -> FloatArray:
    """Return the error to expect of the change, in means in the mask.

    It joins the error that the network itself expects with the spread over directions and mirrored
    images; a network that expects none gives the spread alone.
    """
    expected = found.get("error")
    if expected is None:
        return found["spread"]
    return np.hypot(expected, found["spread"])


def without_small(change: FloatArray, least: float) -> FloatArray:
    """Return c^3 / (c^2 + least^2) for each change c, which suppresses small changes smoothly.

    A change of ``least`` is halved, one of three times ``least`` is reduced by a tenth.
    """
    if not least:
        return change
    square = change * change  # a power of 3 takes ten times longer
    return np.asarray(change * (square / (square + least**2)), dtype=np.float32)


def record_removed(
    outputs: Mapping[str, FloatArray], image: FloatArray, reference: Volume, context: Context
) -> None:
    """Record the volume and mean of the enhancement removed from ``image``, and of the uptake.

    ``image`` and ``outputs["pre"]`` (k, j, i) are divided by the mean of the brain.
    """
    change = image - outputs["pre"]
    removed = context.mask & (change > UPTAKE_THRESHOLD)
    taken = change[removed]
    context.record.update(
        enhancement_removed_ml=float(removed.sum() * reference.grid.voxel_volume_ml),
        mean_enhancement_removed_of_brain_mean=float(taken.mean()) if taken.size else 0.0,
        uptake_ml=float((outputs["uptake"] > 0.5).sum() * reference.grid.voxel_volume_ml),
    )
