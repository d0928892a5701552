"""Where a result goes, and of which phases of a series it is made."""

import qt
from slicer.i18n import tr as _

from ContrastSynthLib.files.selection import numbers_in
from ContrastSynthPanel.scene import relations, run_results
from ContrastSynthPanel.scene.bridge import METHOD
from ContrastSynthPanel.widgets.echo import Echo
from ContrastSynthPanel.widgets.forms import add_choice, add_row, combo, new_form
from ContrastSynthPanel.widgets.slots import connect

AUTOMATIC = ""


class OutputBox:
    """A list of the places for a result, and a line for the numbers of phases."""

    def __init__(self, changed):
        """Make both; ``changed`` is called when a person chose."""
        self._changed, self._echo, self._method, self._series = changed, Echo(), None, []
        self.widget, self.phases_row = qt.QWidget(), qt.QWidget()
        self.combo = combo("output", {})
        self.combo.toolTip = _(
            "The same run of the same scans takes the place of its result; every other run has a "
            "result of its own. Or choose a result to be replaced."
        )
        add_row(new_form(self.widget), _("Result goes to"), self.combo)
        self.phases_edit = qt.QLineEdit()
        self.phases_edit.objectName = "phases"
        self.phases_edit.placeholderText = _("all")
        self.phases_edit.toolTip = _("The phases to compute, such as 2-5 or 1,3. Empty: all.")
        add_row(new_form(self.phases_row), _("Phases"), self.phases_edit)
        self.phases_row.hide()
        connect(self.phases_edit, "textChanged(QString)", self._typed)

    def set_method(self, method) -> None:
        """Offer the results of another method."""
        self._method = method
        self._offer()

    def show_series(self, series: list) -> None:
        """Show the line of phases where a series is among the inputs, and what can be replaced."""
        self._series = series
        self.phases_row.visible = bool(series)
        self._offer()

    def _offer(self) -> None:
        made = [one for one in relations.result_images() if one.GetAttribute(METHOD)]
        made = [one for one in made if one.GetAttribute(METHOD) == self._method.key]
        entries = {AUTOMATIC: _("A result of its own")}
        entries |= {run_results.NEW: _("Always a new one")}
        entries |= {one.GetID(): _("Replace: {n}").format(n=one.GetName()) for one in made}
        listed = {self.combo.itemData(n): self.combo.itemText(n) for n in range(self.combo.count)}
        if listed == entries:
            return
        chosen = self.combo.itemData(self.combo.currentIndex)
        self.combo.clear()
        for key, title in entries.items():
            add_choice(self.combo, title, key)
        self.combo.setCurrentIndex(max(0, self.combo.findData(chosen)))

    def into(self, method):
        """Return the result whose place the next one takes: NEW, a node, or None."""
        key = self.combo.itemData(self.combo.currentIndex)
        if key in (None, AUTOMATIC, run_results.NEW):
            return key or None
        found = [one for one in relations.result_images() if one.GetID() == key]
        return next((one for one in found if one.GetAttribute(METHOD) == method.key), None)

    # Phases

    @property
    def phases_text(self) -> str:
        """What was typed."""
        return str(self.phases_edit.text).strip()

    @phases_text.setter
    def phases_text(self, text: str) -> None:
        with self._echo:
            self.phases_edit.text = text

    @property
    def phases(self) -> tuple:
        """The numbers of the phases to compute, from 1; none of them: all."""
        if not self._series or not self.phases_text or self.problem():
            return ()
        return tuple(numbers_in(self.phases_text))

    def problem(self) -> str:
        """Return what is wrong with the phases that were typed; nothing if nothing."""
        if not self._series or not self.phases_text:
            return ""
        count = self._series[0].GetNumberOfDataNodes()
        try:
            wrong = [n for n in numbers_in(self.phases_text) if n > count]
        except ValueError:
            text = _("'{text}' are no phases. Type numbers, such as 2-5 or 1,3; empty: all.")
            return text.format(text=self.phases_text)
        text = _("Phase {n} was asked for; '{name}' has {count}.")
        name = self._series[0].GetName()
        return text.format(n=wrong[0], name=name, count=count) if wrong else ""

    def _typed(self, *_signal) -> None:
        if not self._echo:
            self._changed()
