"""A run, however it was started: from a request to volumes and their provenance.

The panel, the command line and the batch all call :func:`run` with the same request.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ContrastSynthLib.methods  # noqa: F401 - declares the methods
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.registry import check_roles, choose_bundles, find_method, resolve_parameters
from ContrastSynthLib.registry.context import (
    MeasuresFunction,
    ProgressFunction,
    no_measures,
    no_progress,
)
from ContrastSynthLib.registry.own_methods import refuse_failures
from ContrastSynthLib.running.devices import choose_device
from ContrastSynthLib.running.estimate import Estimate, estimate
from ContrastSynthLib.running.inputs import Inputs, finds_brain
from ContrastSynthLib.running.memory import refuse_too_large
from ContrastSynthLib.running.once import Made, Plan, run_once, within
from ContrastSynthLib.running.outputs import describe_outputs
from ContrastSynthLib.running.phases import Phase, joined, read_used
from ContrastSynthLib.running.provenance import describe_inputs, describe_run, memory
from ContrastSynthLib.running.request import Request, files_of
from ContrastSynthLib.running.result import Result

AnnounceFunction = Callable[[Estimate | None], None]
"""Takes the estimate of a run; None for a method that was never measured."""


def announce_nothing(expected: Estimate | None) -> None:
    """Take an estimate and do nothing with it."""


SEED = "seed"
SEED_BITS = 32
BYTES_PER_VALUE = 4


def run(
    request: Request,
    progress: ProgressFunction = no_progress,
    measured: MeasuresFunction = no_measures,
    announce: AnnounceFunction = announce_nothing,
) -> Result:
    """Check the request, bring the inputs onto one grid, run the method, return the result.

    Where a method that takes single volumes is given a series, it runs once for each phase, with
    the same seed, and each output is a series.

    Nothing is written; see :meth:`Result.write`. Raises RequestError when the request or an
    input is wrong, MissingError when something has to be installed, MethodError when the method
    returns what it does not declare, and whatever ``progress`` raises, which is how a run is
    cancelled. ``measured`` receives the numbers of an iteration just before the ``progress`` that
    they belong to, ``announce`` the estimate of time and memory before the computation starts;
    a run that cannot fit into memory is refused then.
    """
    started = time.monotonic()
    plan = _plan(request)
    progress(0.0, "Reading")
    sources, phases = read_used(plan.method, request)
    expected = _expected(plan, phases[0].inputs if phases else sources, len(phases))
    announce(expected)
    if expected is not None:
        size = sources[plan.method.reference][0].grid.size
        refuse_too_large(expected.bytes, plan.method.key, size)
    if phases:
        made = joined(phases, _each(plan, phases, progress, measured))
    else:
        made = run_once(plan, sources, progress, measured)
    provenance = _provenance(plan, sources, made)
    provenance["seconds"] = round(time.monotonic() - started, 2)
    progress(0.95, "Done computing")
    return Result(made.outputs, provenance, made.warnings, plan.method.outputs, files_of(request))


def _plan(request: Request) -> Plan:
    """Check what can be checked before any file is read: a typo should not cost that time."""
    refuse_failures()
    method = find_method(request.method)
    check_roles(method, request.inputs)
    given, seed = seed_of(request)
    early = resolve_parameters(method, given, request.preset)
    bundles = choose_bundles(method, early.values, request.weights)
    device = choose_device(request.device, needs_network=method.needs_torch)
    find = finds_brain(method, request)
    return Plan(method, request, given, seed, bundles, device, find)


def _expected(plan: Plan, sources: Inputs, phases: int) -> Estimate | None:
    """Return the estimate for a run, or for one run for each phase and their outputs together."""
    voxels = math.prod(sources[plan.method.reference][0].grid.size)
    one = estimate(plan.method, plan.resolved(sources).values, voxels, plan.device)
    if one is None or phases < 2:
        return one
    volumes = len(plan.method.outputs) + len(plan.method.inputs)
    more = (phases - 1) * volumes * voxels * BYTES_PER_VALUE
    taken = None if one.bytes is None else one.bytes + more
    return replace(one, seconds=one.seconds * phases, bytes=taken)


def _each(
    plan: Plan, phases: list[Phase], progress: ProgressFunction, measured: MeasuresFunction
) -> list[Made]:
    """Run the method on each phase, under one progress from 5 to 95 %."""
    made = []
    for done, phase in enumerate(phases):

        def report(fraction: float, message: str, done: int = done, phase: Phase = phase) -> None:
            where = f"Phase {phase.number}, {done + 1} of {len(phases)}"
            progress((done + fraction) / len(phases), f"{where}: {message}")

        made.append(run_once(plan, phase.inputs, within(report, 0.0, 0.95), measured))
    return made


def _provenance(plan: Plan, sources: Inputs, made: Made) -> dict[str, Any]:
    method = plan.method
    described = describe_run(method, made.resolved, plan.bundles, plan.device, plan.seed)
    return described | {
        "inputs": describe_inputs(sources),
        "alignment": {
            "mode": plan.request.align,
            "reference": method.reference,
            "roles": made.alignment,
        },
        "mask": made.mask,
        "record": made.record,
        "warnings": made.warnings,
        "outputs": describe_outputs(method, made.outputs),
        "memory": memory(),
    }


def seed_of(request: Request) -> tuple[dict[str, Any], int]:
    """Return the parameters without the seed, and the seed: as given, else a new one.

    It may stand among the parameters, as ``--set seed=7``. Raises RequestError unless it is a
    whole number from 0 to 2^32 - 1, and where two different ones are given.
    """
    parameters = dict(request.parameters)
    given = [seed for seed in (request.seed, parameters.pop(SEED, None)) if seed is not None]
    try:
        seeds = {int(str(seed)) for seed in given}
    except ValueError:
        seeds = {-1}
    if not seeds:
        return parameters, secrets.randbits(SEED_BITS)
    seed = seeds.pop()
    if seeds or not 0 <= seed < 2**SEED_BITS:
        shown = " and ".join(str(one) for one in given)
        raise RequestError(
            f"The seed {shown} is not one whole number from 0 to {2**SEED_BITS - 1}."
        )
    return parameters, seed
