"""How PythonQt turns Python values into Qt's, and enums into numbers."""

from __future__ import annotations

import enum
import inspect
import operator
import typing
import warnings
from collections.abc import Callable
from typing import Any


def plain(value: Any) -> Any:
    """Return Qt's enums and flags as the integers that PythonQt gives."""
    if isinstance(value, enum.Enum):
        return int(value.value)
    if type(value) is tuple:
        return tuple(plain(one) for one in value)
    return value


def flatten_enums(kind: type) -> None:
    """Give a class its enum members as integers: ``QMessageBox.Ok``, ``Qt.AlignLeft``."""
    for name in list(vars(kind)):
        members = getattr(kind, name)
        if isinstance(members, enum.EnumMeta):
            for member_name, member in members.__members__.items():
                setattr(kind, member_name, int(member.value))


def to_property(value: Any, type_name: str, is_enum: bool) -> Any:
    """Return ``value`` as PythonQt hands it to a property of that type; TypeError if it cannot.

    One thing is stricter than PythonQt: it rounds a float down for a property that is an
    integer, and says nothing; here that is refused.
    """
    if is_enum:
        return value if isinstance(value, str) else operator.index(value)
    if type_name in CONVERSIONS:
        return CONVERSIONS[type_name](value)
    if type_name.startswith("Q") and type_name not in ("QVariant", "QVariantList", "QVariantMap"):
        names = {kind.__name__ for kind in type(value).__mro__}
        if type_name.rstrip("*") not in names:
            raise TypeError(f"a {type_name} is wanted")
    return value


def to_bool(value: Any) -> bool:
    """Return a number as true or false; nothing else is either."""
    return bool(value) if isinstance(value, float) else bool(operator.index(value))


def to_float(value: Any) -> float:
    """Return any number as a float."""
    if isinstance(value, str):
        raise TypeError("a text is no number")
    return float(value)


def to_texts(value: Any) -> list[str]:
    """Return the texts of a list or tuple."""
    if not isinstance(value, list | tuple):
        raise TypeError("a list of texts is wanted")
    return [str(one) for one in value]


CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "QString": str,
    "bool": to_bool,
    **dict.fromkeys(("int", "uint", "qlonglong", "qulonglong"), operator.index),
    **dict.fromkeys(("double", "float"), to_float),
    "QStringList": to_texts,
}


def enums_in(annotation: Any) -> type[enum.Enum] | None:
    """Return the enum that an argument wants, out of ``Enum | None`` and the like."""
    for one in (annotation, *typing.get_args(annotation)):
        if isinstance(one, enum.EnumMeta):
            return one
    return None


def with_enums(signature: inspect.Signature, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """Return the arguments with integers made enums where the signature has them, or None."""
    parameters = [one for one in signature.parameters.values() if one.name != "self"]
    if len(arguments) > len(parameters):
        return None
    changed = list(arguments)
    for place, (argument, parameter) in enumerate(zip(arguments, parameters, strict=False)):
        wanted = enums_in(parameter.annotation)
        if wanted is not None and type(argument) is int:
            changed[place] = wanted(argument)
    return tuple(changed) if changed != list(arguments) or enum_made(changed) else None


def enum_made(arguments: list[Any]) -> bool:
    """Return whether one of the arguments is an enum of Qt's."""
    return any(isinstance(one, enum.Enum) for one in arguments)


def call(
    function: Callable[..., Any], arguments: tuple[Any, ...], described: Callable[[], Any]
) -> Any:
    """Call a function of Qt's with plain integers where it wants enums.

    ``described()`` is what its signatures are known for.
    """
    try:
        return function(*arguments)
    except (TypeError, ValueError, OverflowError) as error:
        if not any(type(one) is int for one in arguments):
            raise
        for signature in signatures(described()):
            changed = with_enums(signature, arguments)
            if changed is not None:
                try:
                    return function(*changed)
                except (TypeError, ValueError, OverflowError):
                    continue
        raise error


def signatures(function: Any) -> list[inspect.Signature]:
    """Return all overloads of a function or constructor of Qt's."""
    from shibokensupport.signature import get_signature

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = get_signature(function)
    if found is None:
        return []
    return found if isinstance(found, list) else [found]
