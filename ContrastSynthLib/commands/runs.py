"""The commands ``methods``, ``run``, ``batch`` and ``env``."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ContrastSynthLib.commands.printing import print_json, print_warnings
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.registry.context import no_measures
from ContrastSynthLib.running.jobs import JsonLines, progress_for

if TYPE_CHECKING:
    from ContrastSynthLib.running.estimate import Estimate
    from ContrastSynthLib.running.request import Request
    from ContrastSynthLib.running.result import Result

SCHEMA_VERSION = 1
CASE_FIELDS = ("case", "status", "kept", "seconds", "message", "parameters", "seed", "weights")
"""The fields of a line of type ``case``, which ``batch --progress json`` prints for each case."""


def methods(options: Namespace, lines: JsonLines | None) -> None:
    """List the declared methods, or show one."""
    import ContrastSynthLib.methods  # noqa: F401
    from ContrastSynthLib.registry import METHODS, describe, find_method
    from ContrastSynthLib.registry.own_methods import refuse_failures

    refuse_failures()
    chosen = [find_method(options.method)] if options.method else list(METHODS.values())
    if options.json:
        print_json(describe.methods_as_dict(chosen))
    elif options.method:
        print(describe.method_as_text(chosen[0]))
    else:
        print(describe.methods_as_text(chosen))


def run(options: Namespace, lines: JsonLines | None) -> None:
    """Run one method and write its results."""
    from ContrastSynthLib.files.writing import check_writable
    from ContrastSynthLib.registry import MASK_ROLE
    from ContrastSynthLib.running.request import Request
    from ContrastSynthLib.running.run import run as run_method

    inputs: dict[str, list[str]] = {}
    for role, path in options.inputs:
        inputs.setdefault(role, []).append(path)
    if options.mask:
        inputs.setdefault(MASK_ROLE, []).append(options.mask)
    request = Request(
        method=options.method,
        inputs=inputs,
        parameters=settings(options),
        preset=options.preset,
        align=options.align,
        weights=wanted_weights(options),
        device=options.device,
        times_s=options.time,
        seed=options.seed,
        phases=options.phases,
    )
    check_writable(options.out)
    _refuse_to_replace(options.out, request)
    progress = progress_for(options.progress, lines)
    result = run_method(
        request,
        progress,
        lines.measured if lines else no_measures,
        lambda expected: announce(expected, options.progress, lines),
    )
    progress(0.97, "Writing")
    written = result.write(options.out)
    progress(1.0, "Done")
    print_warnings(result.warnings)
    report = _run_report(result, written)
    if lines:
        lines.send("result", **report)
    elif options.json:
        print_json({"schema_version": SCHEMA_VERSION, **report})
    else:
        _print_run(report, written)


def _refuse_to_replace(folder: Path, request: Request) -> None:
    """Raise RequestError, before the run, where its results would replace other files."""
    from ContrastSynthLib.registry import check_roles, find_method
    from ContrastSynthLib.running.phases import makes_series, roles_by_phase
    from ContrastSynthLib.running.request import files_of
    from ContrastSynthLib.running.result import refuse_to_replace_results

    if not folder.exists():
        return
    method = find_method(request.method)
    check_roles(method, request.inputs)
    by_phase = bool(roles_by_phase(method, request)) and not makes_series(method)
    refuse_to_replace_results(folder, method.outputs, files_of(request), by_phase)


def announce(expected: Estimate | None, progress: str, lines: JsonLines | None) -> None:
    """Print, or send, how long a run will take and how much memory."""
    if expected is None or progress == "none":
        return
    if lines:
        lines.send("estimate", seconds=round(expected.seconds, 1), bytes=expected.bytes)
        return
    parts = [f"about {expected.seconds:.0f} s of one processor core"]
    if expected.bytes:
        parts.append(f"{expected.bytes / 1e9:.1f} GB of memory")
    print(f"Expected: {' and '.join(parts)}", file=sys.stderr)


def batch(options: Namespace, lines: JsonLines | None) -> None:
    """Run one method on every line of a table."""
    from ContrastSynthLib.running.stopping import stop_on_signals

    def report(outcome: dict[str, Any], ended: int, total: int, left_s: float | None) -> None:
        if lines:
            lines.send("case", **{name: outcome.get(name) for name in CASE_FIELDS})
            seconds = {} if left_s is None else {"seconds_left": round(left_s, 1)}
            message = f"{ended} of {total} cases"
            lines.send("progress", fraction=round(ended / total, 4), message=message, **seconds)

    with stop_on_signals():
        from ContrastSynthLib.running.batch import run_batch

        counts = run_batch(
            options.method,
            options.cases,
            options.out,
            parameters=settings(options),
            common={
                "preset": options.preset,
                "align": options.align,
                "weights": wanted_weights(options),
                "device": options.device,
                "seed": options.seed,
                "phases": options.phases,
            },
            mask=options.mask,
            workers=options.workers,
            scheduler=options.scheduler,
            resume=options.resume,
            say=lambda text: print(text, file=sys.stderr, flush=True),
            report=report,
        )
    if lines:
        lines.send("result", method=options.method, **vars(counts))


def env(options: Namespace, lines: JsonLines | None) -> None:
    """Print versions and devices."""
    from ContrastSynthLib.running.devices import list_devices
    from ContrastSynthLib.running.provenance import software, threads

    print_json(
        {
            "schema_version": SCHEMA_VERSION,
            "software": software(),
            "threads": threads(),
            "devices": list_devices(),
        }
    )


def settings(options: Namespace) -> dict[str, str]:
    """Return the parameters given by ``--set``; raises RequestError for a name given twice."""
    chosen: dict[str, str] = {}
    for name, value in options.set:
        if name in chosen:
            raise RequestError(f"--set {name} is given twice. Give it once.")
        chosen[name] = value
    return chosen


def wanted_weights(options: Namespace) -> str | dict[str, str] | None:
    """Return the weights given by ``--weights``: one string, or one per named network.

    None where the option is not used. Raises RequestError when several are given without naming
    their networks.
    """
    if not options.weights:
        return None
    pairs = [text.partition("=") for text in options.weights]
    if len(pairs) == 1 and not pairs[0][1]:
        return str(options.weights[0])
    by_network: dict[str, str] = {}
    for network, equals, weights in pairs:
        if not (network and equals and weights) or network in by_network:
            raise RequestError(
                "With several --weights, each must name another network: --weights NETWORK=ID."
            )
        by_network[network] = weights
    return by_network


def _run_report(result: Result, written: Sequence[Path]) -> dict[str, Any]:
    from ContrastSynthLib.running.result import output_role

    *volumes, provenance = written
    return {
        "method": result.provenance["method"]["key"],
        "synthetic": True,
        "outputs": {output_role(path): path.name for path in volumes},
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
