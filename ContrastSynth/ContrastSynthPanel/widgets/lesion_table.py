"""The table of missed, invented and found lesions."""

import qt
from slicer.i18n import tr as _

from ContrastSynthPanel.scene import colours
from ContrastSynthPanel.widgets.value_table import fill, fit_height, new_table

KIND_COLOURS = {
    "missed": colours.KINDS[colours.enhancement.MISSED],
    "invented": colours.KINDS[colours.enhancement.INVENTED],
    "found": colours.KINDS[colours.enhancement.FOUND],
}
HEADINGS = (_("Kind"), _("Volume, ml"), _("Overlap, %"), _("Mean error"))
ROWS_SHOWN = 8
SWATCH = 12


class LesionTable:
    """One row a lesion; a click on a row calls ``jump`` with a place in it, RAS in mm."""

    def __init__(self, jump):
        """Make it empty."""
        self._jump, self.rows = jump, []
        self.widget = new_table(HEADINGS)
        self.widget.objectName = "lesions"
        self.widget.toolTip = _(
            "A click shows the lesion in all slice views. Overlap: the share of it that enhances "
            "in the other difference too. Mean error: synthetic less real, in medians of the brain."
        )
        self.widget.connect("cellClicked(int,int)", self._chosen)
        self.widget.connect("cellActivated(int,int)", self._chosen)

    def show(self, rows: list[dict]) -> None:
        """Show these lesions in place of those before."""
        self.rows = rows
        kinds = [KIND_COLOURS[row["kind"]] for row in rows]
        texts = [[title, *numbers(row)] for (title, _colour), row in zip(kinds, rows, strict=True)]
        fill(self.widget, texts, tips=[""] * len(rows))  # the tooltip is that of the whole
        for number, (_title, colour) in enumerate(kinds):
            self.widget.item(number, 0).setIcon(swatch(colour))
        fit_height(self.widget, ROWS_SHOWN)

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
