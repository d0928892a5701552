"""What was measured of the kinetics of regions: JSON that a saved scene keeps, table and chart.

``found`` has the reports of the library by the name of their region, the colour of each, what the
series are called, and what has to be said.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from typing import Any

from slicer.i18n import tr as _

from ContrastSynthLib.analysis.kinetics import TYPES as TYPE_NUMBERS
from ContrastSynthLib.analysis.kinetics_report import SAME_TIME_S, kinetics_report
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.images import SYNTHETIC_KEY
from ContrastSynthLib.geometry import Grid, grid_table
from ContrastSynthLib.phantom.marks import is_virtual_patient
from ContrastSynthLib.volumes import Volume, times_of
from ContrastSynthPanel.background import Elsewhere
from ContrastSynthPanel.scene import bridge, result_names, tables
from ContrastSynthPanel.scene.kinetic_case import REGION, SERIES, Asked
from ContrastSynthPanel.scene.regions import PLAIN, Region, reading_regions

Node = Any  # of MRML
Found = dict[str, Any]
Report = Mapping[str, Any]
# Saved scenes hold these: they are never changed.
SCHEMA_VERSION, CHART, MEASURES_TABLE = 2, "kinetics", "kinetics measures"
# By the library's names: title with the unit, what the value is multiplied by, digits shown.
MEASURES = {
    "initial_enhancement": (_("Initial enhancement (%)"), 100.0, 1),
    "delayed_change": (_("Delayed change (%)"), 100.0, 1),
    "signal_enhancement_ratio": (_("Enhancement ratio, SER"), 1.0, 2),
    "time_to_peak_s": (_("Time to peak (s)"), 1.0, 0),
    "area_s": (_("Area under the curve (s)"), 1.0, 1),
}
SHARES = {
    "I": _("Voxels of type I (%)"),
    "II": _("Voxels of type II (%)"),
    "III": _("Voxels of type III (%)"),
    "none": _("Voxels without type (%)"),
}
DIGITS_OF_ML = 2


# Measuring


def measuring(asked: Asked) -> Generator[Any, Any, Found]:
    """Return what is found in all that a case has to measure, as a task. Raises RequestError."""
    several, regions = yield from reading(asked)
    compare = several[1] if len(several) > 1 else None
    reports: dict[str, Report] = {}
    troubles: dict[str, RequestError] = {}
    for region in regions:
        yield _("Measuring '{region}'").format(region=region.name)
        try:
            report = yield Elsewhere(kinetics_report, several[0], None, region.mask, compare)
            enhancements(report)  # raises where there is no baseline
            reports[region.name] = report | {"marked_synthetic": is_made(several[0])}
        except RequestError as error:
            troubles[region.name] = error
    if not reports:
        raise next(iter(troubles.values()))
    colours = {one.name: one.colour for one in regions}
    notes = [f"'{name}': {error}" for name, error in troubles.items()]
    return measured(reports, asked, [is_made(one) for one in several], colours, notes)


def reading(
    asked: Asked, whole: bool = False
) -> Generator[Any, Any, tuple[list[list[Volume]], list[Region]]]:
    """Return the series, and the regions unless it is the ``whole`` of it, on one grid; a task."""
    several = []
    for node in asked.series:
        yield _("Reading '{name}'").format(name=node.GetName())
        several.append((yield from bridge.reading_series(node)))
    grids = {node.GetName(): one[0].grid for node, one in zip(asked.series, several, strict=True)}
    refuse_other_grids(grids)
    if len(several) > 1:
        refuse_other_times(asked.series, several)
    if whole:
        return several, []
    region = asked.nodes[REGION]
    scan = bridge.volume_of_sequence(asked.nodes[SERIES])
    found = yield from reading_regions(region, scan, asked.segment, asked.each)
    refuse_other_grids(grids | {one.name: one.mask.grid for one in found})
    inside = [one for one in found if one.mask.array.any()]
    if not inside:
        text = _("'{region}' holds no voxel of '{series}'. Draw it there, or choose another.")
        name = found[0].name if len(found) == 1 else region.GetName()
        raise RequestError(text.format(region=name, series=asked.nodes[SERIES].GetName()))
    return several, found


def is_made(series: list[Volume]) -> bool:
    """Return whether a method made a series. That of a virtual patient is the truth."""
    mark = series[0].synthetic
    return bool(mark) and not is_virtual_patient(mark)


def measured(
    reports: Mapping[str, Report],
    asked: Asked,
    marked: list[bool],
    colours: Mapping[str, tuple[float, ...]],
    notes: list[str],
) -> Found:
    """Return reports with what they are about. ``marked`` says of each series if it's synthetic."""
    words = [_("Real"), _("Compared")]
    names = [node.GetName() for node in asked.series]
    found = {
        "schema_version": SCHEMA_VERSION,
        "titles": [SYNTHETIC_KEY if mark else words[n] for n, mark in enumerate(marked)],
        "labels": [result_names.synthetic_name(*one) for one in zip(names, marked, strict=True)],
        "region": asked.nodes[REGION].GetName(),
        "regions": dict(reports),
        "colours": dict(colours),
        "notes": notes,
    }
    return json.loads(json.dumps(found))  # as it is when it is read again


