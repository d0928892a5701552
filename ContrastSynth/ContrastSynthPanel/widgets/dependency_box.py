"""What is not installed, and the button that installs it."""

import qt
from slicer.i18n import tr as _

from ContrastSynthLib.errors import MissingError
from ContrastSynthPanel import dependencies
from ContrastSynthPanel.widgets.slots import connect


class DependencyBox:
    """A line and a button, seen only while something is missing."""

    def __init__(self, changed, show_message, needed=""):
        """Make the box; ``needed`` says for what, by default for the method.

        After an installation ``changed`` is called, and ``show_message``.
        """
        self._changed, self._show_message, self._missing = changed, show_message, []
        self._needed = needed or _("Needed for this method.")
        self.widget, self.label = qt.QWidget(), qt.QLabel()
        self.label.wordWrap = True
        self.button = qt.QPushButton(_("Install..."))
        self.button.objectName = "install"
        row = qt.QHBoxLayout(self.widget)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.label, 1)
        row.addWidget(self.button)
        connect(self.button, "clicked(bool)", self._install)
        self.widget.hide()

    def show(self, groups: list[str], useful: tuple = ("scans",)) -> str:
        """Show what is missing of the groups of packages that are needed, and return it.

        Those of ``useful`` groups are shown as well, as what some scans and measures need.
        """
        needed = dependencies.lacking(*groups)
        useful = [one for one in dependencies.lacking(*useful) if one not in needed]
        self._missing = [*needed, *useful]
        text = _("Not installed: {names}.").format(names=dependencies.names(needed or useful))
        hint = self._needed if needed else _("Some scans and measures need it.")
        self.label.text = f"{text} {hint}"
        self.button.toolTip = _("Installs {names}, after asking.").format(
            names=", ".join(self._missing)
        )
        self.widget.visible = bool(self._missing)
        return self.label.text if needed else ""

    def _install(self, *_signal) -> None:
        wanted = self._missing
        try:
            dependencies.install(wanted)
            text = _("Installed: {names}.").format(names=dependencies.names(wanted))
            self._show_message("done", text)
        except MissingError as error:
            self._show_message("warning", str(error))
        self._changed()
