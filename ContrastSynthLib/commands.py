"""What the commands do: read, call the library, print. No logic of its own."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.jobs import JsonLines, progress_bar
from ContrastSynthLib.registry.context import no_progress
from ContrastSynthLib.volumes import Volume, file_suffix, read_mask, read_volume, write_volume

if TYPE_CHECKING:
    from ContrastSynthLib.result import Result

SCHEMA_VERSION = 1


def methods(options: Namespace, lines: JsonLines | None) -> None:
    """List the declared methods, or show one."""
    import ContrastSynthLib.methods  # noqa: F401
    from ContrastSynthLib.registry import METHODS, describe, find_method

    chosen = [find_method(options.method)] if options.method else list(METHODS.values())
    if options.json:
        _print_json(describe.methods_as_dict(chosen))
    elif options.method:
        print(describe.method_as_text(chosen[0]))
    else:
        print(describe.methods_as_text(chosen))


def run(options: Namespace, lines: JsonLines | None) -> None:
    """Run one method and write its results."""
    from ContrastSynthLib.result import check_writable
    from ContrastSynthLib.run import Request
    from ContrastSynthLib.run import run as run_method

    inputs: dict[str, list[str]] = {}
    for role, path in options.inputs:
        inputs.setdefault(role, []).append(path)
    request = Request(
        method=options.method,
        inputs=inputs,
        parameters=settings(options),
        preset=options.preset,
        align=options.align,
        weights=options.weights,
        device=options.device,
        times_s=options.time,
    )
    check_writable(options.out)
    progress = {"bar": progress_bar(sys.stderr), "none": no_progress}.get(options.progress)
    progress = lines.progress if lines else progress or no_progress
    result = run_method(request, progress)
    progress(0.97, "Writing")
    written = result.write(options.out)
    progress(1.0, "Done")
    _tell(result.warnings)
    report = _run_report(result, written)
    if lines:
        lines.send("result", **report)
    elif options.json:
        _print_json({"schema_version": SCHEMA_VERSION, **report})
    else:
        _print_run(report, written)


def _run_report(result: Result, written: Sequence[Path]) -> dict[str, Any]:
    *volumes, provenance = written
    return {
        "method": result.provenance["method"]["key"],
        "synthetic": True,
        "outputs": {path.name.removesuffix(".nrrd"): path.name for path in volumes},
        "provenance": provenance.name,
        "alignment": result.provenance["alignment"],
        "record": result.provenance["record"],
        "warnings": result.warnings,
        "seconds": result.provenance["seconds"],
    }


def _print_run(report: dict[str, Any], written: Sequence[Path]) -> None:
    for role, done in report["alignment"]["roles"].items():
        if "rotation_deg" in done:
            moved = ", ".join(f"{mm:.1f}" for mm in done["translation_mm"])
            print(
                f"'{role}' was registered ({done['mode']}): rotated by "
                f"{done['rotation_deg']:.1f} degrees, moved by {moved} mm (R, A, S)"
            )
    print("SYNTHETIC, for research only:")
    for path in written:
        print(f"  {path}")


def batch(options: Namespace, lines: JsonLines | None) -> None:
    """Run one method on every line of a table."""
    from ContrastSynthLib.batch import run_batch

    run_batch(
        options.method,
        options.cases,
        options.out,
        parameters=settings(options),
        common={
            "preset": options.preset,
            "align": options.align,
            "weights": options.weights,
            "device": options.device,
        },
        workers=options.workers,
        resume=options.resume,
        say=lambda text: print(text, file=sys.stderr),
    )


def evaluate(options: Namespace, lines: JsonLines | None) -> None:
    """Print the metrics of a synthetic volume."""
    from ContrastSynthLib.analysis.evaluation import evaluate as measure

    def optional(role: str) -> Volume | None:
        path = getattr(options, role)
        return _read(role, path) if path else None

    report = measure(
        _read("reference", options.reference),
        _read("synthetic", options.synthetic),
        pre=optional("pre"),
        post=optional("post"),
        mask=optional("mask"),
        normalise=options.normalise,
    )
    if options.json:
        _print_json(report)
    else:
        _print_nested(report)


def uptake(options: Namespace, lines: JsonLines | None) -> None:
    """Write the uptake mask of a pair and print its volume."""
    from ContrastSynthLib.analysis.uptake import uptake as find_uptake
    from ContrastSynthLib.preprocessing.foreground import foreground
    from ContrastSynthLib.preprocessing.input_checks import warnings_for_pair
    from ContrastSynthLib.volumes import check_same_grid

    pre, post = _read("pre", options.pre), _read("post", options.post)
    mask = _read("mask", options.mask) if options.mask else None
    check_same_grid({"pre": pre, "post": post} | ({"mask": mask} if mask else {}))
    region = foreground([pre, post], mask)
    warnings = [region.message] if region.message else []
    warnings += warnings_for_pair(pre, post, region.mask)
    found = find_uptake(
        pre,
        post,
        region.mask,
        threshold=options.threshold,
        convention=options.convention,
        reference_level=options.reference_level,
    )
    mark = "uptake mask by ContrastSynth, for research only"
    write_volume(pre.with_array(found.soft if options.soft else found.binary, mark), options.out)
    _tell(warnings)
    report = {
        "schema_version": SCHEMA_VERSION,
        "out": options.out.name,
        "convention": found.convention,
        "threshold": found.threshold,
        "reference_level": found.reference_level,
        "volume_ml": found.volume_ml,
        "share_of_brain": found.share_of_brain,
        "mask": region.source,
        "warnings": warnings,
    }
    if options.json:
        _print_json(report)
    else:
        _print_nested(report)


def profile(options: Namespace, lines: JsonLines | None) -> None:
    """Print, and plot, the values along a line."""
    from ContrastSynthLib.analysis.profiles import line_profile

    names = _distinct_names(options.volume)
    profiles = {
        name: line_profile(_read(name, path), options.start, options.end)
        for name, path in zip(names, options.volume, strict=True)
    }
    if options.plot:
        from ContrastSynthLib.plots import figure_png, plot_profiles

        if file_suffix(options.plot) != ".png":
            raise RequestError(f"{options.plot}: the plot is a picture; name it with .png.")
        try:
            options.plot.write_bytes(figure_png(plot_profiles(profiles)))
        except OSError as error:
            raise RequestError(f"{options.plot}: cannot be written ({error.strerror}).") from error
    if options.json:
        _print_json(
            {
                "schema_version": SCHEMA_VERSION,
                "from_ras_mm": list(options.start),
                "to_ras_mm": list(options.end),
                "profiles": {name: found.as_dict() for name, found in profiles.items()},
            }
        )
        return
    for name, found in profiles.items():
        print(f"# {name}\n# distance_mm value")
        for distance, value in zip(found.distance_mm, found.values, strict=True):
            print(f"{distance:.3f} {value:.6g}")


def env(options: Namespace, lines: JsonLines | None) -> None:
    """Print versions and devices."""
    from ContrastSynthLib.devices import list_devices
    from ContrastSynthLib.provenance import software, threads

    _print_json(
        {
            "schema_version": SCHEMA_VERSION,
            "software": software(),
            "threads": threads(),
            "devices": list_devices(),
        }
    )


def settings(options: Namespace) -> dict[str, str]:
    """Return the parameters of ``--set``; the same name twice is refused."""
    chosen: dict[str, str] = {}
    for name, value in options.set:
        if name in chosen:
            raise RequestError(f"--set {name} is given twice. Give it once.")
        chosen[name] = value
    return chosen


def _read(role: str, path: str) -> Volume:
    try:
        return read_mask(path) if role == "mask" else read_volume(path)
    except RequestError as error:
        raise RequestError(f"'{role}': {error}") from None


def _tell(warnings: Sequence[str]) -> None:
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)


def _distinct_names(paths: Sequence[str]) -> list[str]:
    """Return file names, or numbered ones where two files have the same name."""
    names = [Path(path).name for path in paths]
    if len(set(names)) == len(names):
        return names
    return [f"{name} ({index + 1})" for index, name in enumerate(names)]


def _print_json(content: dict[str, Any]) -> None:
    print(json.dumps(content, indent=2, allow_nan=False))


def _print_nested(content: dict[str, Any], indent: str = "") -> None:
    for name, value in content.items():
        if isinstance(value, dict):
            print(f"{indent}{name}")
            _print_nested(value, indent + "  ")
        else:
            shown = f"{value:.5g}" if isinstance(value, float) else value
            print(f"{indent}{name:<28} {shown}")