def saved(found: Found | None) -> Found:
    """Return what a saved scene has of it, as this version has it; {} where it is not known."""
    version = (found or {}).get("schema_version")
    if found and version == 1:  # one region, whose curve and measures were all
        region = found["region"]
        one = {"regions": {region: found["report"]}, "colours": {}, "notes": []}
        return {"schema_version": SCHEMA_VERSION, **_without(found, "report"), **one}
    return found if found and version == SCHEMA_VERSION else {}


def _without(found: Found, key: str) -> Found:
    return {name: value for name, value in found.items() if name not in (key, "schema_version")}


def refuse_other_grids(grids: Mapping[str, Grid]) -> None:
    """Raise RequestError, naming what differs, unless all grids are the same."""
    first = next(iter(grids))
    for name, grid in grids.items():
        if not grid.is_same(grids[first]):
            text = _(
                "'{name}' lies on another grid than '{first}'. Resample it onto the series first, "
                "for example with the module Resample Scalar/Vector/DWI Volume.\n\n{table}"
            )
            table = grid_table({first: grids[first], name: grid})
            raise RequestError(text.format(name=name, first=first, table=table))


def refuse_other_times(nodes: list[Node], several: list[list[Volume]]) -> None:
    """Raise RequestError where the second series has a phase that the first has not."""
    times, wanted = (times_of(one).tolist() for one in several)
    for time_s in wanted:
        if min(abs(time_s - other) for other in times) > SAME_TIME_S:
            text = _(
                "'{second}' has a phase at {time:g} s, '{first}' has none within {within:g} s of "
                "it. Correct the time in the table, or choose the series that belongs to it."
            )
            first, second = (node.GetName() for node in nodes)
            within = SAME_TIME_S
            raise RequestError(text.format(first=first, second=second, time=time_s, within=within))


# What a report says


def curves_of(report: Report) -> list[Mapping[str, Any]]:
    """Return the curve, and the synthetic one if there is one."""
    return [report["curve"], *([report["synthetic"]["curve"]] if "synthetic" in report else [])]


def enhancements(report: Report) -> list[list[float | None]]:
    """Return each curve in percent of its signal before the agent, None where it has no phase.

    Raises RequestError for a signal before the agent that is not above 0.
    """
    percent: list[list[float | None]] = []
    for curve in curves_of(report):
        baseline = curve["baseline"]
        if baseline <= 0:
            text = _(
                "The mean signal before the agent is {value:g}; enhancement is in percent of it. "
            )
            hint = _("Does the region lie in tissue?")
            raise RequestError(text.format(value=baseline) + hint)
        percent.append([100.0 * (value / baseline - 1.0) for value in curve["values"]])
    if len(percent) > 1:  # where it has no phase, the report's curve has the real one
        own = report["agreement"]["frames"]
        percent[1] = [value if n in own else None for n, value in enumerate(percent[1])]
    return percent


def measure_rows(report: Report) -> list[list[Any]]:
    """Return title, value of each series, and difference, of all measures, in their units."""
    rows = []
    for key, (title, factor, _digits) in MEASURES.items():
        values = [curve[key] for curve in curves_of(report)]
        if "agreement" in report:
            values.append(report["agreement"]["differences"][key])
        rows.append([title, *(None if value is None else factor * value for value in values)])
    return rows + _voxel_rows(report)


def _voxel_rows(report: Report) -> list[list[Any]]:
    """Return the shares of the types among the voxels, and the functional tumour volume."""
    text = [report["voxels"], *([report["synthetic"]["voxels"]] if "synthetic" in report else [])]
    if any(one is None for one in text):
        return []
    rows = []
    for key, title in SHARES.items():
        values = [100.0 * one["share_of_type"][key] for one in text]
        rows.append([title, *values, *([values[1] - values[0]] if len(values) > 1 else [])])
    volumes = [one["functional_tumour_ml"] for one in text]
    change = [volumes[1] - volumes[0]] if len(volumes) > 1 else []
    return [*rows, [_("Functional volume (ml)"), *volumes, *change]]


