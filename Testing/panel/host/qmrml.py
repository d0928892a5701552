"""Stand-ins for the qMRML widgets that panels use, on a real scene."""

from __future__ import annotations

from typing import Any, ClassVar

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from .ctk import ctkSliderWidget
from .ctk_properties import stored
from .node_combo_box import qMRMLNodeComboBox  # noqa: F401 (one of these widgets)


class qMRMLWidget(QWidget):
    """A widget that has a scene, and hands it on to what a ``.ui`` file connects with it."""

    _stands_in = True
    # C++ has this signal, and .ui files connect it; Python cannot.
    _ui_signals: ClassVar[dict[str, str]] = {
        "mrmlSceneChanged(vtkMRMLScene*)": "_sceneChanged(PyObject)"
    }
    _sceneChanged = Signal(object)

    def __init__(self, parent: Any = None) -> None:
        QWidget.__init__(self, parent)
        self._scene = None

    def setMRMLScene(self, scene: Any) -> None:
        changed, self._scene = scene is not self._scene, scene
        if changed:
            self._sceneChanged.emit(scene)

    def mrmlScene(self) -> Any:
        return self._scene


class qMRMLSliderWidget(ctkSliderWidget):
    """A slider that could take its unit from the scene; here it is ctk's."""

    _stands_in = True
    quantity = stored("QString", "quantity", "")
    unitAwareProperties = stored(int, "unitAwareProperties", 0)

    def setMRMLScene(self, scene: Any) -> None:
        self.__dict__["_scene"] = scene

    def mrmlScene(self) -> Any:
        return self.__dict__.get("_scene")


class View(QWidget):
    """What ``sliceView()`` and ``plotView()`` give: asked to render, it counts."""

    _stands_in = True

    def __init__(self) -> None:
        QWidget.__init__(self)
        self._rendered = 0

    def forceRender(self) -> None:
        self._rendered += 1

    scheduleRender = fitToContent = forceRender


class qMRMLSliceWidget(qMRMLWidget):
    """A slice view without a picture: its nodes and its logic are real."""

    _stands_in = True

    def __init__(self, parent: Any = None) -> None:
        qMRMLWidget.__init__(self, parent)
        self._logic, self._view, self._controller = None, View(), View()

    def setSliceLogic(self, logic: Any) -> None:
        self._logic = logic

    def sliceLogic(self) -> Any:
        return self._logic

    def mrmlSliceNode(self) -> Any:
        return self._logic.GetSliceNode()

    def mrmlSliceCompositeNode(self) -> Any:
        return self._logic.GetSliceCompositeNode()

    def sliceView(self) -> Any:
        return self._view

    def sliceController(self) -> Any:
        return self._controller

    def fitSliceToBackground(self) -> None:
        self._logic.FitSliceToBackground()


class qMRMLPlotWidget(qMRMLWidget):
    """A plot view without a picture: its node is real."""

    _stands_in = True

    def __init__(self, parent: Any = None) -> None:
        qMRMLWidget.__init__(self, parent)
        self._node, self._view, self._controller = None, View(), View()
        QVBoxLayout(self)

    def setMRMLPlotViewNode(self, node: Any) -> None:
        self._node = node

    def mrmlPlotViewNode(self) -> Any:
        return self._node

    def plotView(self) -> Any:
        return self._view

    def plotController(self) -> Any:
        return self._controller
