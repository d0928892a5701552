"""The table of lesions: sorted by a click on a header, read through with keys, saved as a file."""

import math

import qt
from slicer.i18n import tr as _

from ContrastSynthPanel.scene import colours
from ContrastSynthPanel.widgets.csv_dialog import save_as_csv
from ContrastSynthPanel.widgets.echo import Echo
from ContrastSynthPanel.widgets.forms import show_text
from ContrastSynthPanel.widgets.slots import connect
from ContrastSynthPanel.widgets.value_table import difference, fill, fit_height, new_table, number

KIND_COLOURS = {
    "missed": colours.KINDS[colours.enhancement.MISSED],
    "invented": colours.KINDS[colours.enhancement.INVENTED],
    "found": colours.KINDS[colours.enhancement.FOUND],
}
LESIONS = {
    "kind": _("Kind"),
    "volume_ml": _("Volume,\nml"),
    "overlap": _("Overlap,\n%"),
    "mean_error": _("Mean\nerror"),
    "uncertainty": _("Uncertainty,\nmeans"),
}
REGIONS = {
    "place": _("Place, mm"),
    "volume_ml": _("Volume,\nml"),
    "mean_uptake": _("Mean\nuptake"),
    "uncertainty": _("Uncertainty,\nmeans"),
}
TIPS = {
    "kind": _("Missed or found: of the true scans. Invented: only with the synthetic one."),
    "place": _("In the middle of the region: right or left, anterior or posterior, up or down."),
    "overlap": _("The share of the lesion that enhances in the other difference too."),
    "mean_error": _("Synthetic less real in the lesion, in the unit of the threshold."),
    "mean_uptake": _("Post less pre in the region, in the unit of the threshold."),
    "uncertainty": _(
        "The error to expect of the synthetic scan in the lesion, in means of the brain: the mean "
        "of the map of uncertainty that the method gave out."
    ),
}
NO_UNCERTAINTY = _(
    "No uncertainty is known: the method that made the synthetic scan gives no map of it, or both "
    "are scans."
)
NOT_HERE = _("No uncertainty is known: the lesion lies where the method computed nothing.")
AXES = ("r_mm", "a_mm", "s_mm")
LETTERS = ("RL", "AP", "SI")  # of an axis, forwards and backwards
ROWS_SHOWN = 8
MOST_ROWS = 300  # that are listed: real scans have thousands of regions of a few voxels
SWATCH = 12
SAME_PLACE_MM = 5.0  # so far the middle of a lesion moves with another threshold
ASCENDING, DESCENDING = 0, 1  # of Qt


