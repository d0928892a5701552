"""The tab that watches an inversion: its curves as they grow, and the iterate to keep of them."""

import json

import ctk
import qt
import slicer
from slicer.i18n import tr as _

from ContrastSynthLib.registry import METHODS, declared_parameters
from ContrastSynthPanel.scene import bridge
from ContrastSynthPanel.scene.bridge import VOLUME
from ContrastSynthPanel.tabs.tab import Tab
from ContrastSynthPanel.widgets.curves import draw_curves, legend
from ContrastSynthPanel.widgets.forms import add_row, let_shrink, new_form, node_selector, show_text
from ContrastSynthPanel.widgets.value_table import fill, fit_height, new_table

ITERATE = "iterate"  # the parameter of a method that takes the number of an iterate
MARGIN = 10  # of the tab, in pixels
COLUMNS = ("iteration", "evaluations", "objective", "fidelity", "regulariser", "change")
AGAIN = _(
    "Runs the method again under 'Synthesise', with the same parameters, up to this iterate, and "
    "keeps that in place of the last one."
)
STOPPED = {
    "tolerance": _("the objective fell by less than the tolerance"),
    "iterations": _("all iterations that were allowed"),
}


class InversionTab(Tab):
    """Shows how a solver goes, and went: curves, table; and runs it again up to an iterate.

    A history is what the library records: a list of numbers for each of COLUMNS.
    """

    title = _("Inversion")

    def __init__(self, changed):
        """Make the tab."""
        super().__init__(changed)
        self._synthesise, self._restoring = None, False
        self._live = None  # the history of a run under way
        self._before = None  # the newest result when that run started
        self._from_here = False  # whether the run under way was started with the button here
        self.history, self._provenance = {}, {}
        self._build()
        self._show_node()

    def _build(self) -> None:
        self.intro = qt.QLabel()
        self.selector = self._result_selector()
        self.status, self.legend, self.picture = qt.QLabel(), qt.QLabel(), qt.QLabel()
        self.picture.scaledContents = True
        let_shrink(self.picture)
        self.facts = qt.QLabel()
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
        for label in (self.intro, self.status, self.legend, self.facts, self.iterate_label):
            label.wordWrap = True
        widgets = (form, self.intro, self.status, self.legend, self.picture, self.table)
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
        tip = _("A synthetic volume that an inversion made.")
        selector = node_selector("result", [VOLUME], _("Choose a result"), tip)
        selector.addAttribute(VOLUME, bridge.PROVENANCE)
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
        """Nodes came or went: where nothing is chosen, choose the newest result of a solver."""
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
        measures = [one for one in event.measures if set(COLUMNS) <= set(one)]
        if not measures:
            return
        live = self._live or {name: [] for name in COLUMNS}
        for one in measures:
            if live["iteration"] and one["iteration"] <= live["iteration"][-1]:
                live = {name: [] for name in COLUMNS}  # began again, with less memory
            for name in COLUMNS:
                live[name].append(one[name])
        self._live = live
        show_text(self.status, _("Under way. {text}.").format(text=event.text))
        self._show(live, {})

    def _end(self, finished: bool) -> None:
        done = len(self._live["iteration"]) if self._live else 0
        chosen, found = self.selector.currentNode(), newest_with_history()
        stays, self._from_here, self._live = self._from_here and chosen is not None, False, None
        made = finished and found is not self._before
        if made and not stays:
            self._choose(found)
            return
        if history_of(provenance_of(chosen)):
            self._show_node(self.kept)  # to try another iterate of the same history
        else:
            self._provenance = {}  # the curves so far stay in view
            self._show_buttons()
        told = _("'{name}' keeps iterate {number}.")
        if not made:
            told = _("The run ended after iteration {number}, without a result.")
        show_text(self.status, told.format(name=found.GetName() if made else "", number=done))

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
            told = _("'{name}' was not made by a solver: there is nothing to show.")
            show_text(self.status, told.format(name=node.GetName()))
        self._show(history, self._provenance)
        self.iterate.value = self.iterate.maximum if kept is None else float(kept)

    def _show(self, history: dict, provenance: dict) -> None:
        """Show a history, that of ``provenance`` or, without one, of a run under way."""
        self.history, last = history, len(history.get("iteration", ()))
        if self._live is None:
            self.iterate.maximum = float(max(last, 1))
        fill(self.table, table_rows(history) if history else [])
        fit_height(self.table)
        self.table.visible = bool(history)
        show_text(self.facts, facts(provenance) if history else "")
        show_text(self.intro, "" if history else what_to_do())
        self.picture.visible = self.legend.visible = bool(history)
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
        lines, iterations = curves(self.history), self.history["iteration"]
        points = {name: list(zip(iterations, y, strict=True)) for name, y in lines.items()}
        width = self.widget.width - 2 * MARGIN
        running = self._live is not None
        mark = None if running else self.kept
        self.picture.setPixmap(draw_curves(width, points, _("Iteration"), mark))
        self.legend.text = legend(lines)
        if not running:
            objective = self.history["objective"]
            told = _("Iterate {number} of {count}: objective {value}; that of the last: {last}.")
            self.iterate_label.text = told.format(
                number=self.kept,
                count=len(iterations),
                value=number_text(objective[self.kept - 1]),
                last=number_text(objective[-1]),
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
        told = _("Not run. {reason}").format(reason=refused)
        show_text(self.status, told if refused else _("Under way: see 'Synthesise' to cancel it."))

    def _show_chart(self, *_signal) -> None:
        node = self.selector.currentNode()
        name = _("Inversion of {name}").format(name=node.GetName() if node else _("a run"))
        lines = curves(self.history)
        iterations = self.history["iteration"]
        chart = bridge.plot_lines(
            slicer.mrmlScene, name, iterations, lines, _("Iteration"), _("Objective")
        )
        chart.SetYAxisLogScale(all(value > 0 for values in lines.values() for value in values))
        slicer.modules.plots.logic().ShowChartInLayout(chart)

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
    """Return what to do for something to be here, by the methods that have a solver."""
    methods = [m for m in METHODS.values() if ITERATE in declared_parameters(m)]
    told = _(
        "No inversion is shown. To run one, choose under 'Synthesise' a method with a solver, and "
        "press Apply:\n{titles}\nIts objective is drawn here while it runs, and then how the "
        "result came about. To see that of an earlier result, choose it above."
    )
    return told.format(titles="\n".join(f"\N{BULLET} {method.title}" for method in methods))


def provenance_of(node) -> dict:
    """Return what a result tells of how it was made; {} where it tells nothing."""
    text = node.GetAttribute(bridge.PROVENANCE) if node is not None else None
    try:
        found = json.loads(text or "{}")
    except ValueError:
        found = {}
    return found if isinstance(found, dict) else {}


def history_of(provenance: dict) -> dict:
    """Return the solver's history, {} where there is none or not the whole of it."""
    history = provenance.get("record", {}).get("history", {})
    whole = all(history.get(name) for name in COLUMNS)
    return history if whole else {}


def newest_with_history():
    """Return the newest result of a solver in the scene, or None."""
    nodes = reversed(slicer.util.getNodesByClass(VOLUME))
    return next((node for node in nodes if history_of(provenance_of(node))), None)


def asked_for(provenance: dict) -> tuple:
    """Return the preset, or None, and the parameters set by hand that a result was made with."""
    entries = provenance.get("parameters", {})
    sources = [entry["source"] for entry in entries.values()]
    presets = [source.partition(" ")[2] for source in sources if source.startswith("preset ")]
    given = {name: one["value"] for name, one in entries.items() if one["source"] == "given"}
    return (presets[0] if presets else None), given


def curves(history: dict) -> dict:
    """Return the objective and its two parts, by their names; the parts' sum is the objective."""
    pairs = zip(history["objective"], history["fidelity"], strict=True)
    return {
        _("Objective"): history["objective"],
        _("Fidelity (residual)"): history["fidelity"],
        _("Prior, weighted"): [objective - fidelity for objective, fidelity in pairs],
    }


def table_rows(history: dict) -> list:
    """Return the table's rows: the first and the last of all numbers."""
    lines = {
        **curves(history),
        _("Relative change"): history["change"],
        _("Evaluations"): history["evaluations"],
        _("Iteration"): history["iteration"],
    }
    return [
        [name, number_text(values[0]), number_text(values[-1])] for name, values in lines.items()
    ]


def facts(provenance: dict) -> str:
    """Return what a result tells of its solver besides numbers; nothing for a run under way."""
    record = provenance.get("record", {})
    if not record:
        return ""
    values = {name: entry["value"] for name, entry in provenance["parameters"].items()}
    stopped = STOPPED.get(record.get("stopped_by"), str(record.get("stopped_by")))
    if values.get(ITERATE) == len(record["history"]["iteration"]):
        stopped = _("iterate {number} was asked for").format(number=values[ITERATE])
    told = _("Solver: {solver}.\nStopped by: {stopped}.\nalpha: {alpha:.3g} mm, {source}.")
    return told.format(
        solver=values.get("solver"),
        stopped=stopped,
        alpha=record["alpha_mm"],
        source=_("as given") if values.get("alpha") else _("from the noise of the scan"),
    )


def number_text(value: float) -> str:
    """Return a number as the table and the texts show it."""
    return f"{value:.2e}" if isinstance(value, float) and value % 1 else f"{value:g}"
