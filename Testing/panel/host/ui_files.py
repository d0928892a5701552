"""Designer's ``.ui`` files: built by Qt, with the stand-ins, and with what Qt cannot connect."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

from PySide6 import QtCore, QtUiTools

from . import ctk, qmrml
from .pythonqt import find_children, properties

_load = QtUiTools.QUiLoader.load
STAND_INS = {
    kind.__name__: kind
    for module in (ctk, qmrml)
    for kind in vars(module).values()
    if isinstance(kind, type) and "_stands_in" in vars(kind)
}


def load_ui(device: Any, parent: Any = None) -> Any:
    """Build the widget of a ``.ui`` file.

    What Slicer would pass over in silence raises ValueError here: a widget that no stand-in
    exists for, a property that the widget does not have, a connection of unknown names.
    """
    root = ElementTree.fromstring(device.readAll().data())
    loader = QtUiTools.QUiLoader()
    available = set(QtUiTools.QUiLoader.availableWidgets(loader)) | {"Line"}
    for custom in root.iter("customwidget"):
        name = custom.findtext("class")
        if name not in STAND_INS:
            raise ValueError(f"the test host has no stand-in for {name}")
        QtUiTools.QUiLoader.registerCustomWidget(loader, STAND_INS[name])
        available.add(name)
    for widget in root.iter("widget"):
        check_widget(widget, available)
    later = take_vtk_connections(root)
    buffer = QtCore.QBuffer()
    buffer.setData(QtCore.QByteArray(ElementTree.tostring(root)))
    buffer.open(QtCore.QIODevice.ReadOnly)
    built = _load(loader, buffer, parent)
    if built is None:
        raise ValueError(QtUiTools.QUiLoader.errorString(loader))
    by_name = {one.objectName: one for one in (built, *find_children(built))}
    for sender, signal, receiver, slot in later:
        in_cpp = getattr(type(by_name[sender]), "_ui_signals", {})
        by_name[sender].connect(in_cpp.get(signal, signal), by_name[receiver], slot)
    return built


def check_widget(widget: Any, available: set[str]) -> None:
    """Refuse a class that nobody knows, and a property that a stand-in does not have."""
    name = widget.get("class")
    if name not in available:
        raise ValueError(f"the file does not declare the custom widget {name}")
    if name not in STAND_INS:
        return
    for one in widget.findall("property"):
        if one.get("stdset") != "0" and one.get("name") not in properties(STAND_INS[name]):
            raise ValueError(f"{name} of the test host has no property {one.get('name')!r}")


def take_vtk_connections(root: Any) -> list[tuple[str, str, str, str]]:
    """Take connections that name VTK's classes out of the file, and return them."""
    taken = []
    for connections in root.iter("connections"):
        for one in list(connections):
            words = tuple(one.findtext(tag) for tag in ("sender", "signal", "receiver", "slot"))
            if "vtk" in words[1] + words[3]:
                taken.append(words)
                connections.remove(one)
    return taken
