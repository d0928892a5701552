"""PySide6's classes with PythonQt's manners, which is what ``import qt`` gives in Slicer.

Properties are attributes, enums are integers, an unknown attribute or a wrong type raises
AttributeError, and ``object.connect('signal(type)', function)`` connects. The classes of PySide6
themselves are changed: nothing else in the process may use them the other way.
"""

from __future__ import annotations

import functools
import sys
from types import BuiltinFunctionType, FunctionType, MethodDescriptorType, ModuleType
from typing import Any, NamedTuple

from PySide6 import QtCore, QtGui, QtTest, QtUiTools, QtWidgets

from . import signals
from .record import record
from .values import call, flatten_enums, plain, signatures, to_property

MODULES = (QtCore, QtGui, QtWidgets)
_set_property, _property = QtCore.QObject.setProperty, QtCore.QObject.property
_instance_check = type.__instancecheck__
_readers: dict[type, Any] = {}  # how PySide6 itself reads an attribute, by its class
_reading: set[tuple[int, str]] = set()
_loading: list[bool] = []  # not empty while QUiLoader sets each child as an attribute


class PropertyKind(NamedTuple):
    """What Qt's meta object says of a property."""

    name: str
    type_name: str
    is_enum: bool
    writable: bool


def is_cpp(kind: type) -> bool:
    """Return whether a class is C++ in Slicer: Qt's own, or a stand-in of this host."""
    return kind.__module__.startswith("PySide6.") or "_stands_in" in vars(kind)


def cpp_class(kind: type) -> type:
    """Return the C++ class that a class is, or derives from in Python."""
    return next((one for one in kind.__mro__ if is_cpp(one)), object)


@functools.cache
def properties(kind: type) -> dict[str, PropertyKind]:
    """Return the Qt properties of a class that are attributes, by name."""
    meta = getattr(kind, "staticMetaObject", None)
    if meta is None:
        return {}
    found = {}
    for index in range(meta.propertyCount()):
        one = meta.property(index)
        is_enum = one.isEnumType() or one.isFlagType()
        found[one.name()] = PropertyKind(one.name(), one.typeName(), is_enum, one.isWritable())
    if issubclass(kind, QtCore.QTimer):
        del found["singleShot"]  # The static function has the name.
    found.setdefault("name", found["objectName"])
    return found


@functools.cache
def overridden(kind: type, name: str) -> bool:
    """Return whether a Python class has this name above Qt's: the panel's, or a stand-in's method.

    Qt looks here for the virtual functions that Python overrides.
    """
    for one in kind.__mro__:
        if one.__module__.startswith("PySide6."):
            return False
        if name in vars(one):
            return not is_cpp(one) or isinstance(vars(one)[name], FunctionType)
    return False


@functools.cache
def reader(kind: type) -> Any:
    """Return PySide6's own way to read an attribute of objects of a class."""
    return next((_readers[one] for one in kind.__mro__ if one in _readers), object.__getattribute__)


class Call:
    """A method of Qt's, bound to its object: integers for enums on the way in and out."""

    __slots__ = ("__self__", "function")

    def __init__(self, owner: Any, function: Any) -> None:
        self.__self__, self.function = owner, function

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        if keywords:
            raise TypeError(f"PythonQt takes no keywords: {self.function.__name__}({keywords})")
        bare = tuple(one.function if type(one) is Call else one for one in arguments)
        return plain(call(self.function, bare, self.described))

    def described(self) -> Any:
        """Return the same method as its class has it, whose signatures are known."""
        name, mro = self.function.__name__, type(self.__self__).__mro__
        found = next((vars(one)[name] for one in mro if name in vars(one)), None)
        return found if isinstance(found, MethodDescriptorType) else self.function

    def __eq__(self, other: object) -> bool:
        return type(other) is Call and other.function == self.function

    def __hash__(self) -> int:
        return hash(self.function)

    def __repr__(self) -> str:
        return f"<{self.function.__qualname__}>"


def get_attribute(self: Any, name: str) -> Any:
    """Read an attribute as PythonQt does."""
    kind = type(self)
    if name.startswith("_"):  # nothing of Qt's begins so
        return reader(kind)(self, name)
    if name in properties(kind) and not overridden(kind, name):
        return read_property(self, name)
    if name in EXTRA and issubclass(kind, QtCore.QObject) and not overridden(kind, name):
        return functools.partial(EXTRA[name], self)
    if name == "exec_":
        name = "exec"
    try:
        value = reader(kind)(self, name)
    except AttributeError:
        if name in dynamic_names(self):
            return _property(self, name)
        raise AttributeError(f"{kind.__name__!r} object has no attribute {name!r}") from None
    if isinstance(value, BuiltinFunctionType):
        return Call(self, value)
    return plain(value)


