"""The tab of an iterative method: its curves as they grow, and the iterate to keep of them."""

import qt
import slicer
from slicer.i18n import tr as _

from ContrastSynthLib.registry import MASK_ROLE, METHODS, declared_parameters
from ContrastSynthPanel.scene import relations, tables
from ContrastSynthPanel.scene.bridge import PROVENANCE
from ContrastSynthPanel.scene.case import RESULT
from ContrastSynthPanel.scene.run_results import provenance_of
from ContrastSynthPanel.tabs.tab import Tab
from ContrastSynthPanel.widgets.action import Action
from ContrastSynthPanel.widgets.echo import Echo
from ContrastSynthPanel.widgets.forms import add_row, long_text, new_form, show_text, slider
from ContrastSynthPanel.widgets.history_view import (
    ITERATION,
    HistoryPlots,
    columns_of,
    history_of,
    history_of_node,
    number_text,
    plots_of,
    table_rows,
)
from ContrastSynthPanel.widgets.slots import connect
from ContrastSynthPanel.widgets.value_table import fill, fit_height, new_table

ITERATE = "iterate"  # the parameter of a method that takes the number of an iterate
MARGIN = 10  # of the tab, in pixels
MOST_NAMED = 3  # results that are proposed
OVER = ("finished", "failed", "cancelled")  # the last event of a run
AGAIN = _(
    "Runs the method again under 'Synthesise', on the same scans with the same parameters, up to "
    "this iterate, and keeps that in place of the last one."
)
STOPPED = {
    "tolerance": _("the objective fell by less than the tolerance"),
    "iterations": _("all iterations that were allowed"),
}


