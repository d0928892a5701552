"""Tables in a narrow panel."""

import math

import qt

from ContrastSynthPanel.widgets.forms import let_shrink

ROWS_SHOWN = 12
ONLY_READ = qt.Qt.ItemIsSelectable | qt.Qt.ItemIsEnabled


def new_table(headers: list[str], wide: int = 0):
    """Return a table without rows; its column ``wide`` takes the width that others leave."""
    table = qt.QTableWidget()
    table.setColumnCount(len(headers))
    table.setHorizontalHeaderLabels(headers)
    table.verticalHeader().hide()
    table.wordWrap = False  # the rows' heights are taken before the columns have their widths
    table.setHorizontalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
    table.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
    table.setSelectionMode(qt.QAbstractItemView.SingleSelection)
    table.setSelectionBehavior(qt.QAbstractItemView.SelectRows)
    header = table.horizontalHeader()
    header.setSectionResizeMode(qt.QHeaderView.ResizeToContents)
    header.setSectionResizeMode(wide, qt.QHeaderView.Stretch)
    header.setHighlightSections(False)
    return let_shrink(table)


def fill(table, rows: list[list[str]], editable=(), words=(0,), tips=None) -> None:
    """Show rows of texts: the columns of ``words`` to the left, numbers to the right.

    A row of one text is a title over those that follow. The columns of ``editable`` can be typed
    into, if the table's triggers let one. ``tips`` are those of the rows, by default its texts.
    """
    was = table.blockSignals(True)
    table.clearSpans()
    table.setRowCount(len(rows))
    for n, row in enumerate(rows):
        for column, text in enumerate(row):
            item = qt.QTableWidgetItem(text)
            item.setFlags(ONLY_READ | qt.Qt.ItemIsEditable if column in editable else ONLY_READ)
            side = qt.Qt.AlignLeft if column in words else qt.Qt.AlignRight
            item.setData(qt.Qt.TextAlignmentRole, side | qt.Qt.AlignVCenter)
            item.setToolTip(text if tips is None else tips[n])
            table.setItem(n, column, item)
        if len(row) == 1 < table.columnCount:
            table.item(n, 0).setFont(bold())
            table.setSpan(n, 0, 1, table.columnCount)
    table.blockSignals(was)


def bold():
    """Return the font of titles."""
    font = qt.QFont()
    font.setBold(True)
    return font


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
    text = number(value, digits)
    return f"+{text}" if value is not None and round(value, digits) > 0 else text
