"""A stand-in for the selector of nodes, qMRMLNodeComboBox, on a real scene."""

from __future__ import annotations

import weakref
from typing import Any, ClassVar

import shiboken6
import slicer.util
import vtk
from PySide6.QtCore import Property, Signal
from PySide6.QtWidgets import QHBoxLayout, QWidget

from .ctk import ctkComboBox
from .ctk_properties import stored

CREATE = "+"  # begins the data of an entry that is no node: "Create new ..."


def observe(subject: Any, event: Any, owner: Any, method: str, takes_node: bool = False) -> int:
    """Call ``owner.method()`` on an event of VTK, for as long as the widget lives.

    The method gets the node of the event where it takes one.
    """
    weak = weakref.ref(owner)

    def run(caller: Any, _event: Any, *node: Any) -> None:
        alive = weak()
        if alive is not None and shiboken6.isValid(alive):
            getattr(alive, method)(*node)
        else:
            caller.RemoveObserver(tag)  # or each panel of each test would be asked for ever

    if takes_node:
        run.CallDataType = vtk.VTK_OBJECT
    tag = subject.AddObserver(event, run)
    return tag


class qMRMLNodeComboBox(QWidget):
    """Chooses a node of the scene, and follows what is added, removed and renamed there.

    The entries come in the scene's order: "None" where that is allowed, the nodes, then
    "Create new ...". As in Slicer's own, they are the rows of a combo box, and what Qt makes of
    these rows is said as currentNodeChanged: a deleted node's neighbour is chosen, and the same
    node is said again when it is renamed or when an earlier one goes. Nodes come and go at once,
    in a batch too; a node that is being deleted is still in the scene at that moment.

    To choose by ``setCurrentNode`` looks like a person's choice: Slicer sends the Enter key to
    the list, and Qt answers with ``activated``, here as there. Only a flag of the panel's own
    tells the two apart.
    """

    _stands_in = True
    _vtk_signals: ClassVar[dict[str, str]] = {
        "currentNodeChanged(vtkMRMLNode*)": "currentNodeChanged(PyObject)",
        "currentNodeChanged(bool)": "_nodeIsChosen(bool)",
        "nodeAdded(vtkMRMLNode*)": "nodeAdded(PyObject)",
        "nodeAddedByUser(vtkMRMLNode*)": "nodeAddedByUser(PyObject)",
        "nodeActivated(vtkMRMLNode*)": "nodeActivated(PyObject)",
    }
    currentNodeChanged = Signal(object)
    _nodeIsChosen = Signal(bool)
    currentNodeIDChanged = Signal(str)
    currentNodeRenamed = Signal(str)  # by the entry "Rename current ...", which is not here
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
        self._scene, self._requested, self._switching = None, "", False
        self._types, self._hidden_types = [], []
        self._attributes, self._labels, self._watched, self._observed = [], {}, [], {}
        self._flags = {"none": False, "add": True, "hidden": False, "children": True}
        self._none, self._box = "None", ctkComboBox()
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._box)
        self._box.connect("currentIndexChanged(int)", self._say_current)
        self._box.connect("activated(int)", self._activated)
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
        self._types = [one for one in types if one]
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
        data = self._box.itemData(self._box.currentIndex)
        return "" if data is None or data.startswith(CREATE) else data

    def setCurrentNodeID(self, identifier: str) -> None:
        if self._scene is None:
            self._requested = identifier or ""
        self._select(identifier or "")

    currentNodeID = Property("QString", _get_id, setCurrentNodeID)

    # What a panel calls

    def setMRMLScene(self, scene: Any) -> None:
        if scene is self._scene:
            return
        for tag in self._watched:
            self._scene.RemoveObserver(tag)
        had_nodes, before = self.nodeCount() > 0, self._get_id()
        self._switching = True  # nothing is said meanwhile
        self._scene, self._watched = scene, []
        self._box.clear()
        if scene is not None:
            self._watched = self._watch(scene)
        self._refresh()
        self._switching = False
        if scene is not None:
            self._select(before if had_nodes else self._requested or self._get_id())
            self._requested = ""
        self.enabled = scene is not None

    def _watch(self, scene: Any) -> list[int]:
        about_to_go = scene.NodeAboutToBeRemovedEvent
        return [
            observe(scene, scene.NodeAddedEvent, self, "_refresh"),
            observe(scene, about_to_go, self, "_about_to_go", takes_node=True),
            observe(scene, scene.EndCloseEvent, self, "_closed"),
            observe(scene, scene.EndImportEvent, self, "_imported"),
        ]

    def mrmlScene(self) -> Any:
        return self._scene

    def currentNode(self) -> Any:
        identifier = self._get_id()
        return self._scene.GetNodeByID(identifier) if self._scene and identifier else None

    def setCurrentNode(self, node: Any) -> None:
        if node is not None and not hasattr(node, "GetID"):
            raise ValueError(f"setCurrentNode({node!r}): a node or None is wanted")
        self.setCurrentNodeID("" if node is None else node.GetID() or "")

    def setCurrentNodeIndex(self, index: int) -> None:
        row = index if index < self.nodeCount() else -1
        self._box.setCurrentIndex(row + self.noneEnabled)

    def nodeCount(self) -> int:
        return len(self._rows())

    def nodeFromIndex(self, index: int) -> Any:
        data = self._box.itemData(index + self.noneEnabled)
        return self._scene.GetNodeByID(data) if data and not data.startswith(CREATE) else None

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

    # Within: which nodes, as which rows

    def _nodes(self) -> list[Any]:
        scene, types = self._scene, self._types
        if scene is None:
            return []
        of_type = [node for kind in types for node in slicer.util.getNodesByClass(kind, scene)]
        found = list(dict.fromkeys(node for node in of_type if self._listed(node)))
        if len(types) > 1:
            found.sort(key=scene.GetNodes().IndexOfFirstOccurrence)
        return found

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

    def _rows(self) -> list[int]:
        """Return the rows that are nodes."""
        data = [self._box.itemData(row) for row in range(self._box.count)]
        return [row for row, one in enumerate(data) if one and not one.startswith(CREATE)]

    def _refresh(self, gone: Any = None) -> None:
        """Show the scene as it is now, or will be without a node that is about to go."""
        if self._scene is None or self._scene.IsClosing():
            return
        names = {one.GetID(): one.GetName() or "" for one in self._nodes() if one is not gone}
        self._show_extras()
        removed = [row for row in self._rows() if self._box.itemData(row) not in names]
        for row in reversed(removed):
            self._box.removeItem(row)
        new = self._show_names(names)
        self._observe_nodes()
        if removed and self.currentNode() is None:
            self._select("")
        for identifier in new:
            self.nodeAdded.emit(self._scene.GetNodeByID(identifier))

    def _show_names(self, names: dict[str, str]) -> list[str]:
        """Make the rows of nodes these, and return the new ones."""
        new = []
        for row, (identifier, name) in enumerate(names.items(), start=int(self.noneEnabled)):
            if self._box.itemData(row) != identifier:
                new.append(identifier)
                if (elsewhere := self._box.findData(identifier)) >= 0:
                    self._box.removeItem(elsewhere)
                self._box.insertItem(row, name, identifier)
            elif self._box.itemText(row) != name:
                self._box.setItemText(row, name)
                if row == self._box.currentIndex:
                    self._say_current(row)
        return new

    def _show_extras(self) -> None:
        """Show "None" before the nodes, and "Create new ..." after them."""
        first = self._box.itemData(0) == ""
        if self.noneEnabled and not first:
            self._box.insertItem(0, self._none, "")
        elif first and not self.noneEnabled:
            self._box.removeItem(0)
        elif first and self._box.itemText(0) != self._none:
            self._box.setItemText(0, self._none)
        wanted = self._types if self.addEnabled else []
        texts = {f"{CREATE}{one}": f"Create new {self.nodeTypeLabel(one)}" for one in wanted}
        rows = range(int(self.noneEnabled) + len(self._rows()), self._box.count)
        if {self._box.itemData(row): self._box.itemText(row) for row in rows} == texts:
            return
        for row in reversed(rows):
            self._box.removeItem(row)
        at = self._box.currentIndex
        for data, text in texts.items():
            self._box.addItem(text, data)
        self._box.setCurrentIndex(at)

    def _observe_nodes(self) -> None:
        """Follow the names of all nodes of these types, the hidden ones too."""
        before, self._observed = self._observed, {}
        for kind in self._types:
            for node in slicer.util.getNodesByClass(kind, self._scene):
                self._observed[node.GetID()] = node
                if before.get(node.GetID()) is not node:
                    observe(node, vtk.vtkCommand.ModifiedEvent, self, "_refresh")

    def _about_to_go(self, node: Any) -> None:
        if not self._scene.IsClosing():
            self._refresh(gone=node)

    def _closed(self) -> None:
        if rows := self._rows():
            self._box.model().removeRows(rows[0], len(rows))
        self._refresh()

    def _imported(self) -> None:
        self._refresh()
        self._select("")

    # Within: what is chosen

    def _select(self, identifier: str) -> None:
        row = self._box.findData(identifier) if identifier else -1
        if row < 0:
            self._box.setCurrentIndex(0 if self.noneEnabled else -1)
        elif row != self._box.currentIndex:
            self._box.setCurrentIndex(row)
            self._box.activated.emit(row)

    def _say_current(self, row: int) -> None:
        if self._switching:
            return
        node = self.currentNode()
        if node is None and row != (0 if self.noneEnabled else -1):
            # Qt chose an entry that is no node, "Create new ...": the last node is taken instead.
            self.setCurrentNode(self.nodeFromIndex(self.nodeCount() - 1))
            return
        self.currentNodeChanged.emit(node)
        self._nodeIsChosen.emit(node is not None)
        self.currentNodeIDChanged.emit(node.GetID() if node is not None else "")

    def _activated(self, row: int) -> None:
        node = self.currentNode()
        if node is not None or (self.noneEnabled and row == 0):
            self.nodeActivated.emit(node)

    def _create(self, data: str) -> None:
        """Do what a person's press on "Create new ..." does."""
        self.setCurrentNode(self.addNode(data.removeprefix(CREATE)))
