"""The tab of a dynamic series: its phases, and how regions take up and lose the agent."""

import qt
from slicer.i18n import tr as _

from ContrastSynthLib.analysis import kinetic_rows
from ContrastSynthLib.files.csv_rows import rows_as_csv
from ContrastSynthLib.files.writing import write_text
from ContrastSynthPanel.scene import kinetic_case
from ContrastSynthPanel.scene import kinetic_results as results
from ContrastSynthPanel.scene.case import INPUT, REGION, RESULT
from ContrastSynthPanel.scene.chart_view import ChartView
from ContrastSynthPanel.scene.kinetic_case import Asked
from ContrastSynthPanel.scene.view_keeper import ViewKeeper, is_there
from ContrastSynthPanel.tabs.tab import Tab
from ContrastSynthPanel.widgets.action import Action
from ContrastSynthPanel.widgets.csv_dialog import save_as_csv
from ContrastSynthPanel.widgets.cursor_box import CursorBox
from ContrastSynthPanel.widgets.echo import Echo
from ContrastSynthPanel.widgets.forms import long_text, new_section, show_text
from ContrastSynthPanel.widgets.kinetics_results import KineticsResults
from ContrastSynthPanel.widgets.map_box import MapBox
from ContrastSynthPanel.widgets.message import Message
from ContrastSynthPanel.widgets.phase_box import PhaseBox
from ContrastSynthPanel.widgets.slots import connect
from ContrastSynthPanel.widgets.work_box import WorkBox

# What is written as CSV: a row for each phase, or for each region.
CURVES = (kinetic_rows.curve_rows, kinetic_rows.CURVE_COLUMNS)
MEASURES = (kinetic_rows.measure_rows, kinetic_rows.MEASURE_COLUMNS)


