"""Later phases of a dynamic series from the scan before the agent and one phase: iterU-Net."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.inference.pieces import Tiles
from ContrastSynthLib.inference.slicing import changed_by, plan_slices, stripped
from ContrastSynthLib.preprocessing.normalisation import fit
from ContrastSynthLib.registry import Context, Input, Network, Numbers, Output, Param, method
from ContrastSynthLib.volumes import Series, Volume

FIRST_S, LATER_S = 85.0, (155.0, 225.0, 295.0, 365.0)
"""Times of the phases of the paper, section 4.1."""
TRAINED_S = (60.0, 560.0)
"""Times of the training."""
PIXEL_MM, SLICE_MM = 2.0, 2.5
"""Of the training: 1.6 to 2.6 and 2.1 to 3.8 mm."""
TILE, OVERLAP, LEAST_TILE = (16, 48, 48), (6, 16, 16), (16, 32, 32)
"""In voxels; the tile is the crop of the training, whose statistics the network normalises by."""


@dataclass(frozen=True)
class IterUNetParameters:
    """When the phase that is given was, and which are made."""

    times: Annotated[
        Numbers,
        Param("Times", "s", 1.0, 3600.0, help="Seconds after the injection.", main=True),
    ] = LATER_S
    phase_time_s: Annotated[
        float,
        Param(
            "Time of the phase",
            "s",
            1.0,
            3600.0,
            help="Seconds after the injection.",
            from_acquisition=("phase", "time_s"),
        ),
    ] = FIRST_S


@method(
    key="iter_unet",
    title="Later phases, one after the other",
    task="delayed",
    recommended=True,
    inputs={"pre": Input("Pre-contrast"), "phase": Input("One phase after the agent")},
    outputs={"phases": Output("Synthetic phases", units_of="phase", series=True, dose=1)},
    parameters=IterUNetParameters,
    reference="phase",
    presets={"paper": {"times": LATER_S}},
    networks={"iter_unet": Network()},
    citation="iterunet",
    intended_use="Research. Breasts in dynamic T1-weighted series. Whether a lesion washes out is "
    "guessed from its shape and early enhancement, not seen.",
)
def iter_unet(
    pre: Volume, phase: Volume, *, parameters: IterUNetParameters, context: Context
) -> dict[str, Series]:
    """Make each phase from the one before it: x^_(k+1) = x_k + f(x_0, x_k, t), section 3.

    Both scans have the mean 0 and the standard deviation 1 of the given phase (eq. 1). The network
    keeps what it saw in its memory and is told the times of the phase that it sees and of the one
    that it makes; the given phase may be any. It sees voxels of about 2 x 2 x 2.5 mm; what it
    changes is interpolated back and added to the given phase. A volume with fewer slices than a
    tile is padded with its outermost ones, which are removed again. Outside of the mask nothing
    changes.

    Raises RequestError for times that are not later than that of the given phase.
    """
    from ContrastSynthLib.networks.iter_unet import LaterPhases

    times = sorted(parameters.times)
    if times[0] <= parameters.phase_time_s:
        raise RequestError(
            f"The phase was {parameters.phase_time_s:g} s after the injection, and one is wanted "
            f"at {times[0]:g} s. Later phases are made from earlier ones: give later times, or an "
            "earlier phase."
        )
    if not TRAINED_S[0] <= parameters.phase_time_s <= times[-1] <= TRAINED_S[1]:
        context.warn(
            f"The network learnt from phases of {TRAINED_S[0]:g} to {TRAINED_S[1]:g} s after the "
            "injection; other times are extrapolated."
        )
    plan = plan_slices(phase.grid, context.mask, slice_mm=SLICE_MM, pixel_mm=PIXEL_MM)
    unit = fit("ti", phase.array, context.mask)
    scans = np.stack(
        [unit.apply(plan.slices(stripped(scan.array, context.mask))) for scan in (pre, phase)]
    )
    first = int(np.abs(np.subtract((FIRST_S, *LATER_S), parameters.phase_time_s)).argmin())
    asked = LaterPhases(context.network("iter_unet"), (parameters.phase_time_s, *times), first)
    tiles = Tiles(scans, TILE, OVERLAP, least=LEAST_TILE)
    made = context.predict(asked, tiles, (0.05, 1.0))["phases"].reshape(-1, *scans[1].shape)
    changes = (unit.scale * plan.restore(frame - scans[1], outside=0.0) for frame in made)
    frames = np.stack([changed_by(change, phase.array, context.mask) for change in changes])
    given = replace(
        phase, acquisition=replace(phase.acquisition, time_s=float(parameters.phase_time_s))
    )
    return {"phases": Series((given,)).with_frames(frames, times)}
