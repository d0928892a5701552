"""A table to read: rows under titles, as high as its rows are."""

import qt

RIGHT = qt.Qt.AlignRight | qt.Qt.AlignVCenter


class ReportTable:
    """Shows rows of texts, the first column as wide as the panel lets it be."""

    def __init__(self, titles, numbers):
        """Make an empty table with these column titles; ``numbers`` are the columns of numbers."""
        self._columns, self._numbers = len(titles), numbers
        self.widget = qt.QTableWidget()
        self.widget.setColumnCount(self._columns)
        self.widget.setHorizontalHeaderLabels(list(titles))
        self.widget.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
        self.widget.setSelectionMode(qt.QAbstractItemView.NoSelection)
        self.widget.setVerticalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
        self.widget.setHorizontalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
        self.widget.verticalHeader().hide()
        header = self.widget.horizontalHeader()
        header.setDefaultAlignment(qt.Qt.AlignLeft | qt.Qt.AlignVCenter)
        header.setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        header.setSectionResizeMode(0, qt.QHeaderView.Stretch)
        self.show([])

    def show(self, rows: list) -> None:
        """Show rows, each a list of texts and a tooltip; one text alone is a title over others."""
        self.widget.clearSpans()
        self.widget.setRowCount(len(rows))
        for number, (texts, tip) in enumerate(rows):
            is_title = len(texts) == 1
            for column, text in enumerate(texts):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(tip)
                if column in self._numbers:
                    item.setData(qt.Qt.TextAlignmentRole, RIGHT)
                if is_title:
                    item.setFont(_bold())
                self.widget.setItem(number, column, item)
            if is_title:
                self.widget.setSpan(number, 0, 1, self._columns)
        self.widget.resizeRowsToContents()
        heights = self.widget.horizontalHeader().sizeHint.height()
        heights += sum(self.widget.rowHeight(number) for number in range(len(rows)))
        self.widget.setFixedHeight(heights + 2 * self.widget.frameWidth)
        self.widget.visible = bool(rows)

    def texts(self) -> list:
        """Return the texts of all rows."""
        rows = range(self.widget.rowCount)
        items = [[self.widget.item(row, n) for n in range(self._columns)] for row in rows]
        return [[item.text() for item in row if item is not None] for row in items]


def _bold():
    font = qt.QFont()
    font.setBold(True)
    return font
