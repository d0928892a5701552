"""The command ``serve``: a node that does what a rule file names."""

from __future__ import annotations

import argparse
from argparse import Namespace
from datetime import datetime
from pathlib import Path

from ContrastSynthLib.running.jobs import JsonLines


def add_serve(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("rules", type=Path, metavar="RULES.toml", help="who, what, and where to")
    parser.set_defaults(command=serve)


def serve(options: Namespace, lines: JsonLines | None) -> None:
    """Receive studies, run methods on them and send the results back, until it is stopped."""
    from ContrastSynthLib.service import node
    from ContrastSynthLib.service.rules import Rules

    def say(text: str) -> None:
        print(f"{datetime.now():%Y-%m-%d %H:%M:%S} {text}", flush=True)

    node.serve(Rules.read(options.rules), say)
