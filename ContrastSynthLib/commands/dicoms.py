"""The command ``dicom``: a result as DICOM objects."""

from __future__ import annotations

import argparse
from argparse import Namespace
from pathlib import Path

from ContrastSynthLib.commands.options import json_option
from ContrastSynthLib.commands.printing import print_json, print_warnings
from ContrastSynthLib.running.jobs import JsonLines

SCHEMA_VERSION = 1


def add_dicom(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add = parser.add_argument
    add("result", type=Path, metavar="RESULT", help="folder of a run")
    add(
        "--template",
        required=True,
        metavar="FOLDER",
        help="the series that the method has read; FOLDER@2: its second phase",
    )
    add("--out", required=True, type=Path, metavar="DIR", help="folder of the series, new or empty")
    add("--enhanced", action="store_true", help="Enhanced MR, one file for each image")
    add("--burn-in", action="store_true", help="write SYNTHETIC into the images")
    json_option(parser)
    parser.set_defaults(command=dicom)


def dicom(options: Namespace, lines: JsonLines | None) -> None:
    """Write a result beside the series that it came from, and print its files."""
    from ContrastSynthLib.dicom_export.export import export
    from ContrastSynthLib.dicom_export.template import Template
    from ContrastSynthLib.files.selection import split_selection
    from ContrastSynthLib.running.stored_result import StoredResult

    result = StoredResult.read(options.result)
    template = Template.read(*split_selection(options.template))
    made = export(result, template, options.out, enhanced=options.enhanced, burn_in=options.burn_in)
    print_warnings(made.warnings)
    files = [str(options.out / file) for file in made.files]
    if options.json:
        print_json({"schema_version": SCHEMA_VERSION, "files": files, "warnings": made.warnings})
    else:
        print("\n".join(files))
