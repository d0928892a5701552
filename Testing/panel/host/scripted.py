"""``slicer.ScriptedLoadableModule``: the four classes that a scripted module derives from."""

from __future__ import annotations

import logging
import sys
import unittest
from pathlib import Path
from typing import Any

import slicer

__all__ = [
    "ScriptedLoadableModule",
    "ScriptedLoadableModuleLogic",
    "ScriptedLoadableModuleTest",
    "ScriptedLoadableModuleWidget",
]


def resource_path(owner: Any, filename: str) -> str:
    """Return a file in the module's own Resources folder."""
    folder = Path(sys.modules[type(owner).__module__].__file__).resolve().parent
    return str(folder / "Resources" / filename)


class ScriptedLoadableModule:
    """What Slicer asks of a module before it is opened."""

    def __init__(self, parent: Any) -> None:
        self.parent = parent
        self.moduleName = type(self).__name__
        parent.title, parent.helpText, parent.acknowledgementText = self.moduleName, "", ""
        parent.categories, parent.dependencies, parent.contributors = [], [], []
        parent.hidden = False

    def resourcePath(self, filename: str) -> str:
        return resource_path(self, filename)

    def getDefaultModuleDocumentationLink(self, docPage: Any = None) -> str:
        return '<p>See the <a href="https://example.org">documentation</a>.</p>'

    def runTest(self, msec: int = 100, **keywords: Any) -> None:
        test = getattr(sys.modules[type(self).__module__], f"{self.moduleName}Test")
        case = test()
        case.messageDelay = msec
        case.runTest(**keywords)


class ScriptedLoadableModuleWidget:
    """The panel's base. Slicer makes it with a parent, then calls setup()."""

    def __init__(self, parent: Any = None) -> None:
        import qt

        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.developerMode = False
        alone = parent is None
        if alone:
            parent = slicer.qMRMLWidget()
            parent.setLayout(qt.QVBoxLayout())
            parent.setMRMLScene(slicer.mrmlScene)
        self.parent = parent
        self.layout = parent.layout()
        if alone:
            self.setup()
            parent.show()

    def resourcePath(self, filename: str) -> str:
        return resource_path(self, filename)

    def setup(self) -> None:
        """Slicer adds its Reload & Test section here, in developer mode."""

    def enter(self) -> None:
        """Called each time the panel comes into view."""

    def exit(self) -> None:
        """Called each time the panel goes out of view."""

    def cleanup(self) -> None:
        """Called before the panel is taken down."""

    def onReload(self) -> None:
        slicer.app.moduleManager().reload(self.moduleName)


class ScriptedLoadableModuleLogic:
    """What a module does; it keeps its state in a parameter node of the scene."""

    def __init__(self, parent: Any = None) -> None:
        self.parent = parent
        self.moduleName = type(self).__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def getParameterNode(self) -> Any:
        kind = "vtkMRMLScriptedModuleNode"
        if self.isSingletonParameterNode:
            node = slicer.mrmlScene.GetSingletonNode(self.moduleName, kind)
        else:
            node = next(iter(self.getAllParameterNodes()), None)
        if node is None:
            node = slicer.mrmlScene.AddNode(self.createParameterNode())
        return node

    def getAllParameterNodes(self) -> list[Any]:
        nodes = slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")
        return [node for node in nodes if node.GetAttribute("ModuleName") == self.moduleName]

    def createParameterNode(self) -> Any:
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
        node.UnRegister(None)  # the reference that CreateNodeByClass leaves to its caller
        if self.isSingletonParameterNode:
            node.SetSingletonTag(self.moduleName)
        node.SetAttribute("ModuleName", self.moduleName)
        node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    """The self test, which a person starts with Reload and Test."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.messageDelay = 0

    def setUp(self) -> None:
        slicer.mrmlScene.Clear(0)

    def delayDisplay(self, message: str, requestedDelay: Any = None, msec: Any = None) -> None:
        logging.info(message)

    def runTest(self) -> None:
        """Each module has its own."""
