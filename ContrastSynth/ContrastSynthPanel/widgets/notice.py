"""The messages of a tab, in one place, and an offer to bring volumes onto one grid."""

import qt
from slicer.i18n import tr as _

from ContrastSynthPanel.scene.one_grid import DifferingGrids
from ContrastSynthPanel.widgets.message import Message
from ContrastSynthPanel.widgets.slots import connect


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
        connect(self.resample_button, "clicked(bool)", lambda *_signal: resample())
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
