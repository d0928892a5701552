"""The command that shows how a solver went: read a result's provenance, print, plot."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import Any

from ContrastSynthLib.commands.measures import write_plot
from ContrastSynthLib.commands.printing import print_json
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.running.jobs import JsonLines
from ContrastSynthLib.running.result import PROVENANCE

SCHEMA_VERSION = 1


def history(options: Namespace, lines: JsonLines | None) -> None:
    """Print, and plot, the iterations of the solver that made a result."""
    from ContrastSynthLib.plots.inversion import plot_history

    record = _record(options)
    if options.plot:
        write_plot(options.plot, plot_history(record["history"], record["alpha_mm"]))
    if options.json:
        print_json(
            {
                "schema_version": SCHEMA_VERSION,
                "alpha_mm": record["alpha_mm"],
                "stopped_by": record["stopped_by"],
                "history": record["history"],
            }
        )
        return
    columns = record["history"]
    print(" ".join(f"{name:>11}" for name in columns))
    for row in zip(*columns.values(), strict=True):
        print(" ".join(f"{value:>11.5g}" for value in row))
    print(f"alpha {record['alpha_mm']:.4g} mm; stopped by: {record['stopped_by']}")


def _record(options: Namespace) -> dict[str, Any]:
    path = options.result / PROVENANCE
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["record"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RequestError(
            f"{path}: cannot be read as the provenance of a result ({error}). Give the folder that "
            "'contrastsynth run ... --out' wrote."
        ) from error
    if "history" not in record:
        raise RequestError(f"{path}: tells of no solver. Only an inversion, as lip_car, has one.")
    return record
