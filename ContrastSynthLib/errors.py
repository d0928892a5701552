"""The errors that a user may see, each with the exit code of the command line.

A message says what is wrong, where, and what would be right. Anything that is not one
of these classes is a defect of ours and leaves with exit code 1 and a traceback.

What to type at the command line stands in brackets, "choose a mask (--in mask=FILE)", in warnings
too: whoever cannot type it, such as a panel, leaves it out with :func:`without_options`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


class ContrastSynthError(Exception):
    """Base of all errors that are told to the user without a traceback."""

    exit_code = 1


class RequestError(ContrastSynthError):
    """The request or one of its inputs is wrong; the user can put it right."""

    exit_code = 2


class MissingError(ContrastSynthError):
    """Something has to be installed or downloaded first."""

    exit_code = 3


class MethodError(ContrastSynthError):
    """A method returned what contradicts its declaration: a fault in the method, not the input."""

    def __init__(self, message: str):
        super().__init__(
            f"{message} This is a fault in the method; nothing was written. Please report it."
        )


class Cancelled(ContrastSynthError):
    """The user stopped the run; nothing of it is left behind."""


def without_options(text: str) -> str:
    """Return a message or a warning without what is meant for the command line alone."""
    return re.sub(r"\s*\(--[^()]*\)", "", text)


def unknown_name(kind: str, name: str, known: Iterable[str]) -> RequestError:
    """Return the error for a name that nobody declared, with the nearest known ones.

    ``kind`` is what the name should have been, for example ``"method"``.
    """
    choices = sorted(known)
    nearest = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
    hint = f" Did you mean '{nearest[0]}'?" if nearest else ""
    listed = ", ".join(choices) if choices else "none"
    return RequestError(f"Unknown {kind} '{name}'.{hint} Known: {listed}.")
