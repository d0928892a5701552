"""Stand-ins for the widgets of ctk that panels use, with the names that ctk gives them."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from PySide6.QtCore import Property, QSize, Signal
from PySide6.QtWidgets import (
    QAbstractButton,
    QComboBox,
    QGroupBox,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QSizePolicy,
    QTextBrowser,
    QWidget,
)

from .ctk_numbers import ctkDoubleSpinBox, ctkSliderWidget  # noqa: F401 (part of the module ctk)
from .ctk_properties import forward, stored
from .record import record


class ctkCollapsibleButton(QAbstractButton):
    """A heading that hides what is below it."""

    _stands_in = True
    contentsCollapsed = Signal(bool)
    collapsedHeight = stored(int, "collapsedHeight", 10)
    contentsFrameShape = stored(int, "contentsFrameShape", 0)
    flat = stored(bool, "flat", False)

    def __init__(self, text: Any = "", parent: Any = None) -> None:
        if not isinstance(text, str):
            text, parent = "", text
        QAbstractButton.__init__(self, parent)
        self._collapsed = False
        self.text = text
        self.checkable, self.checked = True, True
        # As in ctk: its size hint is its least width, unless the panel sets Preferred.
        self.setSizePolicy(QSizePolicy.Minimum, QSizePolicy.Preferred)
        self.connect("toggled(bool)", self._follow)

    def _is_collapsed(self) -> bool:
        return self._collapsed

    def _set_collapsed(self, collapsed: bool) -> None:
        self.checked = not collapsed

    collapsed = Property(bool, _is_collapsed, _set_collapsed)

    def _follow(self, shown: bool) -> None:
        self._collapsed = not shown
        for child in self.children():
            if child.inherits("QWidget"):
                child.setVisible(shown)
        self.updateGeometry()
        self.contentsCollapsed.emit(not shown)

    def childEvent(self, event: Any) -> None:
        child = event.child()
        if event.added() and self.__dict__.get("_collapsed") and child.inherits("QWidget"):
            child.setVisible(False)

    def _heading_height(self) -> int:
        return self.fontMetrics().height() + 8

    def sizeHint(self) -> Any:
        return self._size(lambda layout: layout.sizeHint())

    def minimumSizeHint(self) -> Any:
        return self._size(lambda layout: layout.minimumSize())

    def _size(self, of_layout: Any) -> Any:
        layout = self.layout()
        if layout is None or self._collapsed:
            return QSize(120, self._heading_height())
        layout.setContentsMargins(6, self._heading_height() + 4, 6, 6)
        return of_layout(layout)

    def hitButton(self, position: Any) -> bool:
        return position.y() <= self._heading_height()

    def paintEvent(self, _event: Any) -> None:
        from PySide6.QtGui import QPainter, QPalette

        painter, height = QPainter(self), self._heading_height()
        painter.fillRect(0, 0, self.width, height, self.palette.color(QPalette.Button))
        painter.drawText(6, height - 8, ("▸ " if self._collapsed else "▾ ") + self.text)
        painter.drawRect(0, 0, self.width - 1, self.height - 1)
        painter.end()


class ctkCollapsibleGroupBox(QGroupBox):
    """A group box whose check mark hides what is in it."""

    _stands_in = True

    def __init__(self, title: Any = "", parent: Any = None) -> None:
        if not isinstance(title, str):
            title, parent = "", title
        QGroupBox.__init__(self, title, parent)
        self.checkable, self.checked = True, True
        self.connect("toggled(bool)", self._follow)

    def _is_collapsed(self) -> bool:
        return not self.checked

    def _set_collapsed(self, collapsed: bool) -> None:
        self.checked = not collapsed

    collapsed = Property(bool, _is_collapsed, _set_collapsed)

    def _follow(self, shown: bool) -> None:
        for child in self.children():
            if child.inherits("QWidget"):
                child.setVisible(shown)


class ctkComboBox(QComboBox):
    """A combo box with a default text."""

    _stands_in = True
    defaultText = stored("QString", "defaultText", "")
    forceDefault = stored(bool, "forceDefault", False)
    scrollWheelEnabled = stored(bool, "scrollWheelEnabled", True)


class ctkFittedTextBrowser(QTextBrowser):
    """A text browser as high as its text."""

    _stands_in = True
    collapsed = stored(bool, "collapsed", True)


class ctkPathLineEdit(QWidget):
    """A path, and a button that asks for one: the test's next answer."""

    _stands_in = True
    Dirs, Drives, Files = 1, 4, 2
    currentPathChanged = Signal(str)
    validInputChanged = Signal(bool)
    currentPath = forward("QString", "_edit", "text")
    filters = stored(int, "filters", 0)
    nameFilters = stored("QStringList", "nameFilters", [])
    label = stored("QString", "label", "")
    settingKey = stored("QString", "settingKey", "")
    showBrowseButton = stored(bool, "showBrowseButton", True)
    showHistoryButton = stored(bool, "showHistoryButton", True)

    def __init__(self, parent: Any = None) -> None:
        QWidget.__init__(self, parent)
        self._edit, self._button = QLineEdit(), QPushButton("...")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._edit)
        row.addWidget(self._button)
        self._edit.connect("textChanged(QString)", self.currentPathChanged.emit)
        self._button.connect("clicked(bool)", self.browse)

    def browse(self) -> None:
        answer = record.ask("file", self.label)
        if answer:
            self._edit.text = answer

    def setCurrentPath(self, path: str) -> None:
        self._edit.text = path

    def addCurrentPathToHistory(self) -> None:
        """Keep nothing."""


class ctkDirectoryButton(QPushButton):
    """A button that shows a folder and asks for one: the test's next answer."""

    _stands_in = True
    directoryChanged = Signal(str)
    directorySelected = Signal(str)
    caption = stored("QString", "caption", "")

    def __init__(self, parent: Any = None) -> None:
        QPushButton.__init__(self, parent)
        self._folder = ""
        self.connect("clicked(bool)", self.browse)

    def _get_directory(self) -> str:
        return self._folder

    def _set_directory(self, folder: str) -> None:
        changed, self._folder = folder != self._folder, folder
        self.text = folder
        if changed:
            self.directoryChanged.emit(folder)

    directory = Property("QString", _get_directory, _set_directory)

    def browse(self) -> None:
        answer = record.ask("file", self.caption)
        if answer:
            self.directory = answer
            self.directorySelected.emit(answer)


class ctkMessageBox(QWidget):
    """Refused: it waits for a person. slicer.util's confirm functions can be answered."""

    _stands_in = True

    def __init__(self, *_arguments: Any) -> None:
        raise NotImplementedError("use slicer.util.confirmOkCancelDisplay")


def install() -> ModuleType:
    """Return (and register) the module ``ctk``."""
    module = ModuleType("ctk", "Stand-ins for ctk (a test host).")
    for name, kind in list(globals().items()):
        if name.startswith("ctk"):
            setattr(module, name, kind)
    return sys.modules.setdefault("ctk", module)