def read_property(self: Any, name: str) -> Any:
    """Return a property's value. Qt itself may ask for the method of that name meanwhile."""
    key = (id(self), name)
    if key in _reading:
        return reader(type(self))(self, name)
    _reading.add(key)
    try:
        known = properties(type(self))[name]
        value = plain(_property(self, known.name))
        return tuple(value) if known.type_name == "QStringList" else value
    finally:
        _reading.discard(key)


def dynamic_names(self: Any) -> list[str]:
    """Return the names of properties that an object has and its class does not."""
    if not issubclass(type(self), QtCore.QObject):
        return []
    try:
        return [bytes_of(one).decode() for one in QtCore.QObject.dynamicPropertyNames(self)]
    except RuntimeError:  # Not built yet, or deleted.
        return []


def bytes_of(array: Any) -> bytes:
    """Return the content of a QByteArray."""
    return QtCore.QByteArray.data(array)


def set_attribute(self: Any, name: str, value: Any) -> None:
    """Write an attribute as PythonQt does."""
    kind = type(self)
    known = properties(kind).get(name)
    if known is not None:
        write_property(self, name, value, known)
        return
    if _loading and not name.startswith("_"):
        return
    what = f"{cpp_class(kind).__name__} object"
    if name in dynamic_names(self):
        _set_property(self, name, value)
    elif hasattr(cpp_class(kind), name) and not name.startswith("_"):
        raise AttributeError(f"Slot '{name}' can not be overwritten on {what}")
    elif cpp_class(kind) is kind and not ("_stands_in" in vars(kind) and name[0] == "_"):
        raise AttributeError(
            f"'{name}' does not exist on {what} and creating new attributes on C++ objects is "
            "not allowed"
        )
    else:
        object.__getattribute__(self, "__dict__")[name] = value


def write_property(self: Any, name: str, value: Any, known: PropertyKind) -> None:
    """Write a property, or raise AttributeError as PythonQt does."""
    what = f"Property '{name}' of {type(self).__name__}"
    if not known.writable:
        raise AttributeError(f"{what} object is not writable")
    refused = f"{what}, of type {known.type_name}, does not accept {value!r}"
    try:
        converted = to_property(value, known.type_name, known.is_enum)
        taken = _set_property(self, known.name, converted)
    except (TypeError, ValueError, OverflowError) as error:
        raise AttributeError(refused) from error
    if not taken:
        raise AttributeError(refused)


def constructor(kind: type) -> Any:
    """Return the ``__init__`` of a class of Qt's that takes integers for enums."""
    original = kind.__init__

    @functools.wraps(original)
    def init(self: Any, *arguments: Any, **keywords: Any) -> None:
        if keywords and type(self) is kind:
            raise TypeError(f"PythonQt takes no keywords: {kind.__name__}({keywords})")
        call(functools.partial(original, self), arguments, lambda: kind)

    return init


def take_integers(kind: type) -> None:
    """Let the static functions of a class of Qt's take and give integers for enums."""
    for name in list(vars(kind)):
        function = getattr(kind, name)
        if isinstance(function, BuiltinFunctionType) and not name.startswith("_"):
            setattr(kind, name, staticmethod(Call(kind, function)))


def instance_check(kind: type, value: Any) -> bool:
    """Is an object of exactly this class, or of a Python class that derives from it?

    In PythonQt a QPushButton is no QWidget: its wrappers do not inherit from one another.
    """
    if is_cpp(kind):
        return cpp_class(type(value)) is kind
    return _instance_check(kind, value)


def find_children(self: Any, kind: Any = None, name: str = "") -> list[Any]:
    """Return the objects below this one, by class (or its name) and object name."""
    wanted = kind if isinstance(kind, str) else getattr(kind, "__name__", "QObject")
    found, ahead = [], list(QtCore.QObject.children(self))
    while ahead:
        one = ahead.pop(0)
        if inherits(one, wanted) and (not name or one.objectName == name):
            found.append(one)
        ahead.extend(QtCore.QObject.children(one))
    return found


def find_child(self: Any, kind: Any = None, name: str = "") -> Any:
    """Return the first object below this one, or None."""
    return next(iter(find_children(self, kind, name)), None)


