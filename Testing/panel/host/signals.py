"""``object.connect('signal(type)', function)`` and ``disconnect``, as PythonQt has them."""

from __future__ import annotations

import inspect
import re
import weakref
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any

import shiboken6
from PySide6 import QtCore

from .record import record
from .values import plain

_connect, _disconnect = QtCore.QObject.connect, QtCore.QObject.disconnect
_install_filter = QtCore.QObject.installEventFilter
_remove_filter = QtCore.QObject.removeEventFilter
# C++ address of the sender: (signal, function, what Qt calls)
_connected: dict[int, list[tuple[str, Any, Callable[..., None]]]] = {}


def connect(sender: Any, signal: str, *target: Any) -> bool:
    """Connect a signal, named by its C++ signature, to a function (or an object and its slot).

    PythonQt returns False for a signal that does not exist, which a panel never looks at: here
    it raises.
    """
    if not isinstance(signal, str):  # PySide6 itself comes here, with its own static connect.
        return bool(_connect(signal, *target))
    known, function = real_signal(sender, signal), target_function(target)

    def run(*arguments: Any) -> None:
        run_slot(function, arguments)

    address = shiboken6.getCppPointer(sender)[0]
    if address not in _connected:
        _connected[address] = []
        _connect(sender, QtCore.SIGNAL("destroyed()"), lambda: _connected.pop(address, None))
    _connected[address].append((known, function, run))
    _connect(sender, QtCore.SIGNAL(known), run)
    return True


def disconnect(sender: Any, signal: str = "", *target: Any) -> bool:
    """Undo ``connect``; return whether there was such a connection."""
    known = real_signal(sender, signal) if signal else ""
    function = target_function(target) if target else None
    address = shiboken6.getCppPointer(sender)[0]
    gone = [
        one
        for one in _connected.get(address, [])
        if known in ("", one[0]) and function in (None, one[1])
    ]
    for one in gone:
        _disconnect(sender, QtCore.SIGNAL(one[0]), one[2])
        _connected[address].remove(one)
    return bool(gone)


def real_signal(sender: Any, signal: str) -> str:
    """Return the signature under which Qt knows a signal here; ValueError if there is none."""
    tidy = re.sub(r"\s|\bconst\b|&", "", signal)
    tidy = getattr(type(sender), "_vtk_signals", {}).get(tidy, tidy)
    meta = QtCore.QObject.metaObject(sender)
    if meta.indexOfSignal(tidy) >= 0:
        return tidy
    methods = [meta.method(index) for index in range(meta.methodCount())]
    signals = [one for one in methods if plain(one.methodType()) == 1]
    names = sorted(one.methodSignature().data().decode() for one in signals)
    known = [one for one in names if not one.startswith("_")]
    raise ValueError(f"{type(sender).__name__} has no signal {signal!r}, but {', '.join(known)}")


def target_function(target: tuple[Any, ...]) -> Callable[..., Any]:
    """Return what is to be called: a function, or the slot of an object."""
    if len(target) == 2:
        receiver, slot = target
        return getattr(receiver, slot.split("(")[0])
    (function,) = target
    if not callable(function):
        raise ValueError(f"{function!r} cannot be called")
    return function


def run_slot(function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """Call what is connected. What it raises is noted: PythonQt prints it and goes on."""
    try:
        function(*accepted(function, tuple(plain(one) for one in arguments)))
    except Exception as error:
        record.error(error)


def accepted(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Leave out arguments that a Python function has no room for; others get them all."""
    if type(function) not in (FunctionType, MethodType):
        if type(function).__name__ == "Call":  # A slot of Qt's: as many as it takes.
            return fitting(function.described(), arguments)
        return arguments
    code = getattr(function, "__func__", function).__code__
    if code.co_flags & inspect.CO_VARARGS:
        return arguments
    room = code.co_argcount - (type(function) is MethodType)
    return arguments[:room]


def fitting(function: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return as many arguments as one of the overloads of a slot of Qt's takes."""
    from .values import signatures

    rooms = [
        len([name for name in one.parameters if name != "self"]) for one in signatures(function)
    ]
    return arguments[: max(rooms, default=len(arguments))]


class Filter(QtCore.QObject):
    """Calls an event filter of Python. What that raises is noted, and the event goes on."""

    def __init__(self, python: Any) -> None:
        QtCore.QObject.__init__(self)
        self._python = weakref.ref(python)  # gone with its last reference, as in PythonQt

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Ask the filter of Python whether the event ends here."""
        python = self._python()
        try:
            return bool(python is not None and python.eventFilter(watched, event))
        except Exception as error:
            record.error(error)
            return False


def install_event_filter(watched: Any, python: Any) -> None:
    """Let an object see the events of another one first."""
    remove_event_filter(watched, python)
    kept = Filter(python)
    python.__dict__.setdefault("_filters", {})[shiboken6.getCppPointer(watched)[0]] = kept
    _install_filter(watched, kept)


def remove_event_filter(watched: Any, python: Any) -> None:
    """Undo ``installEventFilter``."""
    kept = python.__dict__.get("_filters", {}).pop(shiboken6.getCppPointer(watched)[0], None)
    if kept is not None:
        _remove_filter(watched, kept)
