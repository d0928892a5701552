"""``slicer.app``, its layout, its main window, and ``slicer.modules``."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import slicer
import vtk
from PySide6.QtCore import Property, QCoreApplication, QObject, QSettings, Signal
from PySide6.QtWidgets import QApplication, QMainWindow, QVBoxLayout

from .qmrml import qMRMLPlotWidget, qMRMLSliceWidget, qMRMLWidget
from .record import record

ORIENTATIONS = {"Red": "Axial", "Yellow": "Sagittal", "Green": "Coronal"}


def constant(kind: Any, value: Any) -> Property:
    """Return a property that cannot be written."""
    return Property(kind, lambda _self: value)


class LayoutManager(QObject):
    """Three slice views and a plot view, whose nodes and logics are real."""

    _stands_in = True
    layoutChanged = Signal(int)

    def __init__(self, scene: Any, logic: Any) -> None:
        QObject.__init__(self)
        self._scene, self._logic = scene, logic
        self._slices = {name: self._slice(name) for name in ORIENTATIONS}
        self._plot = qMRMLPlotWidget()
        node = slicer.vtkMRMLPlotViewNode()
        node.SetLayoutName("PlotView1")
        node.SetSingletonTag("PlotView1")
        self._plot.setMRMLPlotViewNode(scene.AddNode(node))
        self._layout_logic = slicer.vtkMRMLLayoutLogic()  # keeps the layout when a scene is closed
        self._layout_logic.SetMRMLApplicationLogic(logic)
        self._layout_logic.SetMRMLScene(scene)
        self._node = self._layout_logic.GetLayoutNode()
        self._begin()

    def _begin(self) -> None:
        """Show the layout that Slicer begins with."""
        self._node.SetViewArrangement(slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView)

    def _slice(self, name: str) -> Any:
        logic = slicer.vtkMRMLSliceLogic()
        logic.SetMRMLApplicationLogic(self._logic)
        logic.SetMRMLScene(self._scene)
        node = logic.AddSliceNode(name)
        node.SetOrientation(ORIENTATIONS[name])
        self._logic.GetSliceLogics().AddItem(logic)
        widget = qMRMLSliceWidget()
        widget.setSliceLogic(logic)
        return widget

    def sliceViewNames(self) -> list[str]:
        return list(self._slices)

    def sliceWidget(self, name: str) -> Any:
        return self._slices.get(name)

    def mrmlSliceLogics(self) -> Any:
        return self._logic.GetSliceLogics()

    def resetSliceViews(self) -> None:
        for widget in self._slices.values():
            widget.fitSliceToBackground()

    def plotWidget(self, index: int) -> Any:
        return self._plot if index == 0 else None

    def threeDWidget(self, _index: int) -> None:
        return None

    threeDViewCount = constant(int, 0)
    tableViewCount = constant(int, 0)
    plotViewCount = constant(int, 1)

    def _get_layout(self) -> int:
        return self._node.GetViewArrangement()

    def setLayout(self, layout: int) -> None:
        changed = layout != self._node.GetViewArrangement()
        self._node.SetViewArrangement(layout)
        if changed:
            self.layoutChanged.emit(layout)

    layout = Property(int, _get_layout, setLayout)

    def layoutLogic(self) -> Any:
        return self._layout_logic


class qSlicerScriptedLoadableModule(QObject):
    """A scripted module as Slicer's module manager holds it."""

    _stands_in = True

    def __init__(self, path: Path) -> None:
        QObject.__init__(self)
        self._path, self._widget, self._metadata = path, None, SimpleNamespace()
        self._python = None

    name = Property("QString", lambda self: self._path.stem)
    path = Property("QString", lambda self: str(self._path))
    title = Property("QString", lambda self: self._metadata.title)

    def _load(self) -> None:
        """Run the module's file and make its module object; nothing of the panel yet."""
        self._run_file()
        self._python = getattr(sys.modules[self.name], self.name)(self._metadata)

    def _run_file(self) -> None:
        spec = importlib.util.spec_from_file_location(self.name, self._path)
        loaded = importlib.util.module_from_spec(spec)
        sys.modules[self.name] = loaded
        spec.loader.exec_module(loaded)

    def widgetRepresentation(self) -> Any:
        if self._widget is None:
            self._widget = qSlicerScriptedLoadableModuleWidget(sys.modules[self.name], self.name)
            setattr(slicer.modules, f"{self.name}Widget", self._widget.self())
            self._widget._setup()
        return self._widget

    def logic(self) -> None:
        return None  # A scripted module's logic is its widget's.

    def _close(self, say_exit: bool = True) -> None:
        if self._widget is not None:
            self._widget._close(say_exit)
            self._widget = None


class qSlicerScriptedLoadableModuleWidget(qMRMLWidget):
    """The widget that holds a panel."""

    _stands_in = True

    def __init__(self, module: Any, name: str) -> None:
        qMRMLWidget.__init__(self)
        QVBoxLayout(self)
        self.setMRMLScene(slicer.mrmlScene)
        self._python = getattr(module, f"{name}Widget")(self)
        self._entered = False

    def self(self) -> Any:
        return self._python

    def _setup(self) -> None:
        self._python.setup()

    def enter(self) -> None:
        if not self._entered:
            self._entered = True
            self.show()
            self._python.enter()

    def exit(self) -> None:
        if self._entered:
            self._entered = False
            self._python.exit()
            self.hide()

    def _close(self, say_exit: bool) -> None:
        if say_exit:
            self.exit()
        self.hide()
        self._python.cleanup()
        self.setMRMLScene(None)
        self.deleteLater()


