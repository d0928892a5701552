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


def load_own_methods() -> list[str]:
    """Import each file that the environment variable lists; return the names of the modules.

    Raises RequestError for a file that does not exist or cannot be imported.
    """
    named = [text for text in os.environ.get(VARIABLE, "").split(os.pathsep) if text]
    return [_load(Path(text)) for text in named]


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
