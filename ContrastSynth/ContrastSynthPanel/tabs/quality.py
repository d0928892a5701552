"""The tab that measures a synthetic volume beside the true one."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import qt
import slicer
from slicer.i18n import tr as _

from ContrastSynthLib.analysis.evaluation_rows import evaluation_rows, measured_by, rows_as_csv
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.writing import write_text
from ContrastSynthLib.metrics.image import SKIMAGE_HINT
from ContrastSynthLib.registry import IMAGE, METHODS, Input
from ContrastSynthPanel.scene import bridge, series_names, tables
from ContrastSynthPanel.tabs.tab import Tab
from ContrastSynthPanel.widgets.forms import (
    add_row,
    choose,
    chosen,
    combo,
    new_form,
    once_after,
    show_text,
)
from ContrastSynthPanel.widgets.input_selectors import InputSelectors
from ContrastSynthPanel.widgets.node_selectors import PICK_AFTER_MS, scans_in_scene
from ContrastSynthPanel.widgets.run_section import RunSection
from ContrastSynthPanel.widgets.value_table import fill, fit_height, new_table

REFERENCE, SYNTHETIC, PRE, POST = "reference", "synthetic", "pre", "post"
COMPARED = SimpleNamespace(
    inputs={
        SYNTHETIC: Input(_("Synthetic")),
        REFERENCE: Input(_("Reference (true)")),
        PRE: Input(_("Pre-contrast"), optional=True),
        POST: Input(_("Post-contrast"), optional=True),
    },
    reference=REFERENCE,
    required=(SYNTHETIC, REFERENCE),
)
"""What is chosen, declared as a method declares its inputs."""
NORMALISE = {
    "median": _("In medians of the brain"),
    "none": _("As they are"),
}
ARROWS = {"lower": "\N{DOWNWARDS ARROW}", "higher": "\N{UPWARDS ARROW}", "": ""}


class ComparedSelectors(InputSelectors):
    """The volumes to compare; the newest synthetic one, and what it should be, are picked."""

    mask_title = _("Mask to measure in")
    mask_if_none = _("None: brain and uptake only")

    def pick(self) -> None:
        """Pick what nobody chose: by names, and by what made the newest synthetic volume."""
        made = [node for node in scans_in_scene() if is_synthetic_image(node)]
        real = [node for node in scans_in_scene() if not node.GetAttribute(bridge.SYNTHETIC)]
        free = {role for role in self.method.inputs if role not in self.chosen}
        if SYNTHETIC in free:
            self.show_nodes({SYNTHETIC: made[-1] if made else None})
        synthetic = self.selectors[SYNTHETIC].currentNode()
        role = (synthetic.GetAttribute(bridge.OUTPUT) or "") if synthetic is not None else ""
        named = series_names.pick_roles(real, sorted({PRE, POST, role}))
        found = {REFERENCE: named[role], PRE: named[PRE], POST: named[POST]}
        if any(found[one] is None for one in {PRE, POST} & free):
            found[PRE] = found[POST] = None  # one without the other is of no use
        self.show_nodes({one: node for one, node in found.items() if one in free})

    def chosen_twice(self, nodes: dict):
        """Return the synthetic volume where it is another one too; the true one may be."""
        others = [node for role, node in nodes.items() if role != SYNTHETIC]
        if nodes[SYNTHETIC] in others:
            return nodes[SYNTHETIC]
        return nodes[PRE] if PRE in nodes and nodes[PRE] is nodes.get(POST) else None

    def missing(self) -> str:
        """Return what keeps these from being compared; nothing if nothing."""
        alone = {PRE, POST} & set(self.nodes())
        if len(alone) == 1:
            text = _("'{title}' alone is of no use: choose both, or neither.")
            return text.format(title=self.title(*alone))
        return super().missing()


class QualityTab(Tab):
    """Measures in another process, as ``contrastsynth evaluate`` does, and shows the numbers."""

    title = _("Quality")

    def __init__(self, changed):
        """Make the tab."""
        super().__init__(changed)
        self._restoring, self._measuring = False, ""
        self.measured = {}  # title, notes, rows and noise of what was measured last
        self._pick_timer = once_after(PICK_AFTER_MS, self._pick)
        self.inputs = ComparedSelectors(self._edited)
        self.inputs.set_method(COMPARED)
        self.run = RunSection(
            self._measure, self._finished, _("Measure"), _("Measure how close they are.")
        )
        self._build()
        self._show({})
        self._pick()

    def _build(self) -> None:
        self.normalise_combo = combo("normalise", NORMALISE)
        self.normalise_combo.toolTip = _(
            "Two scans of one patient differ in overall brightness. Medians: each volume is "
            "divided by its own median in the brain."
        )
        self.normalise_combo.connect("currentIndexChanged(int)", self._edited)
        form = qt.QWidget()
        add_row(new_form(form), _("Intensities"), self.normalise_combo)
        about, self.title_label, self.notes_label = qt.QLabel(), qt.QLabel(), qt.QLabel()
        for label in (about, self.title_label, self.notes_label):
            label.wordWrap = True
        show_text(about, _("Measures how close a synthetic volume is to the true one."))
        self.table = new_table([_("Measure"), _("Value"), _("Unit"), ""])
        self.csv_button = qt.QPushButton(_("Save as CSV..."))
        self.table_button = qt.QPushButton(_("Add to scene"))
        self.table_button.toolTip = _("Makes a table in the scene, which is saved with it.")
        self.noise_button = qt.QPushButton(_("Noise spectrum"))
        self.noise_button.toolTip = _("Shows the power of the error by spatial frequency.")
        self.noise_button.connect("clicked(bool)", self._show_noise)
        self.csv_button.connect("clicked(bool)", self._save_csv)
        self.table_button.connect("clicked(bool)", self._add_table)
        self._buttons = qt.QWidget()
        row = qt.QHBoxLayout(self._buttons)
        row.setContentsMargins(0, 0, 0, 0)
        for button in (self.csv_button, self.table_button, self.noise_button):
            row.addWidget(button)
        for widget in (
            about,
            self.inputs.widget,
            form,
            self.run.widget,
            self.title_label,
            self.table,
            self.notes_label,
            self._buttons,
        ):
            self.column.addWidget(widget)
        self.column.addStretch(1)

    # What the user, and the scene, do

    def scene_changed(self) -> None:
        """Nodes came or went: pick and check, in a moment."""
        self.run.node_removed()
        self._pick_timer.start()

    def scene_closed(self) -> None:
        """The scene is being closed: nothing of it is left to measure."""
        self.run.close(_("The scene was closed, and the measurement with it."))

    def forget_nodes(self) -> None:
        """The scene is an empty one."""
        self.inputs.forget()
        self._show({})
        self._check()

    def close(self) -> None:
        """End what runs, without a word: the panel is being taken down."""
        self._pick_timer.stop()
        self.run.close()

    def _pick(self) -> None:
        self.inputs.pick()
        self._edited()

    def _edited(self, *_signal) -> None:
        if not self._restoring:
            self._check()
            self._changed()

    def _check(self) -> None:
        there = importlib.util.find_spec("skimage") is not None
        self.run.block(self.inputs.missing() if there else SKIMAGE_HINT)

    @property
    def normalise(self) -> str:
        """The chosen way to make intensities comparable."""
        return chosen(self.normalise_combo)

    # A measurement

    def _measure(self, *_signal) -> None:
        self.inputs.pick()
        self._check()  # A node may have been changed since the last look.
        if self.run.running or not self.run.apply_button.enabled:
            return
        nodes = self.inputs.nodes()
        options = [f"--align={self.inputs.align}", f"--normalise={self.normalise}"]

        def arguments(paths: dict, _results) -> list[str]:
            files = [f"--{role}={path}" for role, (path,) in paths.items()]
            return ["evaluate", *files, *options, "--progress=json"]

        title = _("{synthetic} against {reference}")
        self._measuring = title.format(
            synthetic=nodes[SYNTHETIC].GetName(), reference=nodes[REFERENCE].GetName()
        )
        self.run.start(nodes, nodes[SYNTHETIC], arguments)

    def _finished(self, event, _results, _reference) -> tuple[str, str]:
        report = event.report["report"]
        text = [measured_by(report), *report["notes"]]
        moved = report.get("alignment", {})
        text += [done["note"] for done in moved.values() if "note" in done]
        self._show(
            {
                "title": self._measuring,
                "told": text,
                "rows": evaluation_rows(report),
                "noise": report["noise"],
            }
        )
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
        name = "".join(c if c.isalnum() or c in " -_" else "_" for c in self.measured["title"])
        path = qt.QFileDialog.getSaveFileName(
            slicer.util.mainWindow(), _("Save the measures"), f"{name}.csv", "CSV (*.csv)"
        )
        if not path:
            return
        path = Path(path) if Path(path).suffix else Path(f"{path}.csv")
        try:
            write_text(path, rows_as_csv(self.measured["rows"]))
        except RequestError as error:
            self.run.show_message("failed", str(error))
        else:
            self.run.show_message("done", _("Saved as {path}.").format(path=path))

    def _add_table(self, *_signal) -> None:
        name = _("Quality of {title}").format(title=self.measured["title"])
        node = tables.table_from_rows(slicer.mrmlScene, name, self.measured["rows"])
        self.run.show_message("done", _("'{name}' is in the scene.").format(name=node.GetName()))

    def _show_noise(self, *_signal) -> None:
        noise = self.measured["noise"]
        name = _("Noise of {title}").format(title=self.measured["title"])
        chart = tables.plot_lines(
            slicer.mrmlScene,
            name,
            noise["radial_frequency_per_mm"],
            {_("Error"): noise["radial"]},
            _("Frequency (1/mm)"),
            _("Power (square of the intensities' unit, mm\N{SUPERSCRIPT TWO})"),
        )
        slicer.modules.plots.logic().ShowChartInLayout(chart)

    # What a saved scene keeps

    def state(self) -> dict:
        """Return everything that was chosen, nodes as nodes, and what was measured."""
        return {
            **self.inputs.state(),
            "normalise": self.normalise,
            "measured": self.measured,
        }

    def restore(self, state: dict) -> None:
        """Show a saved state; what this version does not know is left as it is."""
        self._restoring = True
        self.inputs.restore(state)
        choose(self.normalise_combo, state.get("normalise"))
        self._show(state.get("measured", {}))
        self._restoring = False
        self._pick()


def is_synthetic_image(node) -> bool:
    """Return whether a node is a synthetic scan: neither a real one nor a map."""
    if not node.GetAttribute(bridge.SYNTHETIC):
        return False
    method = METHODS.get(node.GetAttribute(bridge.METHOD))
    declared = method.outputs.get(node.GetAttribute(bridge.OUTPUT)) if method else None
    return declared is None or declared.kind == IMAGE


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
