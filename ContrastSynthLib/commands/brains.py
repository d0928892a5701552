"""The command ``brain``: the mask of the brain in a scan of a head, as a file."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from ContrastSynthLib.commands.printing import print_json, print_nested, print_warnings
from ContrastSynthLib.files.images import read_volume, write_volume
from ContrastSynthLib.files.replacing import refuse_to_replace
from ContrastSynthLib.running.jobs import JsonLines, progress_for

SCHEMA_VERSION = 1
BRAIN_MARK = "brain mask by ContrastSynth, for research only"


def brain(options: Namespace, lines: JsonLines | None) -> None:
    """Write the mask of the brain, 1 inside, and print its volume in ml."""
    from ContrastSynthLib.preprocessing.brain_mask import brain_of, refuse_without_package

    refuse_without_package()
    out = Path(options.out)
    refuse_to_replace([out], BRAIN_MARK, {"volume": [options.volume]})
    scan = read_volume(options.volume)
    found = brain_of({"pre": scan}, progress_for(options.progress, lines))
    mask = scan.with_array(found.mask.astype("float32"), BRAIN_MARK)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_volume(mask, out)
    warnings = [found.message] if found.message else []
    inside_ml = float(found.mask.sum()) * scan.grid.voxel_volume_ml
    report = {
        "schema_version": SCHEMA_VERSION,
        "out": out.name,
        "volume_ml": inside_ml,
        "found_by": {k: v for k, v in (found.found_by or {}).items() if k != "scan"},
        "warnings": warnings,
    }
    print_warnings(warnings)
    if lines:
        lines.send("result", outputs={"mask": out.name}, **report)
    elif options.json:
        print_json(report)
    else:
        print_nested(report)
