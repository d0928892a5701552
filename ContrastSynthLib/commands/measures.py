"""The commands that measure volumes: ``evaluate``, ``uptake`` and ``profile``."""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ContrastSynthLib.commands.printing import print_json, print_nested, print_warnings
from ContrastSynthLib.commands.tables import two_tables, write_tables
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.dicom.segmentation import fitted
from ContrastSynthLib.files.images import (
    SYNTHETIC_KEY,
    file_suffix,
    read_mask,
    write_volume,
)
from ContrastSynthLib.files.replacing import PNG_MARK, refuse_to_replace
from ContrastSynthLib.files.selection import split_selection
from ContrastSynthLib.files.series import read_one
from ContrastSynthLib.registry.volumes import AUTO_MASK, MASK_ROLE
from ContrastSynthLib.running.jobs import JsonLines, progress_for
from ContrastSynthLib.running.memory import EVALUATION_BYTES_PER_VOXEL, refuse_too_large
from ContrastSynthLib.volumes import Volume

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCHEMA_VERSION = 1
MAP_MARK = "map of missed and invented enhancement by ContrastSynth, for research only"
UPTAKE_MARK = "uptake mask by ContrastSynth, for research only"
UNCERTAINTY = "uncertainty"  # of `evaluate`: the map that a method gave out
INPUTS = (
    *("reference", "synthetic", "pre", "post", "mask", "series", "compare", "volume"),
    UNCERTAINTY,
)
"""Options that name files which a command reads."""


def inputs_in(options: Namespace) -> dict[str, list[str]]:
    """Return the files that a command reads, by option."""
    given = {name: getattr(options, name, None) for name in INPUTS}
    listed = {
        name: [value] if isinstance(value, str) else list(value)
        for name, value in given.items()
        if value and not (name == MASK_ROLE and value == AUTO_MASK)
    }
    return {name: [str(split_selection(v)[0]) for v in values] for name, values in listed.items()}


def evaluate(options: Namespace, lines: JsonLines | None) -> None:
    """Print the metrics of a synthetic volume; with ``--map`` write a map of the enhancement."""
    from ContrastSynthLib.analysis.evaluation import enhancement_of, onto_reference
    from ContrastSynthLib.analysis.evaluation import evaluate as measure
    from ContrastSynthLib.phantom.marks import is_virtual_patient
    from ContrastSynthLib.preprocessing.brain_mask import brain_of

    progress = progress_for(options.progress, lines)
    find = _finds_brain(options)
    if options.map:
        refuse_to_replace([options.map], MAP_MARK, inputs_in(options))
    progress(0.0, "Reading")
    read = _read_for_evaluation(options, find)
    progress(0.1, "Bringing the volumes onto one grid")
    volumes, alignment = onto_reference(read, options.align)
    reference, synthetic = volumes["reference"], volumes["synthetic"]
    pre, post = volumes.get("pre"), volumes.get("post")
    brain = brain_of(volumes) if find else None
    report = measure(
        reference,
        synthetic,
        pre=pre,
        post=post,
        mask=volumes.get("mask"),
        brain=brain,
        normalise=options.normalise,
        uncertainty=volumes.get(UNCERTAINTY),
        progress=lambda share, said: progress(0.3 + 0.6 * share, said),
    )
    report["marked_synthetic"] = [role for role, one in read.items() if one.synthetic]
    if reference.synthetic and not is_virtual_patient(reference.synthetic):
        report["notes"].append(
            f"The reference is no scan: it is marked as synthetic ({_by_whom(reference)})."
        )
    if options.align != "none":
        report["alignment"] = alignment
    if options.map:
        if pre is None or post is None:
            raise RequestError("The map of missed and invented enhancement needs --pre and --post.")
        found = enhancement_of(reference, synthetic, pre=pre, post=post, brain=brain)
        write_volume(reference.with_array(found.map, MAP_MARK), options.map)
    progress(1.0, "Done")
    if lines:
        lines.send("result", outputs={}, report=report)
    elif options.json:
        print_json(report)
    else:
        print_nested(report)


def _read_for_evaluation(options: Namespace, find: bool) -> dict[str, Volume]:
    """Return the volumes of an evaluation by role; no mask where the brain is to be found."""
    roles = ("reference", "synthetic", "pre", "post", UNCERTAINTY, *(() if find else (MASK_ROLE,)))
    given = {role: path for role in roles if (path := getattr(options, role))}
    read = {role: read_input(role, path) for role, path in given.items()}
    size = read["reference"].grid.size
    refuse_too_large(math.prod(size) * EVALUATION_BYTES_PER_VOXEL, "evaluate", size)
    return {role: fitted(volume, read["reference"].grid) for role, volume in read.items()}


def uptake(options: Namespace, lines: JsonLines | None) -> None:
    """Write the uptake mask of a pre and a post scan, and print its volume in ml."""
    from ContrastSynthLib.analysis.uptake import uptake as find_uptake
    from ContrastSynthLib.preprocessing.brain_mask import brain_of
    from ContrastSynthLib.preprocessing.foreground import foreground
    from ContrastSynthLib.preprocessing.input_checks import warnings_for_pair

    find = _finds_brain(options)
    refuse_to_replace([options.out], UPTAKE_MARK, inputs_in(options))
    pre, post = read_input("pre", options.pre), read_input("post", options.post)
    given_mask = bool(options.mask) and not find
    mask = fitted(read_input("mask", options.mask), pre.grid) if given_mask else None
    given = {"pre": pre, "post": post} | ({"mask": mask} if mask else {})
    volumes, alignment, warnings = aligned_onto(given, "pre", options.align)
    pre, post, mask = volumes["pre"], volumes["post"], volumes.get("mask")
    pair = {"pre": pre, "post": post}
    region = brain_of(pair) if find else foreground([pre, post], mask)
    warnings += [region.message] if region.message else []
    warnings += warnings_for_pair(pre, post, region.mask)
    found = find_uptake(
        pre,
        post,
        region.mask,
        threshold=options.threshold,
        convention=options.convention,
        reference_level=options.reference_level,
    )
    image = pre.with_array(found.soft if options.soft else found.binary, UPTAKE_MARK)
    write_volume(image, options.out)
    print_warnings(warnings)
    report = {
        "schema_version": SCHEMA_VERSION,
        "out": options.out.name,
        "convention": found.convention,
        "threshold": found.threshold,
        "reference_level": found.reference_level,
        "volume_ml": found.volume_ml,
        "share_of_brain": found.share_of_brain,
        "mask": region.source,
        "region": region.name,
        **({"found_by": dict(region.found_by)} if region.found_by else {}),
        "warnings": warnings,
    } | alignment
    if options.json:
        print_json(report)
    else:
        print_nested(report)