class KineticsTab(Tab):
    """Phases of a series and of the synthetic one, regions measured, maps, curves at the cursor."""

    title = _("Kinetics")
    uses = (INPUT, RESULT, REGION)

    def __init__(self, box, changed):
        """Make the tab."""
        super().__init__(box, changed)
        self._in_view, self._echo, self._asked, self._chart = False, Echo(), Asked(), None
        self.found = {}  # what was measured last,
        self._of, self._stamps = Asked(), {}  # of what, and how it was then
        self._old = self._old_when_saved = ""  # what was changed since
        self.chart, self.age, self.message = ChartView(), Message(), Message()
        self.work = WorkBox(self._cancelled)
        self.results = KineticsResults(self._show_region)
        self.phases = PhaseBox(self._corrected, self.message.show, self._put_map_over)
        self.maps = MapBox(self.phases, changed)
        self.cursor = CursorBox(self._measured_chart, self._show_in_plot)
        self.action = Action(
            "measure", _("Measure"), _("Measure the mean curve of each region."), self._measure
        )
        self._build()
        self._check()

    def _build(self) -> None:
        self.hint_label = long_text()
        self.hint_label.wordWrap = True
        self.each_box = qt.QCheckBox(_("Each region by itself"))
        self.each_box.objectName = "each"
        self.each_box.toolTip = _(
            "Each visible segment of the segmentation, or each label of the label map, gets its "
            "own curve, type and measures. Otherwise all are one region."
        )
        connect(self.each_box, "toggled(bool)", lambda _on: self._edited())
        self.phase_section = new_section(_("Phases"), self.phases.widget)
        self.map_section = new_section(_("Maps"), self.maps.widget)
        for widget in (
            self.hint_label,
            self.phase_section,
            self.each_box,
            self.action.widget,
            self.work.widget,
            self.message.widget,
            self.age.widget,
            self.results.widget,
            self._new_buttons(),
            self.cursor.widget,
            self.map_section,
        ):
            self.column.addWidget(widget)
        self.column.addStretch(1)

    def _new_buttons(self):
        """Return the row of buttons below the measures."""
        self.curves_button = qt.QPushButton(_("Curves as CSV..."))
        self.measures_button = qt.QPushButton(_("Measures as CSV..."))
        self._buttons = qt.QWidget()
        row = qt.QHBoxLayout(self._buttons)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.curves_button)
        row.addWidget(self.measures_button)
        name = _("Curves of {region}")
        connect(self.curves_button, "clicked(bool)", lambda *_s: self._save(name, *CURVES))
        names = _("Measures of {region}")
        connect(self.measures_button, "clicked(bool)", lambda *_s: self._save(names, *MEASURES))
        self._buttons.hide()
        return self._buttons

    @property
    def measure_button(self):
        """The button that measures."""
        return self.action.button

    # What a person, and the scene, do

    def scene_changed(self) -> None:
        """Nodes came or went: check."""
        self._check()

    def case_changed(self) -> None:
        """Another series or region is to be measured."""
        self._check()

    def look(self) -> None:
        """Voxels, times, places and segments change without a word: check again."""
        self._check()

    def node_removed(self) -> None:
        """A node is gone: measures and maps of it are of no use."""
        gone = [node for node in self._asked.nodes.values() if not is_there(node)]
        running = self.work.running or self.maps.work.running
        if gone and running:
            self.work.stop()
            self.maps.hide()
            self.message.show("warning", _("Stopped: what was measured was deleted."))
        if gone:
            self._asked = Asked()
            self.phases.follow(None, None)
            self.cursor.follow({}, 1)

    def scene_closed(self) -> None:
        """The scene is being closed: Slicer keeps the layout that it has now."""
        self.work.stop()
        self.left()

    def forget_nodes(self) -> None:
        """The scene is an empty one."""
        self._of, self._stamps, self._chart = Asked(), {}, None
        self._old = self._old_when_saved = ""
        self.maps.forget()
        self.message.show("info", "")
        self._show({})
        self._check()

    def entered(self) -> None:
        """Show the curves that were measured, and the map."""
        self._in_view = True
        self._check()
        self._show_chart()
        self.cursor.enter(True)
        self.maps.show_again()

    def left(self) -> None:
        """Put back the layout and what the slice views showed."""
        self._in_view = False
        self.cursor.enter(False)
        self.chart.put_back()
        self.phases.layers.put_back()
        self._changed()

    def close(self) -> None:
        """Hear no more of the scene."""
        self.work.stop()
        self.maps.work.stop()
        self.left()
        self.cursor.close()
        self.phases.close()

    def _edited(self) -> None:
        if not self._echo:
            self._check()
            self._changed()

    def _corrected(self, text: str) -> None:
        self.message.show("done", text)
        self._edited()

    def _put_map_over(self) -> None:
        self.maps.put_over()
        self._changed()

    def _check(self) -> None:
        """Show the phases, what is missing for measuring, and what is out of date."""
        self._asked = found = kinetic_case.asked(self.case, self.each_box.checked)
        nodes = {} if found.no_series else found.nodes
        second = found.nodes.get(kinetic_case.SYNTHETIC)
        others = self.phases.follow(found.nodes.get(kinetic_case.SERIES), second)
        self.phase_section.visible = kinetic_case.SERIES in found.nodes
        self.map_section.visible = bool(nodes)
        self.each_box.visible = found.several
        show_text(self.hint_label, "\n".join(found.notes))
        self.action.block(found.problem)
        self.action.busy(_("Measuring") if self.work.running else "")
        self._show_age()
        if others:
            self._show_region()
        self.cursor.widget.visible = bool(nodes)
        self.cursor.follow(nodes, self._baseline_frames())
        self.maps.check(found)

    def _baseline_frames(self) -> int:
        """Return how many phases are before the agent: as it was measured, else the first."""
        known = None if self._old or not self.results.report else self.results.report["curve"]
        return (known or {}).get("baseline_frames") or 1

    def _changed_since(self, asked: Asked) -> str:
        """Return what differs from what was measured; nothing where nothing was."""
        if not self.found:
            return ""
        return kinetic_case.change(self._stamps, asked) or self._old_when_saved

    def _show_age(self) -> None:
        """Say at once where the measures are no longer those of what is chosen."""
        said = self._changed_since(self._asked)
        text = _("Out of date: {change}. Press Measure.").format(change=said) if said else ""
        if text != self.age.text:
            self._old = said
            self.age.show("warning", text)
            self.phases.show_enhancement({} if said else self.results.percent())
            if self._chart is not None and is_there(self._chart):
                results.show_age(self._chart, self.found, bool(said))
            self._changed()
        for widget in (self.results.widget, self._buttons):
            widget.enabled = not said

    # Measuring

    def _measure(self) -> None:
        self._check()  # a node may have been changed since the last look
        if self.action.blocked:
            return
        asked, stamps = self._asked, kinetic_case.stamps_of(self._asked)
        self.message.show("info", "")

        def done(found: dict) -> None:
            self._measured(asked, stamps, found)

        self.work.start(results.measuring(asked), done, self._failed)
        self._check()

    def _measured(self, asked: Asked, stamps: dict, found: dict) -> None:
        self._of, self._stamps, self._old_when_saved = asked, stamps, ""
        self._show(found)
        self._show_chart()
        self._check()
        self._changed()

    def _failed(self, error: Exception) -> None:
        self.message.show("failed", str(error))
        self._check()

    def _cancelled(self) -> None:
        self.message.show("info", _("Cancelled. Nothing was measured."))
        self._check()

    def _show(self, found: dict) -> None:
        """Show what was measured; {} for nothing."""
        self.found = found
        self.results.show(found)
        self._buttons.visible = bool(found)
        self._show_region()

    def _show_region(self) -> None:
        self.phases.show_enhancement({} if self._old else self.results.percent())

    # The chart

    def _measured_chart(self):
        """Return the chart of what was measured; None where there is none."""
        there = self.found and self._chart is not None and is_there(self._chart)
        return self._chart if there else None

    def _show_chart(self) -> None:
        """Show the chart of the results, made again if somebody deleted it."""
        if not self.found or not self._in_view:
            return
        self._chart = results.add_nodes(self._measured_nodes(), self.found)
        results.show_age(self._chart, self.found, bool(self._old))
        self._show_in_plot(self._chart)
        self.cursor.again()

    def _measured_nodes(self) -> dict:
        return {role: node for role, node in self._of.nodes.items() if is_there(node)}

    def _show_in_plot(self, chart) -> None:
        if chart is not self.chart.chart:
            self.chart.show(chart)
        else:
            self.chart.fit()

    def _save(self, name: str, rows, columns) -> None:
        text = rows_as_csv(rows(self.found["regions"]), columns)
        save_as_csv(
            _("Save as CSV"),
            name.format(region=self.found["region"]),
            lambda path: write_text(path, text),
            self.message.show,
        )

    # What a saved scene keeps

    def state(self) -> dict:
        """Return what was measured of which nodes, and views as they were before."""
        return {
            "found": self.found,
            "of": self._measured_nodes(),
            "segment": self._of.segment,
            "of_each": self._of.each,
            "out_of_date": self._changed_since(self._of),
            "each": self.each_box.checked,
            "maps": self.maps.state(),
            "before": self.phases.layers.kept,
        }

    def restore(self, state: dict) -> None:
        """Show a saved state; a map is not shown again: the views are as they were before it."""
        self._restore_choices(state.get("nodes", {}), state.get("segment", ""))
        with self._echo:
            self.each_box.checked = bool(state.get("each", self.each_box.checked))
        self.maps.restore(state.get("maps", {}))
        if not self.phases.layers.active:
            saved = ViewKeeper()
            saved.restore(state.get("before", []))
            saved.put_back()
        found = results.saved(state.get("found"))
        if found != self.found:  # else it is shown, and known how old it is
            of = state.get("of") or state.get("nodes", {})  # the latter before there was a case
            nodes = {role: node for role, node in of.items() if node is not None}
            each = bool(state.get("of_each", False))
            self._of = Asked(nodes, state.get("segment", ""), each)
            self._stamps = kinetic_case.stamps_of(self._of)
            self._old_when_saved = state.get("out_of_date", "")
            self._show(found)
        self._check()
        self._show_chart()

    def _restore_choices(self, nodes: dict, segment: str) -> None:
        """Have the case be what was chosen here, in a scene saved before there was a case."""
        old = (("series", INPUT), ("synthetic", RESULT), ("region", REGION))
        for role, of_case in old:
            node = nodes.get(role)
            if node is not None and of_case not in self.case.chosen:
                self.case.choose(of_case, node)
                if of_case == REGION:
                    self.case.segments[REGION] = segment
        self.box.show()
