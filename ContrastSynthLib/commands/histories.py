"""The command ``history``: print and plot the iterations of the solver that made a result."""

from __future__ import annotations

import itertools
import json
import math
from argparse import Namespace
from typing import Any

from ContrastSynthLib.commands.measures import write_plot
from ContrastSynthLib.commands.printing import print_json
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.registry import Method, find_method
from ContrastSynthLib.running.jobs import JsonLines
from ContrastSynthLib.running.result import PROVENANCE

SCHEMA_VERSION = 1


def history(options: Namespace, lines: JsonLines | None) -> None:
    """Print the iterations that the provenance of a result records; plot them with ``--plot``."""
    from ContrastSynthLib.plots.history import plot_history

    method, record = _read(options)
    if options.plot:
        write_plot(options.plot, plot_history(record["history"], method.history, record))
    facts: dict[str, Any] = {
        key: record[key] for key in ("alpha_mm", "alpha_pixels", "stopped_by") if key in record
    }
    if options.json:
        print_json({"schema_version": SCHEMA_VERSION, **facts, "history": record["history"]})
        return
    columns = record["history"]
    print(" ".join(f"{name:>11}" for name in columns))
    for row in zip(*columns.values(), strict=True):
        print(" ".join(f"{value:>11.5g}" for value in row))
    if "alpha_mm" in facts:
        pixels = facts.get("alpha_pixels")
        beside = "" if pixels is None else f" ({pixels:.4g} between pixels, as in the paper)"
        print(f"alpha {facts['alpha_mm']:.4g} mm{beside}; stopped by: {facts.get('stopped_by')}")


def _read(options: Namespace) -> tuple[Method, dict[str, Any]]:
    """Return the method that made a result, and what its run recorded."""
    import ContrastSynthLib.methods  # noqa: F401 - declares the methods

    path = options.result / PROVENANCE
    try:
        provenance = json.loads(path.read_text(encoding="utf-8"))
        record: dict[str, Any] = provenance["record"]
        key = str(provenance["method"]["key"])
        history = record.get("history", {})
        columns = {str(name): [float(n) for n in values] for name, values in history.items()}
        numbers = itertools.chain([float(record.get("alpha_mm", 0.0))], *columns.values())
        whole = all(map(math.isfinite, numbers))
    # Of thousands of brackets in one another the reader gives up with a RecursionError.
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RequestError(
            f"{path}: cannot be read as the provenance of a result ({str(error)[:200]}). Give the "
            "folder that 'contrastsynth run ... --out' wrote."
        ) from error
    method = find_method(key)
    if not set(method.history) <= set(columns) or not method.history:
        raise RequestError(
            f"{path}: has no history of iterations. Only an iterative method, such as lip_car, has."
        )
    if not whole or len({len(values) for values in columns.values()}) != 1:
        raise RequestError(
            f"{path}: its history is not of finite numbers, one for each iteration in each column."
        )
    return method, record
