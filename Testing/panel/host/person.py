"""What a person does to a panel: press, choose, type, close the scene, look at it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

COMBO_FRAME = 26  # pixels of a list's frame and arrow

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
    widget = getattr(widget, "widget", widget)  # a selector of the panel's own
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
    data = box.itemData(index)
    if box is not widget and data.startswith("+"):  # "Create new ...": this entry is never chosen
        widget._create(data)
        return
    # The order of Qt: the index changes, and with it the node, then a person has chosen it.
    box.setCurrentIndex(index)
    box.activated.emit(index)


def entries(widget: Any) -> list[str]:
    """Return the texts that a combo box or node selector offers."""
    widget = getattr(widget, "widget", widget)
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


def read_table(table: Any) -> list[list[str]]:
    """Return the texts of a table, row by row; a title over several columns is one text."""
    rows = [[table.item(row, n) for n in range(table.columnCount)] for row in range(table.rowCount)]
    return [
        [item.text() for item in row[: 1 if table.columnSpan(n, 0) > 1 else None]]
        for n, row in enumerate(rows)
    ]


def type_cell(table: Any, row: int, column: int, text: str) -> None:
    """Double-click a cell of a table, type, and press Enter; refused where it only can be read."""
    from PySide6.QtCore import QPoint, QRect, Qt
    from PySide6.QtTest import QTest

    reachable(table)
    place = QRect.center(table.visualItemRect(table.item(row, column)))
    target = table.viewport()
    # A double click is two clicks, the second of which Qt knows to be one.
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


def wheel(widget: Any, steps: int = 1, *, focused: bool = False, inner: str = "") -> None:
    """Turn the mouse wheel over a widget, down for positive steps; over its list or spin box.

    ``inner`` is the class of another part of it ("QSlider"). Without ``focused`` something else
    has the focus at first; as in Qt, the wheel itself then gives it to what takes it that way
    (WheelFocus, which lists and spin boxes have unless a panel changes it).
    """
    from PySide6.QtCore import QPoint, QPointF
    from PySide6.QtTest import QTest

    reachable(widget)
    target = getattr(widget, "_box", getattr(widget, "viewport", lambda: widget)())
    if inner:
        target = widget.findChildren(inner)[0]
    window = target.window()
    place = target.mapTo(window, QPoint(target.width // 2, target.height // 2))
    under = window.childAt(place) or window
    if under is not target and not target.isAncestorOf(under):
        raise AssertionError(f"{target.className()} is not in sight: scroll to it first")
    window.activateWindow()
    if focused:
        target.setFocus()
    elif (other := window.focusWidget()) is not None:
        other.clearFocus()
    settle()
    for _ in range(abs(steps)):
        turn = QPoint(0, -120 if steps > 0 else 120)
        QTest.wheelEvent(window.windowHandle(), QPointF(place), turn)
        settle()


def drag(slider: Any, value: float) -> None:
    """Move the handle of a ctkSliderWidget with the mouse: press, some places between, release."""
    reachable(slider)
    handle = slider._slider
    begin, end = handle.value, slider._steps.steps(value)
    handle.setSliderDown(True)
    for part in (1, 2, 3, 4):
        handle.setSliderPosition(begin + (end - begin) * part // 4)
        settle(1)
    handle.setSliderDown(False)


def hover(view_name: str, ras: Any = None) -> None:
    """Move the mouse over a slice view ("Red") to a place in RAS mm; without one, out of it."""
    import slicer
    import vtk

    crosshair = slicer.mrmlScene.GetSingletonNode("default", "vtkMRMLCrosshairNode")
    if ras is None:
        crosshair.SetCursorPositionInvalid()
        return
    view = slicer.app.layoutManager().sliceWidget(view_name).mrmlSliceNode()
    to_xy = vtk.vtkMatrix4x4()
    vtk.vtkMatrix4x4.Invert(view.GetXYToRAS(), to_xy)
    crosshair.SetCursorPositionXYZ(to_xy.MultiplyPoint((*ras, 1.0))[:3], view)


def erase_half(segmentation: Any, segment_id: str) -> int:
    """Erase half of a segment's voxels, and return how many are left.

    As in the Segment Editor, the voxels change in place: the label map says that it was
    modified, and the segmentation node says nothing and keeps its own time.
    """
    import numpy as np
    from vtk.util.numpy_support import vtk_to_numpy

    segment = segmentation.GetSegmentation().GetSegment(segment_id)
    image = segment.GetRepresentation("Binary labelmap") if segment else None
    if image is None:
        raise ValueError(f"there is no segment {segment_id!r} with a label map")
    voxels = vtk_to_numpy(image.GetPointData().GetScalars())
    inside = np.flatnonzero(voxels == segment.GetLabelValue())
    voxels[inside[: (len(inside) + 1) // 2]] = 0
    image.Modified()
    return len(inside) // 2


def close_scene() -> None:
    """File, Close scene."""
    import slicer

    slicer.mrmlScene.Clear(0)


def settle(times: int = 3) -> None:
    """Let Qt do what it has put off."""
    from PySide6.QtWidgets import QApplication

    for _ in range(times):
        QApplication.processEvents()


def fit_height(widget: Any, width: int, height: int = 0) -> None:
    """Give a widget a width, and the height that its texts need at it, as a scroll area does."""
    for _ in range(2):  # what the texts need is known for sure once they have this width
        needed = max(widget.sizeHint.height(), widget.heightForWidth(width), 60)
        widget.resize(width, height or needed)
        settle()


def cut_off(widget: Any) -> list[str]:
    """Return the texts below a widget that do not fit where they are shown."""
    import qt

    found = []
    for child in widget.findChildren(qt.QWidget):
        needed = needed_size(child)
        if needed is None or not child.isVisible():
            continue
        corner = child.mapTo(widget, qt.QPoint(child.width, child.height))
        inside = child.parentWidget().rect.contains(child.geometry)
        fits = child.width >= needed[0] and child.height >= needed[1]
        if not (inside and fits and corner.x() <= widget.width and corner.y() <= widget.height):
            found.append(getattr(child, "text", "") or child.currentText)
    return found


def needed_size(widget: Any) -> tuple[int, int] | None:
    """Return width and height that the text of a label, a button or a list takes; else None."""
    metrics = widget.fontMetrics()
    if widget.inherits("QComboBox"):
        widest = max((metrics.horizontalAdvance(text) for text in entries(widget)), default=0)
        return widest + COMBO_FRAME, metrics.height()
    if widget.inherits("QLabel") and widget.text:
        words = [] if widget.textFormat == 1 else widget.text.split()  # 1: rich text
        lines = words if widget.wordWrap else [widget.text]
        widest = max((metrics.horizontalAdvance(line) for line in lines), default=0)
        return widest, max(widget.heightForWidth(widget.width), metrics.height())
    if widget.inherits("QPushButton") or widget.inherits("QCheckBox"):
        frame = 8 if widget.inherits("QPushButton") else 18
        return metrics.horizontalAdvance(widget.text) + frame, metrics.height()
    return None


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
    fit_height(widget, width, height)
    picture = widget.grab()
    if not was_shown:
        widget.hide()
    if not picture.save(str(path), "PNG"):
        raise OSError(f"cannot write {path}")
    return Path(path)