class ModuleManager(QObject):
    """The scripted modules that were loaded, and the one that is shown."""

    _stands_in = True
    moduleAboutToBeUnloaded = Signal(str)

    def __init__(self) -> None:
        QObject.__init__(self)
        self._modules, self._shown = {}, None

    def _load(self, path: Path) -> Any:
        module = qSlicerScriptedLoadableModule(path)
        if str(path.parent) not in sys.path:  # Slicer puts a module's folder on its path.
            sys.path.append(str(path.parent))
        module._load()
        self._modules[module.name] = module
        setattr(slicer.modules, module.name.lower(), module)
        return module

    def module(self, name: str) -> Any:
        return self._modules.get(name) or getattr(slicer.modules, name.lower(), None)

    def modulesNames(self) -> list[str]:
        return list(self._modules)

    def factoryManager(self) -> Any:
        return SimpleNamespace(loadedModuleNames=self.modulesNames)

    def selectModule(self, name: str) -> None:
        if self._shown is not None:
            self._shown.widgetRepresentation().exit()
        self._shown = self._modules.get(name)
        if self._shown is not None:
            self._shown.widgetRepresentation().enter()

    def reload(self, name: str) -> None:
        """Make the panel anew: the old one is told cleanup() and not exit(), the new one setup().

        The new one is not told enter(), though it is shown; when it is left, it is told exit().
        """
        module = self._modules[name]
        module._run_file()  # before the old panel ends, as in Slicer
        was_open = module._widget is not None and module._widget._entered
        module._close(say_exit=False)
        widget = module.widgetRepresentation()
        widget._entered = was_open
        widget.setVisible(was_open)

    def _close_all(self) -> None:
        self._shown = None
        for name, module in self._modules.items():
            self.moduleAboutToBeUnloaded.emit(name)
            module._close()
            for attribute in (name.lower(), f"{name}Widget"):
                if hasattr(slicer.modules, attribute):
                    delattr(slicer.modules, attribute)
        self._modules.clear()


class qSlicerMainWindow(QMainWindow):
    """The main window: its status bar, and the way to another module."""

    _stands_in = True

    def __init__(self, manager: Any) -> None:
        QMainWindow.__init__(self)
        self.objectName = "qSlicerMainWindow"
        self._manager = manager
        self.statusBar().connect("messageChanged(QString)", self._said)

    def _said(self, text: str) -> None:
        if text:
            record.status.append(text)

    def moduleSelector(self) -> Any:
        return self._manager


class qSlicerApplication(QObject):
    """``slicer.app``."""

    _stands_in = True
    startupCompleted = Signal()
    applicationName = constant("QString", "Slicer")
    mainApplicationName = constant("QString", "Slicer")
    applicationVersion = constant("QString", "5.10.0")
    mainApplicationVersion = constant("QString", "5.10.0")
    majorVersion, minorVersion = constant(int, 5), constant(int, 10)
    mainApplicationMajorVersion = constant(int, 5)
    mainApplicationMinorVersion = constant(int, 10)

    def __init__(self, scene: Any, logic: Any, folder: Path) -> None:
        QObject.__init__(self)
        self._scene, self._logic, self._folder = scene, logic, folder
        self._manager = ModuleManager()
        self._layout = LayoutManager(scene, logic)
        self._window = qSlicerMainWindow(self._manager)
        self._settings = self._new_settings()
        self._options = SimpleNamespace(runPythonAndExit=True, noMainWindow=False)

    temporaryPath = Property("QString", lambda self: str(self._folder))
    slicerHome = Property("QString", lambda self: str(self._folder))
    slicerUserSettingsFilePath = Property("QString", lambda self: self._settings.fileName())

    def _new_settings(self) -> Any:
        """Keep settings in a file of the test's own: what QSettings() gives, too."""
        QSettings.setDefaultFormat(QSettings.IniFormat)
        QSettings.setPath(QSettings.IniFormat, QSettings.UserScope, str(self._folder / "settings"))
        QCoreApplication.setOrganizationName("test host")
        QCoreApplication.setApplicationName("Slicer")
        return QSettings()

    def _forget_settings(self) -> None:
        self._settings.clear()
        self._settings.sync()

    def settings(self) -> Any:
        return self._settings

    userSettings = revisionUserSettings = settings

    def layoutManager(self) -> Any:
        return self._layout

    def moduleManager(self) -> Any:
        return self._manager

    def applicationLogic(self) -> Any:
        return self._logic

    def mrmlScene(self) -> Any:
        return self._scene

    def processEvents(self) -> None:
        QApplication.processEvents()

    def topLevelWidgets(self) -> list[Any]:
        return [self._window, *QApplication.topLevelWidgets()]

    def mainWindow(self) -> Any:
        return self._window

    def commandOptions(self) -> Any:
        return self._options

    def exit(self, code: int = 0) -> None:
        """Note the exit code: a test ends by itself."""
        record.exit_codes.append(code)

    def testingEnabled(self) -> bool:
        return False

    def setOverrideCursor(self, cursor: Any) -> None:
        QApplication.setOverrideCursor(cursor)

    def restoreOverrideCursor(self) -> None:
        QApplication.restoreOverrideCursor()

    def pauseRender(self) -> None:
        """Nothing is rendered here."""

    resumeRender = pauseRender

    def clipboard(self) -> Any:
        return QApplication.clipboard()


def new_application(scene: Any) -> Any:
    """Return ``slicer.app`` for a scene whose application logic it keeps itself."""
    vtk.vtkObject.GlobalWarningDisplayOff()
    try:
        folder = Path(tempfile.mkdtemp(prefix="test-host-"))
        kind = slicer.vtkSlicerApplicationLogic
        logic = next(one for one in scene.kept if isinstance(one, kind))
        return qSlicerApplication(scene, logic, folder)
    finally:
        vtk.vtkObject.GlobalWarningDisplayOn()
