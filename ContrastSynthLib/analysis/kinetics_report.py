"""Report of the kinetics of a region: of one series, or of a real and a synthetic series."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ContrastSynthLib.analysis.kinetics import (
    MEASURES,
    MINIMUM_OF_VOXEL,
    SCHEMA_VERSION,
    TYPES,
    KineticCurve,
    curves_in,
    functional_tumour_ml,
    measure_curve,
    measure_voxels,
)
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.volumes import FloatArray, Volume, check_same_grid, checked_times, times_of

# Frames of two series are the same phase when their times differ by at most this.
SAME_TIME_S = 1.0


@dataclass(frozen=True)
class BlandAltman:
    """Agreement of paired measurements: Bland and Altman, Lancet 1986;327:307-310.

    ``bias`` is the mean of synthetic - real and ``deviation`` the standard deviation. ``lower`` and
    ``upper`` are the limits of agreement, bias -+ 1.96 deviations, which contain 95 % of normally
    distributed differences. ``deviation`` and the limits are None for a single pair.
    """

    pairs: int
    bias: float
    deviation: float | None
    lower: float | None
    upper: float | None


def bland_altman(real: ArrayLike, synthetic: ArrayLike) -> BlandAltman:
    """Return the agreement of paired measurements (n,); pairs with a NaN are left out.

    Raises RequestError for different lengths and when no pair is left.
    """
    first, second = _paired(real, synthetic)
    difference = (second - first)[np.isfinite(first) & np.isfinite(second)]
    if difference.size == 0:
        raise RequestError("There is no pair of finite measurements to compare.")
    bias = float(difference.mean())
    if difference.size == 1:
        return BlandAltman(1, bias, None, None, None)
    deviation = float(difference.std(ddof=1))
    half = 1.96 * deviation
    return BlandAltman(int(difference.size), bias, deviation, bias - half, bias + half)


def cohens_kappa(real: ArrayLike, synthetic: ArrayLike) -> float:
    """Return Cohen's kappa of paired classes (n,) of any kind, unweighted.

    kappa = (p_o - p_e) / (1 - p_e), the agreement beyond chance (Cohen, Educ Psychol Meas
    1960;20:37-46); NaN when there is only one class. Raises RequestError for different lengths and
    without pairs.
    """
    first, second = np.asarray(real), np.asarray(synthetic)
    if first.shape != second.shape or first.size == 0:
        raise RequestError(f"There are {first.size} and {second.size} classes: kappa needs pairs.")
    agreement = float((first == second).mean())
    classes = np.unique(np.concatenate([first, second]))
    chance = float(sum((first == c).mean() * (second == c).mean() for c in classes))
    return (agreement - chance) / (1.0 - chance) if chance < 1.0 else math.nan


def compare_curves(
    real: KineticCurve, synthetic: KineticCurve, frames: Sequence[int] | None = None
) -> dict[str, Any]:
    """Return the agreement of two curves at the same times, JSON-able.

    Over ``frames`` (all by default): Spearman's rho (None for a constant curve or fewer than 2
    frames), the dynamic time warping (DTW) distance, and the enhancement error of each frame, all
    computed from signals divided by the real baseline (no unit). Also the difference
    synthetic - real of each measure, and whether the types agree. Raises RequestError for curves
    of different lengths and for a real baseline that is not above 0.
    """
    from ContrastSynthLib.metrics.contrast import enhancement_error
    from ContrastSynthLib.metrics.curves import dtw, spearman_rho

    first, second = _paired(real.values, synthetic.values)
    if real.baseline <= 0:
        raise RequestError(
            f"The mean signal before the agent is {real.baseline:g} in the real series: curves are "
            "divided by it, so it must be above 0. Does the mask lie in tissue?"
        )
    chosen = list(range(len(first))) if frames is None else list(frames)
    first, second = first[chosen] / real.baseline, second[chosen] / real.baseline
    rho = spearman_rho(first, second) if len(chosen) > 1 else math.nan
    pairs = ((name, getattr(real, name), getattr(synthetic, name)) for name in MEASURES)
    return {
        "frames": chosen,
        "unit": "of the real baseline",
        "spearman_rho": None if math.isnan(rho) else rho,
        "dtw": dtw(first, second),
        "enhancement_error": [enhancement_error(a, b) for a, b in zip(first, second, strict=True)],
        "differences": {name: None if a is None or b is None else b - a for name, a, b in pairs},
        "same_type": None if real.type is None else real.type == synthetic.type,
    }


def kinetics_report(
    series: Sequence[Volume],
    times_s: Sequence[float] | None,
    mask: Volume,
    compare: Sequence[Volume] | None = None,
    *,
    baseline_frames: int | None = None,
    arrival_s: float | None = None,
) -> dict[str, Any]:
    """Return the kinetics of the mask in a series and the agreement with a synthetic series.

    The report is JSON-able. ``times_s`` (s) replaces the times of the series, and those of
    ``compare``, the synthetic series, if it has as many volumes. ``compare`` may contain only some
    phases: each must have the time of a phase of the series. The other phases are taken from the
    series, with a note in the report. Curves of the whole mask are compared over the synthetic
    phases; the delayed change (Bland-Altman) and the type (kappa) are compared voxel by voxel, with
    the timing of the real series. Raises RequestError for wrong times, grids or masks.
    """
    times = times_of(series) if times_s is None else checked_times(times_s, len(series), "--times")
    check_same_grid({"series": series[0], "mask": mask})
    voxels = curves_in(series, mask)
    curve = measure_curve(
        times.tolist(), _mean(voxels), baseline_frames=baseline_frames, arrival_s=arrival_s
    )
    report: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "times_from": "the file" if times_s is None else "given",
        "mask": {"voxels": voxels.shape[1], "ml": voxels.shape[1] * mask.grid.voxel_volume_ml},
        "curve": curve.as_dict(),
        "voxels": _voxel_summary(voxels, curve, mask.grid.voxel_volume_ml),
        "notes": _notes(curve),
    }
    if compare is not None:
        check_same_grid({"series": series[0], "compare": compare[0]})
        frames = _matching_frames(times, compare, times_s is not None)
        synthetic = voxels.copy()
        synthetic[frames] = curves_in(compare, mask)
        report |= _compared(curve, voxels, synthetic, frames, mask.grid.voxel_volume_ml)
        missing = [f"{times[n]:g}" for n in range(len(times)) if n not in frames]
        if missing:
            report["notes"].append(
                f"The synthetic series has no phase at {', '.join(missing)} s: the real phases "
                "are used there."
            )
    return report


def kinetics_reports(
    series: Sequence[Volume],
    times_s: Sequence[float] | None,
    regions: Mapping[str, Volume],
    compare: Sequence[Volume] | None = None,
) -> dict[str, dict[str, Any]]:
    """Return the report of :func:`kinetics_report` for each of several masks, by their names.

    Raises RequestError, with the name where there are several, as that function does.
    """
    found = {}
    for name, mask in regions.items():
        try:
            found[name] = kinetics_report(series, times_s, mask, compare)
        except RequestError as error:
            if len(regions) == 1:
                raise
            raise RequestError(f"'{name}': {error}") from None
    return found


def _compared(
    curve: KineticCurve,
    real: FloatArray,
    synthetic: FloatArray,
    frames: list[int],
    voxel_ml: float,
) -> dict[str, Any]:
    """Return the synthetic curve, measured with the timing of the real curve, and the agreement."""
    timing = curve.timing
    other = measure_curve(
        curve.times_s,
        _mean(synthetic),
        baseline_frames=timing.baseline_frames if timing else None,
        arrival_s=timing.arrival_s if timing else None,
    )
    return {
        "synthetic": {
            "curve": other.as_dict(),
            "voxels": _voxel_summary(synthetic, other, voxel_ml),
        },
        "agreement": compare_curves(curve, other, frames) | _by_voxel(real, synthetic, curve),
    }


def _matching_frames(
    times: NDArray[np.float64], compare: Sequence[Volume], times_given: bool
) -> list[int]:
    """Return the frames of the real series to which the synthetic volumes correspond."""
    if times_given and len(compare) == len(times):
        return list(range(len(times)))
    wanted = times_of(compare)
    frames = [int(np.abs(times - time).argmin()) for time in wanted]
    for time, frame in zip(wanted, frames, strict=True):
        if abs(times[frame] - time) > SAME_TIME_S:
            listed = ", ".join(f"{t:g}" for t in times)
            raise RequestError(
                f"The synthetic series has a phase at {time:g} s, the real one only at {listed} s. "
                "Give --times for both, or compare the same phases."
            )
    return frames


def _voxel_summary(
    voxels: FloatArray, curve: KineticCurve, voxel_ml: float
) -> dict[str, Any] | None:
    """Return medians of the measures over the mask, shares of the types, and functional volume."""
    if curve.timing is None:
        return None
    maps = measure_voxels(voxels, curve.timing)
    types = maps.pop("type")
    return {
        "minimum_enhancement": MINIMUM_OF_VOXEL,
        "share_of_type": {
            "none": float((types == 0).mean()),
            **{name: float((types == value).mean()) for value, name in TYPES.items()},
        },
        "functional_tumour_ml": functional_tumour_ml(maps, voxel_ml),
        "median": {name: _median(values) for name, values in maps.items()},
    }


def _by_voxel(real: FloatArray, synthetic: FloatArray, curve: KineticCurve) -> dict[str, Any]:
    """Return the voxelwise agreement of delayed change and type; None without agent."""
    if curve.timing is None or curve.delayed_change is None:
        return {"delayed_change_by_voxel": None, "type_kappa_by_voxel": None}
    first, second = (measure_voxels(values, curve.timing) for values in (real, synthetic))
    agreement = bland_altman(first["delayed_change"], second["delayed_change"])
    kappa = cohens_kappa(first["type"], second["type"])
    return {
        "delayed_change_by_voxel": asdict(agreement),
        "type_kappa_by_voxel": None if math.isnan(kappa) else kappa,
    }


def _notes(curve: KineticCurve) -> list[str]:
    if curve.timing is None:
        return ["No agent arrives in the mask: its mean signal increases by less than 10 %."]
    if curve.delayed_change is None:
        return [
            "The series ends within 120 s of the agent's arrival: there is no delayed phase, and "
            "no type."
        ]
    return []


def _median(values: NDArray[Any]) -> float | None:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else None


def _mean(voxels: FloatArray) -> NDArray[np.float64]:
    return np.asarray(voxels.mean(axis=1, dtype=np.float64))


def _paired(
    real: ArrayLike, synthetic: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    first, second = np.asarray(real, np.float64), np.asarray(synthetic, np.float64)
    if first.shape != second.shape:
        raise RequestError(
            f"There are {first.size} real and {second.size} synthetic values: they must be pairs."
        )
    return first.ravel(), second.ravel()
