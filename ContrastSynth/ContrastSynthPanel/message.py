"""One place in a tab for what there is to say."""

from ContrastSynthPanel.run_section import STYLES, text_box

MARGIN = 12


class Message:
    """Says one thing at a time, in the colours of its kind, and hides when there is nothing."""

    def __init__(self, lines: int = 6):
        """Make a box that grows to a number of lines; more can be scrolled."""
        self.widget, self.kind = text_box(), "told"
        self._lines = lines
        self.widget.hide()

    @property
    def text(self) -> str:
        """What is said at present."""
        return self.widget.plainText

    def tell(self, kind: str, text: str) -> None:
        """Say a text of a kind: "failed", "warning", "done" or "told"."""
        self.kind = kind
        self.widget.setPlainText(str(text))
        self.widget.setStyleSheet(STYLES[kind])
        metrics = self.widget.fontMetrics()
        letters = max(20, int(self.widget.width / max(1, metrics.averageCharWidth())) - 4)
        lines = sum(1 + len(line) // letters for line in str(text).split("\n"))
        self.widget.setFixedHeight(min(lines, self._lines) * metrics.lineSpacing() + MARGIN)
        self.widget.visible = bool(text)
