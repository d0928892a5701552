"""What was measured of a region's kinetics: the type, the measures, the agreement of two series."""

import qt
from slicer.i18n import tr as _

from ContrastSynthLib.analysis.kinetics import TYPES as TYPE_NUMBERS
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.images import SYNTHETIC_KEY
from ContrastSynthPanel.scene import bridge, tables
from ContrastSynthPanel.widgets.value_table import (
    bold,
    difference,
    fill,
    fit_height,
    new_table,
    number,
)

# A saved scene keeps what was made under this name, which is never changed, and of which version.
NAME, SCHEMA_VERSION = "ContrastSynth kinetics", 1
TYPES = {"I": _("type I, persistent"), "II": _("type II, plateau"), "III": _("type III, washout")}
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


class KineticsResults:
    """A heading with the type, a table of the measures, one of the agreement, and remarks."""

    def __init__(self):
        """Make the widgets, which show nothing."""
        self.widget = qt.QWidget()
        column = qt.QVBoxLayout(self.widget)
        column.setContentsMargins(0, 0, 0, 0)
        self.type_label, self.region_label, self.notes = qt.QLabel(), qt.QLabel(), qt.QLabel()
        self.type_label.setFont(bold())
        self.measures = new_table(["", "", "", ""])
        self.agreement = new_table([_("Agreement"), _("Value")])
        for label in (self.type_label, self.region_label, self.notes):
            label.wordWrap = True
            label.textFormat = qt.Qt.PlainText
        for widget in (
            self.type_label,
            self.region_label,
            self.measures,
            self.agreement,
            self.notes,
        ):
            column.addWidget(widget)
        self.clear()

    def clear(self) -> None:
        """Show nothing: what was measured does not belong to what is chosen."""
        self.widget.hide()

    def show(self, found: dict) -> None:
        """Show what :func:`measured` returned."""
        report, titles, two = found["report"], found["titles"], "agreement" in found["report"]
        self.type_label.text = "\n".join(_types(report, titles))
        text = _("Region '{name}': {voxels} voxels, {ml:.2f} ml")
        self.region_label.text = text.format(name=found["region"], **report["mask"])
        heads = [_("Measure"), *titles, _("Difference")]
        self.measures.setHorizontalHeaderLabels(heads[: 4 if two else 2])
        self.measures.setColumnHidden(2, not two)
        self.measures.setColumnHidden(3, not two)
        fill(self.measures, measure_texts(report))
        self.agreement.visible = two
        fill(self.agreement, agreement_texts(report["agreement"]) if two else [])
        for table in (self.measures, self.agreement):
            fit_height(table)
        self.notes.text = "\n".join(report["notes"])
        self.notes.visible = bool(report["notes"])
        self.widget.show()


def measured(report: dict, names: list[str], marked: list[bool], region: str) -> dict:
    """Return a report with what it is about: JSON, as a saved scene keeps it.

    ``names`` are those of the series, ``marked`` whether each is synthetic.
    """
    words = [_("Real"), _("Compared")]
    titles = [SYNTHETIC_KEY if mark else word for mark, word in zip(marked, words, strict=False)]
    labels = [bridge.synthetic_name(*one) for one in zip(names, marked, strict=True)]
    text = {"titles": titles, "labels": labels, "region": region}
    return {"schema_version": SCHEMA_VERSION, "report": report, **text}


def curves_of(report: dict) -> list[dict]:
    """Return the curve, and the synthetic one if there is one."""
    return [report["curve"], *([report["synthetic"]["curve"]] if "synthetic" in report else [])]


def enhancements(report: dict) -> list[list]:
    """Return each curve in percent of its signal before the agent, None where it has no phase.

    Raises RequestError for a signal before the agent that is not above 0.
    """
    percent = []
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


def add_nodes(scene, found: dict):
    """Put the measures into the scene as a table, the curves as a chart; return the chart."""
    report, labels = found["report"], found["labels"]
    lines = dict(zip(_distinct(labels), enhancements(report), strict=True))
    columns = _("Measure"), *_distinct(found["titles"]), _("Difference")
    numbers = {name: number for number, name in TYPE_NUMBERS.items()}
    types = [numbers.get(curve["type"]) for curve in curves_of(report)]
    text = [
        [_("Type (1 persistent, 2 plateau, 3 washout)"), *types],
        *measure_rows(report),
        *agreement_rows(report.get("agreement")),
    ]
    rows = [dict(zip(columns, row, strict=False)) for row in text]
    tables.table_from_rows(scene, f"{NAME} measures", rows)
    times = report["curve"]["times_s"]
    chart = tables.plot_lines(scene, NAME, times, lines, _("Time (s)"), _("Enhancement (%)"))
    chart.SetTitle(_("Kinetics of '{region}'").format(region=found["region"]))
    return chart


def _distinct(names: list[str]) -> list[str]:
    return [name if name not in names[:n] else f"{name} ({n + 1})" for n, name in enumerate(names)]


def _types(report: dict, titles: list[str]) -> list[str]:
    text = _("no agent arrives"), _("no type")
    curves = zip(titles, curves_of(report), strict=True)
    return [
        f"{title}: {TYPES.get(curve['type'], text[curve['arrival_s'] is not None])}"
        for title, curve in curves
    ]


def measure_rows(report: dict) -> list[list]:
    """Return title, value of each series, and difference, of all measures, in their units."""
    rows = []
    for key, (title, factor, _digits) in MEASURES.items():
        values = [curve[key] for curve in curves_of(report)]
        if "agreement" in report:
            values.append(report["agreement"]["differences"][key])
        rows.append([title, *(None if value is None else factor * value for value in values)])
    return rows + _share_rows(report)


def _share_rows(report: dict) -> list[list]:
    """Return the shares of the types among the voxels, without those that no series has."""
    text = [report["voxels"], *([report["synthetic"]["voxels"]] if "synthetic" in report else [])]
    if any(one is None for one in text):
        return []
    rows = []
    for key, title in SHARES.items():
        values = [100.0 * one["share_of_type"][key] for one in text]
        rows.append([title, *values, *([values[1] - values[0]] if len(values) > 1 else [])])
    return rows


def measure_texts(report: dict) -> list[list[str]]:
    """Return the rows as a person reads them."""
    digits = [digits for _title, _factor, digits in MEASURES.values()]
    rows = measure_rows(report)
    digits += [0] * (len(rows) - len(digits))
    return [
        [
            row[0],
            *(number(value, places) for value in row[1:3]),
            *(difference(value, places) for value in row[3:]),
        ]
        for row, places in zip(rows, digits, strict=True)
    ]


def agreement_rows(agreement) -> list[list]:
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


def agreement_texts(agreement: dict) -> list[list[str]]:
    """Return the rows as a person reads them."""
    digits = [3, 3, 3, 1, 1, 1, 2]
    rows = agreement_rows(agreement)
    return [
        [title, number(value, places)] for (title, value), places in zip(rows, digits, strict=True)
    ]
