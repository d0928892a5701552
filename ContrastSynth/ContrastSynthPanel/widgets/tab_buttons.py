"""Buttons in rows in place of a tab bar, which would be too wide for a narrow panel."""

import qt

from ContrastSynthPanel.widgets.slots import connect

IN_A_ROW = 4
# The theme's own colours: those of a selection mark the shown tab, in light and dark themes.
STYLE = """
QPushButton {
    padding: 4px 2px; border: 1px solid palette(mid); border-radius: 3px;
    background-color: palette(button); color: palette(button-text);
}
QPushButton:hover { border-color: palette(highlight); }
QPushButton:focus { text-decoration: underline; }
QPushButton:checked {
    border-color: palette(highlight); background-color: palette(highlight);
    color: palette(highlighted-text);
}
"""


class TabButtons:
    """One button for each tab of a QTabWidget, whose bar is hidden; that of the shown is down."""

    def __init__(self, tab_widget):
        """Make the buttons of the tabs that there are."""
        self._tab_widget = tab_widget
        tab_widget.tabBar().hide()
        self.widget, self._theme = qt.QWidget(), ""
        self.follow_theme()
        column = qt.QVBoxLayout(self.widget)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        self.buttons = [self._button(number) for number in range(tab_widget.count)]
        for start in range(0, len(self.buttons), IN_A_ROW):
            row = qt.QHBoxLayout()
            row.setSpacing(4)
            for button in self.buttons[start : start + IN_A_ROW]:
                row.addWidget(button, 1)
            column.addLayout(row)
        connect(tab_widget, "currentChanged(int)", self._show)
        self._show(tab_widget.currentIndex)

    def follow_theme(self) -> None:
        """Take the colours of the theme as it is now: a style sheet does not follow it."""
        palette = qt.QApplication.palette()
        roles = (qt.QPalette.Window, qt.QPalette.Button, qt.QPalette.Highlight, qt.QPalette.Text)
        theme = " ".join(palette.color(role).name() for role in roles)
        if theme != self._theme:
            self._theme = theme
            self.widget.setStyleSheet("")
            self.widget.setStyleSheet(STYLE)

    def _button(self, number: int):
        button = qt.QPushButton(self._tab_widget.tabText(number))
        button.checkable = button.autoExclusive = True
        connect(button, "clicked(bool)", lambda *_s: self._tab_widget.setCurrentIndex(number))
        return button

    def _show(self, number: int) -> None:
        self.buttons[number].checked = True