def inherits(self: Any, name: str) -> bool:
    """Return whether an object's C++ class is, or derives from, the one of that name."""
    return any(kind.__name__ == name for kind in type(self).__mro__ if is_cpp(kind))


def class_name(self: Any) -> str:
    """Return the name of an object's C++ class."""
    return cpp_class(type(self)).__name__


def delete(self: Any) -> None:
    """Delete the C++ object at once."""
    import shiboken6

    shiboken6.delete(self)


EXTRA = {
    "connect": signals.connect,
    "disconnect": signals.disconnect,
    "findChild": find_child,
    "findChildren": find_children,
    "inherits": inherits,
    "className": class_name,
    "delete": delete,
    "installEventFilter": signals.install_event_filter,
    "removeEventFilter": signals.remove_event_filter,
}


def no_bytes(array: Any) -> bytes:
    """Refuse ``bytes(array)``."""
    raise TypeError("cannot convert 'QByteArray' object to bytes: use .data()")


def single_shot(delay_ms: int, *target: Any) -> None:
    """Call a function (or a slot: an object and its name) once, later."""
    function = signals.target_function(target)

    def run() -> None:
        signals.run_slot(function, ())

    QtCore.QTimer._qt_single_shot(int(delay_ms), run)


class QUiLoader(QtUiTools.QUiLoader):
    """Slicer's loader of ``.ui`` files, which knows the widgets of ctk and qMRML."""

    _stands_in = True

    def load(self, device: Any, parent: Any = None) -> Any:
        """Build the widget of a ``.ui`` file that is open for reading."""
        from .ui_files import load_ui

        _loading.append(True)
        try:
            return load_ui(device, parent)
        finally:
            _loading.pop()


def modal(self: Any) -> Any:
    """Stand in for ``QDialog.exec_``: what would wait for a person is answered by the test."""
    text = getattr(self, "text", "") or self.windowTitle
    return int(record.ask("question", text, self.windowTitle))


def file_dialog(_parent: Any = None, title: str = "", *_rest: Any) -> Any:
    """Stand in for QFileDialog's static functions."""
    return record.ask("file", title)


def install() -> ModuleType:
    """Change PySide6's classes, and return (and register) the module ``qt``."""
    if "qt" in sys.modules:
        return sys.modules["qt"]
    kinds = [
        kind
        for module in (*MODULES, QtUiTools)
        for kind in (getattr(module, name) for name in dir(module))
        if isinstance(kind, type) and type(kind) is type(QtCore.QObject)
    ]
    signatures(QtCore.QDateTime)  # They are parsed once, with a warning that is not ours.
    QtCore.QTimer._qt_single_shot = QtCore.QTimer.singleShot
    for kind in kinds:
        flatten_enums(kind)
        kind.__init__ = constructor(kind)
        take_integers(kind)
        _readers[kind] = kind.__getattribute__
    for kind in kinds:
        kind.__getattribute__, kind.__setattr__ = get_attribute, set_attribute
    type(QtCore.QObject).__instancecheck__ = instance_check
    QtCore.QTimer.singleShot = staticmethod(single_shot)
    QtCore.QByteArray.__bytes__ = no_bytes
    QtWidgets.QDialog.exec = modal
    for name in ("getOpenFileName", "getSaveFileName", "getExistingDirectory", "getOpenFileNames"):
        setattr(QtWidgets.QFileDialog, name, staticmethod(file_dialog))
    for name in ("information", "warning", "critical", "question"):
        kind = "question" if name == "question" else {"critical": "error"}.get(name, name)
        setattr(QtWidgets.QMessageBox, name, staticmethod(message_box(kind)))
    qt = ModuleType("qt", "PySide6 with the manners of PythonQt (a test host).")
    for module in (*MODULES, QtTest):
        for name in dir(module):
            if name.startswith("Q"):
                setattr(qt, name, getattr(module, name))
    numbers = {name: one for name, one in vars(QtCore.Qt).items() if type(one) is int}
    qt.Qt = type("Qt", (), numbers)  # Without the enums themselves: Qt.AlignmentFlag.AlignLeft.
    qt.QUiLoader, qt.qInstallMessageHandler = QUiLoader, QtCore.qInstallMessageHandler
    sys.modules["qt"] = qt
    return qt


def message_box(kind: str) -> Any:
    """Return a stand-in for QMessageBox's static functions."""

    def show(_parent: Any, title: str, text: str, *_buttons: Any) -> Any:
        return record.ask(kind, text, title)

    return show
