"""The command ``dicom``: a result as DICOM objects."""

from __future__ import annotations

import argparse
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from ContrastSynthLib.commands.options import json_option
from ContrastSynthLib.commands.printing import print_json, print_warnings
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.running.jobs import JsonLines

if TYPE_CHECKING:
    from ContrastSynthLib.dicom_export.deidentified import Privacy

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
    add(
        "--measures",
        action="append",
        default=[],
        type=Path,
        metavar="FILE-measures.csv",
        help="of kinetics or profile, as a Structured Report; repeatable",
    )
    add("--deidentify", action="store_true", help="without the patient: basic profile of PS3.15")
    add("--key", type=Path, metavar="FILE", help="of the pseudonyms; made if it is not there")
    add("--keep-faces", action="store_true", help="de-identify even where a face can be seen")
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
    made = export(
        result,
        template,
        options.out,
        enhanced=options.enhanced,
        burn_in=options.burn_in,
        privacy=_privacy(options),
        measures=options.measures,
    )
    print_warnings(made.warnings)
    files = [str(options.out / file) for file in made.files]
    if options.json:
        print_json({"schema_version": SCHEMA_VERSION, "files": files, "warnings": made.warnings})
    else:
        print("\n".join(files))


def _privacy(options: Namespace) -> Privacy | None:
    """Return what the options ask for; the key is made on the way."""
    from ContrastSynthLib.dicom_export.deidentified import Privacy
    from ContrastSynthLib.dicom_export.pseudonyms import fresh_secret, kept_secret

    if not options.deidentify:
        for option, given in (("--key", options.key), ("--keep-faces", options.keep_faces)):
            if given:
                raise RequestError(f"{option} belongs to --deidentify. Add that, or leave it out.")
        return None
    secret = kept_secret(options.key, options.out) if options.key else fresh_secret()
    return Privacy(secret, options.keep_faces)
