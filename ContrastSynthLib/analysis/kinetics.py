"""Kinetic curves: uptake and washout of agent in a region, and in every voxel.

All measures are taken from the signal, as in radiology, not from the concentration. S0 is the mean
signal of the frames before the agent arrives.

- arrival: agent arrives between two frames; times count from the earlier of them, or from the
  injection at 0 s if that lies between them;
- initial enhancement = (S1 - S0) / S0, with S1 the highest signal within 120 s of arrival;
- delayed change = (S2 - S1) / S1, with S2 the mean of those of the last 60 s of the series (one
  frame in most protocols) that are later than the 120 s;
- type: I (persistent) above +10 % of delayed change, III (washout) below -10 %, II (plateau)
  in between (Kuhl et al., Radiology 1999;211:101-110; the shares of the breast lexicon);
- signal enhancement ratio SER = (S1 - S0) / (S2 - S0): below 1 for persistent enhancement, above
  1 for washout (Li et al., Radiology 2008;248:79-87);
- functional tumour volume FTV: that of the voxels whose initial enhancement is 70 % or more and
  whose SER is not below 0 (Lo et al., Tomography 2016;2:382-387; its limits can be changed);
- time to peak: from arrival to the highest signal of the whole series;
- area: under (S - S0) / S0 from arrival to the last frame, by trapezoids, in seconds.

In maps, S1 of every voxel is the mean of the frames within 30 s of the region's peak. The maximum
of several noisy frames is biased: half of the voxels of a plateau would be classified as washout.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.volumes import BoolArray, FloatArray, Volume, check_same_grid, checked_times

SCHEMA_VERSION = 1

INITIAL_WINDOW_S = 120.0
DELAYED_WINDOW_S = 60.0
PEAK_WINDOW_S = 30.0
PLATEAU_SHARE = 0.10
TYPES = {1: "I", 2: "II", 3: "III"}
"""Values of the map of types; 0 is a voxel that does not enhance enough to have a type."""

# Agent has arrived in the first frame that reaches this share of the total increase.
ARRIVAL_SHARE = 0.10
# Minimum enhancement as a share of S0: of a region to contain agent, and of a voxel to have a type.
# It is larger for a voxel because of its noise; maps of breast lesions usually begin at a half.
MINIMUM_OF_CURVE, MINIMUM_OF_VOXEL = 0.10, 0.50
# Of the functional tumour volume: limits of I-SPY, initial enhancement and SER.
FUNCTIONAL_ENHANCEMENT, FUNCTIONAL_RATIO = 0.70, 0.0

MEASURES = (
    *("initial_enhancement", "delayed_change", "signal_enhancement_ratio"),
    *("time_to_peak_s", "area_s"),
)


@dataclass(frozen=True)
class Timing:
    """When agent arrived in a region and when the signal peaked; all times in s as in ``times_s``.

    ``baseline_frames`` is the number of frames before the agent, which is also the index of the
    first frame with agent. ``peak_frame`` has the highest signal within 120 s of ``arrival_s``.
    """

    times_s: tuple[float, ...]
    baseline_frames: int
    arrival_s: float
    peak_frame: int

    @property
    def peak_frames(self) -> list[int]:
        """Frames whose mean is a voxel's S1: initial frames within 30 s of the region's peak."""
        peak_s = self.times_s[self.peak_frame]
        initial = initial_frames(self.times_s, self.baseline_frames, self.arrival_s)
        return [n for n in initial if abs(self.times_s[n] - peak_s) <= PEAK_WINDOW_S]

    @property
    def delayed_frames(self) -> list[int]:
        """Frames of the last 60 s that are later than the initial ones; none in a short series."""
        start = self.times_s[-1] - DELAYED_WINDOW_S
        initial = initial_frames(self.times_s, self.baseline_frames, self.arrival_s)
        frames = range(initial[-1] + 1, len(self.times_s))
        return [n for n in frames if self.times_s[n] > start]


@dataclass(frozen=True)
class KineticCurve:
    """The curve of a region and its measures, which the docstring of this module defines.

    ``values`` are mean signals in the unit of the series. ``type`` is "I", "II" or "III". Without
    agent, ``timing`` and all measures are None; in a series that ends too early, the measures of
    the delayed phase are None.
    """

    times_s: tuple[float, ...]
    values: tuple[float, ...]
    baseline: float
    timing: Timing | None = None
    type: str | None = None
    initial_enhancement: float | None = None
    delayed_change: float | None = None
    signal_enhancement_ratio: float | None = None
    time_to_peak_s: float | None = None
    area_s: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the curve and its measures, JSON-able."""
        content = asdict(self)
        timing = content.pop("timing") or {}
        return {
            "schema_version": SCHEMA_VERSION,
            **content,
            "baseline_frames": timing.get("baseline_frames"),
            "arrival_s": timing.get("arrival_s"),
            "peak_frame": timing.get("peak_frame"),
            "delayed_frames": self.timing.delayed_frames if self.timing else [],
        }


