"""The phases of a series: a slider that moves all views, and a table to correct their times."""

import math

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from ContrastSynthLib.analysis.kinetics_report import SAME_TIME_S
from ContrastSynthLib.errors import RequestError
from ContrastSynthPanel.scene import bridge, phases, views
from ContrastSynthPanel.scene.view_keeper import ViewKeeper
from ContrastSynthPanel.widgets.echo import Echo
from ContrastSynthPanel.widgets.forms import add_row, combo, long_text, new_form
from ContrastSynthPanel.widgets.manners import needs_focus
from ContrastSynthPanel.widgets.slots import connect
from ContrastSynthPanel.widgets.value_table import fill, fit_height, new_table, number

MODIFIED = vtk.vtkCommand.ModifiedEvent
TIME_COLUMN = 1
UNITS = {"s": _("seconds"), "min": _("minutes"), "ms": _("milliseconds")}


class PhaseBox(VTKObservationMixin):
    """Shows the phases of one series, and those of a second at the same times.

    ``corrected`` is called with a text when a time was changed, ``show_message`` with a kind and
    a text when it was not, ``shown`` when the slice views were made to show a phase.
    """

    def __init__(self, corrected, show_message, shown):
        """Make the box, without a series."""
        VTKObservationMixin.__init__(self)
        self._corrected, self._show_message, self._echo = corrected, show_message, Echo()
        self._shown = shown
        self.series, self.second, self._percent = None, None, {}
        self.layers = ViewKeeper()
        self.widget = qt.QWidget()
        column = qt.QVBoxLayout(self.widget)
        column.setContentsMargins(0, 0, 0, 0)
        self._build_slider(column)
        self.table = new_table(["", "", "", ""])
        self.table.setEditTriggers(
            qt.QAbstractItemView.DoubleClicked | qt.QAbstractItemView.EditKeyPressed
        )
        self.table.toolTip = _(
            "Double-click a time to correct it. A click on a row shows the phase."
        )
        connect(self.table, "cellChanged(int,int)", self._typed)
        connect(self.table, "cellClicked(int,int)", lambda row, _column: self._move_to(row))
        column.addWidget(self.table)
        self.hint = long_text()
        self.hint.wordWrap = True
        column.addWidget(self.hint)
        self.show()

    def _build_slider(self, column) -> None:
        self.label, self.slider = long_text(), needs_focus(qt.QSlider(qt.Qt.Horizontal))
        self.label.wordWrap = True
        self.slider.pageStep = 1
        self.slider.toolTip = _("Shows a phase in all slice views.")
        connect(self.slider, "valueChanged(int)", self._move_to)
        column.addWidget(self.label)
        column.addWidget(self.slider)
        self._choices = qt.QWidget()
        form = new_form(self._choices)
        self.shown_combo = combo("shown", {0: "", 1: ""})
        self.unit_combo = combo("unit", {"": _("Choose a unit"), **UNITS})
        self.shown_combo.toolTip = _("The series whose phase the slice views show.")
        connect(self.shown_combo, "activated(int)", lambda _n: self._move_to(self.slider.value))
        self.shown_label = add_row(form, _("Views show"), self.shown_combo)
        self.unit_combo.toolTip = _("The file does not say what the index of the series counts.")
        connect(self.unit_combo, "activated(int)", self._unit_chosen)
        self.unit_label = add_row(form, _("Index counts"), self.unit_combo)
        column.addWidget(self._choices)

    def set_series(self, series, second) -> None:
        """Show the phases of other sequence nodes, or of none."""
        if series is not self.series or second is not self.second:
            self._percent = {}
        self.series, self.second = series, second
        self.removeObservers()
        for node in (series, second):
            if node is not None and not self.hasObserver(node, MODIFIED, self._follow):
                self.addObserver(node, MODIFIED, self._follow)
        if series is not None:
            browser = slicer.modules.sequences.logic().GetFirstBrowserNodeForSequenceNode(series)
            if browser is not None:
                self.addObserver(browser, MODIFIED, self._follow_browser)
        self.show()

    def follow(self, series, second) -> bool:
        """Show the phases of the nodes that are chosen now; return whether these are others."""
        others = series is not self.series or second is not self.second
        if others:
            self.set_series(series, second)
        return others

    @property
    def shows_second(self) -> bool:
        """Whether the slice views are to show the second series."""
        return self.second is not None and self.shown_combo.currentIndex == 1

    def show_in_views(self) -> None:
        """Show the phase of the slider in the slice views."""
        self._move_to(self.slider.value)

    def show_enhancement(self, percent: dict) -> None:
        """Show the enhancement of each phase in percent, by title, of none to two series."""
        self._percent = percent
        self.show()

    def close(self) -> None:
        """Hear no more of the nodes."""
        self.removeObservers()

    def times(self) -> list:
        """Return the seconds of the phases, None for each where they are not known."""
        if self.series is None:
            return []
        try:
            return bridge.times_of_sequence_node(self.series)
        except RequestError:
            return [None] * self.series.GetNumberOfDataNodes()

    def show(self) -> None:
        """Show the series as it is now."""
        with self._echo:
            self._show_rows(self.times())
        self._show_phase()

    def _show_rows(self, times: list) -> None:
        known = bool(times) and times[0] is not None
        self.widget.visible = bool(times)
        unit, second = bool(times) and phases.has_no_unit(self.series), self.second is not None
        self.unit_label.visible = self.unit_combo.visible = unit
        self.unit_combo.setCurrentIndex(0)
        self.shown_label.visible = self.shown_combo.visible = second
        self._choices.visible = unit or second
        for place, node in enumerate((self.series, self.second)):
            self.shown_combo.setItemText(place, node.GetName() if node is not None else "")
        percent = _("%: enhancement over the signal before the agent.") if self._percent else ""
        self.hint.text = " ".join(filter(None, [_("Double-click a time to correct it."), percent]))
        self.hint.visible = known
        self.slider.maximum = max(0, len(times) - 1)
        self._fill(times, known)

    def _fill(self, times: list, known: bool) -> None:
        heads = [_("Phase"), _("Time (s)") if known else _("Index"), *self._percent]
        self.table.setHorizontalHeaderLabels(heads)
        for place in range(2):
            self.table.setColumnHidden(2 + place, len(self._percent) <= place)
        rows = []
        for n, time_s in enumerate(times):
            shown = f"{time_s:.10g}" if known else str(self.series.GetNthIndexValue(n))
            percent = [number(values[n], 1) for values in self._percent.values()]
            rows.append([str(n + 1), shown, *percent])
        fill(self.table, rows, editable=(TIME_COLUMN,) if known else ())
        fit_height(self.table)

    def _follow(self, _node, _event) -> None:
        if not self._echo and self.series is not None and self.series.GetScene() is not None:
            self.show()

    def _follow_browser(self, _node, _event) -> None:
        if not self._echo and self.series is not None and self.series.GetScene() is not None:
            self._show_phase()

    def _show_phase(self) -> None:
        """Let slider, label and table show which phase the browser shows."""
        if self.series is None or not self.series.GetNumberOfDataNodes():
            return
        logic = slicer.modules.sequences.logic()
        browser = logic.GetFirstBrowserNodeForSequenceNode(self.series)
        times = self.times()
        shown = phases.shown_phase(self.series) if browser is not None else 0
        shown = min(max(0, shown), len(times) - 1)
        with self._echo:
            self.slider.value = shown
            self.table.selectRow(shown)
        text = _("Phase {number} of {count}").format(number=shown + 1, count=len(times))
        if times[shown] is not None:
            text = _("{text}: {time:g} s").format(text=text, time=times[shown])
        self.label.text = text

    def _move_to(self, row: int) -> None:
        if self._echo or self.series is None:
            return
        without = slicer.modules.sequences.logic().GetFirstBrowserNodeForSequenceNode(self.series)
        phases.show_phase(self.series, row)
        if without is None:
            self.set_series(self.series, self.second)  # hear of the browser that was made
        shown = self.series
        if self.second is not None:
            nearest = self._same_phase(self.times()[row])
            if nearest is not None:
                phases.show_phase(self.second, nearest)
            if self.shows_second:
                shown = self.second
        self._show_volume(bridge.shown_volume(shown))
        self._show_phase()

    def _show_volume(self, volume) -> None:
        """Show a volume in all slice views; in views that showed nothing, it stays for good."""
        empty = all(views.is_empty(composite) for _view, composite in views.slice_views())
        views.show_layers(volume, None, keeper=None if empty else self.layers)
        self._shown()

    def _same_phase(self, time_s, within_s: float = math.inf):
        """Return the phase of the second series nearest to a time; None if there is none."""
        try:
            times = bridge.times_of_sequence_node(self.second)
        except RequestError:
            return None
        if time_s is None:
            return None
        nearest = min(range(len(times)), key=lambda n: abs(times[n] - time_s))
        return nearest if abs(times[nearest] - time_s) <= within_s else None

    def _unit_chosen(self, index: int) -> None:
        unit = self.unit_combo.itemData(index)
        if unit:
            self.series.SetIndexUnit(unit)
            self._corrected(
                _("The index of the series now counts {unit}.").format(unit=UNITS[unit])
            )
            self.show()

    def _typed(self, row: int, column: int) -> None:
        if self._echo or column != TIME_COLUMN:
            return
        text, before = self.table.item(row, column).text(), self.times()[row]
        try:
            message = self._correct(row, before, _seconds(text))
        except RequestError as error:
            self._show_message("failed", str(error))
        else:
            if message:
                self._corrected(message)
        self.show()

    def _correct(self, row: int, before: float, after: float) -> str:
        """Write a time, also for the phase of the second series that was taken then."""
        if after == before:
            return ""
        same = self._same_phase(before, SAME_TIME_S) if self.second is not None else None
        phases.check_time(self.series, row, after)
        with self._echo:  # to be shown once it is whole
            if same is not None:
                phases.set_time(self.second, same, after)
            phases.set_time(self.series, row, after)
        text = _("Phase {number}: {after:g} s instead of {before:g} s.")
        if same is not None:
            text = _("Phase {number}: {after:g} s instead of {before:g} s, in both series.")
        return text.format(number=row + 1, after=after, before=before)


def _seconds(text: str) -> float:
    """Return the number that a person typed, with a point or a comma."""
    try:
        value = float(text.strip().removesuffix("s").replace(",", "."))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        message = _("'{text}' is not a time. Give seconds, such as 92.5. Nothing was changed.")
        raise RequestError(message.format(text=text))
    return value
