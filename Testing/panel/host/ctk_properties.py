"""Properties of stand-ins: one of a widget inside, or one that is only kept."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Property


def forward(type_name: Any, inner: str, name: str) -> Property:
    """Return a property that is a property of the widget inside."""

    def read(self: Any) -> Any:
        return getattr(getattr(self, inner), name)

    def write(self: Any, value: Any) -> None:
        setattr(getattr(self, inner), name, value)

    return Property(type_name, read, write)


def stored(type_name: Any, name: str, default: Any) -> Property:
    """Return a property that is only kept: the stand-in does nothing with it."""
    key = f"_{name}"

    def read(self: Any) -> Any:
        return self.__dict__.get(key, default)

    def write(self: Any, value: Any) -> None:
        self.__dict__[key] = value

    return Property(type_name, read, write)
