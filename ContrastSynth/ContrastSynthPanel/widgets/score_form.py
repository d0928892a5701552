"""The scores of one reading: a criterion at a time, a key for each score."""

import qt
from slicer.i18n import tr as _

from ContrastSynthPanel.widgets.forms import long_text, show_text
from ContrastSynthPanel.widgets.slots import connect
from ContrastSynthPanel.widgets.value_table import fill, fit_height, new_table

MOST_SCORES = 9  # a key for each


class ScoreForm:
    """Asks for one criterion after the other; ``changed`` is called when a score was given."""

    def __init__(self, changed):
        """Make it empty."""
        self._changed, self.criteria, self.values, self.current = changed, (), {}, 0
        self.widget, self.title = qt.QWidget(), long_text()
        self.title.objectName = "criterion"
        self.buttons = [self._button(number) for number in range(MOST_SCORES)]
        self.table = new_table([_("Criterion"), _("Score")])
        column = qt.QVBoxLayout(self.widget)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.title)
        for button in self.buttons:
            column.addWidget(button)
        row = qt.QHBoxLayout()
        for name, text, key, step in (
            ("criterion before", _("Criterion before (Up)"), "Up", -1),
            ("criterion after", _("Criterion after (Down)"), "Down", 1),
        ):
            button = qt.QPushButton(text)
            button.objectName = name
            button.shortcut = qt.QKeySequence(key)
            connect(button, "clicked(bool)", lambda *_s, step=step: self._move(step))
            row.addWidget(button)
        column.addLayout(row)
        column.addWidget(self.table)

    def _button(self, number: int):
        button = qt.QPushButton("")
        button.objectName = f"score {number + 1}"
        connect(button, "clicked(bool)", lambda *_s: self._score(number))
        return button

    @property
    def missing(self) -> list:
        """The titles of the criteria without a score."""
        return [one.title for one in self.criteria if one.key not in self.values]

    def start(self, criteria, values) -> None:
        """Ask for these criteria, some of which may have values."""
        self.criteria, self.values, self.current = tuple(criteria), dict(values), 0
        self._show()

    def _score(self, number: int) -> None:
        if self.criteria and number < len(self.criteria[self.current].scale):
            criterion = self.criteria[self.current]
            self.values[criterion.key] = criterion.scale[number]
            self._move(1)
            self._changed()

    def _move(self, step: int) -> None:
        self.current = min(max(self.current + step, 0), max(len(self.criteria) - 1, 0))
        self._show()

    def _show(self) -> None:
        if not self.criteria:
            return
        criterion = self.criteria[self.current]
        show_text(self.title, criterion.title)
        for number, button in enumerate(self.buttons):
            there = number < len(criterion.scale)
            button.visible = there
            if there:
                # The key counts from 1, whatever the scale begins with.
                score, anchor = criterion.scale[number], criterion.anchors[number]
                button.text = f"{score}  {anchor}"
                button.shortcut = qt.QKeySequence(str(number + 1))  # a new text takes it away
        rows = [[one.title, str(self.values.get(one.key, ""))] for one in self.criteria]
        fill(self.table, rows)
        fit_height(self.table)
        self.table.selectRow(self.current)
