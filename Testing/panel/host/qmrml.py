"""Stand-ins for the qMRML widgets that panels use, on a real scene."""

from __future__ import annotations

import weakref
from typing import Any, ClassVar

import shiboken6
import slicer.util
import vtk
from PySide6.QtCore import Property, Signal
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QVBoxLayout, QWidget

from .ctk import ctkSliderWidget, stored

SCENE_SIGNALS = {"mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged(PyObject)"}


def observe(subject: Any, event: Any, owner: Any, method: str) -> int:
    """Call ``owner.method()`` on an event of VTK, for as long as the widget lives."""
    weak = weakref.ref(owner)

    def run(caller: Any, _event: Any) -> None:
        alive = weak()
        if alive is not None and shiboken6.isValid(alive):
            getattr(alive, method)()
        else:
            caller.RemoveObserver(tag)  # or each panel of each test would be asked for ever

    tag = subject.AddObserver(event, run)
    return tag


class qMRMLWidget(QWidget):
    """A widget that has a scene, and hands it on."""

    _stands_in = True
    _vtk_signals = SCENE_SIGNALS
    mrmlSceneChanged = Signal(object)

    def __init__(self, parent: Any = None) -> None:
        QWidget.__init__(self, parent)
        self._scene = None

    def setMRMLScene(self, scene: Any) -> None:
        changed, self._scene = scene is not self._scene, scene
        if changed:
            self.mrmlSceneChanged.emit(scene)

    def mrmlScene(self) -> Any:
        return self._scene


