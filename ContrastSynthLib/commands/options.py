"""Options that several commands have."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path


def json_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that prints JSON."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def csv_option(parser: argparse.ArgumentParser, what: str) -> None:
    """Add the option that writes a table of ``what`` and one of measures."""
    told = f"write a table of the {what}, and beside it FILE-measures.csv"
    parser.add_argument("--csv", type=Path, metavar="FILE", help=told)


def pair(form: str) -> Callable[[str], tuple[str, str]]:
    """Return an argument type that splits at the first equals sign."""

    def split(text: str) -> tuple[str, str]:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise argparse.ArgumentTypeError(f"'{text}' is not of the form {form}")
        return name, value

    return split


def ras(text: str) -> tuple[float, ...]:
    """Return a point R,A,S in mm, an argument type."""
    try:
        point = tuple(float(number) for number in text.split(","))
    except ValueError:
        point = ()
    if len(point) != 3:
        raise argparse.ArgumentTypeError(f"'{text}' is not R,A,S in millimetres, such as 10,-5.5,3")
    return point
