"""Kinetic maps of a series, as volumes, and the curve at a point."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ContrastSynthLib.analysis.kinetics import (
    Timing,
    curve_timing,
    curves_in,
    measure_voxels,
)
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.preprocessing.foreground import foreground
from ContrastSynthLib.volumes import BoolArray, FloatArray, Volume, check_same_grid, times_of

MARK = "kinetic map by ContrastSynth, for research only"
TYPE = "type"
TYPE_TITLES = {1: "I, persistent", 2: "II, plateau", 3: "III, washout"}
"""What the labels of the map of types mean; 0 does not enhance enough to have a type."""
TYPE_COLOURS = {1: (0.20, 0.45, 0.85), 2: (0.95, 0.80, 0.20), 3: (0.85, 0.20, 0.20)}
"""Red, green and blue of each label, from 0 to 1."""

# Voxels computed at once: the measures of all voxels of a series would take gigabytes.
PART_VOXELS = 1 << 18
# The largest rises of a breast are its vessels and lesions; their mean shows when agent arrived.
RISING_SHARE = 0.01


class PointCurve(NamedTuple):
    """The curve at a point: seconds, signals, and enhancement in % of the signal before."""

    times_s: NDArray[np.float64]
    values: NDArray[np.float64]
    enhancement_percent: NDArray[np.float64]


def kinetic_maps(
    series: Sequence[Volume],
    mask: Volume | BoolArray | None = None,
    *,
    timing: Timing | None = None,
) -> dict[str, Volume]:
    """Return a map of each measure in the voxels of the mask, 0 elsewhere and where undefined.

    Without a mask, in the whole foreground. ``type`` holds the labels of TYPE_TITLES. Arrival of
    the agent and the phases to compare are ``timing``; by default those of the mean curve of the
    mask, without a mask those of the hundredth of the foreground that rises most. Raises
    RequestError for wrong grids or times, and where no agent arrives.
    """
    check_same_grid({f"volume {n}": volume for n, volume in enumerate(series)})
    times = times_of(series).tolist()
    inside = _inside(series, mask)
    if timing is None:
        region = inside if mask is not None else most_rising(series, inside)
        timing = curve_timing(times, curves_in(series, region).mean(axis=1, dtype=np.float64))
    if timing is None:
        raise RequestError(
            "No agent arrives in the mask (its curve does not rise): no map was made. Check it."
        )
    maps: dict[str, FloatArray] = {}
    for part, signals in _parts(series, inside):
        for name, values in measure_voxels(signals, timing).items():
            map_ = maps.setdefault(name, np.zeros(inside.size, np.float32))
            map_[part] = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    return {
        name: series[0].with_array(map_.reshape(inside.shape), MARK) for name, map_ in maps.items()
    }


def _inside(series: Sequence[Volume], mask: Volume | BoolArray | None) -> BoolArray:
    if mask is None:
        return foreground(series).mask
    if isinstance(mask, Volume):
        check_same_grid({"series": series[0], "mask": mask})
        mask = mask.array > 0
    if mask.shape != series[0].array.shape or not mask.any():
        raise RequestError(
            f"The mask has the shape {mask.shape} and {int(mask.sum())} voxels, the series the "
            f"shape {series[0].array.shape}. It must be on its grid, with at least one voxel."
        )
    return mask


def most_rising(series: Sequence[Volume], inside: BoolArray) -> BoolArray:
    """Return the hundredth of the voxels whose signal rises most above that of the first frame."""
    first = series[0].array[inside]
    rise = np.max([volume.array[inside] for volume in series[1:]] or [first], axis=0) - first
    count = max(1, round(RISING_SHARE * rise.size))
    region = np.zeros(inside.shape, dtype=bool)
    region.flat[np.flatnonzero(inside)[np.argpartition(rise, -count)[-count:]]] = True
    return region


def _parts(
    series: Sequence[Volume], inside: BoolArray
) -> Iterator[tuple[NDArray[np.intp], FloatArray]]:
    """Yield indices of voxels of the mask, and their signals (frames, voxels)."""
    chosen = np.flatnonzero(inside)
    frames = [volume.array.reshape(-1) for volume in series]
    for start in range(0, chosen.size, PART_VOXELS):
        part = chosen[start : start + PART_VOXELS]
        yield part, np.stack([frame[part] for frame in frames])


def curve_at(
    series: Sequence[Volume], ras_mm: ArrayLike, *, baseline_frames: int = 1
) -> PointCurve | None:
    """Return the curve of the voxel at a RAS point in mm; None outside of the series.

    The signal before the agent is the mean of the first ``baseline_frames``; where it is not above
    0, the enhancement is NaN. Raises RequestError for times that are missing.
    """
    grid = series[0].grid
    index = np.rint(grid.index_from_ras(ras_mm)).astype(int)
    if (index < 0).any() or (index >= grid.shape).any():
        return None
    k, j, i = index
    values = np.array([volume.array[k, j, i] for volume in series], dtype=np.float64)
    before = float(values[:baseline_frames].mean())
    scale = 100.0 / before if before > 0 else np.nan
    return PointCurve(times_of(series), values, (values - before) * scale)
