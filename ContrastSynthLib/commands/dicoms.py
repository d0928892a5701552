"""The command ``dicom``: a result as DICOM objects."""

from __future__ import annotations

from argparse import Namespace

from ContrastSynthLib.commands.printing import print_json, print_warnings
from ContrastSynthLib.running.jobs import JsonLines

SCHEMA_VERSION = 1


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
