"""Kinetics of one or more regions as rows of two tables: their curves, and their measures."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ContrastSynthLib.analysis.kinetics import MEASURES

REAL, SYNTHETIC = "real", "SYNTHETIC"
CURVE_COLUMNS = ("region", "series", "time_s", "signal", "enhancement_percent")
MEASURE_COLUMNS = ("region", "series", "voxels", "ml", "type", "baseline", "arrival_s", *MEASURES)
# A spreadsheet runs a cell that begins with one of these as a formula.
STARTS_A_FORMULA = "=+-@\t\r\n"


def curve_rows(reports: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for each region, series and phase, from reports by the name of their region.

    ``enhancement_percent`` is that above the signal before the agent of the same series, None
    where that is not above 0. Of a synthetic series only its own phases have rows.
    """
    rows = []
    for region, series, curve, frames in _curves(reports):
        before = curve["baseline"]
        for frame in frames:
            signal = curve["values"][frame]
            percent = 100.0 * (signal / before - 1.0) if before > 0 else None
            told = (region, series, curve["times_s"][frame], signal, percent)
            rows.append(dict(zip(CURVE_COLUMNS, told, strict=True)))
    return rows


def measure_rows(reports: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a row of measures for each region and series, None where one is not defined."""
    rows = []
    for region, series, curve, _ in _curves(reports):
        mask = reports[region]["mask"]
        told = {"region": region, "series": series, "voxels": mask["voxels"], "ml": mask["ml"]}
        rows.append(told | {name: curve[name] for name in MEASURE_COLUMNS[len(told) :]})
    return rows


def rows_as_csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Return rows as CSV with a line of column names; None is an empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    unsafe = isinstance(value, str) and value[:1] in STARTS_A_FORMULA and value
    return f"'{value}" if unsafe else value


def _curves(
    reports: Mapping[str, Mapping[str, Any]],
) -> Iterator[tuple[str, str, Mapping[str, Any], Sequence[int]]]:
    """Yield region, series, curve and the frames that are the series' own."""
    for region, report in reports.items():
        curve = report["curve"]
        marked = report.get("marked_synthetic")
        yield region, SYNTHETIC if marked else REAL, curve, range(len(curve["times_s"]))
        if "synthetic" in report:
            frames = report["agreement"]["frames"]
            yield region, SYNTHETIC, report["synthetic"]["curve"], frames
