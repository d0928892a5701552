"""Stand-ins for the widgets of ctk that panels use, with the names that ctk gives them."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from PySide6.QtCore import Property, Qt, Signal, Slot
from PySide6.QtWidgets import (
    QAbstractButton,
    QComboBox,
    QDoubleSpinBox,
    QGroupBox,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QSlider,
    QTextBrowser,
    QWidget,
)

from .record import record


def forward(type_name: Any, inner: str, name: str) -> Property:
    """Return a property that is a property of the widget inside."""

    def read(self: Any) -> Any:
        return getattr(getattr(self, inner), name)

    def write(self: Any, value: Any) -> None:
        setattr(getattr(self, inner), name, value)

    return Property(type_name, read, write)


def stored(type_name: Any, name: str, default: Any) -> Property:
    """Return a property that is only kept: the stand-in does nothing with it."""
    key = f"_{name}"

    def read(self: Any) -> Any:
        return self.__dict__.get(key, default)

    def write(self: Any, value: Any) -> None:
        self.__dict__[key] = value

    return Property(type_name, read, write)


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
        self.connect("toggled(bool)", self._follow)

    def _is_collapsed(self) -> bool:
        return self._collapsed

    def setCollapsed(self, collapsed: bool) -> None:
        self.checked = not collapsed

    collapsed = Property(bool, _is_collapsed, setCollapsed)

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
        layout = self.layout()
        if layout is None or self._collapsed:
            from PySide6.QtCore import QSize

            return QSize(120, self._heading_height())
        layout.setContentsMargins(6, self._heading_height() + 4, 6, 6)
        return layout.sizeHint()

    def minimumSizeHint(self) -> Any:
        return self.sizeHint()

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

    def setCollapsed(self, collapsed: bool) -> None:
        self.checked = not collapsed

    collapsed = Property(bool, _is_collapsed, setCollapsed)

    def _follow(self, shown: bool) -> None:
        for child in self.children():
            if child.inherits("QWidget"):
                child.setVisible(shown)


class ctkDoubleSpinBox(QWidget):
    """A spin box of decimals; in ctk too, it is a widget that holds one."""

    _stands_in = True
    valueChanged = Signal(float)
    editingFinished = Signal()
    decimalsChanged = Signal(int)
    value = forward(float, "_box", "value")
    minimum = forward(float, "_box", "minimum")
    maximum = forward(float, "_box", "maximum")
    singleStep = forward(float, "_box", "singleStep")
    decimals = forward(int, "_box", "decimals")
    prefix = forward("QString", "_box", "prefix")
    suffix = forward("QString", "_box", "suffix")
    readOnly = forward(bool, "_box", "readOnly")
    specialValueText = forward("QString", "_box", "specialValueText")
    decimalsOption = stored(int, "decimalsOption", 0)
    setMode = stored(int, "setMode", 0)
    sizeHintPolicy = stored(int, "sizeHintPolicy", 0)

    def __init__(self, parent: Any = None) -> None:
        QWidget.__init__(self, parent)
        self._box = QDoubleSpinBox()
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._box)
        self._box.connect("valueChanged(double)", self.valueChanged.emit)
        self._box.connect("editingFinished()", self.editingFinished.emit)

    @Slot(float)
    def setValue(self, value: float) -> None:
        self._box.setValue(value)

    def setRange(self, low: float, high: float) -> None:
        self._box.setRange(low, high)

    def setMinimum(self, low: float) -> None:
        self._box.setMinimum(low)

    def setMaximum(self, high: float) -> None:
        self._box.setMaximum(high)

    def setSingleStep(self, step: float) -> None:
        self._box.setSingleStep(step)

    def setDecimals(self, decimals: int) -> None:
        self._box.setDecimals(decimals)

    def setSuffix(self, suffix: str) -> None:
        self._box.setSuffix(suffix)


class ctkSliderWidget(QWidget):
    """A slider with a spin box, of decimals."""

    _stands_in = True
    valueChanged = Signal(float)
    valueIsChanging = Signal(float)
    value = forward(float, "_box", "value")
    singleStep = forward(float, "_box", "singleStep")
    prefix = forward("QString", "_box", "prefix")
    suffix = forward("QString", "_box", "suffix")
    spinBoxVisible = forward(bool, "_box", "visible")
    pageStep = stored(float, "pageStep", 10.0)
    tickInterval = stored(float, "tickInterval", 0.0)
    tracking = stored(bool, "tracking", True)
    popupSlider = stored(bool, "popupSlider", False)
    orientation = stored(int, "orientation", 1)

    def __init__(self, parent: Any = None) -> None:
        QWidget.__init__(self, parent)
        self._box, self._slider = QDoubleSpinBox(), QSlider(Qt.Horizontal)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._slider)
        row.addWidget(self._box)
        self._box.setRange(0.0, 99.0)
        self._box.connect("valueChanged(double)", self._follow_box)
        self._slider.connect("valueChanged(int)", self._follow_slider)
        self._fit()

    def _per_step(self) -> float:
        return 10.0**-self._box.decimals

    def _fit(self) -> None:
        was = self._slider.blockSignals(True)
        per_step = self._per_step()
        self._slider.setRange(round(self._box.minimum / per_step), round(self.maximum / per_step))
        self._slider.setValue(round(self._box.value / per_step))
        self._slider.blockSignals(was)

    def _follow_box(self, value: float) -> None:
        self._fit()
        self.valueIsChanging.emit(value)
        self.valueChanged.emit(value)

    def _follow_slider(self, steps: int) -> None:
        self._box.value = steps * self._per_step()

    def _get_minimum(self) -> float:
        return self._box.minimum

    def setMinimum(self, low: float) -> None:
        self._box.setMinimum(low)
        self._fit()

    minimum = Property(float, _get_minimum, setMinimum)

    def _get_maximum(self) -> float:
        return self._box.maximum

    def setMaximum(self, high: float) -> None:
        self._box.setMaximum(high)
        self._fit()

    maximum = Property(float, _get_maximum, setMaximum)

    def _get_decimals(self) -> int:
        return self._box.decimals

    def setDecimals(self, decimals: int) -> None:
        self._box.setDecimals(decimals)
        self._fit()

    decimals = Property(int, _get_decimals, setDecimals)

    def setRange(self, low: float, high: float) -> None:
        self._box.setRange(low, high)
        self._fit()

    @Slot(float)
    def setValue(self, value: float) -> None:
        self._box.setValue(value)

    def setSingleStep(self, step: float) -> None:
        self._box.setSingleStep(step)

    def setSuffix(self, suffix: str) -> None:
        self._box.setSuffix(suffix)


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