class InversionTab(Tab):
    """Shows the iterations of a run, under way or over, and runs it again up to one of them.

    A history is what the library records: a list of numbers for each column that the method
    declares. Shown is that of the case's result, of a run while it is under way, and, once an
    iterate of a result was kept by a run from here, still that result's: to try another one.
    """

    title = _("Inversion")
    uses = (RESULT,)

    def __init__(self, box, changed):
        """Make the tab."""
        super().__init__(box, changed)
        self._synthesise, self._echo = None, Echo()
        self._live = None  # the history of a run under way
        self._before = None  # the case's result when that run started
        self._result = None  # the case's result, as it was seen last
        self._source, self._text = None, ""  # the result whose history is shown, and what it says
        self._from_here = None  # the result that the run under way runs again, if it began here
        self.history, self._columns, self._numbers = {}, {}, {}
        self._provenance = {}
        self._build()
        self._show_node()

    def _build(self) -> None:
        self.intro, self.status, self.facts, self.iterate_label = (
            long_text() for _number in range(4)
        )
        for label in (self.intro, self.status, self.facts, self.iterate_label):
            label.wordWrap = True
        self.plots = HistoryPlots()
        self.table = new_table([_("Measure"), _("First"), _("Last")])
        self.iterate = slider("iterate", 1, 1, 1)
        self.iterate.toolTip = _("The dashed line in the curves. The last one is usually best.")
        self._iterate_box = qt.QWidget()
        add_row(new_form(self._iterate_box), _("Iterate to keep"), self.iterate)
        self.again = Action("again", _("Run again, keep this iterate"), AGAIN, self._run_again)
        self.again_button = self.again.button
        self.chart_button = qt.QPushButton(_("Show in a plot view"))
        self.chart_button.toolTip = _("Makes a chart of the curves in the scene and shows it.")
        for widget in (
            self.status,
            self.intro,
            self.plots.widget,
            self.table,
            self.facts,
            self._iterate_box,
            self.iterate_label,
            self.again.widget,
            self.chart_button,
        ):
            self.column.addWidget(widget)
        self.column.addStretch(1)
        connect(self.iterate, "valueChanged(double)", self._iterate_chosen)
        connect(self.chart_button, "clicked(bool)", self._show_chart)

    # What the scene, and the other tabs, do

    def meet(self, tabs: dict) -> None:
        """Hear of the runs of the tab Synthesise, and run again there."""
        self._synthesise = tabs["synthesise"]
        self._synthesise.run.listeners.append(self.heard)

    def entered(self) -> None:
        """The tab comes into view: now its width is known."""
        self._draw()

    def case_changed(self) -> None:
        """Another result may be the case's: show it, unless a run is under way."""
        if self._live is not None or self._from_here is not None:
            return
        gone = self._source is not None and self._source.GetScene() is None
        if gone or self.case.node(RESULT) is not self._result:
            self._show_node()

    def scene_changed(self) -> None:
        """Nodes came or went: so may have those that a run needs."""
        self.case_changed()
        self._show_buttons()

    def look(self) -> None:
        """A result may be another one in place of the old, as it is when a run is repeated."""
        if self._live is None and said_by(self._source) != self._text:
            self._show_node(self._source)

    def forget_nodes(self) -> None:
        """The scene is an empty one."""
        self._live = self._from_here = None
        self._show_node()

    def heard(self, event) -> None:
        """Take an event of a run: what it measures is drawn, and its result shown."""
        if event.kind == "started":
            self._live, self._before = None, self._made()
            self._show_buttons()
        elif event.kind == "progress":
            self._grow(event)
        elif event.kind in OVER:
            if self._live is not None or self._from_here is not None:
                self._end(event.kind == "finished")
            self._show_buttons()

    def _made(self) -> tuple:
        """Return what is another thing once a run has made a result."""
        return self.case.node(RESULT), said_by(self.case.node(RESULT))

    def _grow(self, event) -> None:
        method = self._synthesise.running_method
        columns = method.history if method is not None else {}
        measures = [one for one in event.measures if columns and set(columns) <= set(one)]
        if not measures:
            return
        live = self._live or {name: [] for name in columns}
        for one in measures:
            if live[ITERATION] and one[ITERATION] <= live[ITERATION][-1]:
                live = {name: [] for name in columns}  # began again, with less memory
            for name in columns:
                live[name].append(one[name])
        self._live = live
        show_text(self.status, _("Running. {text}.").format(text=event.text))
        self._show(live, {}, columns, measures[-1])

    def _end(self, finished: bool) -> None:
        """Show what a run has made; the curves of the result that it ran again stay."""
        done = len(self._live[ITERATION]) if self._live else 0
        again, result = self._from_here, self.case.node(RESULT)
        self._from_here = self._live = None
        made = finished and self._made() != self._before
        if again is None or again.GetScene() is None:
            again = result
        if made and again is result:
            self._show_node()
            return
        if history_of_node(again):
            self._show_node(again, self.kept)  # to try another iterate of the same history
        else:  # the curves so far stay in view
            self._provenance, self._result = {}, result
            self._source, self._text = result, said_by(result)
            self._show_buttons()
        text = _("The run ended after iteration {number}, without a result.")
        if made:
            text = _("'{name}' keeps iterate {number}.") + f" {self.status.text}"
        name = result.GetName() if made else ""
        show_text(self.status, text.format(name=name, number=done).strip())

    # What is shown

    def _show_node(self, node=None, kept: int | None = None) -> None:
        """Show a result, by default that of the case, and of its iterates one, or the last."""
        self._result = self.case.node(RESULT)
        node = self._source = node if node is not None else self._result
        self._provenance, self._text = provenance_of(node), said_by(node)
        history = history_of(self._provenance)
        text = "" if node is None or history else not_iterated(node)
        if history and node is not self._result:
            text = _("The curves are those of '{name}'.").format(name=node.GetName())
        show_text(self.status, text)
        columns, record = columns_of(self._provenance), self._provenance.get("record", {})
        with self._echo:
            self._show(history, self._provenance, columns, record)
            self.iterate.value = self.iterate.maximum if kept is None else float(kept)
        self._draw()

    def _show(self, history: dict, provenance: dict, columns, numbers) -> None:
        """Show a history, that of ``provenance`` or, without one, of a run under way.

        ``numbers`` holds the factors that its ``columns`` name.
        """
        self.history, last = history, len(history.get(ITERATION, ()))
        self._columns, self._numbers = columns, numbers
        if self._live is None:
            self.iterate.maximum = float(max(last, 1))
        fill(self.table, table_rows(history, columns, numbers) if history else [])
        fit_height(self.table)
        self.table.visible = bool(history)
        show_text(self.facts, facts(provenance) if history else "")
        show_text(self.intro, "" if history else what_to_do())
        self.plots.widget.visible = bool(history)
        self._draw()
        self._show_buttons()

    def _show_buttons(self) -> None:
        running = self._live is not None
        settled = bool(self.history) and not running and bool(self._provenance)
        method = METHODS.get(self._provenance.get("method", {}).get("key"))
        can = settled and method is not None and ITERATE in declared_parameters(method)
        self._iterate_box.visible = self.iterate_label.visible = self.again.widget.visible = can
        self.again.block(self._missing(method) if can else "")
        busy = self._synthesise is not None and self._synthesise.run.running
        self.again.busy(_("A run is under way.") if busy else "")
        self.chart_button.visible = bool(self.history) and not running

    def _missing(self, method) -> str:
        """Return which of the scans that the shown result was made from are gone."""
        there = relations.inputs_of(self._source)
        used = self._provenance.get("inputs") or method.required
        gone = [role for role in used if role not in there]
        if not gone:
            return ""
        titles = {role: given.title for role, given in method.inputs.items()}
        titles[MASK_ROLE] = _("Mask")
        text = _("No longer in the scene: {titles}. '{name}' was made from it.")
        listed = "; ".join(titles.get(role, role) for role in gone)
        return text.format(name=self._source.GetName(), titles=listed)

    def _draw(self) -> None:
        if not self.history:
            return
        running = self._live is not None
        plots = plots_of(self.history, self._columns, self._numbers)
        width = self.widget.width - 2 * MARGIN
        self.plots.show(width, self.history, plots, None if running else self.kept)
        if running or not plots:
            return
        title, values = next(iter(next(iter(plots.values())).items()))
        text = _("Iterate {number} of {count}: {title} {value}, in the last one {last}.")
        self.iterate_label.text = text.format(
            number=self.kept,
            count=len(values),
            title=title[:1].lower() + title[1:],
            value=number_text(values[self.kept - 1]),
            last=number_text(values[-1]),
        )

    @property
    def kept(self) -> int:
        """The number of the chosen iterate, from 1."""
        return round(self.iterate.value)

    def _iterate_chosen(self, _value) -> None:
        if self._live is None and not self._echo:
            self._draw()
            self._changed()

    # What the buttons do

    def _run_again(self) -> None:
        self._show_buttons()  # A node may have gone since the last look.
        if self.again.blocked:
            return
        preset, given = asked_for(self._provenance)
        self._from_here, nodes = self._source, relations.inputs_of(self._source)
        refused = self._synthesise.run_again(
            self._provenance["method"]["key"],
            preset,
            {**given, ITERATE: self.kept},
            nodes,
            self._provenance.get("alignment", {}).get("mode"),
        )
        if refused:
            self._from_here = None
        text = _("Not run. {reason}").format(reason=refused)
        show_text(self.status, text if refused else _("Running: see 'Synthesise' to cancel it."))

    def _show_chart(self, *_signal) -> None:
        node, charts = self._source, []
        sources = {"result": node} if node is not None and self._provenance else {}
        made = node.GetName() if sources else _("a run")
        for plot, lines in plots_of(self.history, self._columns, self._numbers).items():
            name = _("{plot}: {name}").format(plot=plot, name=made)
            titles = _("Iteration"), plot
            chart = tables.computed_chart(
                f"iterations {plot}", sources, name, self.history[ITERATION], lines, titles
            )
            chart.SetYAxisLogScale(all(y > 0 for values in lines.values() for y in values))
            charts.append(chart)
        if charts:
            slicer.modules.plots.logic().ShowChartInLayout(charts[0])

    # What a saved scene keeps

    def state(self) -> dict:
        """Return the shown result and the chosen iterate."""
        there = self._source is not None and self._source.GetScene() is not None
        return {"of": self._source if there else None, ITERATE: self.kept}

    def restore(self, state: dict) -> None:
        """Show a saved state."""
        if self._live is not None or self._from_here is not None:
            return
        kept_of = state.get("of") or state.get("node")  # the latter before there was a case
        shown = state.get("of") or self.case.node(RESULT)
        same = shown is kept_of and bool(history_of_node(shown))
        self._show_node(shown, state.get(ITERATE) if same else None)


