"""How lists and numbers behave under wheel and keyboard."""

import qt


class Manners(qt.QObject):
    """Wheel and comma as a person means them.

    The wheel over a list or a number that has not the focus scrolls the panel and changes
    nothing. A comma typed into a number is its decimal separator, in any locale.
    """

    def eventFilter(self, widget, event):
        """Return whether an event is dealt with; Qt asks for each that ``widget`` gets."""
        kind = event.type()
        if kind == qt.QEvent.Wheel and not widget.focus:
            event.ignore()  # for the scroll area around
            return True
        if kind == qt.QEvent.KeyPress and widget.inherits("QAbstractSpinBox"):
            return self._typed(widget, event)
        return False

    @staticmethod
    def _typed(box, event) -> bool:
        point = box.locale.decimalPoint()
        point = point if isinstance(point, str) else chr(point)
        if event.text() not in (".", ",") or event.text() == point:
            return False
        edit = box.findChildren("QLineEdit")[0]
        if point not in edit.text or edit.hasSelectedText:
            edit.insert(point)
        return True


_manners = []


def needs_focus(widget):
    """Let wheel and keys change a widget only as :class:`Manners` has it; return the widget."""
    if not _manners:
        _manners.append(Manners())
    widget.focusPolicy = qt.Qt.StrongFocus
    widget.installEventFilter(_manners[0])
    return widget
