"""What a test wants to know afterwards: errors, dialogs, installations, and the answers it gave."""

from __future__ import annotations

import sys
import traceback
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any


@dataclass
class Shown:
    """A dialog that Slicer would have shown: "error", "warning", "info" or "question"."""

    kind: str
    text: str
    title: str = ""
    details: str = ""
    answer: Any = None


@dataclass
class Record:
    """One for the whole process; ``clear`` before each test."""

    dialogs: list[Shown] = field(default_factory=list)
    answers: list[Any] = field(default_factory=list)
    installed: list[list[str]] = field(default_factory=list)
    constraints: list[str] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)
    status: list[str] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)
    exit_codes: list[int] = field(default_factory=list)
    qt_warnings: list[str] = field(default_factory=list)

    def clear(self) -> None:
        """Forget everything."""
        for what in vars(self).values():
            what.clear()

    def answer(self, *answers: Any) -> None:
        """Answer the next questions: True or False, or what a file dialog returns."""
        self.answers.extend(answers)

    def show(self, kind: str, text: str, title: str = "", details: str = "") -> None:
        """Note a dialog that has nothing to ask."""
        self.dialogs.append(Shown(kind, text, title, details))

    def ask(self, kind: str, text: str, title: str = "", details: str = "") -> Any:
        """Note a dialog that asks, and return the test's answer; without one, the test fails."""
        if not self.answers:
            raise AssertionError(f"the panel asks, and the test has no answer: {text!r}")
        answer = self.answers.pop(0)
        self.dialogs.append(Shown(kind, text, title, details, answer))
        return answer

    def texts(self, kind: str) -> list[str]:
        """Return what the dialogs of this kind said."""
        return [one.text for one in self.dialogs if one.kind == kind]

    def error(self, error: BaseException) -> None:
        """Note what Slicer would only have printed to its console."""
        traceback.print_exception(error)
        self.errors.append(error)

    def qt_message(self, _kind: Any, _context: Any, text: str) -> None:
        """Note what Qt warns of: QObject::connect without such a signal, a layout set twice."""
        if "propagateSizeHints" not in text:  # No screen, no size hints.
            print(f"Qt: {text}", file=sys.stderr)
            self.qt_warnings.append(text)

    def excepthook(
        self, kind: type[BaseException], error: BaseException, where: TracebackType | None
    ) -> None:
        """Stand in for ``sys.excepthook``: Qt and VTK come here with what a callback raised."""
        self.errors.append(error)
        sys.__excepthook__(kind, error, where)


record = Record()