def agreement_rows(agreement: Mapping[str, Any] | None) -> list[list[Any]]:
    """Return title and value of each measure of how two series agree."""
    if not agreement:
        return []
    rows = [
        [_("Rank correlation, Spearman's rho"), agreement["spearman_rho"]],
        [_("Warped distance, DTW (× baseline)"), agreement["dtw"]],
        [_("Largest squared error (× baseline²)"), max(agreement["enhancement_error"])],
    ]
    by_voxel = agreement["delayed_change_by_voxel"] or {}
    for key, title in (
        ("bias", _("Delayed change by voxel, bias (%)")),
        ("lower", _("Delayed change, lower 95 % limit (%)")),
        ("upper", _("Delayed change, upper 95 % limit (%)")),
    ):
        value = by_voxel.get(key)
        rows.append([title, None if value is None else 100.0 * value])
    return [*rows, [_("Type by voxel, Cohen's kappa"), agreement["type_kappa_by_voxel"]]]


# Nodes


def add_nodes(nodes: Mapping[str, Node], found: Found) -> Node:
    """Put measures, as a table, and curves, as a chart, into the scene; return the chart.

    They are those of these nodes, by role, and replace what was measured of them before.
    """
    series = nodes.get(SERIES)
    about = f"{found['region']}, {series.GetName() if series is not None else ''}"
    name = _("Measures of {what}").format(what=about)
    tables.computed_table(MEASURES_TABLE, nodes, name, _table_rows(found))
    reports = found["regions"]
    colours, lines = {}, {}
    for region, report in reports.items():
        for label, percent in zip(_line_names(found, region), enhancements(report), strict=True):
            lines[label] = percent
            colours[label] = found["colours"].get(region, PLAIN)
    times = next(iter(reports.values()))["curve"]["times_s"]
    titles = _("Time (s)"), _("Enhancement (%)")
    known = _lines_of(nodes)
    chart = tables.computed_chart(
        CHART, nodes, _("Kinetics of {what}").format(what=about), times, lines, titles
    )
    for label, line in _lines_of(nodes).items():
        if label not in known:  # later a person may have chosen its colour
            line.SetColor(*colours[label])
    return chart


def show_age(chart: Node, found: Found, old: bool) -> None:
    """Let the chart say what it shows, and whether that is out of date."""
    title = _("Kinetics of '{region}'").format(region=_regions_name(found))
    chart.SetTitle(_("{title} (out of date)").format(title=title) if old else title)


def _regions_name(found: Found) -> str:
    return next(iter(found["regions"])) if len(found["regions"]) == 1 else found["region"]


def _lines_of(nodes: Mapping[str, Node]) -> dict[str, Node]:
    table = tables.computed_node(tables.TABLE, CHART, nodes)
    return {one.GetYColumnName(): one for one in tables.series_of_table(table)}


def _line_names(found: Found, region: str) -> list[str]:
    """Return what the lines of a region are called: by their series where there is one region."""
    if len(found["regions"]) == 1:
        return _distinct(found["labels"])
    return _distinct([f"{region}, {title}" for title in found["titles"]])


def _table_rows(found: Found) -> list[dict[str, Any]]:
    columns = _("Measure"), *_distinct(found["titles"]), _("Difference")
    numbers = {name: number for number, name in TYPE_NUMBERS.items()}
    rows = []
    for region, report in found["regions"].items():
        types = [numbers.get(curve["type"]) for curve in curves_of(report)]
        several = {_("Region"): region} if len(found["regions"]) > 1 else {}
        text = [
            [_("Type (1 persistent, 2 plateau, 3 washout)"), *types],
            *measure_rows(report),
            *agreement_rows(report.get("agreement")),
        ]
        rows += [several | dict(zip(columns, row, strict=False)) for row in text]
    return rows


def _distinct(names: list[str]) -> list[str]:
    return [name if name not in names[:n] else f"{name} ({n + 1})" for n, name in enumerate(names)]


def about(found: Found) -> str:
    """Return of which series the measures are, as a sentence."""
    names = _(" and ").join(f"'{label}'" for label in found["labels"])
    return _("Measured in {names}.").format(names=names)
