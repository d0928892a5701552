"""The keys of a reader: struck in the widget that has the focus, as a keyboard does."""

from __future__ import annotations

from host import key, pump


def focused(tab):
    """Return the widget that has the focus in the window of a tab."""
    from PySide6.QtWidgets import QApplication

    tab.widget.window().activateWindow()
    pump(lambda: QApplication.focusWidget() is not None)
    return QApplication.focusWidget()


def strike(where, *names):
    """Strike keys by their names in a widget, or in a tab's, and let each press its button."""
    import qt

    widget = getattr(where, "widget", where)
    widget.window().activateWindow()
    for name in names:
        pump(timeout_s=0.05)
        key(widget, getattr(qt.Qt, f"Key_{name}"))
        pump(timeout_s=0.25)  # a key presses the button, as a finger does
