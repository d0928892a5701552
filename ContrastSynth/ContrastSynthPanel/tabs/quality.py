"""The tab that measures a result beside the true scan that it imitates."""

import time

import qt
import slicer
from slicer.i18n import tr as _

from ContrastSynthLib.analysis.evaluation_rows import COLUMNS, evaluation_rows, measured_by
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.csv_rows import rows_as_csv
from ContrastSynthLib.files.writing import write_text
from ContrastSynthPanel.scene import comparison, tables
from ContrastSynthPanel.scene.case import MASK, RESULT, TRUTH
from ContrastSynthPanel.scene.comparison import REFERENCE, SYNTHETIC, Compared
from ContrastSynthPanel.tabs.tab import Tab
from ContrastSynthPanel.widgets.align_box import AlignBox, grid_of
from ContrastSynthPanel.widgets.csv_dialog import save_as_csv
from ContrastSynthPanel.widgets.dependency_box import DependencyBox
from ContrastSynthPanel.widgets.echo import Echo
from ContrastSynthPanel.widgets.forms import (
    add_row,
    choose,
    chosen,
    combo,
    long_text,
    new_form,
    show_text,
)
from ContrastSynthPanel.widgets.message import Message
from ContrastSynthPanel.widgets.run_section import RunSection
from ContrastSynthPanel.widgets.slots import connect
from ContrastSynthPanel.widgets.value_table import fill, fit_height, new_table

PACKAGES = "scans"  # the group of packages that some measures need
NORMALISE = {
    "median": _("In their medians"),
    "none": _("As they are"),
}
INTENSITIES, ALIGN = _("Intensities"), _("Align")
ARROWS = {"lower": "\N{DOWNWARDS ARROW}", "higher": "\N{UPWARDS ARROW}", "": ""}


