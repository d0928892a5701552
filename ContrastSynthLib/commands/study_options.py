"""The options of the commands ``study``."""

from __future__ import annotations

import argparse
from pathlib import Path

from ContrastSynthLib.commands import studies
from ContrastSynthLib.commands.options import json_option, pair


def add_study(parser: argparse.ArgumentParser) -> None:
    """Add the commands of a reader study."""
    add = parser.add_subparsers(required=True, metavar="ACTION").add_parser
    _study_create(add("create", help="make a study from a table of cases"))
    reading = add("next", help="show what a reader reads next")
    scoring = add("score", help="keep the scores of a reading")
    telling = add("status", help="show how far the readers are")
    reporting = add("report", help="write the report, with the key of the study")
    for each in (reading, scoring, telling, reporting):
        each.add_argument("study", type=Path, metavar="DIR", help="folder of the study")
        each.add_argument("--database", metavar="URL", help="the store, where it is no file")
    for each in (reading, scoring):
        each.add_argument("--reader", required=True, metavar="NAME")
    for each in (reading, telling):
        json_option(each)
    reading.set_defaults(command=studies.show_next)
    scoring.add_argument("--number", required=True, type=int, help="of the reading")
    scoring.add_argument(
        "--set",
        action="append",
        default=[],
        required=True,
        type=pair("CRITERION=SCORE"),
        metavar="CRITERION=SCORE",
        help="of every criterion; repeatable",
    )
    scoring.add_argument("--seconds", type=float, default=0.0, help="that it was looked at")
    scoring.add_argument("--comment", default="")
    scoring.set_defaults(command=studies.score)
    telling.set_defaults(command=studies.status)
    reporting.add_argument("--key", type=Path, metavar="FILE", help="default: key.json in DIR")
    reporting.add_argument("--out", required=True, type=Path, metavar="DIR")
    reporting.set_defaults(command=studies.report)
    _study_power(add("power", help="how often a study rejects, or how many cases it needs"))


def _study_create(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--cases", required=True, type=Path, metavar="CASES.csv", help="case, new, standard, beside"
    )
    add("--out", required=True, type=Path, metavar="DIR", help="folder of the study, new or empty")
    add("--reader", action="append", required=True, metavar="NAME", help="repeatable")
    add("--title", default="Reader study")
    add("--seed", type=int, default=0, help="of the order of the readings")
    add("--mode", default="scores", choices=("scores", "which_is_real", "preference"))
    add(
        "--criterion",
        action="append",
        default=[],
        nargs=3,
        metavar=("KEY", "TITLE", "ANCHORS"),
        help="scored from 1 on, its texts separated by |; repeatable; default: the five of SPHERE",
    )
    add("--repeats", type=int, default=0, help="images that each reader reads twice")
    add("--washout-days", type=float, default=0.0, help="between the two images of a case")
    add("--margin", type=float, default=0.16, help="of non-inferiority, in points")
    add("--alpha", type=float, default=0.05)
    add("--test", action="append", default=[], help="repeatable, the primary one first")
    add("--database", metavar="URL", help="a database in place of a file, for several workstations")
    json_option(parser)
    parser.set_defaults(command=studies.create)


def _study_power(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--test", default="t", help="wilcoxon, sign_flip, t or bootstrap")
    add("--difference", type=float, default=0.0, help="true mean difference, new - standard")
    add("--better", type=float, default=0.15, help="share of pairs in which new is a point better")
    add("--cases", type=int, help="default: as many as the power needs")
    add("--readers", type=int, default=2)
    add("--margin", type=float, default=0.16)
    add("--alpha", type=float, default=0.05)
    add("--power", type=float, default=0.8)
    add("--seed", type=int, default=0)
    json_option(parser)
    parser.set_defaults(command=studies.power)
