"""A run, however it was started: from a request to volumes and their provenance.

The panel, the command line and the batch all call :func:`run` with the same request.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ContrastSynthLib.methods  # noqa: F401 - declares the methods
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.preprocessing.foreground import Foreground
from ContrastSynthLib.preprocessing.input_checks import warnings_for_pair
from ContrastSynthLib.registry import (
    MASK_ROLE,
    Context,
    Method,
    Resolved,
    check_roles,
    choose_bundles,
    find_method,
    resolve_parameters,
)
from ContrastSynthLib.registry.context import (
    MeasuresFunction,
    ProgressFunction,
    no_measures,
    no_progress,
)
from ContrastSynthLib.registry.own_methods import refuse_failures
from ContrastSynthLib.running.devices import choose_device
from ContrastSynthLib.running.estimate import Estimate, estimate
from ContrastSynthLib.running.inputs import (
    Inputs,
    as_arguments,
    finds_brain,
    onto_one_grid,
    read_inputs,
    region,
)
from ContrastSynthLib.running.memory import refuse_too_large
from ContrastSynthLib.running.outputs import as_volumes, describe_outputs
from ContrastSynthLib.running.provenance import describe_inputs, describe_run, memory
from ContrastSynthLib.running.request import Request, files_of
from ContrastSynthLib.running.result import Result

AnnounceFunction = Callable[[Estimate | None], None]
"""Takes the estimate of a run; None for a method that was never measured."""


def announce_nothing(expected: Estimate | None) -> None:
    """Take an estimate and do nothing with it."""


SEED = "seed"
SEED_BITS = 32


def run(
    request: Request,
    progress: ProgressFunction = no_progress,
    measured: MeasuresFunction = no_measures,
    announce: AnnounceFunction = announce_nothing,
) -> Result:
    """Check the request, bring the inputs onto one grid, run the method, return the result.

    Nothing is written; see :meth:`Result.write`. Raises RequestError when the request or an
    input is wrong, MissingError when something has to be installed, MethodError when the method
    returns what it does not declare, and whatever ``progress`` raises, which is how a run is
    cancelled. ``measured`` receives the numbers of an iteration just before the ``progress`` that
    they belong to, ``announce`` the estimate of time and memory before the computation starts;
    a run that cannot fit into memory is refused then.
    """
    started = time.monotonic()
    refuse_failures()
    method = find_method(request.method)
    check_roles(method, request.inputs)
    given, seed = seed_of(request)
    # Before any file is read: a typo should not cost the time of loading.
    early = resolve_parameters(method, given, request.preset)
    bundles = choose_bundles(method, early.values, request.weights)
    device = choose_device(request.device, needs_network=method.needs_torch)
    find = finds_brain(method, request)

    progress(0.0, "Reading")
    sources = read_inputs(method, request)
    acquisitions = {role: volumes[0].acquisition for role, volumes in sources.items()}
    resolved = resolve_parameters(method, given, request.preset, acquisitions)
    size = sources[method.reference][0].grid.size
    expected = estimate(method, resolved.values, math.prod(size), device)
    announce(expected)
    if expected is not None:
        refuse_too_large(expected.bytes, method.key, size)
    progress(0.1, "Bringing the inputs onto one grid")
    inputs, alignment = onto_one_grid(method, sources, request.align)
    found = region(method, inputs, find, _within(progress, 0.15, 0.3))
    context = Context(
        found.mask,
        device,
        _within(progress, 0.3, 0.95),
        measured,
        bundles,
        seed if method.random else None,
        {name: network.build for name, network in method.networks.items()},
    )
    notes = [
        *_without_names(sources, files_of(request)),
        *(done["note"] for done in alignment.values() if "note" in done),
    ]
    _warn(context, method, inputs, found, [*resolved.stated, *notes])

    outputs = as_volumes(
        method, resolved.values, _compute(method, inputs, resolved, context), inputs
    )
    provenance = describe_run(method, resolved, bundles, device, seed) | {
        "inputs": describe_inputs(sources),
        "alignment": {
            "mode": request.align,
            "reference": method.reference,
            "roles": alignment,
        },
        "mask": {"source": found.source, "voxels": int(found.mask.sum()), **found.found_by},
        "record": context.record,
        "warnings": context.warnings,
        "outputs": describe_outputs(method, outputs),
        "memory": memory(),
        "seconds": round(time.monotonic() - started, 2),
    }
    progress(0.95, "Done computing")
    return Result(outputs, provenance, context.warnings, method.outputs, files_of(request))


def _without_names(sources: Inputs, files: Mapping[str, Sequence[Path]]) -> Iterator[str]:
    """Yield the warnings of the readers, with the role in place of a file's or folder's name."""
    for role, volumes in sources.items():
        for note in dict.fromkeys(note for volume in volumes for note in volume.notes):
            for path in files.get(role, ()):
                for name in (str(path), path.name):
                    note = note.replace(name, f"'{role}'")
            yield note if f"'{role}'" in note else f"'{role}': {note}"


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


def _warn(
    context: Context,
    method: Method,
    inputs: Inputs,
    region: Foreground,
    assumed: list[str],
) -> None:
    """Warn of what was assumed and of what looks wrong, before anything is computed."""
    for sentence in assumed:
        context.warn(sentence)
    for weights in context.bundles.values():
        if weights.trained_on_virtual_patients:
            context.warn(
                f"The weights {weights.id} were trained on virtual patients; how well they do on "
                "real ones is not known."
            )
    if region.message:
        context.warn(region.message)
    if "pre" in inputs and "post" in inputs:
        for sentence in warnings_for_pair(inputs["pre"][0], inputs["post"][0], region.mask):
            context.warn(sentence)
    for role in inputs:
        inversion_time_s = inputs[role][0].acquisition.inversion_time_s
        if method.signal_model == "spgr" and inversion_time_s and role != MASK_ROLE:
            context.warn(
                f"'{role}' was made with an inversion pulse (TI {inversion_time_s:g} s, MPRAGE); "
                f"{method.key} assumes a spoiled gradient echo, so eq. 1 of SPHERE does not hold."
            )


def _compute(
    method: Method, inputs: Inputs, resolved: Resolved, context: Context
) -> Mapping[str, Any]:
    """Return what the method returns; one with a network may use torch's own random numbers."""
    volumes = as_arguments(method, inputs)
    extra = {}
    with _torch_seeded(context.seed if method.needs_torch else None):
        if method.measure is not None:
            extra["measured"] = method.measure(**volumes, context=context)
        returned: Mapping[str, Any] = method.function(
            **volumes, parameters=resolved.values, context=context, **extra
        )
    return returned


@contextmanager
def _torch_seeded(seed: int | None) -> Iterator[None]:
    """Start torch's random numbers, such as those of dropout, from the seed of the run."""
    if seed is None:
        yield
        return
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def _within(progress: ProgressFunction, start: float, end: float) -> ProgressFunction:
    """Return a progress function that maps 0 to 1 onto a part of the whole run."""
    return lambda fraction, message: progress(start + fraction * (end - start), message)
