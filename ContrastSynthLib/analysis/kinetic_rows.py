"""Kinetics of one or more regions as rows of two tables: their curves, and their measures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ContrastSynthLib.analysis.kinetics import MEASURES

REAL, SYNTHETIC = "real", "SYNTHETIC"
CURVE_COLUMNS = ("region", "series", "time_s", "signal", "enhancement_percent")
OF_CURVE = ("type", "baseline", "arrival_s", *MEASURES)
FUNCTIONAL = "functional_tumour_ml"
MEASURE_COLUMNS = ("region", "series", "voxels", "ml", *OF_CURVE, FUNCTIONAL)


def curve_rows(reports: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for each region, series and phase, from reports by the name of their region.

    ``enhancement_percent`` is that above the signal before the agent of the same series, None
    where that is not above 0. Of a synthetic series only its own phases have rows.
    """
    rows = []
    for region, series, told, frames in _series(reports):
        curve = told["curve"]
        before = curve["baseline"]
        for frame in frames:
            signal = curve["values"][frame]
            percent = 100.0 * (signal / before - 1.0) if before > 0 else None
            cells = (region, series, curve["times_s"][frame], signal, percent)
            rows.append(dict(zip(CURVE_COLUMNS, cells, strict=True)))
    return rows


def measure_rows(reports: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a row of measures for each region and series, None where one is not defined."""
    rows = []
    for region, series, told, _ in _series(reports):
        mask, voxels = reports[region]["mask"], told["voxels"]
        rows.append(
            {
                **{"region": region, "series": series, "voxels": mask["voxels"], "ml": mask["ml"]},
                **{name: told["curve"][name] for name in OF_CURVE},
                FUNCTIONAL: voxels[FUNCTIONAL] if voxels else None,
            }
        )
    return rows


def _series(
    reports: Mapping[str, Mapping[str, Any]],
) -> Iterator[tuple[str, str, Mapping[str, Any], Sequence[int]]]:
    """Yield region, series, its curve and voxels, and the frames that are the series' own."""
    for region, report in reports.items():
        marked = report.get("marked_synthetic")
        frames = range(len(report["curve"]["times_s"]))
        yield region, SYNTHETIC if marked else REAL, report, frames
        if "synthetic" in report:
            yield region, SYNTHETIC, report["synthetic"], report["agreement"]["frames"]
