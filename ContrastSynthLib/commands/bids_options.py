"""The options of the commands ``bids``."""

from __future__ import annotations

import argparse
from pathlib import Path

from ContrastSynthLib.commands import bids
from ContrastSynthLib.commands.options import json_option, pair


def add_bids(parser: argparse.ArgumentParser) -> None:
    """Add the commands that read a BIDS data set and write one."""
    add = parser.add_subparsers(required=True, metavar="ACTION").add_parser
    cases = add("cases", help="write the table of cases that batch takes")
    cases.add_argument("dataset", type=Path, metavar="DATASET", help="folder of the data set")
    cases.add_argument("--method", metavar="METHOD", help="only cases with all that it needs")
    cases.add_argument(
        "--filter",
        action="append",
        default=[],
        type=pair("ENTITY=LABEL"),
        metavar="ENTITY=LABEL",
        help="of several scans those with it, such as acq=mprage; none: without it; repeatable",
    )
    cases.add_argument("--out", required=True, type=Path, metavar="CASES.csv")
    json_option(cases)
    cases.set_defaults(command=bids.cases)
    making = add("derivatives", help="write the results of a batch as derivatives")
    making.add_argument("results", type=Path, metavar="RESULTS", help="folder of the batch")
    making.add_argument(
        "--dataset", required=True, type=Path, metavar="DATASET", help="that the cases are from"
    )
    making.add_argument(
        "--out",
        required=True,
        type=Path,
        metavar="DIR",
        help="new or empty, in DATASET/derivatives or beside DATASET",
    )
    json_option(making)
    making.set_defaults(command=bids.derivatives)
