"""The options that scripts on pairs of real scans share."""

from __future__ import annotations

import argparse


def add_same_patient(parser: argparse.ArgumentParser) -> None:
    """Declare --same-patient: groups of cases, each as a list of names."""
    parser.add_argument(
        "--same-patient",
        type=lambda text: text.split(","),
        action="append",
        default=[],
        metavar="CASE,CASE",
        help="cases that are dates of one patient, who counts once",
    )


def add_source(parser: argparse.ArgumentParser) -> None:
    """Declare --source and --terms, which stand in the model card."""
    add = parser.add_argument
    add("--source", default="of your own", help="what the pairs are and whom to cite, for the card")
    add("--terms", default="not ours to state", help="terms of the pairs, for the card")
