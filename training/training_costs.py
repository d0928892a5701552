"""What the trainings of the weights took: steps and minutes, as their model cards tell.

    python training/training_costs.py
    python training/training_costs.py runs/mine/bundle vcm --csv costs.csv

Without names it is all weights that are shipped. Of weights that were trained further from others
it is the last training alone. The minutes are those of a core or of a GPU, whichever the card
names; validation and the reading of slices are among them, the making of virtual patients is not.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from evaluation.claims import OF_TRAINING as HEADINGS
from loss_curves import as_csv

from ContrastSynthLib.errors import ContrastSynthError
from ContrastSynthLib.weights.bundles import Bundle, find_bundle, shipped_and_imported


def costs(bundle: Bundle) -> dict[str, float]:
    """Return the HEADINGS of weights, from their card."""
    training = bundle.metadata["training"]
    return {"steps": training["steps"], "minutes": 60 * training["hours"]}


def table(bundles: Sequence[Bundle]) -> str:
    """Return the costs of weights as a table."""
    lines = [f"| weights | {' | '.join(HEADINGS.values())} | of | hardware |", "|---" * 5 + "|"]
    for bundle in bundles:
        training, found = bundle.metadata["training"], costs(bundle)
        of = training.get("hours_of", "")
        told = f"{found['steps']:,} | {found['minutes']:.0f} | {of} | {training['hardware']}"
        lines.append(f"| {bundle.name} {bundle.version} | {told} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Print the table, and keep the numbers."""
    chosen = parse(arguments)
    try:
        named = [find_bundle(name, None) for name in chosen.weights]
        bundles = named or [bundle for bundle in shipped_and_imported() if bundle.shipped]
        print(table(bundles))
        if chosen.csv:
            found = [(bundle.name, costs(bundle)) for bundle in bundles]
            chosen.csv.write_text(as_csv(found, HEADINGS), encoding="utf-8")
    except ContrastSynthError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("weights", nargs="*", metavar="WEIGHTS", help="names or folders; all shipped without any")
    add("--csv", type=Path, metavar="FILE", help="keeps the numbers")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
