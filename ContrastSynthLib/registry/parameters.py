"""The parameters of a run: from the user, a preset, the scan's acquisition, or the defaults."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from ContrastSynthLib.acquisition import Acquisition
from ContrastSynthLib.errors import RequestError, unknown_name
from ContrastSynthLib.registry.declaration import Method, Param

Numbers = tuple[float, ...]
"""The type of a parameter that is a list of numbers, written as ``30,90,150``."""


@dataclass(frozen=True)
class Declared:
    """A parameter with its name, type, default and :class:`Param`."""

    name: str
    type: Any
    default: Any
    param: Param

    @property
    def kind(self) -> str:
        """Name of the type: ``float``, ``int``, ``bool``, ``str``, or ``numbers`` for a list."""
        return "numbers" if self.type == Numbers else str(self.type.__name__)


@dataclass(frozen=True)
class Resolved:
    """The parameters of a run, ``values``, and the source of each by name.

    A source is ``given``, ``preset NAME``, ``scan 'ROLE'`` or ``default``. ``stated`` has a message
    for each acquisition parameter whose default is used because the scan does not provide it.
    """

    values: Any
    sources: dict[str, str]
    stated: list[str]


def declared_parameters(method: Method) -> dict[str, Declared]:
    """Return the parameters of a method by name, in the order of their declaration.

    Raises ValueError for one that is not annotated with a :class:`Param`.
    """
    hints = get_type_hints(method.parameters, include_extras=True)
    found = {}
    for field in fields(method.parameters):
        hint = hints[field.name]
        if get_origin(hint) is not Annotated:
            raise ValueError(f"{method.key}: parameter '{field.name}' has no Annotated[..., Param]")
        kind, param = get_args(hint)
        found[field.name] = Declared(field.name, kind, field.default, param)
    return found


def resolve_parameters(
    method: Method,
    given: Mapping[str, Any],
    preset: str | None = None,
    acquisitions: Mapping[str, Acquisition] | None = None,
) -> Resolved:
    """Take each value from ``given``, else the preset, else the scan, else the default.

    ``acquisitions`` are those of the inputs by role. Raises RequestError, with the allowed values,
    for an unknown parameter or preset and for a value of the wrong type or out of range.
    """
    declared = declared_parameters(method)
    for name in given:
        if name not in declared:
            raise unknown_name(f"parameter of {method.key}", name, declared)
    if preset is not None and preset not in method.presets:
        raise unknown_name(f"preset of {method.key}", preset, method.presets)
    from_preset = method.presets[preset] if preset else {}
    values, sources, stated = {}, {}, []
    for name, entry in declared.items():
        if name in given:
            values[name], sources[name] = parse(method.key, entry, given[name]), "given"
        elif name in from_preset:
            values[name], sources[name] = from_preset[name], f"preset {preset}"
        else:
            values[name], sources[name], sentence = _from_scan(entry, acquisitions or {})
            stated += [sentence] if sentence else []
    return Resolved(method.parameters(**values), sources, stated)


def parse(key: str, entry: Declared, value: Any) -> Any:
    """Return ``value``, a string or already of the declared type, as that type.

    ``key`` is that of the method, for messages. Raises RequestError for a value of the wrong type
    or out of range.
    """
    where = f"{key}, parameter '{entry.name}' ({entry.param.title})"
    wanted = f"Expected {_allowed(entry)}."
    try:
        result = _converted(entry.type, value)
    except (TypeError, ValueError):
        raise RequestError(f"{where}: '{value}' is not {_KINDS[entry.kind]}. {wanted}") from None
    if entry.param.choices and result not in entry.param.choices:
        raise unknown_name(f"value of {where}", str(value), entry.param.choices)
    numbers = result if entry.kind == "numbers" else (result,)
    if not all(_in_range(entry.param, n) for n in numbers if isinstance(n, (int, float))):
        raise RequestError(f"{where}: {value} is out of range. {wanted}")
    return result


_KINDS = {
    "float": "a number",
    "int": "a whole number",
    "bool": "true or false",
    "str": "a text",
    "numbers": "a list of numbers",
}
_BOOLS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def _allowed(entry: Declared) -> str:
    allowed = entry.param.allowed
    if entry.kind == "numbers":
        return f"numbers separated by commas{allowed and f', each {allowed}'}"
    return allowed or entry.kind


def _converted(kind: Any, value: Any) -> Any:
    if kind == Numbers:
        parts = re.split(r"[\s,;]+", value.strip()) if isinstance(value, str) else value
        return tuple(float(part) for part in parts if part != "")
    if kind is bool:
        if str(value).lower() not in _BOOLS:
            raise ValueError(value)
        return _BOOLS[str(value).lower()]
    if kind is int and isinstance(value, float) and not value.is_integer():
        raise ValueError(value)
    return kind(value)


def _in_range(param: Param, value: float) -> bool:
    low = -math.inf if param.low is None else param.low
    high = math.inf if param.high is None else param.high
    return math.isfinite(value) and low <= value <= high


def _from_scan(entry: Declared, acquisitions: Mapping[str, Acquisition]) -> tuple[Any, str, str]:
    """Return the value, its source and, where the scan does not provide it, a message."""
    if entry.param.from_acquisition is None:
        return entry.default, "default", ""
    role, name = entry.param.from_acquisition
    found = getattr(acquisitions.get(role, Acquisition()), name)
    default = " ".join(f"{entry.name} = {_shown(entry.default)} {entry.param.unit}".split())
    if found is None:
        return (
            entry.default,
            "default",
            f"{default}, the default: the file of '{role}' does not contain it.",
        )
    if not _fits(entry.param, found):
        return (
            entry.default,
            "default",
            f"{default}, the default: '{role}' was acquired with {_shown(found)}; "
            f"this method takes {entry.param.allowed}.",
        )
    return found, f"scan '{role}'", ""


def _fits(param: Param, value: Any) -> bool:
    return value in param.choices if param.choices else _in_range(param, value)


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
