"""The table of missed, invented and found lesions."""

import qt
from slicer.i18n import tr as _

from ContrastSynthPanel import colours

KIND_COLOURS = {
    "missed": colours.KINDS[colours.enhancement.MISSED],
    "invented": colours.KINDS[colours.enhancement.INVENTED],
    "found": colours.KINDS[colours.enhancement.FOUND],
}
HEADINGS = (_("Kind"), _("Volume, ml"), _("Overlap, %"), _("Mean error"))
HEIGHT, ROW_HEIGHT = 180, 22
SWATCH = 12
ALIGNMENT = qt.Qt.AlignRight | qt.Qt.AlignVCenter


class LesionTable:
    """One row a lesion; a click on a row calls ``jump`` with its centre, RAS in mm."""

    def __init__(self, jump):
        """Make it empty."""
        self._jump, self.rows = jump, []
        self.widget = qt.QTableWidget()
        self.widget.objectName = "lesions"
        self.widget.setColumnCount(len(HEADINGS))
        self.widget.setHorizontalHeaderLabels(list(HEADINGS))
        self.widget.setSelectionBehavior(qt.QAbstractItemView.SelectRows)
        self.widget.setSelectionMode(qt.QAbstractItemView.SingleSelection)
        self.widget.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
        self.widget.verticalHeader().hide()
        self.widget.verticalHeader().setDefaultSectionSize(ROW_HEIGHT)
        self.widget.horizontalHeader().setSectionResizeMode(qt.QHeaderView.Stretch)
        self.widget.setMinimumHeight(HEIGHT)
        self.widget.toolTip = _(
            "A click shows the lesion in all slice views. Overlap: the share of it that enhances "
            "in the other difference too. Mean error: synthetic less real, in medians of the brain."
        )
        self.widget.connect("cellClicked(int,int)", self._chosen)
        self.widget.connect("cellActivated(int,int)", self._chosen)

    def show(self, rows: list[dict]) -> None:
        """Show these lesions in place of those before."""
        self.rows = rows
        self.widget.setRowCount(len(rows))
        for number, row in enumerate(rows):
            title, colour = KIND_COLOURS[row["kind"]]
            texts = (title, *numbers(row))
            for column, text in enumerate(texts):
                item = qt.QTableWidgetItem(text)
                if column:
                    item.setData(qt.Qt.TextAlignmentRole, ALIGNMENT)
                else:
                    item.setIcon(swatch(colour))
                self.widget.setItem(number, column, item)

    def _chosen(self, row: int, _column: int) -> None:
        lesion = self.rows[row]
        self._jump(tuple(lesion[axis] for axis in ("r_mm", "a_mm", "s_mm")))


def numbers(row: dict) -> tuple[str, str, str]:
    """Return volume, overlap and mean error as texts."""
    return f"{row['volume_ml']:.2f}", f"{100 * row['overlap']:.0f}", f"{row['mean_error']:+.2f}"


def swatch(colour):
    """Return a small square of a colour: the one that the map has in the slice views."""
    picture = qt.QPixmap(SWATCH, SWATCH)
    picture.fill(qt.QColor(*(round(255 * part) for part in colour)))
    return qt.QIcon(picture)
