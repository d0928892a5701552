"""What a tab computes beside Slicer's thread: how it goes, and Cancel; unseen while it is idle."""

import qt
from slicer.i18n import tr as _

from ContrastSynthLib.errors import ContrastSynthError
from ContrastSynthPanel.background import Background
from ContrastSynthPanel.widgets.forms import long_text
from ContrastSynthPanel.widgets.slots import connect, once_after, tell


class WorkBox:
    """A line of text and a button. ``cancelled`` is called when a person pressed it."""

    def __init__(self, cancelled):
        """Make it idle."""
        self._cancelled = cancelled
        self.widget, self.label = qt.QWidget(), long_text()
        self.label.wordWrap = True
        self.cancel_button = qt.QPushButton(_("Cancel"))
        self.cancel_button.objectName = "cancel"
        row = qt.QHBoxLayout(self.widget)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.label, 1)
        row.addWidget(self.cancel_button)
        self.widget.hide()
        self._work = Background(once_after, self._show)
        connect(self.cancel_button, "clicked(bool)", lambda *_signal: self._cancel())

    @property
    def running(self) -> bool:
        """Whether something is being computed."""
        return self._work.running

    def start(self, task, done, failed, text: str = "") -> None:
        """Do a task; ``done`` gets its answer, ``failed`` an error that was to be expected."""

        def went_wrong(error: Exception) -> None:
            if not isinstance(error, ContrastSynthError):
                tell(error)
            failed(error)

        self._work.start(task, done, went_wrong, text)

    def stop(self) -> None:
        """End it without a word."""
        self._work.cancel()

    def _cancel(self) -> None:
        if self._work.cancel():
            self._cancelled()

    def _show(self, text: str) -> None:
        self.label.text = text
        self.widget.visible = self.running
