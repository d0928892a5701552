"""The commands ``archive find``, ``fetch`` and ``send``."""

from __future__ import annotations

import argparse
from argparse import Namespace
from pathlib import Path
from typing import Any

from ContrastSynthLib.commands.options import json_option, pair
from ContrastSynthLib.commands.printing import print_json, print_nested
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.running.jobs import JsonLines

SCHEMA_VERSION = 1


def add_archive(parser: argparse.ArgumentParser) -> None:
    """Add the commands that talk to an archive."""
    add = parser.add_subparsers(required=True, metavar="ACTION").add_parser
    finding = add("find", help="list studies, or the series of one")
    fetching = add("fetch", help="copy a study into a folder")
    sending = add("send", help="store what contrastsynth dicom wrote")
    for each in (finding, fetching, sending):
        each.add_argument("--node", metavar="TITLE@HOST:PORT", help="an archive that speaks DIMSE")
        each.add_argument("--web", metavar="URL", help="an archive that speaks DICOMweb")
        each.add_argument("--our-title", metavar="TITLE", help="our title; default: CONTRASTSYNTH")
    finding.add_argument(
        "--where",
        action="append",
        default=[],
        type=pair("KEYWORD=VALUE"),
        metavar="KEYWORD=VALUE",
        help="such as PatientID=4711 or StudyDate=20240105; repeatable",
    )
    finding.add_argument("--study", metavar="UID", help="list the series of this study")
    json_option(finding)
    finding.set_defaults(command=find)
    fetching.add_argument("--study", required=True, metavar="UID")
    fetching.add_argument("--out", required=True, type=Path, metavar="DIR", help="new or empty")
    fetching.set_defaults(command=fetch)
    sending.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="files or folders")
    sending.set_defaults(command=send)


def find(options: Namespace, lines: JsonLines | None) -> None:
    """Print the studies that fit, or the series of one."""
    archive = _archive(options)
    if options.study:
        found = archive.series(options.study)
    elif options.where:
        found = archive.studies(dict(options.where))
    else:
        raise RequestError("Say which studies: --where KEYWORD=VALUE, or --study UID.")
    told = [one.attributes for one in found]
    if options.json:
        print_json({"schema_version": SCHEMA_VERSION, "found": told})
    else:
        print_nested({str(number): one for number, one in enumerate(told, start=1)})


def fetch(options: Namespace, lines: JsonLines | None) -> None:
    """Copy a study into a folder."""
    from ContrastSynthLib.archive import archive

    count = archive.fetch(_archive(options), options.study, options.out)
    print(f"{count} objects in {options.out}")


def send(options: Namespace, lines: JsonLines | None) -> None:
    """Store results in the archive."""
    from ContrastSynthLib.archive import archive

    count = archive.send(_archive(options), options.paths)
    print(f"{count} objects stored")


def _archive(options: Namespace) -> Any:
    from ContrastSynthLib.archive.dimse import OUR_TITLE, Node
    from ContrastSynthLib.archive.web import Web

    if bool(options.node) == bool(options.web):
        raise RequestError("Name one archive: --node TITLE@HOST:PORT, or --web URL.")
    if options.web:
        return Web(options.web)
    return Node.parse(options.node, options.our_title or OUR_TITLE)