class qMRMLNodeComboBox(QWidget):
    """Chooses a node of the scene, and follows what is added, removed and renamed there.

    The entries come in the scene's order: "None" where that is allowed, the nodes, then
    "Create new ..." and the like, as in Slicer's own.
    """

    _stands_in = True
    _vtk_signals: ClassVar[dict[str, str]] = {
        **SCENE_SIGNALS,
        "currentNodeChanged(vtkMRMLNode*)": "currentNodeChanged(PyObject)",
        "currentNodeChanged(bool)": "_nodeIsChosen(bool)",
        "nodeAdded(vtkMRMLNode*)": "nodeAdded(PyObject)",
        "nodeAddedByUser(vtkMRMLNode*)": "nodeAddedByUser(PyObject)",
        "nodeActivated(vtkMRMLNode*)": "nodeActivated(PyObject)",
    }
    mrmlSceneChanged = Signal(object)
    currentNodeChanged = Signal(object)
    _nodeIsChosen = Signal(bool)
    currentNodeIDChanged = Signal(str)
    currentNodeRenamed = Signal(str)
    nodeAdded = Signal(object)
    nodeAddedByUser = Signal(object)
    nodeActivated = Signal(object)
    removeEnabled = stored(bool, "removeEnabled", True)
    editEnabled = stored(bool, "editEnabled", False)
    renameEnabled = stored(bool, "renameEnabled", False)
    selectNodeUponCreation = stored(bool, "selectNodeUponCreation", True)
    interactionNodeSingletonTag = stored("QString", "interactionNodeSingletonTag", "")
    baseName = stored("QString", "baseName", "")

    def __init__(self, parent: Any = None) -> None:
        QWidget.__init__(self, parent)
        self._scene, self._id, self._names = None, "", {}
        self._types, self._hidden_types = [], []
        self._attributes, self._labels, self._watched, self._observed = [], {}, [], {}
        self._flags = {"none": False, "add": True, "hidden": False, "children": True}
        self._none, self._entries = "None", []
        self._box = QComboBox()
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._box)
        self._box.connect("activated(int)", self._picked)
        self.enabled = False

    # Properties

    def _flag(key: str) -> Property:
        def read(self: Any) -> bool:
            return self._flags[key]

        def write(self: Any, value: bool) -> None:
            self._flags[key] = value
            self._refresh()

        return Property(bool, read, write)

    noneEnabled, addEnabled = _flag("none"), _flag("add")
    showHidden, showChildNodeTypes = _flag("hidden"), _flag("children")

    def _get_types(self) -> list[str]:
        return self._types

    def _set_types(self, types: list[str]) -> None:
        self._types = list(types)
        self._refresh()

    nodeTypes = Property("QStringList", _get_types, _set_types)

    def _get_hidden_types(self) -> list[str]:
        return self._hidden_types

    def _set_hidden_types(self, types: list[str]) -> None:
        self._hidden_types = list(types)
        self._refresh()

    hideChildNodeTypes = Property("QStringList", _get_hidden_types, _set_hidden_types)

    def _get_none(self) -> str:
        return self._none

    def _set_none(self, text: str) -> None:
        self._none = text
        self._refresh()

    noneDisplay = Property("QString", _get_none, _set_none)

    def _get_id(self) -> str:
        return self._id

    def setCurrentNodeID(self, identifier: str) -> None:
        self._choose(identifier or "")

    currentNodeID = Property("QString", _get_id, setCurrentNodeID)

    # What a panel calls

    def setMRMLScene(self, scene: Any) -> None:
        if scene is self._scene:
            return
        for tag in self._watched:
            self._scene.RemoveObserver(tag)
        self._scene, self._watched = scene, []
        self.enabled = scene is not None
        if scene is not None:
            events = (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndBatchProcessEvent)
            self._watched = [observe(scene, event, self, "_refresh") for event in events]
        self._refresh()
        self.mrmlSceneChanged.emit(scene)

    def mrmlScene(self) -> Any:
        return self._scene

    def currentNode(self) -> Any:
        return self._scene.GetNodeByID(self._id) if self._scene and self._id else None

    def setCurrentNode(self, node: Any) -> None:
        if node is not None and not hasattr(node, "GetID"):
            raise ValueError(f"setCurrentNode({node!r}): a node or None is wanted")
        self._choose("" if node is None else node.GetID() or "")

    def setCurrentNodeIndex(self, index: int) -> None:
        self.setCurrentNode(self.nodes()[index] if 0 <= index < self.nodeCount() else None)

    def nodes(self) -> list[Any]:
        scene, types = self._scene, self._types
        if scene is None:
            return []
        of_type = [node for kind in types for node in slicer.util.getNodesByClass(kind, scene)]
        found = list(dict.fromkeys(node for node in of_type if self._listed(node)))
        if len(types) > 1:
            found.sort(key=scene.GetNodes().IndexOfFirstOccurrence)
        return found

    def nodeCount(self) -> int:
        return len(self.nodes())

    def nodeFromIndex(self, index: int) -> Any:
        return self.nodes()[index]

    def addAttribute(self, node_type: str, name: str, value: Any = None) -> None:
        self._attributes.append((node_type, name, value))
        self._refresh()

    def removeAttribute(self, node_type: str, name: str) -> None:
        self._attributes = [one for one in self._attributes if one[:2] != (node_type, name)]
        self._refresh()

    def nodeTypeLabel(self, node_type: str) -> str:
        return self._labels.get(node_type, node_type.removeprefix("vtkMRML").removesuffix("Node"))

    def setNodeTypeLabel(self, label: str, node_type: str) -> None:
        self._labels[node_type] = label
        self._refresh()

    def addNode(self, node_type: str = "") -> Any:
        node_type = node_type or self._types[0]
        name = self.baseName or self.nodeTypeLabel(node_type)
        node = self._scene.AddNewNodeByClass(node_type, self._scene.GenerateUniqueName(name))
        if self.selectNodeUponCreation:
            self.setCurrentNode(node)
        self.nodeAddedByUser.emit(node)
        return node

    # Within

    def _listed(self, node: Any) -> bool:
        if any(node.IsA(one) for one in self._hidden_types):
            return False
        if not self.showChildNodeTypes and node.GetClassName() not in self._types:
            return False
        if node.GetHideFromEditors() and not self.showHidden:
            return False
        for node_type, name, value in self._attributes:
            has = node.GetAttribute(name)
            if node.IsA(node_type) and (has is None or (value is not None and has != str(value))):
                return False
        return True

    def _refresh(self) -> None:
        """Show the scene as it is now; choose what a combo box chooses by itself."""
        if self._scene is not None and self._scene.IsBatchProcessing():
            return
        nodes = self.nodes()
        known, self._names = self._names, {node.GetID(): node.GetName() or "" for node in nodes}
        self._fill()
        self._observe_nodes()
        for node in nodes:
            if node.GetID() not in known:
                self.nodeAdded.emit(node)
        if self._id not in self._names:
            self._choose("" if self.noneEnabled or not nodes else nodes[0].GetID())

    def _observe_nodes(self) -> None:
        """Follow the names of all nodes of these types, the hidden ones too."""
        before, self._observed = self._observed, {}
        for kind in self._types if self._scene is not None else ():
            for node in slicer.util.getNodesByClass(kind, self._scene):
                self._observed[node.GetID()] = node
                if before.get(node.GetID()) is not node:
                    observe(node, vtk.vtkCommand.ModifiedEvent, self, "_renamed")

    def _renamed(self) -> None:
        if self._scene is None or self._scene.IsBatchProcessing():
            return
        names = {node.GetID(): node.GetName() or "" for node in self.nodes()}
        if names == self._names:
            return
        if list(names) != list(self._names):
            self._refresh()
            return
        before, self._names = self._names, names
        self._fill()
        if self._id and before[self._id] != names[self._id]:
            self.currentNodeRenamed.emit(names[self._id])

    def _fill(self) -> None:
        entries = [(name, identifier) for identifier, name in self._names.items()]
        if self.noneEnabled:
            entries.insert(0, (self.noneDisplay, ""))
        for node_type in self._types if self.addEnabled else ():
            entries.append((f"Create new {self.nodeTypeLabel(node_type)}", f"+{node_type}"))
        if entries != self._entries:
            self._entries = entries
            self._box.clear()
            for text, data in entries:
                self._box.addItem(text, data)
        self._box.currentIndex = self._box.findData(self._id)

    def _choose(self, identifier: str) -> None:
        if identifier and identifier not in self._names:
            identifier = ""
        if not identifier and not self.noneEnabled and self._id in self._names:
            self._box.currentIndex = self._box.findData(self._id)
            return
        changed, self._id = identifier != self._id, identifier
        self._box.currentIndex = self._box.findData(identifier)
        if changed:
            self.currentNodeChanged.emit(self.currentNode())
            self._nodeIsChosen.emit(bool(identifier))
            self.currentNodeIDChanged.emit(identifier)

    def _picked(self, index: int) -> None:
        data = self._box.itemData(index)
        if data.startswith("+"):
            self._box.currentIndex = self._box.findData(self._id)
            self.addNode(data[1:])
        else:
            self._choose(data)
            self.nodeActivated.emit(self.currentNode())


class qMRMLSliderWidget(ctkSliderWidget):
    """A slider that could take its unit from the scene; here it is ctk's."""

    _stands_in = True
    _vtk_signals = SCENE_SIGNALS
    mrmlSceneChanged = Signal(object)
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
