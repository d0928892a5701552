"""What a person does to a panel: press, choose, type, close the scene, look at it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

# PySide6 and slicer are imported where they are used: without them, tests are skipped.


def reachable(widget: Any) -> None:
    """Refuse what a person could not click: what is hidden, or greyed out."""
    from .pythonqt import cpp_class

    name = widget.objectName or getattr(widget, "text", "")
    what = f"{cpp_class(type(widget)).__name__} {name!r}"
    if not widget.isVisible():
        raise AssertionError(f"{what} is hidden")
    if not widget.isEnabled():
        raise AssertionError(f"{what} is greyed out: {widget.toolTip}")


def press(button: Any) -> None:
    """Click a button (or a check box) that can be clicked."""
    reachable(button)
    button.click()


def pick(widget: Any, what: Any) -> None:
    """Choose an entry of a combo box: a node of a node selector (None is "None"), or a text."""
    reachable(widget)
    box = getattr(widget, "_box", widget)
    if box is widget or isinstance(what, str):
        index = box.findText(what)
    else:
        index = box.findData("" if what is None else what.GetID())
    if index < 0:
        entries = [box.itemText(i) for i in range(box.count)]
        name = what.GetName() if hasattr(what, "GetName") else what
        raise AssertionError(f"there is no {name!r} among {entries}")
    box.setCurrentIndex(index)
    box.activated.emit(index)


def entries(widget: Any) -> list[str]:
    """Return the texts that a combo box or node selector offers."""
    box = getattr(widget, "_box", widget)
    return [box.itemText(i) for i in range(box.count)]


def type_text(widget: Any, text: str) -> None:
    """Replace the text of a line edit or spin box by typing, then press Enter."""
    from PySide6.QtCore import Qt
    from PySide6.QtTest import QTest

    reachable(widget)
    target = getattr(widget, "_box", getattr(widget, "_edit", widget))
    target.setFocus()
    target.selectAll()
    QTest.keyClicks(target, text)
    QTest.keyClick(target, Qt.Key(Qt.Key_Return))


def key(widget: Any, code: int) -> None:
    """Press a key (``qt.Qt.Key_...``) while a widget has the focus."""
    from PySide6.QtCore import Qt
    from PySide6.QtTest import QTest

    reachable(widget)
    QTest.keyClick(widget, Qt.Key(code))


def type_cell(table: Any, row: int, column: int, text: str) -> None:
    """Double-click a cell of a table, type, and press Enter; refused where it only can be read."""
    from PySide6.QtCore import QPoint, QRect, Qt
    from PySide6.QtTest import QTest

    reachable(table)
    place = QRect.center(table.visualItemRect(table.item(row, column)))
    target = table.viewport()
    # A double click is two clicks, the second of which Qt is told apart.
    QTest.mouseClick(target, Qt.MouseButton.LeftButton, Qt.KeyboardModifier(0), QPoint(place))
    QTest.mouseDClick(target, Qt.MouseButton.LeftButton, Qt.KeyboardModifier(0), QPoint(place))
    editor = table.findChild("QLineEdit")
    if editor is None:
        raise AssertionError(f"cell {row}, {column} cannot be typed into")
    editor.selectAll()
    QTest.keyClick(editor, Qt.Key(Qt.Key_Delete))
    QTest.keyClicks(editor, text)
    QTest.keyClick(editor, Qt.Key(Qt.Key_Return))
    settle()


def tick(box: Any, text: str) -> None:
    """Go to the entry of a list with that text, and press the space bar to check or uncheck it."""
    from PySide6.QtCore import Qt

    found = [box.item(n) for n in range(box.count) if box.item(n).text() == text]
    if not found:
        raise AssertionError(f"no {text!r} in {[box.item(n).text() for n in range(box.count)]}")
    box.setCurrentItem(found[0])
    key(box, Qt.Key_Space)


def close_scene() -> None:
    """File, Close scene."""
    import slicer

    slicer.mrmlScene.Clear(0)


def settle(times: int = 3) -> None:
    """Let Qt do what it has put off."""
    from PySide6.QtWidgets import QApplication

    for _ in range(times):
        QApplication.processEvents()


def screenshot(widget: Any, path: Path | str, width: int = 420, height: int = 0) -> Path:
    """Write a picture of a widget to a PNG file, as wide as Slicer's module panel.

    It was drawn by the test host, and says nothing of how Slicer's own style and ctk look.
    """
    if not hasattr(widget, "grab"):  # the Python class of a panel
        widget = widget.parent
    if widget.minimumSizeHint.width() > width:
        width = widget.minimumSizeHint.width()
    was_shown = widget.isVisible()
    widget.show()
    settle()
    widget.resize(width, height or max(widget.sizeHint.height(), 60))
    settle()
    picture = widget.grab()
    if not was_shown:
        widget.hide()
    if not picture.save(str(path), "PNG"):
        raise OSError(f"cannot write {path}")
    return Path(path)
