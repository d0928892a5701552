"""What was measured of the kinetics of regions: types, measures, the agreement of two series."""

import qt
from slicer.i18n import tr as _

from ContrastSynthPanel.scene import kinetic_results as results
from ContrastSynthPanel.widgets.echo import Echo
from ContrastSynthPanel.widgets.forms import long_text, show_text
from ContrastSynthPanel.widgets.lesion_table import swatch
from ContrastSynthPanel.widgets.slots import connect
from ContrastSynthPanel.widgets.value_table import (
    bold,
    difference,
    fill,
    fit_height,
    new_table,
    number,
)

TYPES = {"I": _("type I, persistent"), "II": _("type II, plateau"), "III": _("type III, washout")}
SHORT = {"I": _("I, persistent"), "II": _("II, plateau"), "III": _("III, washout")}


class KineticsResults:
    """The types of all regions, and the measures and the agreement of one of them.

    ``chosen`` is called when a person chose another region.
    """

    def __init__(self, chosen):
        """Make the widgets, which show nothing."""
        self._chosen, self._echo, self._found, self.region = chosen, Echo(), {}, ""
        self.widget = qt.QWidget()
        column = qt.QVBoxLayout(self.widget)
        column.setContentsMargins(0, 0, 0, 0)
        self.about_label, self.type_label, self.region_label, self.notes = (
            long_text() for _n in range(4)
        )
        self.type_label.setFont(bold())
        self.regions = new_table([_("Region"), "", ""])
        self.regions.objectName = "regions"
        self.regions.toolTip = _("A click on a region shows its measures below.")
        connect(self.regions, "currentCellChanged(int,int,int,int)", self._picked)
        self.measures = new_table(["", "", "", ""])
        self.agreement = new_table([_("Agreement"), _("Value")])
        for label in (self.about_label, self.type_label, self.region_label, self.notes):
            label.wordWrap = True
            label.textFormat = qt.Qt.PlainText
        for widget in (
            self.about_label,
            self.regions,
            self.type_label,
            self.region_label,
            self.measures,
            self.agreement,
            self.notes,
        ):
            column.addWidget(widget)
        self.show({})

    @property
    def report(self):
        """The report of the region that is shown; None where nothing is."""
        return self._found.get("regions", {}).get(self.region)

    def show(self, found: dict) -> None:
        """Show what was measured; {} for nothing."""
        self._found, regions = found, list(found.get("regions", {}))
        self.widget.visible = bool(regions)
        self.region = self.region if self.region in regions else next(iter(regions), "")
        if not regions:
            return
        with self._echo:
            self._show_regions(found, regions)
        show_text(self.about_label, results.about(found))
        self._show_region()

    def _show_regions(self, found: dict, regions: list) -> None:
        titles, reports = found["titles"], found["regions"]
        self.regions.visible = len(regions) > 1
        self.regions.setHorizontalHeaderLabels([_("Region"), *titles, ""][:3])
        self.regions.setColumnHidden(2, len(titles) < 2)
        rows = [[name, *_types(reports[name], SHORT)] for name in regions]
        fill(self.regions, rows, words=(0, 1, 2))
        for n, name in enumerate(regions):
            self.regions.item(n, 0).setIcon(swatch(found["colours"].get(name, results.PLAIN)))
        self.regions.setCurrentCell(regions.index(self.region), 0)
        fit_height(self.regions)

    def _picked(self, row: int, *_signal) -> None:
        names = list(self._found.get("regions", {}))
        if not self._echo and 0 <= row < len(names):
            self.region = names[row]
            self._show_region()
            self._chosen()

    def _show_region(self) -> None:
        report, titles = self.report, self._found["titles"]
        two = "agreement" in report
        types = zip(titles, _types(report, TYPES), strict=True)
        show_text(self.type_label, "\n".join(f"{title}: {text}" for title, text in types))
        text = _("Region '{name}': {voxels} voxels, {ml:.2f} ml")
        if report["mask"]["voxels"] == 1:
            text = _("Region '{name}': {voxels} voxel, {ml:.2f} ml")
        show_text(self.region_label, text.format(name=self.region, **report["mask"]))
        heads = [_("Measure"), *titles, _("Difference")]
        self.measures.setHorizontalHeaderLabels(heads[: 4 if two else 2])
        self.measures.setColumnHidden(2, not two)
        self.measures.setColumnHidden(3, not two)
        fill(self.measures, measure_texts(report))
        self.agreement.visible = two
        fill(self.agreement, agreement_texts(report["agreement"]) if two else [])
        for table in (self.measures, self.agreement):
            fit_height(table)
        show_text(self.notes, "\n".join([*report["notes"], *self._found["notes"]]))

    def percent(self) -> dict:
        """Return the enhancement of each phase of the shown region, by title with the unit."""
        if self.report is None:
            return {}
        titles = [f"{title} (%)" for title in self._found["titles"]]
        return dict(zip(titles, results.enhancements(self.report), strict=True))


def _types(report: dict, words: dict) -> list[str]:
    text = _("no agent arrives"), _("no type")
    curves = results.curves_of(report)
    return [words.get(one["type"], text[one["arrival_s"] is not None]) for one in curves]


def measure_texts(report: dict) -> list[list[str]]:
    """Return the rows of measures as a person reads them."""
    digits = [digits for _title, _factor, digits in results.MEASURES.values()]
    rows = results.measure_rows(report)
    if len(rows) > len(digits):
        digits += [*[0] * len(results.SHARES), results.DIGITS_OF_ML]
    return [
        [
            row[0],
            *(number(value, places) for value in row[1:3]),
            *(difference(value, places) for value in row[3:]),
        ]
        for row, places in zip(rows, digits, strict=True)
    ]


def agreement_texts(agreement: dict) -> list[list[str]]:
    """Return the rows of the agreement as a person reads them."""
    digits = [3, 3, 3, 1, 1, 1, 2]
    rows = results.agreement_rows(agreement)
    return [
        [title, number(value, places)] for (title, value), places in zip(rows, digits, strict=True)
    ]
