"""Toy: takes a series, returns a series at other times, by linear interpolation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from ContrastSynthLib.registry import Context, Input, Numbers, Output, Param, method
from ContrastSynthLib.volumes import Series


@dataclass(frozen=True)
class SeriesTimesParameters:
    """When the volumes of the result are."""

    times: Annotated[Numbers, Param("Times", "s", 0.0, 3600.0, help="Seconds after injection.")] = (
        45.0,
        90.0,
    )


@method(
    key="toy_series_times",
    title="Toy: a series at other times",
    task="delayed",
    inputs={"phase": Input("Dynamic series", series=True)},
    outputs={"phases": Output("Synthetic phases", units_of="phase", series=True)},
    parameters=SeriesTimesParameters,
    reference="phase",
    citation="sphere2025",
    intended_use="Research. A test of the software.",
)
def series_times(
    phase: Series, *, parameters: SeriesTimesParameters, context: Context
) -> dict[str, Series]:
    """Interpolate each voxel linearly; before the first and after the last time it is constant."""
    frames = phase.array
    first, last = phase.times_s[0], phase.times_s[-1]
    made = []
    for number, time_s in enumerate(sorted(parameters.times)):
        context.progress(number / len(parameters.times), f"{time_s:g} s")
        later = min(int(np.searchsorted(phase.times_s, time_s)), len(frames) - 1)
        earlier = max(later - 1, 0)
        span = max(phase.times_s[later] - phase.times_s[earlier], 1e-9)
        share = np.float32((np.clip(time_s, first, last) - phase.times_s[earlier]) / span)
        made.append(frames[earlier] * (1 - share) + frames[later] * share)
    return {"phases": phase.with_frames(np.stack(made), sorted(parameters.times))}
