"""Tables of values in a narrow panel."""

import math

import qt

from ContrastSynthPanel.forms import let_shrink

ROWS_SHOWN = 12
ONLY_READ = qt.Qt.ItemIsSelectable | qt.Qt.ItemIsEnabled


def new_table(headers: list[str], wide: int = 0):
    """Return a table without rows; its column ``wide`` takes the width that others leave."""
    table = qt.QTableWidget()
    table.setColumnCount(len(headers))
    table.setHorizontalHeaderLabels(headers)
    table.verticalHeader().hide()
    table.setHorizontalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
    table.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
    table.setSelectionMode(qt.QAbstractItemView.SingleSelection)
    table.setSelectionBehavior(qt.QAbstractItemView.SelectRows)
    header = table.horizontalHeader()
    header.setSectionResizeMode(qt.QHeaderView.ResizeToContents)
    header.setSectionResizeMode(wide, qt.QHeaderView.Stretch)
    header.setHighlightSections(False)
    return let_shrink(table)


def fill(table, rows: list[list[str]], editable: tuple = (), words: tuple = (0,)) -> None:
    """Show rows of texts: the columns of ``words`` to the left, numbers to the right.

    The columns of ``editable`` can be typed into, if the table's triggers let one.
    """
    was = table.blockSignals(True)
    table.setRowCount(len(rows))
    for n, row in enumerate(rows):
        for column, text in enumerate(row):
            item = qt.QTableWidgetItem(text)
            item.setFlags(ONLY_READ | qt.Qt.ItemIsEditable if column in editable else ONLY_READ)
            side = qt.Qt.AlignLeft if column in words else qt.Qt.AlignRight
            item.setData(qt.Qt.TextAlignmentRole, side | qt.Qt.AlignVCenter)
            item.setToolTip(text)
            table.setItem(n, column, item)
    table.blockSignals(was)


def fit_height(table, rows_shown: int = ROWS_SHOWN) -> None:
    """Make a table as high as its rows, at most as high as ``rows_shown`` of them."""
    rows = range(min(table.rowCount, rows_shown))
    for n in rows:
        table.resizeRowToContents(n)
    # The header is not laid out yet when a table is filled before it is first shown.
    header = max(table.horizontalHeader().sizeHint.height(), table.horizontalHeader().height)
    table.setFixedHeight(header + sum(table.rowHeight(n) for n in rows) + 2 * table.frameWidth)


def number(value, digits: int = 3) -> str:
    """Return a number as a person reads it; nothing known is a dash."""
    if value is None or math.isnan(value):
        return "\N{EN DASH}"
    rounded = round(value, digits) + 0.0  # never "-0"
    return f"{rounded:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def difference(value, digits: int = 3) -> str:
    """Return a difference, with its sign."""
    told = number(value, digits)
    return f"+{told}" if value is not None and round(value, digits) > 0 else told
