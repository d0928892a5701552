"""A button that does what a tab is for, and beside it, why it cannot be pressed."""

import qt

from ContrastSynthPanel.widgets.forms import long_text, show_text
from ContrastSynthPanel.widgets.slots import connect


class Action:
    """A button and a line of text, seen while something is missing."""

    def __init__(self, name: str, title: str, ready: str, pressed):
        """Make the button; ``ready`` is its tooltip where nothing is missing."""
        self._ready, self._blocked, self._busy = ready, "", ""
        self.widget, self.button, self.reason = qt.QWidget(), qt.QPushButton(title), long_text()
        self.button.objectName = name
        self.reason.objectName, self.reason.wordWrap = f"{name} reason", True
        column = qt.QVBoxLayout(self.widget)
        column.setContentsMargins(0, 0, 0, 0)
        self.row = qt.QHBoxLayout()
        self.row.addWidget(self.button, 3)
        column.addLayout(self.row)
        column.addWidget(self.reason)
        connect(self.button, "clicked(bool)", lambda *_signal: pressed())
        self._show()

    def block(self, reason: str) -> None:
        """Grey the button out for a reason; no reason sets it free."""
        self._blocked = reason
        self._show()

    def busy(self, reason: str) -> None:
        """Grey the button out while something is under way, which is seen elsewhere."""
        self._busy = reason
        self._show()

    @property
    def blocked(self) -> str:
        """Why it cannot be pressed; nothing if it can."""
        return self._busy or self._blocked

    def _show(self) -> None:
        self.button.enabled = not self.blocked
        self.button.toolTip = self.blocked or self._ready
        show_text(self.reason, "" if self._busy else self._blocked)
