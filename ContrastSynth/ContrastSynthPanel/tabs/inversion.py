"""The tab of an iterative method: its curves as they grow, and the iterate to keep of them."""

import ctk
import qt
import slicer
from slicer.i18n import tr as _

from ContrastSynthLib.registry import METHODS, declared_parameters
from ContrastSynthPanel.scene import tables
from ContrastSynthPanel.scene.bridge import LABEL_MAP, PROVENANCE, SEQUENCE, VOLUME
from ContrastSynthPanel.scene.run_results import provenance_of
from ContrastSynthPanel.tabs.tab import Tab
from ContrastSynthPanel.widgets.forms import add_row, new_form, node_selector, show_text
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
from ContrastSynthPanel.widgets.value_table import fill, fit_height, new_table

ITERATE = "iterate"  # the parameter of a method that takes the number of an iterate
MARGIN = 10  # of the tab, in pixels
RESULTS = [VOLUME, LABEL_MAP, SEQUENCE]
AGAIN = _(
    "Runs the method again under 'Synthesise', with the same parameters, up to this iterate, and "
    "keeps that in place of the last one."
)
STOPPED = {
    "tolerance": _("the objective fell by less than the tolerance"),
    "iterations": _("all iterations that were allowed"),
}


class InversionTab(Tab):
    """Shows the iterations of a run, under way or over, and runs it again up to one of them.

    A history is what the library records: a list of numbers for each column that the method
    declares.
    """

    title = _("Inversion")

    def __init__(self, changed):
        """Make the tab."""
        super().__init__(changed)
        self._synthesise, self._restoring = None, False
        self._live = None  # the history of a run under way
        self._before = None  # the newest result when that run started
        self._from_here = False  # whether the run under way was started with the button here
        self.history, self._columns, self._numbers = {}, {}, {}
        self._provenance = {}
        self._build()
        self._show_node()

    def _build(self) -> None:
        self.intro = qt.QLabel()
        self.selector = self._result_selector()
        self.status, self.plots, self.facts = qt.QLabel(), HistoryPlots(), qt.QLabel()
        self.table = new_table([_("Measure"), _("First"), _("Last")])
        self.iterate = ctk.ctkSliderWidget()
        self.iterate.decimals = 0
        self.iterate.singleStep = 1.0
        self.iterate.minimum = self.iterate.maximum = 1.0
        self.iterate.toolTip = _("The dashed line in the curves. The last one is usually best.")
        self.iterate_label = qt.QLabel()
        self.again_button = qt.QPushButton(_("Run again, keep this iterate"))
        self.chart_button = qt.QPushButton(_("Show in a plot view"))
        self.chart_button.toolTip = _("Makes a chart of the curves in the scene and shows it.")
        form = qt.QWidget()
        rows = new_form(form)
        add_row(rows, _("Result"), self.selector)
        self._iterate_box = qt.QWidget()
        add_row(new_form(self._iterate_box), _("Iterate to keep"), self.iterate)
        for label in (self.intro, self.status, self.facts, self.iterate_label):
            label.wordWrap = True
        widgets = (form, self.intro, self.status, self.plots.widget, self.table)
        for widget in (*widgets, self.facts, self._iterate_box, self.iterate_label):
            self.column.addWidget(widget)
        self.column.addWidget(self.again_button)
        self.column.addWidget(self.chart_button)
        self.column.addStretch(1)
        self.selector.connect("currentNodeChanged(vtkMRMLNode*)", self._node_chosen)
        self.iterate.connect("valueChanged(double)", self._iterate_chosen)
        self.again_button.connect("clicked(bool)", self._run_again)
        self.chart_button.connect("clicked(bool)", self._show_chart)

    def _result_selector(self):
        tip = _("A synthetic volume that an iterative method made.")
        selector = node_selector("result", RESULTS, _("Choose a result"), tip)
        for kind in RESULTS:
            selector.addAttribute(kind, PROVENANCE)
        return selector

    # What the scene, and the other tabs, do

    def meet(self, tabs: dict) -> None:
        """Hear of the runs of the tab Synthesise, and run again there."""
        self._synthesise = tabs["synthesise"]
        self._synthesise.run.listeners.append(self.heard)

    def entered(self) -> None:
        """The tab comes into view: now its width is known."""
        self._draw()

    def scene_changed(self) -> None:
        """Nodes came or went: where nothing is chosen, choose the newest one with a history."""
        if self.selector.currentNode() is None and self._live is None:
            self._choose(newest_with_history())

    def forget_nodes(self) -> None:
        """The scene is an empty one."""
        self._live = None
        self._choose(None)

    def heard(self, event) -> None:
        """Take an event of a run: what it measures is drawn, and its result shown."""
        if event.kind == "started":
            self._live, self._before = None, newest_with_history()
            self._show_buttons()
        elif event.kind == "progress":
            self._grow(event)
        elif event.kind != "log":
            if self._live is not None or self._from_here:
                self._end(event.kind == "finished")
            self._show_buttons()

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
        done = len(self._live[ITERATION]) if self._live else 0
        chosen, found = self.selector.currentNode(), newest_with_history()
        stays, self._from_here, self._live = self._from_here and chosen is not None, False, None
        made = finished and found is not self._before
        if made and not stays:
            self._choose(found)
            return
        if history_of_node(chosen):
            self._show_node(self.kept)  # to try another iterate of the same history
        else:
            self._provenance = {}  # the curves so far stay in view
            self._show_buttons()
        text = _("'{name}' keeps iterate {number}.")
        if not made:
            text = _("The run ended after iteration {number}, without a result.")
        show_text(self.status, text.format(name=found.GetName() if made else "", number=done))

    # What is shown

    def _choose(self, node) -> None:
        """Choose a result and show it, whether or not it was chosen before."""
        self._restoring = True
        self.selector.setCurrentNode(node)
        self._restoring = False
        self._show_node()
        self._changed()

    def _node_chosen(self, _node) -> None:
        if not self._restoring and self._live is None:
            self._show_node()
            self._changed()

    def _show_node(self, kept: int | None = None) -> None:
        """Show the chosen result, and of its iterates one, or the last."""
        node = self.selector.currentNode()
        self._provenance = provenance_of(node)
        history = history_of(self._provenance)
        show_text(self.status, "")
        if node is not None and not history:
            text = _("'{name}' was not made by an iterative method: there is nothing to show.")
            show_text(self.status, text.format(name=node.GetName()))
        columns, record = columns_of(self._provenance), self._provenance.get("record", {})
        self._show(history, self._provenance, columns, record)
        self.iterate.value = self.iterate.maximum if kept is None else float(kept)

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
        self._iterate_box.visible = self.iterate_label.visible = self.again_button.visible = can
        busy = self._synthesise is not None and self._synthesise.run.running
        self.again_button.enabled = not busy
        self.again_button.toolTip = _("A run is under way.") if busy else AGAIN
        self.chart_button.visible = bool(self.history) and not running
        self.selector.enabled = not running

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
        if self._live is None and not self._restoring:
            self._draw()
            self._changed()

    # What the buttons do

    def _run_again(self, *_signal) -> None:
        preset, given = asked_for(self._provenance)
        key = self._provenance["method"]["key"]
        self._from_here = True
        refused = self._synthesise.run_again(key, preset, {**given, ITERATE: self.kept})
        if refused:
            self._from_here = False
        text = _("Not run. {reason}").format(reason=refused)
        show_text(self.status, text if refused else _("Running: see 'Synthesise' to cancel it."))

    def _show_chart(self, *_signal) -> None:
        node, charts = self.selector.currentNode(), []
        iterations = self.history[ITERATION]
        made = node.GetName() if node else _("a run")
        for plot, lines in plots_of(self.history, self._columns, self._numbers).items():
            name = _("{plot}: {name}").format(plot=plot, name=made)
            chart = tables.plot_lines(
                slicer.mrmlScene, name, iterations, lines, _("Iteration"), plot
            )
            chart.SetYAxisLogScale(all(y > 0 for values in lines.values() for y in values))
            charts.append(chart)
        if charts:
            slicer.modules.plots.logic().ShowChartInLayout(charts[0])

    # What a saved scene keeps

    def state(self) -> dict:
        """Return the chosen result and iterate."""
        return {"node": self.selector.currentNode(), ITERATE: self.kept}

    def restore(self, state: dict) -> None:
        """Show a saved state."""
        if self._live is not None:
            return
        self._restoring = True
        self.selector.setCurrentNode(state.get("node"))
        self._show_node(state.get(ITERATE))
        self._draw()
        self._restoring = False


def what_to_do() -> str:
    """Return what to do for something to be here, by the methods that iterate."""
    methods = [method for method in METHODS.values() if method.history]
    text = _(
        "No iterations are shown. Choose under 'Synthesise' a method that iterates, and press "
        "Apply:\n{titles}\nWhat it measures is drawn here while it runs. To see the iterations of "
        "an earlier result, choose it above."
    )
    return text.format(titles="\n".join(f"\N{BULLET} {method.title}" for method in methods))


def newest_with_history():
    """Return the newest result of an iterative method in the scene, or None."""
    nodes = [node for kind in RESULTS for node in slicer.util.getNodesByClass(kind)]
    found = [node for node in nodes if history_of_node(node)]
    return max(found, key=number_in_scene, default=None)


def number_in_scene(node) -> int:
    """Return the place of a node among all of its scene: newer ones come later."""
    scene = node.GetScene()
    return next(n for n in range(scene.GetNumberOfNodes()) if scene.GetNthNode(n) is node)


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