def profile(options: Namespace, lines: JsonLines | None) -> None:
    """Print the values along a line and its edge; plot them with ``--plot``."""
    from ContrastSynthLib.analysis import profile_rows
    from ContrastSynthLib.analysis.profiles import line_profile

    columns = (profile_rows.VALUE_COLUMNS, profile_rows.MEASURE_COLUMNS)
    tables = two_tables(options.csv, *columns) if options.csv else []
    names = _distinct_names(options.volume)
    volumes = {
        name: read_input(name, path) for name, path in zip(names, options.volume, strict=True)
    }
    alignment: dict[str, Any] = {}
    if options.align != "none":  # a line passes through volumes on any grids
        volumes, alignment, warnings = aligned_onto(volumes, names[0], options.align)
        print_warnings(warnings)
    profiles = {
        name: line_profile(volume, options.start, options.end) for name, volume in volumes.items()
    }
    marks = {name: SYNTHETIC_KEY if volume.synthetic else "" for name, volume in volumes.items()}
    if tables:
        made = [name for name, mark in marks.items() if mark]
        rows = (f(profiles, made) for f in (profile_rows.value_rows, profile_rows.measure_rows))
        write_tables(tables, *rows)
    if options.plot:
        from ContrastSynthLib.plots.figures import plot_profiles

        shown = {f"{name} {marks[name]}".rstrip(): found for name, found in profiles.items()}
        write_plot(options.plot, plot_profiles(shown))
    if options.json:
        print_json(
            {
                "schema_version": SCHEMA_VERSION,
                "from_ras_mm": list(options.start),
                "to_ras_mm": list(options.end),
                "profiles": {
                    name: {
                        "synthetic": bool(marks[name]),
                        "measures": profile_rows.measures_of(found),
                        **found.as_dict(),
                    }
                    for name, found in profiles.items()
                },
            }
            | alignment
        )
        return
    for name, found in profiles.items():
        told = profile_rows.measures_of(found).items()
        print(f"# {name} {marks[name]}".rstrip())
        print("# " + ", ".join(f"{key} {value:.6g}" for key, value in told if value is not None))
        print("# distance_mm value")
        for distance, value in zip(found.distance_mm, found.values, strict=True):
            print(f"{distance:.3f} {value:.6g}")


def _finds_brain(options: Namespace) -> bool:
    """Return whether the brain is to be found; MissingError where what finds it is missing."""
    from ContrastSynthLib.preprocessing.brain_mask import refuse_without_package

    if options.mask != AUTO_MASK:
        return False
    refuse_without_package()
    return True


def _by_whom(volume: Volume) -> str:
    """Return what made a synthetic volume; of a mark that is not ours, only that it is one."""
    mark = volume.synthetic or ""
    return mark if "ContrastSynth" in mark or "virtual" in mark else "by another program"


def read_input(role: str, path: str) -> Volume:
    """Read a volume, or a mask for the role ``mask``, and print the warnings of the reader."""
    try:
        volume = read_mask(path) if role == "mask" else read_one(path)
    except RequestError as error:
        raise RequestError(f"'{role}': {error}") from None
    print_notes(role, volume)
    return volume


def print_notes(role: str, volume: Volume) -> None:
    """Print the warnings of the reader of a volume."""
    print_warnings([f"'{role}': {note}" for note in volume.notes])


def aligned_onto(
    volumes: Mapping[str, Volume], reference: str, mode: str, masks: Sequence[str] = ("mask",)
) -> tuple[dict[str, Volume], dict[str, Any], list[str]]:
    """Return the volumes on the grid of the reference, an entry for the report, and warnings.

    ``mode`` is that of ``--align``; ``none`` has no entry for the report and raises RequestError
    for differing grids.
    """
    from ContrastSynthLib.preprocessing.alignment import align

    aligned, done = align(volumes, reference, mode, masks=masks)
    warnings = [str(one["note"]) for one in done.values() if "note" in one]
    return aligned, {} if mode == "none" else {"alignment": done}, warnings


def _distinct_names(paths: Sequence[str]) -> list[str]:
    """Return file names, or numbered ones where two files have the same name."""
    names = [Path(path).name for path in paths]
    if len(set(names)) == len(names):
        return names
    return [f"{name} ({index + 1})" for index, name in enumerate(names)]


def write_plot(path: Path, figure: Figure) -> None:
    """Write a figure as a PNG file; raises RequestError for another name and a full disk."""
    from ContrastSynthLib.plots.figures import figure_png

    if file_suffix(path) != ".png":
        raise RequestError(f"{path}: the plot is a picture; name it with .png.")
    refuse_to_replace([path], PNG_MARK["Software"])
    try:
        path.write_bytes(figure_png(figure))
    except OSError as error:
        raise RequestError(f"{path}: cannot be written ({error.strerror}).") from error
