"""SPHERE-Art: a pre-contrast scan without its artefacts, computed with the post-contrast scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from scipy.ndimage import gaussian_filter

from ContrastSynthLib.inference.networks import slices_seen
from ContrastSynthLib.inference.pieces import Slices
from ContrastSynthLib.inference.slicing import SlicePlan, plan_slices, stripped
from ContrastSynthLib.methods._slices import SliceParameters
from ContrastSynthLib.methods.sphere import synthetic_pre
from ContrastSynthLib.preprocessing.normalisation import fit
from ContrastSynthLib.registry import MAP, Context, Input, Network, Output, Param, method
from ContrastSynthLib.volumes import BoolArray, FloatArray, Volume

CONTRAST_MM = 4.0
"""Standard deviation of the Gaussian that separates contrast (smoother) from structure (finer).

It is that of the training: our choice."""


@dataclass(frozen=True)
class SphereArtParameters(SliceParameters):
    """How the networks are run, and which part of their result is used."""

    keep_contrast: Annotated[
        bool,
        Param(
            "Keep the contrast of the corrupted scan",
            help=f"Intensities smoothed over {CONTRAST_MM:g} mm stay those of the scan: motion and "
            "zipper artefacts are finer. Switch this off for aliasing (a folded-over head).",
        ),
    ] = True


def sees_post(network: Mapping[str, Any]) -> bool:
    """Return whether the ``network`` of a model card sees the post scan itself: without SPHERE.

    The direct baselines do. So do weights of version 1.1 and older, which have a SPHERE inside.
    """
    return network["name"] != "sphere_art" or "sphere" in network["arguments"]


@method(
    key="sphere_art",
    title="SPHERE-Art: a corrupted pre-contrast made clean",
    task="pre",
    inputs={
        "post": Input("Post-contrast"),
        "corrupted": Input("Pre-contrast with artefacts"),
    },
    outputs={
        "pre": Output("Pre-contrast without artefacts", units_of="corrupted", dose=0),
        "uptake": Output("Uptake, 0 to 1", kind=MAP, low=0, high=1),
    },
    parameters=SphereArtParameters,
    reference="corrupted",
    presets={
        "paper": {"mirrored": False, "three_directions": False, "keep_contrast": False},
        "fast": {"mirrored": False, "three_directions": False},
        "aliasing": {"keep_contrast": False},
    },
    preset_titles={"aliasing": "For aliasing"},
    networks={
        "sphere": Network(of="sphere", spared_by=("sphere_art", sees_post)),
        "sphere_art": Network(),
    },
    citation="sphere2025",
    intended_use="Research. T1-weighted brains with motion, aliasing or a zipper in the "
    "pre-contrast scan. What the artefact hid is taken from the post-contrast scan, not seen.",
)
def sphere_art(
    post: Volume, corrupted: Volume, *, parameters: SphereArtParameters, context: Context
) -> dict[str, FloatArray]:
    """Merge the structure of SPHERE's synthetic scan with the contrast of the corrupted one.

    Section 2.3 and figure 3 of SPHERE. The network ``sphere`` makes the synthetic scan and the
    uptake from the post scan, all its changes included; the network ``sphere_art`` sees slices of
    the synthetic and of the corrupted scan, each divided by its own mean inside the mask and
    stripped of what is outside.
    The result has the units of the corrupted scan and lies on its grid; outside of the mask it
    is the corrupted scan. ``keep_contrast`` is our addition: for scanner settings that were not in
    the training, the network changes the contrast towards that of the training.
    """
    own = fit("mean", corrupted.array, context.mask)
    given = own.apply(corrupted.array)
    if "sphere" in context.bundles:
        plan, found, uptake = _from_synthetic(post, given, parameters, context)
    else:
        plan, found, uptake = _from_post(post, given, parameters, context)
    # Artefacts are as fine as the pixels, so the whole image is replaced; adding only the
    # interpolated change to the scan would leave some of them.
    pre = own.undo(plan.restore(found["pre"], outside=0.0))
    if parameters.keep_contrast:
        spacing_mm = corrupted.grid.spacing_mm[::-1]
        pre = pre + smooth_part(corrupted.array - pre, context.mask, CONTRAST_MM, spacing_mm)
    pre = np.maximum(pre, 0)
    context.record["mean_change_of_brain_mean"] = float(
        np.abs(own.apply(pre) - given)[context.mask].mean()
    )
    return {
        "pre": np.where(context.mask, pre, corrupted.array),
        "uptake": np.where(context.mask, uptake, np.float32(0)),
    }


Found = tuple[SlicePlan, dict[str, FloatArray], FloatArray]
"""The plan of slices, the outputs of the network ``sphere_art`` on them, the uptake (k, j, i)."""


def _from_synthetic(
    post: Volume, corrupted: FloatArray, parameters: SphereArtParameters, context: Context
) -> Found:
    """Run SPHERE on the post scan, then the refinement; ``corrupted`` is normalised."""
    views = len(parameters.axes(post))
    # One run of the refinement takes about as long as that of one direction.
    turn = views / (views + 1)
    made = synthetic_pre(post, parameters, context, part=(0.0, turn))
    synthetic = fit("mean", made.pre, context.mask).apply(made.pre)
    plan, found = run_on_slices(
        "sphere_art",
        [(synthetic, 1), (corrupted, 1)],
        post,
        context,
        mirrored=parameters.mirrored,
        part=(turn, 1.0),
    )
    return plan, found, made.uptake


def _from_post(
    post: Volume, corrupted: FloatArray, parameters: SphereArtParameters, context: Context
) -> Found:
    """Run a network that sees the post scan itself; a direct baseline gives no uptake."""
    context.network("sphere_art")  # damaged weights are refused before their arguments are used
    arguments = context.bundles["sphere_art"].metadata["network"]["arguments"]
    inside = arguments.get("sphere")
    seen = arguments["in_channels"] - 1 if inside is None else slices_seen(inside)
    image = fit("mean", post.array, context.mask).apply(post.array)
    plan, found = run_on_slices(
        "sphere_art",
        [(image, seen), (corrupted, 1)],
        post,
        context,
        mirrored=parameters.mirrored,
    )
    uptake = found.get("uptake", np.zeros_like(found["pre"]))
    return plan, found, plan.restore(uptake, outside=0.0)


def run_on_slices(
    name: str,
    images: Sequence[tuple[FloatArray, int]],
    reference: Volume,
    context: Context,
    *,
    mirrored: bool,
    part: tuple[float, float] = (0.0, 1.0),
) -> tuple[SlicePlan, dict[str, FloatArray]]:
    """Return the plan of slices, and the network's outputs by name, (n, rows, columns) each.

    ``name`` is the network's in the declaration. ``images`` are normalised scans (k, j, i) on the
    grid of ``reference``, each with the number of adjacent slices that the network sees at once.
    These are its channels, in this order. Progress is that of a ``part`` of the run.
    """
    from ContrastSynthLib.networks.mirrored import Mirrored

    network = context.network(name)
    plan = plan_slices(reference.grid, context.mask)
    stacks = [(plan.slices(stripped(image, context.mask)), count) for image, count in images]

    def channels(which: slice) -> FloatArray:
        seen = [plan.with_neighbours(stack, count, which) for stack, count in stacks]
        return np.concatenate(seen, axis=1)

    pieces = Slices(channels, plan.shape[0])
    return plan, context.predict(Mirrored(network) if mirrored else network, pieces, part)


def smooth_part(
    image: FloatArray, mask: BoolArray, sigma_mm: float, spacing_mm: tuple[float, ...]
) -> FloatArray:
    """Return ``image`` (k, j, i) after a Gaussian filter that ignores voxels outside of the mask.

    ``sigma_mm`` is its standard deviation; ``spacing_mm`` is in the order (k, j, i). The result is
    0 outside of the mask.
    """
    sigma = [sigma_mm / mm for mm in spacing_mm]
    inside = mask.astype(np.float32)
    total = gaussian_filter(inside, sigma, mode="constant")
    average = gaussian_filter(image * inside, sigma, mode="constant")
    smooth: FloatArray = np.divide(average, total, out=np.zeros_like(average), where=mask)
    return smooth
