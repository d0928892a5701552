"""The virtual contrast model: the full dose from a native and a low-dose scan, by a 2.5D U-Net."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Annotated, Any

import numpy as np

from ContrastSynthLib.inference.pieces import Slices
from ContrastSynthLib.inference.slicing import SlicePlan, neighbouring, plan_slices, stripped
from ContrastSynthLib.inference.turning import LEAST, Turn
from ContrastSynthLib.inference.views import Predict
from ContrastSynthLib.methods._low_dose import given_dose
from ContrastSynthLib.methods._slices import LEAST_SIDE_MM, axes_of
from ContrastSynthLib.preprocessing.normalisation import fit
from ContrastSynthLib.preprocessing.shading import gain_field
from ContrastSynthLib.registry import Context, Input, Network, Output, Param, method
from ContrastSynthLib.volumes import FloatArray, Volume

STEP_DEG = 18.0
"""Angle between the rotations; five of them take a slice on to the next axis."""


@dataclass(frozen=True)
class VcmParameters:
    """The dose of the low-dose scan, and how many views are averaged."""

    dose: Annotated[float, given_dose()] = 0.33
    three_directions: Annotated[
        bool,
        Param(
            "Average three directions",
            help="Axial, coronal and sagittal slices: three times the time. Scans of thick slices, "
            f"or of less than {LEAST_SIDE_MM:g} mm along any side, have one direction.",
        ),
    ] = True
    rotations: Annotated[
        int,
        Param(
            "Rotations",
            low=1,
            high=5,
            help=f"The slices of each direction are turned in steps of {STEP_DEG:g} degrees "
            "towards the next, and the results averaged: 5 in the paper, in five times the time. "
            "Scans with one direction are not turned.",
        ),
    ] = 1


@method(
    key="vcm",
    title="Virtual contrast: full dose from low dose",
    task="full",
    inputs={"low": Input("After a low dose"), "pre": Input("Pre-contrast")},
    outputs={"post": Output("Synthetic full dose", units_of="low", dose=1)},
    parameters=VcmParameters,
    reference="low",
    presets={
        "paper": {"three_directions": True, "rotations": 5},
        "fast": {"three_directions": False, "rotations": 1},
    },
    networks={"vcm": Network()},
    citation="vcm",
    intended_use="Research. T1-weighted brains before and after a tenth to a third of the full "
    "dose. Enhancement may be missed or invented.",
)
def vcm(
    low: Volume, pre: Volume, *, parameters: VcmParameters, context: Context
) -> dict[str, FloatArray]:
    """Predict the full dose slice by slice, and average over three axes and five rotations.

    The pre scan is divided by its gain field relative to the low-dose scan, both by the 0.95
    quantile of the pre scan. The network sees seven slices, 1 mm apart, of the native scan and of
    x_NA + (x_LD - x_NA) / d, the linear extrapolation from dose d to the full one. What it adds to
    the native slices is averaged over the views and added to the native scan, which keeps its own
    detail where voxels are interpolated. The result has the gain of the low-dose scan; outside of
    the mask it is the low-dose scan.
    """
    context.progress(0.02, "Matching the gain of the scans")
    gain = gain_field(low.array, pre.array, context.mask, low.grid.spacing_mm[::-1])
    native = pre.array / gain
    normalisation = fit("p95", native, context.mask)
    before, after = (
        stripped(normalisation.apply(scan), context.mask) for scan in (native, low.array)
    )
    scans = before, before + (after - before) / np.float32(parameters.dose)
    count = int(_card(context, parameters)["network"]["arguments"]["slices"])
    views = list(_views(low, parameters, context))
    rise = np.zeros_like(before)
    ends = np.linspace(0.1, 1.0, len(views) + 1).tolist()
    for (plan, turn), part in zip(views, pairwise(ends), strict=True):
        predict = partial(context.predict, context.network("vcm"), part=part)
        rise += _rise_in(plan, turn, scans, count, predict) / np.float32(len(views))
    post = np.maximum(native + normalisation.scale * rise, np.minimum(native, 0))
    context.record.update(
        gain_pre_over_low=float(np.median(gain[context.mask])),
        native_quantile_95=normalisation.scale,
        views=len(views),
    )
    return {"post": np.where(context.mask, post, low.array).astype(np.float32)}


def _card(context: Context, parameters: VcmParameters) -> Mapping[str, Any]:
    """Return the model card; a dose that it does not cover is warned about."""
    bundle = context.bundles["vcm"]
    doses = bundle.metadata.get("doses", [])
    if doses and not min(doses) <= parameters.dose <= max(doses):
        context.warn(
            f"The weights {bundle.id} were trained on low doses of {min(doses):g} to "
            f"{max(doses):g} of the full dose; the dose of this scan is {parameters.dose:g}."
        )
    return bundle.metadata


def _views(
    low: Volume, parameters: VcmParameters, context: Context
) -> Iterator[tuple[SlicePlan, Turn | None]]:
    """Yield how the scans are sliced: along each axis, then turned towards the next axis."""
    axes = axes_of(low)
    axes = axes if parameters.three_directions else axes[:1]
    for number, axis in enumerate(axes):
        yield plan_slices(low.grid, context.mask, across=axis, least=LEAST), None
        if len(axes) == 1:
            continue
        plan = plan_slices(low.grid, context.mask, across=axis, slice_mm=1.0, least=LEAST)
        towards = plan.axes.index(axes[(number + 1) % len(axes)])
        for step in range(1, parameters.rotations):
            yield plan, Turn(plan.shape, plan.voxel_mm, towards, step * STEP_DEG)


def _rise_in(
    plan: SlicePlan,
    turn: Turn | None,
    scans: tuple[FloatArray, FloatArray],
    count: int,
    predict: Predict,
) -> FloatArray:
    """Return what the network adds to the first of the scans (k, j, i) in one view.

    It sees ``count`` slices of each scan.
    """
    stacks = [plan.slices(scan) for scan in scans]
    spacing_mm = plan.voxel_mm[0]
    if turn:
        stacks, spacing_mm = [turn.turn(stack) for stack in stacks], 1.0
    held = np.flatnonzero(stacks[0].any(axis=(1, 2)))
    first, last = int(held[0]), int(held[-1]) + 1

    def seen(which: slice) -> FloatArray:
        slices = slice(first + which.start, first + which.stop)
        return np.concatenate(
            [neighbouring(stack, spacing_mm, count, slices) for stack in stacks], axis=1
        )

    rise = np.zeros_like(stacks[0])
    made = predict(Slices(seen, last - first))["post"]
    rise[first:last] = made - stacks[0][first:last]
    return plan.restore(turn.back(rise) if turn else rise, outside=0.0)