def initial_frames(times_s: Sequence[float], baseline_frames: int, arrival_s: float) -> list[int]:
    """Return the frames within 120 s of arrival, at least the first frame with agent."""
    frames = range(baseline_frames, len(times_s))
    end_s = arrival_s + INITIAL_WINDOW_S
    return [n for n in frames if times_s[n] <= end_s] or [baseline_frames]


def mean_curve(series: Sequence[Volume], mask: Volume | BoolArray) -> NDArray[np.float64]:
    """Return the mean signal in the mask, frame by frame, shape (n,).

    Raises RequestError for different grids, and for a mask on another grid or without voxels.
    """
    return np.asarray(curves_in(series, mask).mean(axis=1, dtype=np.float64))


def curves_in(series: Sequence[Volume], mask: Volume | BoolArray) -> FloatArray:
    """Return the signals of the mask's voxels, shape (frames, voxels); errors as above."""
    volumes = {f"volume {n}": volume for n, volume in enumerate(series)}
    if isinstance(mask, Volume):
        check_same_grid(volumes | {"mask": mask})
        mask = mask.array > 0
    check_same_grid(volumes)
    if mask.shape != series[0].array.shape or not mask.any():
        raise RequestError(
            f"The mask has the shape {mask.shape} and {int(mask.sum())} voxels, the volumes have "
            f"the shape {series[0].array.shape}. It must be on their grid, with at least one voxel."
        )
    return np.stack([volume.array[mask] for volume in series])


def find_arrival(values: ArrayLike) -> int | None:
    """Return the index of the first frame with agent in a curve (n,); None without agent.

    This frame and all later ones up to the maximum exceed the baseline, the mean of the frames
    before, by 10 % of the total increase, and that increase is at least 10 % of the baseline.
    """
    curve = np.asarray(values, dtype=np.float64)
    highest = int(curve.argmax())
    for first in range(1, highest + 1):
        baseline = curve[:first].mean()
        rise = curve.max() - baseline
        risen = curve[first : highest + 1] > baseline + ARRIVAL_SHARE * rise
        if rise >= MINIMUM_OF_CURVE * abs(baseline) and risen.all():
            return first
    return None


def curve_timing(
    times_s: Sequence[float],
    values: ArrayLike,
    *,
    baseline_frames: int | None = None,
    arrival_s: float | None = None,
) -> Timing | None:
    """Return when agent arrived, detected in a curve (n,) or as given; None without agent.

    If only ``arrival_s`` is given, the frames up to it are those before the agent. Raises
    RequestError for wrong times, and for an arrival without a frame before or after it.
    """
    curve = np.asarray(values, dtype=np.float64)
    times = checked_times(times_s, curve.size, "The curve")
    if baseline_frames is None and arrival_s is not None:
        baseline_frames = int((times <= arrival_s).sum())
    first = find_arrival(curve) if baseline_frames is None else baseline_frames
    if first is None:
        return None
    if not 0 < first < len(times):
        raise RequestError(
            f"{first} of {len(times)} frames are before the agent: a curve needs at least one "
            "before and one after its arrival."
        )
    if arrival_s is None:
        before, after = times[first - 1], times[first]
        arrival_s = 0.0 if before < 0 < after else float(before)
    initial = initial_frames(times.tolist(), first, arrival_s)
    peak_frame = max(initial, key=lambda frame: curve[frame])
    return Timing(tuple(times.tolist()), first, float(arrival_s), peak_frame)