class QualityTab(Tab):
    """Measures in another process, as ``contrastsynth evaluate`` does, and shows the numbers."""

    title = _("Quality")
    uses = (RESULT, TRUTH, MASK)

    def __init__(self, box, changed):
        """Make the tab."""
        super().__init__(box, changed)
        self._echo, self._compared = Echo(), Compared()
        self.measured = {}  # title, notes, rows and noise of what was measured last
        self._of, self._stamps, self._running = {}, {}, {}  # of which nodes, as they were then
        self._old = ""  # what had changed since when the scene was saved
        self.run = RunSection(
            self._measure, self._finished, _("Measure"), _("Measure how close they are.")
        )
        self.alignment = AlignBox(self._edited)
        needed = _("Needed for these measures.")
        self.dependencies = DependencyBox(self._edited, self.run.show_message, needed)
        self.age = Message()  # why numbers are out of date
        self._build()
        self._show({})
        self._check()

    def _build(self) -> None:
        self.normalise_combo = combo("normalise", NORMALISE)
        self.normalise_combo.toolTip = _(
            "Two scans of one patient differ in overall brightness. Medians: each volume is "
            "divided by its own median in the region that is measured."
        )
        connect(self.normalise_combo, "currentIndexChanged(int)", self._edited)
        form = qt.QWidget()
        add_row(new_form(form), INTENSITIES, self.normalise_combo)
        about, self.hint_label, self.title_label, self.notes_label = (
            long_text() for _number in range(4)
        )
        for label in (about, self.hint_label, self.title_label, self.notes_label):
            label.wordWrap = True
        text = _("Measures how close the result is to its reference, the true scan.")
        show_text(about, text)
        self.table = new_table([_("Measure"), _("Value"), _("Unit"), ""])
        for widget in (
            about,
            form,
            self.alignment.widget,
            self.hint_label,
            self.dependencies.widget,
            self.run.widget,
            self.age.widget,
            self.title_label,
            self.table,
            self.notes_label,
            self._new_buttons(),
            self.run.log_section,
        ):
            self.column.addWidget(widget)
        self.column.addStretch(1)

    def _new_buttons(self):
        """Return the row of buttons below the numbers."""
        self.csv_button = qt.QPushButton(_("Save as CSV..."))
        self.table_button = qt.QPushButton(_("Add to scene"))
        self.table_button.toolTip = _("Makes a table in the scene, which is saved with it.")
        self.noise_button = qt.QPushButton(_("Noise spectrum"))
        self.noise_button.toolTip = _("Shows the power of the error by spatial frequency.")
        connect(self.csv_button, "clicked(bool)", self._save_csv)
        connect(self.table_button, "clicked(bool)", self._add_table)
        connect(self.noise_button, "clicked(bool)", self._show_noise)
        self._buttons = qt.QWidget()
        row = qt.QHBoxLayout(self._buttons)
        row.setContentsMargins(0, 0, 0, 0)
        for button in (self.csv_button, self.table_button, self.noise_button):
            row.addWidget(button)
        return self._buttons

    # What the user, and the scene, do

    def scene_changed(self) -> None:
        """Nodes came or went: check."""
        self._check()

    def case_changed(self) -> None:
        """Another result, reference or mask is to be measured."""
        self._check()

    def node_removed(self) -> None:
        """A node is gone: a measurement of it is of no use."""
        self.run.node_removed()

    def scene_closed(self) -> None:
        """The scene is being closed: nothing of it is left to measure."""
        self.run.close(_("The scene was closed, and the measurement with it."))

    def forget_nodes(self) -> None:
        """The scene is an empty one."""
        self._of, self._stamps, self._running, self._old = {}, {}, {}, ""
        self._show({})
        self._check()

    def look(self) -> None:
        """Grids, voxels and segments change without a word: check again."""
        if not self.run.running:
            self._check()

    def close(self) -> None:
        """End what runs, without a word: the panel is being taken down."""
        self.run.close()

    def _edited(self, *_signal) -> None:
        if not self._echo:
            self._check()
            self._changed()

    def _check(self) -> None:
        """Show what keeps these from being measured, and whether the numbers are theirs."""
        self._compared = comparison.compared(self.case)
        packages = self.dependencies.show([PACKAGES])
        self.run.block(self._problem() or packages)
        show_text(self.hint_label, "\n".join(self._compared.notes))
        self._show_age()

    def _problem(self) -> str:
        """Return why the case cannot be measured; nothing where it can."""
        if self._compared.problem:
            return self._compared.problem + self.alignment.show({})
        grids = {}
        for role, node in {**self._compared.volumes, MASK: self.case.node(MASK)}.items():
            title = comparison.TITLES[role].capitalize()
            try:
                grid = grid_of(node, mask=role == MASK)
            except RequestError as error:
                return f"{title}: {error}"
            if grid is not None:
                grids[title] = grid
        return self.alignment.show(grids) or self.case.unseen(MASK)

    @property
    def normalise(self) -> str:
        """The chosen way to make intensities comparable."""
        return chosen(self.normalise_combo)

    # Whether the numbers are out of date

    def _stamps_of(self, nodes) -> dict:
        settings = {
            INTENSITIES: self.normalise_combo.currentText,
            ALIGN: self.alignment.combo.currentText,
        }
        return comparison.stamps_of(nodes, self.case.segment(MASK), settings)

    def _changed_in(self, nodes) -> str:
        """Return what differs in these nodes from those that were measured, as they were."""
        if not self.measured.get("rows"):
            return ""
        return comparison.change(self._stamps, self._stamps_of(nodes), nodes)

    def _show_age(self) -> None:
        """Say at once where the numbers are no longer those of what is chosen."""
        said = self._changed_in(self._compared.nodes) or self._old
        text = _("Out of date: {change}. Press Measure.").format(change=said) if said else ""
        if text != self.age.text:
            self.age.show("warning", text)
            self._changed()
        for widget in (self.table, self.title_label, self.notes_label, self._buttons):
            widget.enabled = not said

    # A measurement

    def _measure(self) -> None:
        self._check()  # A node may have been changed since the last look.
        if self.run.running or self.run.action.blocked:
            return
        volumes = self._compared.volumes
        try:
            mask = self.case.mask_volume(MASK, volumes[REFERENCE])
        except RequestError as error:
            self.run.show_message("failed", str(error))
            return
        given = volumes if mask is None else {**volumes, MASK: mask}
        options = [f"--align={self.alignment.chosen}", f"--normalise={self.normalise}"]

        def arguments(paths: dict, _results) -> list[str]:
            files = [f"--{role}={path}" for role, (path,) in paths.items()]
            return ["evaluate", *files, *options, "--progress=json"]

        self._running = {
            "title": self._compared.title,
            "part": self._part(),
            "told": list(self._compared.notes),
            "of": dict(self._compared.nodes),
            "stamps": self._stamps_of(self._compared.nodes),
        }
        self.run.start(given, self._compared.nodes[SYNTHETIC], arguments)

    def _part(self) -> str:
        """Return what tells measurements of the same nodes apart: phases and the segment."""
        nodes = self._compared.nodes
        shown = [str(comparison.shown_phase(nodes[role])) for role in (SYNTHETIC, REFERENCE)]
        return " ".join([*shown, self.case.segment(MASK)]).strip()

    def _finished(self, event, _results, _reference):
        """Show the numbers, as a task."""
        yield
        running, report = self._running, event.report["report"]
        moved = report.get("alignment", {})
        told = [*running["told"], measured_by(report), *report["notes"]]
        self._of, self._stamps, self._old = running["of"], running["stamps"], ""
        self._show(
            {
                "title": running["title"],
                "part": running["part"],
                "when": time.strftime("%Y-%m-%d %H%M%S"),
                "told": told + [done["note"] for done in moved.values() if "note" in done],
                "rows": evaluation_rows(report),
                "noise": report["noise"],
            }
        )
        self._check()
        self._changed()
        return "info", ""

    def _show(self, measured: dict) -> None:
        """Show what was measured; {} for nothing."""
        self.measured = measured
        rows = measured.get("rows", [])
        texts, tips = table_rows(rows)
        fill(self.table, texts, words=(0, 2, 3), tips=tips)
        fit_height(self.table, len(texts))
        self.table.visible = bool(rows)
        legend = _("{title}\n{up} more is better, {down} less is better.").format(
            title=measured.get("title"), up=ARROWS["higher"], down=ARROWS["lower"]
        )
        show_text(self.title_label, legend if rows else "")
        show_text(self.notes_label, "\n".join(measured.get("told", ())))
        self._buttons.visible = bool(rows)

    # What the buttons do

    def _save_csv(self, *_signal) -> None:
        name = ", ".join(filter(None, [self.measured["title"], self.measured.get("when")]))
        text = rows_as_csv(self.measured["rows"], COLUMNS)
        save_as_csv(
            _("Save the measures"),
            name,
            lambda path: write_text(path, text),
            self.run.show_message,
        )

    def _place(self, what: str) -> tuple:
        """Return as what, and of which nodes, numbers are kept in the scene."""
        there = {role: node for role, node in self._of.items() if node.GetScene() is not None}
        return f"{what} {self.measured.get('part', '')}".strip(), there

    def _add_table(self, *_signal) -> None:
        name = _("Quality of {title}").format(title=self.measured["title"])
        node = tables.computed_table(*self._place("quality"), name, self.measured["rows"])
        self.run.show_message("done", _("'{name}' is in the scene.").format(name=node.GetName()))

    def _show_noise(self, *_signal) -> None:
        noise = self.measured["noise"]
        power = _("Power (square of the intensities' unit, mm\N{SUPERSCRIPT TWO})")
        chart = tables.computed_chart(
            *self._place("quality noise"),
            _("Noise of {title}").format(title=self.measured["title"]),
            noise["radial_frequency_per_mm"],
            {_("Error"): noise["radial"]},
            (_("Frequency (1/mm)"), power),
        )
        slicer.modules.plots.logic().ShowChartInLayout(chart)

    # What a saved scene keeps

    def state(self) -> dict:
        """Return what was chosen, and what was measured of which nodes."""
        return {
            "align": self.alignment.chosen,
            "normalise": self.normalise,
            "measured": self.measured,
            "of": self._place("")[1],
            "out_of_date": self._changed_in(self._of) or self._old,
        }

    def restore(self, state: dict) -> None:
        """Show a saved state; what this version does not know is left as it is."""
        self._restore_reference(state.get("nodes", {}), state.get("chosen", ()))
        measured = state.get("measured", {})
        with self._echo:
            self.alignment.restore(state.get("align"))
            choose(self.normalise_combo, state.get("normalise"))
        if measured != self.measured:  # else it is shown, and known how old it is
            of = state.get("of") or state.get("nodes", {})  # the latter before there was a case
            self._of = {role: node for role, node in of.items() if node is not None}
            self._old = state.get("out_of_date", "")
            self._stamps = self._stamps_of(self._of)
            self._show(measured)
        self._check()

    def _restore_reference(self, nodes: dict, by_hand) -> None:
        """Take up the reference that a person chose here before there was a case."""
        node = nodes.get(REFERENCE) if REFERENCE in by_hand else None
        same = self.case.node(RESULT) is nodes.get(SYNTHETIC)
        if node is not None and same and TRUTH not in self.case.chosen:
            self.case.choose(TRUTH, node)
            self.box.show()


def table_rows(rows: list) -> tuple[list, list]:
    """Return the rows of the table, with a title where another region begins, and their tips."""
    shown, tips, region = [], [], None
    for row in rows:
        if row["region"] != region:
            region = row["region"]
            shown.append([region])
            tips.append("")
        better = ARROWS.get(row["better"], "")
        shown.append([row["measure"], number_text(row["value"]), row["unit"], better])
        parts = [row["about"]]
        if row["data_range"] is not None:
            parts.append(_("Data range: {range:.4g}.").format(range=row["data_range"]))
        tips.append("\n".join(parts))
    return shown, tips


def number_text(value) -> str:
    """Return a number as short as it can be read; a dash where it is not defined."""
    if value is None:
        return "\N{EN DASH}"
    return str(value) if isinstance(value, int) else f"{value:.4g}"
