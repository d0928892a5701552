"""An uptake in words: what counts as uptake, how much there is, and the rows of its table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from ContrastSynthLib.analysis.enhancement import EnhancementReport
from ContrastSynthPanel.scene.csv_files import write_cells
from ContrastSynthPanel.scene.uptake_results import Measured, Scans, Settings
from ContrastSynthPanel.scene.uptake_sources import OWN_MAP

Row = dict[str, Any]
KIND_ORDER = ("missed", "invented", "found")
UNITS = {
    "mean": _("means"),
    "p95": _("95th percentiles of pre"),
    "p99.9": _("99.9th percentiles of pre"),
}
SOMEWHERE = _("the brain, or the outline of the head")  # which of them, the scans tell
RULES = {
    "mean": _(
        "Uptake, and each lesion, is where post exceeds pre by more than {threshold:g}, each scan "
        "divided by its mean in {region}."
    ),
    "p95": _(
        "Uptake, and each lesion, is where post exceeds pre by more than {threshold:g} of the 95th "
        "percentile of pre in {region}, post divided by its usual ratio to pre."
    ),
    "p99.9": _(
        "Uptake, and each lesion, is where post exceeds pre by more than {threshold:g} of the "
        "99.9th percentile of pre, each scan divided by its median in {region}."
    ),
}
COLUMNS = {
    "kind": _("kind"),
    "volume_ml": _("volume, ml"),
    "mean_uptake": _("mean uptake, {unit}"),
    "overlap": _("overlap, share"),
    "mean_error": _("mean error, {unit}"),
    "uncertainty": _("uncertainty, means of the brain"),
    "r_mm": _("R, mm"),
    "a_mm": _("A, mm"),
    "s_mm": _("S, mm"),
}
"""Titles of the columns of a file, by the keys of a row."""


def rule(settings: Settings, region: str = "") -> str:
    """Return in a sentence what counts as uptake; ``region`` is where it was measured."""
    if settings.measured == OWN_MAP:
        text = _("Uptake is where the method's own map exceeds {threshold:g}.")
    else:
        text = RULES[settings.level]
    text = text.format(threshold=settings.threshold, region=region or SOMEWHERE)
    if settings.smallest_ml:
        text += " " + _("Regions smaller than {ml:g} ml are left out.").format(
            ml=settings.smallest_ml
        )
    return text


def unit_of(settings: Settings, region: str) -> str:
    """Return the unit of the threshold."""
    if settings.measured == OWN_MAP:
        return _("of the map, 0 to 1")
    return _("{unit} in {region}").format(unit=UNITS[settings.level], region=region)


def summary(measured: Measured, scans: Scans, settings: Settings) -> str:
    """Return how much uptake there is, with what it was compared, and what looks wrong."""
    lines = [_amount(measured, scans, settings)]
    left_out = measured.regions.smaller_count
    if left_out:
        text = _("Left out: {count} regions smaller than {ml:g} ml, {volume:.2f} ml together.")
        lines.append(
            text.format(count=left_out, ml=settings.smallest_ml, volume=measured.regions.smaller_ml)
        )
    if measured.report is not None:
        lines.append(_compared(measured.report))
    troubles = (*measured.troubles, *scans.warnings)
    return "\n".join([*lines, *(f"\N{BULLET} {one}" for one in troubles)])


def _amount(measured: Measured, scans: Scans, settings: Settings) -> str:
    found, count = measured.regions, len(measured.regions.regions)
    regions = _("1 region") if count == 1 else _("{count} regions").format(count=count)
    if OWN_MAP in scans.names:
        text = _("{volume:.2f} ml in {regions}: '{map}' exceeds {threshold:g}.")
        return text.format(
            volume=found.volume_ml, regions=regions, threshold=settings.threshold, **scans.names
        )
    text = _(
        "{volume:.2f} ml in {regions}, {share:.2%} of {region}: '{post}' exceeds '{pre}' by more "
        "than {threshold:g} {unit}."
    )
    region = scans.region.name if scans.region is not None else SOMEWHERE
    return text.format(
        volume=found.volume_ml,
        regions=regions,
        share=measured.share or 0.0,
        region=region,
        threshold=settings.threshold,
        unit=unit_of(settings, region),
        **scans.names,
    )


def _compared(report: EnhancementReport) -> str:
    """Return how much of the true uptake is there, and how much of it is invented."""
    counted = report.as_dict()
    parts = {
        kind: _("{kind} {count} ({volume:.2f} ml)").format(
            kind=kind if kind != "invented" else kind.capitalize(),
            count=counted[f"{kind}_count"],
            volume=counted[f"{kind}_ml"],
        )
        for kind in KIND_ORDER
    }
    text = _(
        "In the true scans: {volume:.2f} ml, of which {found} and {missed}. {invented}. Parts of "
        "found lesions: {lost:.2f} ml missing, {added:.2f} ml extra."
    )
    return text.format(
        volume=counted["found_ml"] + counted["missed_ml"],
        lost=report.lost_part_ml,
        added=report.added_part_ml,
        **parts,
    )


# The table


def rows_of(measured: Measured) -> list[Row]:
    """Return the lesions, those that matter most first; without a reference the regions."""
    if measured.report is None:
        return [
            {
                "volume_ml": one.volume_ml,
                "mean_uptake": one.mean,
                "uncertainty": one.uncertainty,
                **_place(one.inside_ras_mm),
            }
            for one in measured.regions.regions
        ]
    lesions = sorted(measured.report.lesions, key=lambda one: KIND_ORDER.index(one.kind))
    return [
        {
            "kind": one.kind,
            "volume_ml": one.volume_ml,
            "overlap": one.overlap,
            "mean_error": one.mean_error,
            "uncertainty": one.uncertainty,
            **_place(one.inside_ras_mm),
        }
        for one in lesions
    ]


def _place(ras_mm: Sequence[float]) -> dict[str, float]:
    return dict(zip(("r_mm", "a_mm", "s_mm"), ras_mm, strict=True))


def write_rows(path: str | Path, rows: Sequence[Row], about: Mapping[str, str]) -> None:
    """Write rows as CSV, with what they are ``about`` in the columns after them.

    Raises RequestError when the file cannot be written.
    """
    keys = [key for key in COLUMNS if any(key in row for row in rows)]
    titles = [COLUMNS[key].format(unit=about.get("unit", "")) for key in keys]
    behind = {title: text for title, text in about.items() if title != "unit"}
    cells = [[*(_cell(row.get(key)) for key in keys), *behind.values()] for row in rows]
    write_cells(path, [[*titles, *behind], *cells])


def _cell(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str("" if value is None else value)


def about_rows(scans: Scans, settings: Settings) -> dict[str, str]:
    """Return what the rows of a file are of: the unit, the scans, and the threshold."""
    region = scans.region.name if scans.region is not None else ""
    unit = unit_of(settings, region)
    roles = {role: name for role, name in scans.names.items() if role != "mask"}
    threshold = _("threshold, {unit}").format(unit=unit)
    smallest = _("smallest volume, ml")
    limits = {threshold: f"{settings.threshold:g}", smallest: f"{settings.smallest_ml:g}"}
    return {"unit": unit, **roles, **limits}
