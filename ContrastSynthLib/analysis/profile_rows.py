"""Profiles of one or more volumes along a line as rows of two tables: values, and measures."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from ContrastSynthLib.analysis.kinetic_rows import REAL, SYNTHETIC
from ContrastSynthLib.analysis.profiles import Profile, find_edge

PLACE = ("r_mm", "a_mm", "s_mm")
VALUE_COLUMNS = ("volume", "series", "distance_mm", *PLACE, "value")
FROM, TO = (tuple(f"{end}_{name}" for name in PLACE) for end in ("from", "to"))
OF_LINE = (
    *("length_mm", "mean", "lowest", "highest"),
    *("edge_at_mm", "edge_width_mm", "edge_step", "edge_contrast"),
)
MEASURE_COLUMNS = ("volume", "series", *FROM, *TO, *OF_LINE)


def value_rows(profiles: Mapping[str, Profile], synthetic: Collection[str]) -> list[dict[str, Any]]:
    """Return a row for each volume, by name, and point; the value is None outside the volume."""
    rows = []
    for name, profile in profiles.items():
        points = profile.as_dict()
        for distance, ras, value in zip(*points.values(), strict=True):
            cells = (name, _series(name, synthetic), distance, *ras, value)
            rows.append(dict(zip(VALUE_COLUMNS, cells, strict=True)))
    return rows


def measure_rows(
    profiles: Mapping[str, Profile], synthetic: Collection[str]
) -> list[dict[str, Any]]:
    """Return a row of measures for each volume, None where one is not defined."""
    rows = []
    for name, profile in profiles.items():
        ends = (*profile.ras_mm[0].tolist(), *profile.ras_mm[-1].tolist())
        cells = (name, _series(name, synthetic), *ends, *measures_of(profile).values())
        rows.append(dict(zip(MEASURE_COLUMNS, cells, strict=True)))
    return rows


def measures_of(profile: Profile) -> dict[str, float | None]:
    """Return length, intensities and edge of a profile by the names of their columns."""
    values, edge = profile.values.astype(np.float64), find_edge(profile)
    intensities = (np.nanmean(values), np.nanmin(values), np.nanmax(values))
    of_edge = (edge.at_mm, edge.width_mm, edge.step, edge.contrast) if edge else (None,) * 4
    cells = (float(profile.distance_mm[-1]), *map(float, intensities), *of_edge)
    return dict(zip(OF_LINE, cells, strict=True))


def _series(name: str, synthetic: Collection[str]) -> str:
    return SYNTHETIC if name in synthetic else REAL