class LesionTable:
    """One row a lesion. ``jump`` is called with the place, RAS in mm, of the one that is chosen.

    ``write`` is called with a path, to write what the table holds, ``say`` with how that went.
    """

    def __init__(self, jump, write, say):
        """Make it empty."""
        self._jump, self._write, self._say, self._echo = jump, write, say, Echo()
        self.rows, self._order = [], ("", ASCENDING)  # as they are sorted, and by what
        self.widget = qt.QWidget()
        column = qt.QVBoxLayout(self.widget)
        column.setContentsMargins(0, 0, 0, 0)
        self.table = new_table([""] * len(LESIONS))
        self.table.objectName = "lesions"
        self.table.horizontalHeader().setSectionsClickable(True)
        column.addWidget(self.table)
        column.addLayout(self._build_buttons())
        connect(self.table.horizontalHeader(), "sectionClicked(int)", self._sort_by)
        connect(self.table, "currentCellChanged(int,int,int,int)", self._moved)
        connect(self.table, "cellClicked(int,int)", lambda row, _column: self._show(row))
        self.show([])

    def _build_buttons(self):
        row = qt.QHBoxLayout()
        self.position = qt.QLabel()
        row.addWidget(self.position, 1)
        self.previous_button = self._button("previous", _("Previous"), "P", lambda *_s: self.go(-1))
        self.next_button = self._button("next", _("Next"), "N", lambda *_s: self.go(1))
        self.save_button = self._button("save", _("Save..."), "", self._save_pressed)
        self.save_button.toolTip = _("Write the table to a CSV file, as it is sorted.")
        for button in (self.previous_button, self.next_button, self.save_button):
            row.addWidget(button)
        return row

    @staticmethod
    def _button(name: str, title: str, key: str, pressed):
        button = qt.QPushButton(title)
        button.objectName = name
        if key:
            button.shortcut = qt.QKeySequence(key)
            button.toolTip = _("Key {key}; in the table also the arrow keys.").format(key=key)
        connect(button, "clicked(bool)", pressed)
        return button

    # What is shown

    @property
    def keys(self) -> dict:
        """The columns, key to heading."""
        return LESIONS if any("kind" in row for row in self.rows) else REGIONS

    def show(self, rows: list) -> None:
        """Show these lesions in place of those before; the one that is chosen stays chosen."""
        before, key = self.current, self._order[0]
        self.rows = list(rows)
        if key not in self.keys:
            self._order = ("", ASCENDING)
        self._fill(before)

    @property
    def current(self):
        """The lesion that is chosen, or None."""
        number = self.table.currentRow()
        return self.rows[number] if 0 <= number < len(self.rows) else None

    def _fill(self, chosen) -> None:
        """Show the rows in their order, and mark the chosen one."""
        key, order = self._order
        if key:
            self.rows.sort(key=lambda row: value(row, key), reverse=order == DESCENDING)
        with self._echo:
            self._show_headings()
            listed = self.rows[:MOST_ROWS]
            self.table.setRowCount(0)  # with new rows Qt measures the columns once, not at each
            texts = [[cell(row, one) for one in self.keys] for row in listed]
            fill(self.table, texts, tips=[place(row) for row in listed])
            for n, row in enumerate(listed):
                if "kind" in row:
                    self.table.item(n, 0).setIcon(swatch(KIND_COLOURS[row["kind"]][1]))
            self._explain_blanks(listed)
            fit_height(self.table, ROWS_SHOWN)
            self._mark(nearest(listed, chosen))
        self._show_position()

    def _explain_blanks(self, listed: list) -> None:
        known = [row.get("uncertainty") is not None for row in self.rows]
        column = list(self.keys).index("uncertainty")
        tip = NOT_HERE if any(known) else NO_UNCERTAINTY
        for n, row in enumerate(listed):
            if row.get("uncertainty") is None:
                self.table.item(n, column).setToolTip(tip)

    def _show_headings(self) -> None:
        self.table.setColumnCount(len(self.keys))
        self.table.setHorizontalHeaderLabels(list(self.keys.values()))
        for n, key in enumerate(self.keys):
            item = self.table.horizontalHeaderItem(n)
            item.setToolTip(" ".join(filter(None, [TIPS.get(key), _("A click sorts by it.")])))
        header, (key, order) = self.table.horizontalHeader(), self._order
        header.setSortIndicatorShown(bool(key))
        if key:
            header.setSortIndicator(list(self.keys).index(key), order)

    def _mark(self, number: int) -> None:
        if number < 0:
            self.table.clearSelection()
            self.table.setCurrentCell(-1, -1)
        else:
            self.table.setCurrentCell(number, 0)

    def _show_position(self) -> None:
        number, count = self.table.currentRow() + 1, len(self.rows)
        texts = [_("{number} of {count}") if number else _("{count} in all")] if count else []
        if count > MOST_ROWS:
            texts.append(_("{most} listed"))
        text = ", ".join(texts).format(number=number, count=count, most=MOST_ROWS)
        show_text(self.position, text)
        self.previous_button.enabled = self.next_button.enabled = bool(count)
        self.save_button.enabled = bool(count)

    # What a person does

    def go(self, step: int) -> None:
        """Go to the next lesion, or to the one before; at the end it stays."""
        number = self.table.currentRow()
        target = min(max(number + step, 0), self.table.rowCount - 1)
        if target == number:
            self._show(number)
        else:
            self.table.setCurrentCell(target, 0)

    def _moved(self, row: int, _column: int, before: int, _column_before: int) -> None:
        if not self._echo and row != before:
            self._show(row)

    def _show(self, number: int) -> None:
        if 0 <= number < len(self.rows):
            self._show_position()
            self._jump(tuple(self.rows[number][axis] for axis in AXES))

    def _sort_by(self, column: int) -> None:
        """Sort by a column, the largest first; the other way round at the second click."""
        key, (before, order) = list(self.keys)[column], self._order
        first = ASCENDING if key in ("kind", "place") else DESCENDING
        other = DESCENDING if order == ASCENDING else ASCENDING
        self._order = (key, other if key == before else first)
        self._fill(self.current)

    def _save_pressed(self, *_signal) -> None:
        save_as_csv(_("Save the table"), _("Lesions"), self._write, self._say)


def value(row: dict, key: str):
    """Return what a row is sorted by: a number, or words; what is not known comes first."""
    if key == "place":
        return tuple(-row[axis] for axis in AXES)
    if key == "kind":
        return list(KIND_COLOURS).index(row["kind"])  # those that matter most first
    known = row.get(key)
    return known if known is not None else -math.inf


def cell(row: dict, key: str) -> str:
    """Return the text of a cell."""
    if key == "kind":
        return KIND_COLOURS[row["kind"]][0]
    if key == "place":
        return place(row)
    if key == "overlap":
        return number(100.0 * row["overlap"], 0)
    if key == "uncertainty":
        known = row.get(key)  # not in the scenes of older versions
        return "" if known is None else number(known, 3)
    return difference(row[key], 2) if key == "mean_error" else number(row[key], 2)


def place(row: dict) -> str:
    """Return where a lesion is, as radiologists say it: R 12, A 3, S 40, in mm."""
    parts = zip(LETTERS, (row[axis] for axis in AXES), strict=True)
    return ", ".join(f"{letters[mm < 0]} {abs(mm):.0f}" for letters, mm in parts)


def nearest(rows: list, chosen) -> int:
    """Return the number of the row at the place of another one; -1 where there is none."""
    if chosen is None or not rows:
        return -1
    away = [math.dist([row[a] for a in AXES], [chosen[a] for a in AXES]) for row in rows]
    number = away.index(min(away))
    return number if away[number] <= SAME_PLACE_MM else -1


def swatch(colour):
    """Return a small square of a colour: the one that the map has in the slice views."""
    picture = qt.QPixmap(SWATCH, SWATCH)
    picture.fill(qt.QColor(*(round(255 * part) for part in colour)))
    return qt.QIcon(picture)
