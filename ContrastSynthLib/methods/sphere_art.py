"""SPHERE-Art: a corrupted pre-contrast scan made clean, with the help of the post-contrast scan."""

from __future__ import annotations

import numpy as np

from ContrastSynthLib.methods._slices import SliceParameters, run_on_slices
from ContrastSynthLib.preprocessing.normalisation import fit
from ContrastSynthLib.registry import Context, Input, Output, method
from ContrastSynthLib.volumes import FloatArray, Volume


@method(
    key="sphere_art",
    title="SPHERE-Art: a corrupted pre-contrast made clean",
    task="pre",
    inputs={
        "post": Input("Post-contrast"),
        "corrupted": Input("Pre-contrast with artefacts"),
    },
    outputs={
        "pre": Output("Pre-contrast without artefacts", units_of="corrupted"),
        "uptake": Output("Uptake, 0 to 1", units_of=None),
    },
    parameters=SliceParameters,
    reference="corrupted",
    presets={"paper": {"mirrored": False}, "fast": {"mirrored": False}},
    weights="sphere_art",
    citation="sphere2025",
    intended_use="Research. T1-weighted brains with motion, aliasing or a zipper in the "
    "pre-contrast scan. What the artefact hid is taken from the post-contrast scan, not seen.",
)
def sphere_art(
    post: Volume, corrupted: Volume, *, parameters: SliceParameters, context: Context
) -> dict[str, FloatArray]:
    """Merge the structure of SPHERE's synthetic scan with the contrast of the corrupted one.

    Section 2.3 and figure 3 of SPHERE. Each scan is divided by its own mean inside the mask.
    The result has the units of the corrupted scan and lies on its grid; outside of the mask it
    is the corrupted scan.
    """
    own = fit("mean", corrupted.array, context.mask)
    images = [
        (fit("mean", post.array, context.mask).apply(post.array), 3),
        (own.apply(corrupted.array), 1),
    ]
    plan, found = run_on_slices(images, corrupted, context, mirrored=parameters.mirrored)
    # Artefacts are as fine as the pixels, so the whole image is new, not a change to the old.
    pre = np.maximum(own.undo(plan.restore(found["pre"], outside=0.0)), 0)
    context.record["mean_change_of_brain_mean"] = float(
        np.abs(own.apply(pre) - images[1][0])[context.mask].mean()
    )
    # A direct baseline finds no uptake.
    uptake = plan.restore(found.get("uptake", np.zeros_like(found["pre"])), outside=0.0)
    return {
        "pre": np.where(context.mask, pre, corrupted.array),
        "uptake": np.where(context.mask, uptake, np.float32(0)),
    }
