"""The messages of a tab, in one place, and an offer to bring volumes onto one grid."""

import qt
from slicer.i18n import tr as _

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.geometry import grid_table
from ContrastSynthLib.preprocessing.alignment import align
from ContrastSynthPanel.widgets.message import Message


class DifferingGrids(RequestError):
    """Volumes do not lie on one grid; ``table`` says in what the grids differ."""

    def __init__(self, text: str, table: str):
        """Keep the table apart: it is too wide for a sentence."""
        super().__init__(text)
        self.table = table


class Notice:
    """A message, and a button that resamples where differing grids are the trouble."""

    def __init__(self, resample):
        """Make it empty; ``resample`` is called when the offer is taken."""
        self.widget = qt.QWidget()
        column = qt.QVBoxLayout(self.widget)
        column.setContentsMargins(0, 0, 0, 0)
        self._message = Message()
        self.box = self._message.widget
        self.resample_button = qt.QPushButton(_("Resample onto one grid"))
        self.resample_button.objectName = "resample"
        self.resample_button.toolTip = _(
            "Interpolate by the positions in the headers. No node is changed. Volumes of a patient "
            "who moved in between have to be registered first."
        )
        self.resample_button.connect("clicked(bool)", lambda *_signal: resample())
        column.addWidget(self.box)
        column.addWidget(self.resample_button)
        self.show("info", "")

    @property
    def text(self) -> str:
        """What is said at present."""
        return self._message.text

    def show(self, kind: str, text: str) -> None:
        """Say something, as Message does, without an offer."""
        self._message.show(kind, text)
        self.resample_button.visible = False

    def show_error(self, error: Exception) -> None:
        """Say what went wrong, and offer to resample where that would help."""
        self.show("failed", str(error))
        if isinstance(error, DifferingGrids):
            self.box.toolTip = f"<pre>{error.table}</pre>"
            self.resample_button.visible = True


def on_one_grid(volumes: dict, first: str, resample: bool, masks=()) -> dict:
    """Return all volumes, by name, on the grid of ``first``; RequestError where that cannot be.

    DifferingGrids unless they lie on it already, or ``resample`` allows to interpolate.
    """
    grids = {first: volumes[first].grid, **{name: one.grid for name, one in volumes.items()}}
    others = [name for name, grid in grids.items() if not grid.is_same(grids[first])]
    if others and not resample:
        names = ", ".join(f"'{name}'" for name in others)
        text = _("{names}: not on the grid of '{first}'.").format(names=names, first=first)
        raise DifferingGrids(text, grid_table(grids))
    try:
        return align(volumes, first, "resample", masks)[0]
    except RequestError as error:
        text = _("{what}. Register them first, or choose volumes of one patient.")
        what = str(error).partition("\n")[0].rstrip(":.")
        raise RequestError(text.format(what=what)) from None
