"""One run of a method, on volumes that were read: onto one grid, checked, computed, marked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ContrastSynthLib.preprocessing.foreground import Foreground
from ContrastSynthLib.preprocessing.input_checks import warnings_for_pair
from ContrastSynthLib.registry import MASK_ROLE, Context, Method, Resolved, resolve_parameters
from ContrastSynthLib.registry.context import MeasuresFunction, ProgressFunction
from ContrastSynthLib.running.inputs import Inputs, as_arguments, onto_one_grid, region
from ContrastSynthLib.running.outputs import as_volumes
from ContrastSynthLib.running.request import Request, files_of
from ContrastSynthLib.volumes import Series, Volume
from ContrastSynthLib.weights.bundles import Bundle


@dataclass(frozen=True)
class Plan:
    """What is known before any file is read, and is the same for all phases of a series.

    ``given`` are the parameters without the seed; ``find_brain`` tells whether the mask is to be
    found.
    """

    method: Method
    request: Request
    given: Mapping[str, Any]
    seed: int
    bundles: Mapping[str, Bundle]
    device: str
    find_brain: bool

    def resolved(self, sources: Inputs) -> Resolved:
        """Return the parameters of a run on these volumes."""
        acquisitions = {role: volumes[0].acquisition for role, volumes in sources.items()}
        return resolve_parameters(self.method, self.given, self.request.preset, acquisitions)


@dataclass(frozen=True)
class Made:
    """What one run made, and what its provenance tells."""

    outputs: dict[str, Volume | Series]
    resolved: Resolved
    alignment: dict[str, Any]
    mask: dict[str, Any]
    record: dict[str, Any]
    warnings: list[str]


def run_once(
    plan: Plan, sources: Inputs, progress: ProgressFunction, measured: MeasuresFunction
) -> Made:
    """Bring the volumes onto one grid, run the method, return its outputs as marked volumes.

    Raises RequestError when an input is wrong, MethodError when the method returns what it does
    not declare, and whatever ``progress`` raises.
    """
    method, request = plan.method, plan.request
    resolved = plan.resolved(sources)
    progress(0.1, "Bringing the inputs onto one grid")
    inputs, alignment = onto_one_grid(method, sources, request.align)
    found = region(method, inputs, plan.find_brain, within(progress, 0.15, 0.3))
    # Of its own in every phase: to build a network draws random numbers, as in a single run.
    context = Context(
        found.mask,
        plan.device,
        within(progress, 0.3, 0.95),
        measured,
        plan.bundles,
        plan.seed if method.random else None,
        {name: network.build for name, network in method.networks.items()},
    )
    notes = [
        *_without_names(sources, files_of(request)),
        *(done["note"] for done in alignment.values() if "note" in done),
    ]
    _warn(context, method, inputs, found, [*resolved.stated, *notes])
    returned = _compute(method, inputs, resolved, context)
    return Made(
        as_volumes(method, resolved.values, returned, inputs),
        resolved,
        alignment,
        {"source": found.source, "voxels": int(found.mask.sum()), **found.found_by},
        context.record,
        context.warnings,
    )


def _without_names(sources: Inputs, files: Mapping[str, Sequence[Path]]) -> Iterator[str]:
    """Yield the warnings of the readers, with the role in place of a file's or folder's name."""
    for role, volumes in sources.items():
        for note in dict.fromkeys(note for volume in volumes for note in volume.notes):
            for path in files.get(role, ()):
                for name in (str(path), path.name):
                    note = note.replace(name, f"'{role}'")
            yield note if f"'{role}'" in note else f"'{role}': {note}"


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
        if weights.trained_on_virtual_patients and not weights.real_patients:
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


def within(progress: ProgressFunction, start: float, end: float) -> ProgressFunction:
    """Return a progress function that maps 0 to 1 onto a part of the whole run."""
    return lambda fraction, message: progress(start + fraction * (end - start), message)
