"""The colours of a scale, and the values at its low end, in its middle and at its high end."""

import qt

from ContrastSynthPanel.scene import colours

HEIGHT = 12
SIDES = (qt.Qt.AlignLeft, qt.Qt.AlignHCenter, qt.Qt.AlignRight)


class ScaleBar:
    """A bar of colours with three texts below."""

    def __init__(self):
        """Make it empty."""
        self.widget, self.bar = qt.QWidget(), qt.QLabel()
        self.bar.setFixedHeight(HEIGHT)
        self.ends = [qt.QLabel() for _side in SIDES]
        column, numbers = qt.QVBoxLayout(self.widget), qt.QHBoxLayout()
        column.setContentsMargins(0, 0, 0, 0)
        for label, side in zip(self.ends, SIDES, strict=True):
            label.setAlignment(side)
            numbers.addWidget(label, 1)
        column.addWidget(self.bar)
        column.addLayout(numbers)

    def show(self, ends, texts) -> None:
        """Show colours in equal steps between ``ends``, and what their values are."""
        self.bar.setStyleSheet(colours.scale_style(ends))
        for label, text in zip(self.ends, texts, strict=True):
            label.text = text
