"""The errors that users can see, each with the exit code of the command line.

A message states what is wrong, where, and what would be right. Any other exception is a defect of
ContrastSynth: the command line shows a traceback and ends with exit code 1.

Options of the command line are in brackets in messages and warnings, as in "choose a mask
(--in mask=FILE)". Other user interfaces remove them with :func:`without_options`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


class ContrastSynthError(Exception):
    """Base class of the errors that are shown to the user without a traceback."""

    exit_code = 1


class RequestError(ContrastSynthError):
    """The request or one of its inputs is wrong; the user can correct it."""

    exit_code = 2


class MissingError(ContrastSynthError):
    """A package or a file has to be installed or downloaded first."""

    exit_code = 3


class MethodError(ContrastSynthError):
    """A method returned what contradicts its declaration: a fault in the method, not the input."""

    def __init__(self, message: str):
        super().__init__(
            f"{message} This is a fault in the method; nothing was written. Please report it."
        )


class Cancelled(ContrastSynthError):
    """The user cancelled the run; its output is removed."""


def without_options(text: str) -> str:
    """Return a message or a warning without the options of the command line."""
    return re.sub(r"\s*\(--[^()]*\)", "", text)


def unknown_name(kind: str, name: str, known: Iterable[str]) -> RequestError:
    """Return the error for an unknown name, with the most similar known name and all known ones.

    ``kind`` describes the name, for example ``"method"``.
    """
    choices = sorted(known)
    nearest = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
    hint = f" Did you mean '{nearest[0]}'?" if nearest else ""
    listed = ", ".join(choices) if choices else "none"
    return RequestError(f"Unknown {kind} '{name}'.{hint} Known: {listed}.")
