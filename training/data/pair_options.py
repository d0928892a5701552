"""The options that scripts on pairs of real scans share."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


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


def patient_of(same_patient: Iterable[Sequence[str]]) -> dict[str, str]:
    """Return the patient of each case of the groups of --same-patient."""
    return {case: min(group) for group in same_patient for case in group}


def add_source(parser: argparse.ArgumentParser) -> None:
    """Declare --source and --terms, which stand in the model card."""
    add = parser.add_argument
    add("--source", default="of your own", help="what the pairs are and whom to cite, for the card")
    add("--terms", default="not ours to state", help="terms of the pairs, for the card")


def add_mixture(parser: argparse.ArgumentParser, real_share: float) -> None:
    """Declare where real pairs and virtual patients are kept, and how they are mixed."""
    add = parser.add_argument
    add("--maps", type=Path, help="folder of make_slabs.py --for real_pairs")
    add("--pairs", type=Path, help="folder to keep the matched pairs in; OUT/pairs without it")
    add("--real-share", type=float, default=real_share, help="share of examples of real pairs")
    add("--held-out", type=int, default=9, help="patients to choose the checkpoint by")
    add_same_patient(parser)
    add_source(parser)


def check_mixture(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """End the script with a message where virtual patients are asked for and there are none."""
    if arguments.maps is None and arguments.real_share < 1:
        parser.error("give --maps, or --real-share 1 for real pairs alone")


def shows_virtual(arguments: argparse.Namespace) -> bool:
    """Return whether virtual patients are among the examples."""
    return arguments.maps is not None and arguments.real_share < 1


def mixture_record(
    arguments: argparse.Namespace, learnt: Sequence[str], held_out: Iterable[str], how: str = ""
) -> dict[str, Any]:
    """Return what a model card says of the patients: of each pair learnt from, and held out.

    ``how`` goes on the sentence about the pairs.
    """
    patients = len(set(learnt))
    virtual = ", and virtual brains" if shows_virtual(arguments) else ""
    return {
        "data": f"{len(learnt)} pairs of scans of {patients} patients ({arguments.source})"
        f"{how}{virtual}",
        "data_licence": f"pairs: {arguments.terms}; virtual brains: Apache-2.0",
        "real_patients": patients if arguments.real_share > 0 else 0,
        "held_out_patients": sorted(set(held_out)),
    }
