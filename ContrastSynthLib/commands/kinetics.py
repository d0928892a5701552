"""The command ``kinetics``: curves, measures and maps of the regions of a dynamic series."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ContrastSynthLib.analysis.kinetic_rows import (
    CURVE_COLUMNS,
    MEASURE_COLUMNS,
    curve_rows,
    measure_rows,
)
from ContrastSynthLib.analysis.kinetics import SCHEMA_VERSION
from ContrastSynthLib.commands.measures import (
    aligned_onto,
    inputs_in,
    print_notes,
    read_input,
    write_plot,
)
from ContrastSynthLib.commands.printing import print_json, print_nested, print_warnings
from ContrastSynthLib.commands.tables import two_tables, write_tables
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.dicom.segmentation import fitted
from ContrastSynthLib.files.images import SYNTHETIC_KEY, write_volume
from ContrastSynthLib.files.replacing import refuse_to_replace
from ContrastSynthLib.running.jobs import JsonLines
from ContrastSynthLib.volumes import Volume

Regions = Mapping[str, Volume]
TABLES, TIME_COLUMN = (".csv", ".tsv", ".txt"), "time_s"
"""A table of times, and its column."""
WHOLE = "mask"
"""The name of the region of a mask that is measured as one."""


def kinetics(options: Namespace, lines: JsonLines | None) -> None:
    """Print the kinetic curves of regions, and their agreement with a synthetic series."""
    from ContrastSynthLib.analysis.kinetics_report import kinetics_reports
    from ContrastSynthLib.files.series import read_series

    given = _seconds(options.times)
    tables = two_tables(options.csv, CURVE_COLUMNS, MEASURE_COLUMNS) if options.csv else []
    series = read_series(options.series, given)
    print_notes("series", series[0])
    regions: Regions = _regions(options, series[0])
    compare = _read_compare(options.compare, given) if options.compare else []
    series, compare, regions, alignment = _aligned_series(series, compare, regions, options.align)
    reports = kinetics_reports(series, given, regions, compare or None)
    for report in reports.values():
        report["marked_synthetic"] = bool(series[0].synthetic)
    if options.maps:
        _write_maps(series, regions, options.maps, inputs_in(options))
    if tables:
        write_tables(tables, curve_rows(reports), measure_rows(reports))
    if options.plot:
        _plot(options.plot, series, compare, regions)
    report = {"schema_version": SCHEMA_VERSION, "regions": reports}
    report = (report if options.each_label else reports[WHOLE]) | alignment
    if options.json:
        print_json(report)
    else:
        print_nested(report)


def _regions(options: Namespace, reference: Volume) -> dict[str, Volume]:
    """Return the mask as one region, or one for each of its labels."""
    if not options.each_label:
        return {WHOLE: fitted(read_input("mask", options.mask), reference.grid)}
    from ContrastSynthLib.files.labels import read_labels

    try:
        regions = read_labels(options.mask)
    except RequestError as error:
        raise RequestError(f"'mask': {error}") from None
    print_notes("mask", next(iter(regions.values())))
    return {name: fitted(mask, reference.grid) for name, mask in regions.items()}


def _read_compare(path: str, given: list[float] | None) -> list[Volume]:
    """Read the synthetic series, with the times that were given if it has as many volumes."""
    from ContrastSynthLib.files.series import read_series

    try:
        volumes = read_series(path, given)
    except RequestError:
        if given is None:
            raise
        volumes = read_series(path)
    print_notes("compare", volumes[0])
    return volumes


def _aligned_series(
    series: list[Volume], compare: list[Volume], regions: Regions, mode: str
) -> tuple[list[Volume], list[Volume], Regions, dict[str, Any]]:
    """Bring the regions and every volume of two series onto the grid of the first volume.

    The mode ``none`` changes nothing; differing grids are refused later, by the report.
    """
    if mode == "none":
        return series, compare, regions, {}
    numbered = [("series", series), ("compare", compare)]
    given = {
        f"{name} {n + 1}": volume for name, volumes in numbered for n, volume in enumerate(volumes)
    }
    masks = {f"mask {name}" if name != WHOLE else name: mask for name, mask in regions.items()}
    aligned, alignment, warnings = aligned_onto(given | masks, "series 1", mode, tuple(masks))
    print_warnings(warnings)
    moved = dict(zip(regions, (aligned.pop(name) for name in masks), strict=True))
    found = list(aligned.values())
    return found[: len(series)], found[len(series) :], moved, alignment


def _write_maps(
    series: list[Volume], regions: Regions, folder: Path, inputs: Mapping[str, list[str]]
) -> None:
    """Write a map of each kinetic measure, 0 where it is not defined in a voxel.

    They cover the whole series. Arrival of the agent and the phases to compare are those of the
    mean curve of all regions together.
    """
    from ContrastSynthLib.analysis.kinetic_maps import MARK, TYPE, kinetic_maps
    from ContrastSynthLib.analysis.kinetics import curve_timing, mean_curve
    from ContrastSynthLib.files.writing import whole_or_nothing
    from ContrastSynthLib.volumes import times_of

    together = np.logical_or.reduce([mask.array > 0 for mask in regions.values()])
    timing = curve_timing(times_of(series).tolist(), mean_curve(series, together))
    if timing is None:
        raise RequestError(
            "No agent arrives in the mask (its curve does not rise): no map was made. Check it."
        )
    maps = kinetic_maps(series, np.ones_like(together), timing=timing)
    refuse_to_replace([folder / f"{name}.nrrd" for name in maps], MARK, inputs)
    with whole_or_nothing(folder) as part:
        for name, volume in maps.items():
            write_volume(volume, part / f"{name}.nrrd", whole_numbers=name == TYPE)


def _plot(path: Path, series: list[Volume], compare: list[Volume], regions: Regions) -> None:
    from ContrastSynthLib.analysis.kinetics import mean_curve, measure_curve
    from ContrastSynthLib.plots.kinetics import plot_curves
    from ContrastSynthLib.volumes import times_of

    first = f"series {SYNTHETIC_KEY}" if series[0].synthetic else "real"
    shown = {first: series} | ({SYNTHETIC_KEY: compare} if compare else {})
    curves = {
        (name if len(regions) == 1 else f"{region}, {name}"): measure_curve(
            times_of(volumes).tolist(), mean_curve(volumes, mask)
        )
        for region, mask in regions.items()
        for name, volumes in shown.items()
    }
    write_plot(path, plot_curves(curves))


def _seconds(text: str | None) -> list[float] | None:
    """Return the times that ``--times`` lists, or those of the column ``time_s`` of a table."""
    if text is None:
        return None
    table = Path(text)
    words = _column_of_times(table) if table.suffix.lower() in TABLES else text.split(",")
    try:
        return [float(word.replace(",", ".")) for word in words]
    except ValueError:
        raise RequestError(
            f"--times '{text}' is not a list of seconds, such as -20,60,120,180, nor a table with "
            f"seconds in the column {TIME_COLUMN}."
        ) from None


def _column_of_times(path: Path) -> list[str]:
    from ContrastSynthLib.running.batch.grid import read_grid

    grid = read_grid(path, (TIME_COLUMN,))
    print_warnings(grid.notes)
    if TIME_COLUMN not in grid.headings:
        raise RequestError(
            f"{path}: there is no column {TIME_COLUMN}. One row for each volume, with its seconds "
            "after the injection in that column, gives the times of a series."
        )
    place = grid.headings.index(TIME_COLUMN)
    return [row.cells[place] for row in grid.rows]