def said_by(node) -> str | None:
    """Return what a result says of the run that made it, as it is kept in the scene."""
    return node.GetAttribute(PROVENANCE) if node is not None else None


def not_iterated(node) -> str:
    """Return that a result has no history, and which ones have."""
    text = _("'{name}' was not made by an iterative method: there is nothing to show.")
    text = text.format(name=node.GetName())
    made = [one.GetName() for one in relations.result_images() if history_of_node(one)]
    if not made:
        return text
    names = ", ".join(f"'{name}'" for name in made[-MOST_NAMED:])
    return text + " " + _("These were: {names}.").format(names=names)


def what_to_do() -> str:
    """Return what to do for something to be here, by the methods that iterate."""
    methods = [method for method in METHODS.values() if method.history]
    text = _(
        "No iterations are shown. Choose under 'Synthesise' a method that iterates, and press "
        "Apply:\n{titles}\nWhat it measures is drawn here while it runs. To see the iterations of "
        "an earlier result, choose it above."
    )
    return text.format(titles="\n".join(f"\N{BULLET} {method.title}" for method in methods))


def asked_for(provenance: dict) -> tuple:
    """Return the preset, or None, and the parameters set by hand that a result was made with."""
    entries = provenance.get("parameters", {})
    sources = [entry["source"] for entry in entries.values()]
    presets = [source.partition(" ")[2] for source in sources if source.startswith("preset ")]
    given = {name: one["value"] for name, one in entries.items() if one["source"] == "given"}
    return (presets[0] if presets else None), given


def facts(provenance: dict) -> str:
    """Return what a result says of its solver besides numbers; nothing for a run under way."""
    record = provenance.get("record", {})
    values = {name: one["value"] for name, one in provenance.get("parameters", {}).items()}
    lines = []
    if "solver" in values:
        lines.append(_("Solver: {name}.").format(name=values["solver"]))
    if values.get(ITERATE) and values[ITERATE] == len(record.get("history", {}).get(ITERATION, ())):
        lines.append(_("Stopped at iterate {number}, as asked.").format(number=values[ITERATE]))
    elif "stopped_by" in record:
        why = STOPPED.get(record["stopped_by"], str(record["stopped_by"]))
        lines.append(_("Stopped: {why}.").format(why=why))
    if "alpha_mm" in record:
        source = _("as set") if values.get("alpha") else _("derived from the noise of the scan")
        text = _("Weight of the prior, alpha: {alpha:.3g} mm, {source}.")
        lines.append(text.format(alpha=record["alpha_mm"], source=source))
    return "\n".join(lines)
