"""The command ``cohort``: its options, and what it prints."""

from __future__ import annotations

import argparse
from pathlib import Path

from ContrastSynthLib.commands.options import json_option
from ContrastSynthLib.commands.printing import print_json
from ContrastSynthLib.running.jobs import JsonLines, progress_for


def add_cohort(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("results", type=Path, metavar="RESULTS", help="folder of a batch")
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="for cohort.csv and cohort.html"
    )
    parser.add_argument(
        "--cases",
        type=Path,
        metavar="CASES.csv",
        help="the table of the batch: its scans are shown beside the results",
    )
    json_option(parser)
    parser.set_defaults(command=cohort)


def cohort(options: argparse.Namespace, lines: JsonLines | None) -> None:
    """Write the table and the page of a batch, and tell what to look at first."""
    from ContrastSynthLib.cohort import PAGE, write_cohort
    from ContrastSynthLib.cohort.report import as_dict

    made = write_cohort(options.results, options.out, options.cases, progress_for("bar", lines))
    told = as_dict(made)
    if options.json:
        print_json(told)
        return
    print(
        f"{told['cases']} cases: {told['done']} done, {told['failed']} failed, "
        f"{told['damaged']} damaged, {len(told['outliers'])} outliers"
    )
    for group in told["reasons"]:
        print(f"  {len(group['cases'])} {group['status']}: {group['reason']}")
    print(f"{options.out / PAGE}")
