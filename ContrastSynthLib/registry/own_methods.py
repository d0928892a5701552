"""Loading methods from the user's own Python files, outside of this library."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from ContrastSynthLib.errors import RequestError

VARIABLE = "CONTRASTSYNTH_METHODS"
"""Environment variable: Python files that declare methods, separated like the folders of PATH."""
PREFIX = "contrastsynth_own_"
failures: list[RequestError] = []
"""Files that could not be loaded: whoever runs or lists methods says so first."""


def load_own_methods() -> list[str]:
    """Import each file that the environment variable lists; return the names of the modules.

    One that does not exist or cannot be imported is added to ``failures``: the methods of the
    library are there all the same.
    """
    loaded = []
    for text in filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)):
        try:
            loaded.append(_load(Path(text)))
        except RequestError as error:
            failures.append(error)
    return loaded


def refuse_failures() -> None:
    """Raise RequestError where a file of the user's own methods could not be loaded."""
    if failures:
        raise failures[0]


def _load(path: Path) -> str:
    name = PREFIX + path.stem
    if name in sys.modules:
        return name
    spec = importlib.util.spec_from_file_location(name, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise RequestError(f"{VARIABLE} names {path}, which is no Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it is executed: its dataclasses look up their module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise RequestError(
            f"{VARIABLE}: {path.name} could not be loaded ({type(error).__name__}: {error})."
        ) from error
    return name
