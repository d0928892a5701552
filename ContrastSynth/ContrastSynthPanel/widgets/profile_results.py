"""What the tab Profile shows of the volumes along a line: length, errors, values, a CSV."""

import numpy as np
import qt
from slicer.i18n import tr as _

from ContrastSynthPanel.scene.profile_values import Along, write_csv
from ContrastSynthPanel.widgets.action import Action
from ContrastSynthPanel.widgets.csv_dialog import save_as_csv
from ContrastSynthPanel.widgets.forms import new_section
from ContrastSynthPanel.widgets.slots import connect, once_after
from ContrastSynthPanel.widgets.value_table import fill, fit_height, new_table, number

VALUES_AFTER_MS = 300  # a long table takes too long to fill to do so while an end is dragged
VALUE_ROWS = 10


class ProfileResults:
    """Shows what was found along a line; ``show_message`` gets a kind and a text of the export."""

    def __init__(self, show_message):
        """Make it empty."""
        self._show_message, self.found, self._name = show_message, [], ""
        self.timer = once_after(VALUES_AFTER_MS, self._show_values)
        self.widget, self.length_label = qt.QWidget(), qt.QLabel()
        self.length_label.wordWrap = True
        self.errors = new_table(["", _("Volume"), _("Mean abs. error")], wide=1)
        self.errors.toolTip = _(
            "Mean absolute difference from the reference along the line, in the volumes' unit."
        )
        self.values = new_table([_("mm")])
        self.values_section = new_section(_("Values"), self.values)
        self.values_section.collapsed = True
        connect(self.values_section, "contentsCollapsed(bool)", lambda _c: self._show_values())
        ready = _("Write distance, place and values to a file.")
        self.export = Action("export", _("Export as CSV"), ready, self._export)
        column = qt.QVBoxLayout(self.widget)
        column.setContentsMargins(0, 0, 0, 0)
        for widget in (self.length_label, self.errors, self.values_section, self.export.widget):
            column.addWidget(widget)
        self.show([], "")

    def show(self, found: list[Along], name: str) -> None:
        """Show volumes along a line, the reference first; ``name`` is proposed for a file."""
        self.found, self._name = found, name
        plotted = [one for one in found if one.profile is not None]
        for widget in (self.length_label, self.errors, self.values_section):
            widget.visible = bool(plotted)
        self.export.block("" if plotted else _("Nothing is plotted."))
        if not plotted:
            return
        first = plotted[0].profile
        text = _("Length {length:.1f} mm, {count} points")
        self.length_label.text = text.format(length=first.distance_mm[-1], count=len(first.values))
        fill(self.errors, [error_texts(n, one) for n, one in enumerate(found)], words=(0, 1))
        fit_height(self.errors)
        self.timer.start()

    def _show_values(self) -> None:
        """Fill the table of the values, if it is open."""
        plotted = [(n, one) for n, one in enumerate(self.found) if one.profile is not None]
        if self.values_section.collapsed or not plotted:
            return
        self.values.setColumnCount(1 + len(plotted))
        heads = [str(n + 1) for n, _one in plotted]
        self.values.setHorizontalHeaderLabels([_("mm"), *heads])
        distances = plotted[0][1].profile.distance_mm
        columns = [one.profile.values.tolist() for _n, one in plotted]
        fill(
            self.values,
            [
                [f"{distance:.1f}", *(number(value, 1) for value in row)]
                for distance, *row in zip(distances, *columns, strict=True)
            ],
        )
        fit_height(self.values, VALUE_ROWS)

    def _export(self) -> None:
        save_as_csv(
            _("Export the profile"),
            self._name,
            lambda path: write_csv(path, self.found),
            self._show_message,
            _("Written: {path}"),
        )


def error_texts(place: int, one: Along) -> list[str]:
    """Return a row of the table of errors: number, volume, error."""
    if one.problem:
        return [str(place + 1), one.label, _("none")]
    return [str(place + 1), one.label, number(one.error, 2) if place else _("reference")]


def outside(found: list[Along]) -> str:
    """Return which volumes the line leaves, and what is wrong with others."""
    text = [
        _("{label}: {problem}").format(label=one.label, problem=one.problem)
        for one in found
        if one.problem
    ]
    labels = {}
    for one in found:
        if one.profile is not None:
            percent = round(100.0 * float(np.isnan(one.profile.values).mean()), 1)
            labels.setdefault(percent, []).append(one.label)
    for percent in sorted(set(labels) - {0.0}):
        part = _("{labels}: {percent:g} % of the line lies outside and does not count.")
        text.append(part.format(labels=", ".join(labels[percent]), percent=percent))
    return "\n".join(text)