def measure_curve(
    times_s: Sequence[float],
    values: ArrayLike,
    *,
    baseline_frames: int | None = None,
    arrival_s: float | None = None,
) -> KineticCurve:
    """Return the measures of a curve (n,) of mean signals; errors as in :func:`curve_timing`."""
    curve = np.asarray(values, dtype=np.float64)
    timing = curve_timing(times_s, curve, baseline_frames=baseline_frames, arrival_s=arrival_s)
    times = tuple(float(time) for time in times_s)
    if timing is None:
        return KineticCurve(times, tuple(curve.tolist()), float(curve.mean()))
    found = _measures(curve, timing, [timing.peak_frame], MINIMUM_OF_CURVE)
    return KineticCurve(
        times,
        tuple(curve.tolist()),
        float(curve[: timing.baseline_frames].mean()),
        timing,
        TYPES.get(int(found["type"])),
        **{name: _number(found[name]) for name in MEASURES},
    )


def measure_voxels(
    values: ArrayLike, timing: Timing, minimum_enhancement: float = MINIMUM_OF_VOXEL
) -> dict[str, NDArray[Any]]:
    """Return the measures of every voxel of signals (n, ...), as maps of shape (...).

    Maps have the names of :class:`KineticCurve`. They are float32, with NaN where a measure is not
    defined (S0 not above 0, or S2 = S0); ``type`` is uint8, 0 where neither S1 nor S2 exceeds S0 by
    the share ``minimum_enhancement``. All voxels have the region's ``timing``; S1 is the mean
    within 30 s of the region's peak. Raises RequestError for a wrong number of frames.
    """
    signals = np.asarray(values)
    if len(signals) != len(timing.times_s):
        raise RequestError(f"There are {len(signals)} frames but {len(timing.times_s)} times.")
    found = _measures(signals, timing, timing.peak_frames, minimum_enhancement)
    return {
        name: map_.astype(np.uint8 if name == "type" else np.float32)
        for name, map_ in found.items()
    }


def functional_tumour_ml(
    maps: Mapping[str, NDArray[Any]],
    voxel_ml: float,
    *,
    enhancement: float = FUNCTIONAL_ENHANCEMENT,
    ratio: float = FUNCTIONAL_RATIO,
) -> float:
    """Return the functional tumour volume in ml, from the maps of :func:`measure_voxels`.

    It is the volume of the voxels whose initial enhancement and signal enhancement ratio, both
    without unit, reach the limits; a voxel without one of the two does not count.
    """
    counts = (maps["initial_enhancement"] >= enhancement) & (
        maps["signal_enhancement_ratio"] >= ratio
    )
    return float(counts.sum()) * voxel_ml


def _measures(
    values: NDArray[Any], timing: Timing, peak_frames: list[int], minimum_enhancement: float
) -> Mapping[str, NDArray[Any]]:
    """Return all measures and the type of curves (n, ...)."""
    times = np.asarray(timing.times_s)
    first = timing.baseline_frames
    before = values[:first].mean(axis=0, dtype=np.float64)
    before = np.where(before > 0, before, np.nan)
    early = values[peak_frames].mean(axis=0, dtype=np.float64)
    delayed = values[timing.delayed_frames]
    late = delayed.mean(axis=0, dtype=np.float64) if len(delayed) else np.full_like(before, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        change = np.where(early > 0, (late - early) / early, np.nan)
        ratio = np.where(late != before, (early - before) / (late - before), np.nan)
        enough = np.fmax(early, late) - before >= minimum_enhancement * before
    type_ = np.select([change > PLATEAU_SHARE, change < -PLATEAU_SHARE], [1, 3], 2)
    after = np.concatenate([[timing.arrival_s], times[first:]])
    enhancement = values[first:] / before - 1.0
    enhancement = np.concatenate([np.zeros((1, *before.shape)), enhancement])
    peak_at = np.argmax(values[first:], axis=0)
    return {
        "initial_enhancement": early / before - 1.0,
        "delayed_change": change,
        "signal_enhancement_ratio": ratio,
        "time_to_peak_s": np.where(
            np.isnan(before), np.nan, times[first:][peak_at] - timing.arrival_s
        ),
        "area_s": np.trapezoid(enhancement, after, axis=0),
        "type": np.where(enough & ~np.isnan(change), type_, 0),
    }


def _number(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None
