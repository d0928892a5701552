"""The host of one process: Qt's application, the scene, and ``slicer`` complete."""

from __future__ import annotations

import gc
import importlib.util
import os
import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from .record import Record, record

TESTING = Path(__file__).resolve().parents[2]
MODULE = TESTING.parent / "ContrastSynth" / "ContrastSynth.py"


class Host:
    """Slicer's place: made once in a process, cleaned between tests."""

    def __init__(self) -> None:
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
        from . import pythonqt

        self.qt = pythonqt.install()
        self.qt.qInstallMessageHandler(record.qt_message)
        existing = self.qt.QApplication.instance()
        self.application = existing or self.qt.QApplication(["test host"])
        from . import ctk, slicer_parts

        self.ctk = ctk.install()
        import slicer
        import slicer.util

        slicer_parts.install()
        self.record: Record = record
        self.scene = mrml().new_scene()
        self.modules = SimpleNamespace(**vars(slicer.modules), **self.more_logics())
        from .application import new_application

        self.app = new_application(self.scene)
        self.scene.AddNode(slicer.vtkMRMLCrosshairNode())  # one per scene; Slicer has it, too
        self.first_nodes = {node.GetID() for node in self.nodes()}
        self.activate()

    def more_logics(self) -> dict[str, Any]:
        """Return the modules of Slicer that panels ask for, beside those of the scene tests."""
        import slicer

        kind = slicer.vtkSlicerApplicationLogic
        application = next(one for one in self.scene.kept if isinstance(one, kind))
        modules = {}
        for name in ("Plots", "Markups", "CropVolume", "Tables"):
            logic = getattr(slicer, f"vtkSlicer{name}Logic")()
            logic.SetMRMLApplicationLogic(application)
            logic.SetMRMLScene(self.scene)
            application.SetModuleLogic(name, logic)
            modules[name.lower()] = SimpleNamespace(logic=lambda one=logic: one)
        return modules

    def activate(self) -> None:
        """Be the one that ``slicer`` names: other tests make scenes of their own."""
        import slicer

        slicer.mrmlScene, slicer.app, slicer.modules = self.scene, self.app, self.modules
        sys.excepthook = record.excepthook

    def nodes(self) -> list[Any]:
        """Return all nodes of the scene."""
        count = self.scene.GetNumberOfNodes()
        return [self.scene.GetNthNode(index) for index in range(count)]

    def load_module(self, path: Path | str = MODULE) -> Any:
        """Run a scripted module's file, as Slicer does when it starts, and end the start."""
        module = self.app.moduleManager()._load(Path(path))
        self.app.startupCompleted.emit()
        self.app.disconnect("startupCompleted()")
        return module

    def alive(self, kind: type | str) -> list[Any]:
        """Return the objects of a Python class, or of a class of that name.

        After ``host.clean()`` none of a panel's should be left. What is connected is kept alive
        by the object whose signal it is, as in PythonQt: a panel's timer, which no widget owns,
        keeps the panel for ever unless it is disconnected.
        """
        gc.collect()
        return [
            found
            for found in gc.get_objects()
            if any(one is kind or one.__name__ == kind for one in type(found).__mro__)
        ]

    def add_pytorch_extension(self) -> None:
        """Have Slicer's PyTorch extension installed, until the next test; torch is not."""
        from .slicer_parts import PyTorchUtilsLogic

        sys.modules["PyTorchUtils"] = ModuleType("PyTorchUtils")
        sys.modules["PyTorchUtils"].PyTorchUtilsLogic = PyTorchUtilsLogic

    def open_module(self, path: Path | str = MODULE) -> Any:
        """Open a module's panel (loading it first), and return the Python widget."""
        manager, name = self.app.moduleManager(), Path(path).stem
        if manager.module(name) is None:
            self.load_module(path)
        manager.selectModule(name)
        return manager.module(name).widgetRepresentation().self()

    def leave_module(self) -> None:
        """Go to another module."""
        self.app.moduleManager().selectModule("Data")

    def clean(self) -> None:
        """Take down the panels, empty the scene, and forget the settings."""
        from . import looks
        from .person import settle

        looks.restore()
        self.app.moduleManager()._close_all()
        self.scene.Clear(0)
        for node in self.nodes():
            if node.GetID() not in self.first_nodes:
                self.scene.RemoveNode(node)
        for name in self.app.layoutManager().sliceViewNames():
            composite = self.app.layoutManager().sliceWidget(name).mrmlSliceCompositeNode()
            for layer in ("Background", "Foreground", "Label"):
                getattr(composite, f"Set{layer}VolumeID")(None)
        self.app.layoutManager()._begin()
        self.app._forget_settings()
        sys.modules.pop("PyTorchUtils", None)
        core = self.qt.QCoreApplication
        core.sendPostedEvents(None, self.qt.QEvent.DeferredDelete)
        settle()
        record.clear()
        sys.excepthook = sys.__excepthook__

    def end(self) -> None:
        """Remove the folder of settings and temporary files."""
        shutil.rmtree(self.app.temporaryPath, ignore_errors=True)


def mrml() -> ModuleType:
    """Return Testing/mrml/conftest.py, which knows how a scene of slicer-core is made."""
    path = TESTING / "mrml" / "conftest.py"
    spec = importlib.util.spec_from_file_location("test_host_mrml", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_host: list[Host] = []


def start() -> Host:
    """Return the host of this process, made at the first call."""
    if not _host:
        _host.append(Host())
    return _host[0]
