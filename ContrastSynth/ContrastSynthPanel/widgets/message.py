"""What a tab has to say, in one place, in the colours of its kind."""

import qt

from ContrastSynthLib.errors import without_options
from ContrastSynthPanel.widgets.forms import NARROW

# Both colours are given, so that it can be read in a dark theme too.
STYLES = {
    "failed": "background-color: #fdecea; color: #5f1a15;",
    "warning": "background-color: #fff3d6; color: #553c00;",
    "done": "background-color: #e6f4ea; color: #1e4620;",
    "info": "",
}
LINES = (2, 7)  # the box is as high as its text, within these; more can be scrolled
MARGIN = 12
WIDTH = NARROW - MARGIN  # of the text: in a wider panel there is room to spare


class Message:
    """Says one thing at a time, and hides when there is nothing to say."""

    def __init__(self):
        """Make it empty."""
        self.widget = text_box()
        self.show("info", "")

    @property
    def text(self) -> str:
        """What is said at present."""
        return self.widget.plainText

    def show(self, kind: str, text: str) -> None:
        """Say a text of a kind of STYLES, in place of what was said before."""
        self.kind, text = kind, without_options(str(text))
        self.widget.setPlainText(text)
        self.widget.setStyleSheet(STYLES[kind])
        self.widget.setFixedHeight(self._height_for(text))
        self.widget.toolTip = ""
        self.widget.visible = bool(text)

    def _height_for(self, text: str) -> int:
        metrics = self.widget.fontMetrics()
        box = metrics.boundingRect(0, 0, WIDTH, 0, qt.Qt.TextWordWrap, text)
        low, high = (lines * metrics.lineSpacing() for lines in LINES)
        return min(max(box.height(), low), high) + MARGIN


def text_box():
    """Return a box of text that can be copied, and that breaks lines of any length."""
    box = qt.QPlainTextEdit()
    box.setReadOnly(True)
    box.setWordWrapMode(qt.QTextOption.WrapAtWordBoundaryOrAnywhere)
    return box
