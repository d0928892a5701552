"""The iterations of a method: curves in the plots that it declares, and a table of all columns."""

from collections.abc import Mapping

import qt
from slicer.i18n import tr as _

from ContrastSynthLib.registry import METHODS, Column
from ContrastSynthPanel.scene.run_results import provenance_of
from ContrastSynthPanel.widgets.curves import draw_curves, legend
from ContrastSynthPanel.widgets.forms import let_shrink

ITERATION = "iteration"  # the column that counts the rows of a history


class HistoryPlots:
    """A picture for each plot, with a legend above it."""

    def __init__(self):
        """Make it without plots."""
        self.widget = qt.QWidget()
        self._column = qt.QVBoxLayout(self.widget)
        self._column.setContentsMargins(0, 0, 0, 0)
        self.legends, self.pictures = [], []

    def show(self, width: int, history: Mapping, plots: dict, mark: int | None) -> None:
        """Draw the curves of each plot, title to values, over the iterations of a history."""
        while len(self.pictures) < len(plots):
            self._add()
        iterations = history.get(ITERATION, ())
        for number, (above, picture) in enumerate(zip(self.legends, self.pictures, strict=True)):
            shown = number < len(plots)
            above.visible = picture.visible = shown
            if shown:
                lines = list(plots.values())[number]
                points = {name: list(zip(iterations, y, strict=True)) for name, y in lines.items()}
                picture.setPixmap(draw_curves(width, points, _("Iteration"), mark))
                above.text = legend(lines)

    def _add(self) -> None:
        above, picture = qt.QLabel(), qt.QLabel()
        above.wordWrap = True
        picture.scaledContents = True
        let_shrink(picture)
        self.legends.append(above)
        self.pictures.append(picture)
        self._column.addWidget(above)
        self._column.addWidget(picture)


def history_of(provenance: Mapping) -> dict:
    """Return the history of a result; {} where there is none, or not all that is declared."""
    history = provenance.get("record", {}).get("history", {})
    columns = columns_of(provenance)
    whole = columns and all(history.get(name) for name in columns)
    return {name: history[name] for name in columns} if whole else {}


def history_of_node(node) -> dict:
    """Return the history of a result in the scene, as :func:`history_of` does."""
    return history_of(provenance_of(node))


def columns_of(provenance: Mapping) -> Mapping[str, Column]:
    """Return the columns that the method of a result declares; none of an unknown method."""
    method = METHODS.get(provenance.get("method", {}).get("key"))
    return method.history if method is not None else {}


def plots_of(history: Mapping, columns: Mapping[str, Column], numbers: Mapping) -> dict:
    """Return for each declared plot its curves, title to values.

    ``numbers`` holds the factors that columns name; a column whose factor is not known yet has no
    curve.
    """
    plots = {}
    for name, column in columns.items():
        if column.plot and (values := _scaled(history[name], column, numbers)) is not None:
            plots.setdefault(column.plot, {})[_with_unit(column)] = values
    return plots


def table_rows(history: Mapping, columns: Mapping[str, Column], numbers: Mapping) -> list:
    """Return the rows of the table: the first and the last number of each column."""
    rows = []
    for name, column in columns.items():
        values = _scaled(history[name], column, numbers)
        if values is not None:
            rows.append([_with_unit(column), number_text(values[0]), number_text(values[-1])])
    return rows


def number_text(value: float) -> str:
    """Return a number as the table and the texts show it."""
    return f"{value:.2e}" if isinstance(value, float) and value % 1 else f"{value:g}"


def _scaled(values: list, column: Column, numbers: Mapping) -> list | None:
    if not column.factor:
        return list(values)
    factor = numbers.get(column.factor)
    return None if factor is None else [factor * value for value in values]


def _with_unit(column: Column) -> str:
    return f"{column.title} ({column.unit})" if column.unit else column.title
