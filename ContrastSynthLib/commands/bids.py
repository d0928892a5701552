"""The commands ``bids cases`` and ``bids derivatives``."""

from __future__ import annotations

from argparse import Namespace

from ContrastSynthLib.commands.printing import print_json, print_warnings
from ContrastSynthLib.running.jobs import JsonLines

SCHEMA_VERSION = 1


def cases(options: Namespace, lines: JsonLines | None) -> None:
    """Write the table of cases of a data set, and tell what is not in it."""
    from ContrastSynthLib.bids.cases import find_cases, write_cases
    from ContrastSynthLib.bids.dataset import Dataset

    dataset = Dataset.open(options.dataset)
    found = find_cases(dataset, options.out, options.method, options.filter)
    left_out = [f"{case} is not in the table: {why}." for case, why in found.left_out.items()]
    print_warnings([*found.notes, *left_out])
    write_cases(found, options.out)
    if options.json:
        print_json(
            {
                "schema_version": SCHEMA_VERSION,
                "table": str(options.out),
                "cases": found.rows,
                "left_out": found.left_out,
                "warnings": found.notes,
            }
        )
    else:
        print(f"{options.out}: {len(found.rows)} cases, {len(found.left_out)} left out")


def derivatives(options: Namespace, lines: JsonLines | None) -> None:
    """Write the results of a batch as a data set of derivatives, and print its files."""
    from ContrastSynthLib.bids.dataset import Dataset
    from ContrastSynthLib.bids.derivatives import export

    made = export(options.results, Dataset.open(options.dataset), options.out)
    print_warnings(made.warnings)
    files = [str(options.out / file) for file in made.files]
    if options.json:
        print_json({"schema_version": SCHEMA_VERSION, "files": files, "warnings": made.warnings})
    else:
        print("\n".join(files))
