"""A run, however it was started: from a request to volumes and their provenance.

The panel, the command line and the batch all call :func:`run` with the same request.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

import ContrastSynthLib.methods  # noqa: F401 - declares the methods
from ContrastSynthLib import __version__
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.images import read_mask, read_volume
from ContrastSynthLib.preprocessing.alignment import align
from ContrastSynthLib.preprocessing.foreground import Foreground, foreground
from ContrastSynthLib.preprocessing.input_checks import warnings_for_pair
from ContrastSynthLib.registry import (
    MASK_ROLE,
    Context,
    Method,
    check_roles,
    find_method,
    resolve_parameters,
)
from ContrastSynthLib.registry.context import (
    MeasuresFunction,
    ProgressFunction,
    no_measures,
    no_progress,
)
from ContrastSynthLib.running.devices import choose_device
from ContrastSynthLib.running.provenance import describe_inputs, describe_run, memory
from ContrastSynthLib.running.result import Result
from ContrastSynthLib.volumes import Volume
from ContrastSynthLib.weights.bundles import Bundle, find_bundle

Source = Volume | str | Path
"""A volume in memory, or the file or DICOM folder that holds it."""


@dataclass(frozen=True)
class Request:
    """What a user asks for. ``inputs`` maps a role to its source, or to several of a series.

    ``times_s`` are the seconds after injection of the volumes of the role ``phase``.
    ``align`` is ``none``, ``resample``, ``rigid`` or ``affine``.
    ``weights`` is the name, the id or the folder of others than the method's own.
    """

    method: str
    inputs: Mapping[str, Source | Sequence[Source]]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    preset: str | None = None
    align: str = "none"
    weights: str | None = None
    device: str = "auto"
    times_s: Sequence[float] = ()


def run(
    request: Request,
    progress: ProgressFunction = no_progress,
    measured: MeasuresFunction = no_measures,
) -> Result:
    """Check the request, bring the inputs onto one grid, run the method, return the result.

    Nothing is written; see :meth:`Result.write`. Raises RequestError when the request or an
    input is wrong, MissingError when something has to be installed, and whatever
    ``progress`` raises, which is how a run is cancelled. ``measured`` is given what a method
    measures as it goes, just before the ``progress`` that it belongs to.
    """
    started = time.monotonic()
    method = find_method(request.method)
    check_roles(method, request.inputs)
    # Before any file is read: a typo should not cost the time of loading.
    early = resolve_parameters(method, request.parameters, request.preset)
    bundles = _find_weights(method, early.values, request.weights)
    device = choose_device(request.device, needs_network=method.needs_torch)

    progress(0.0, "Reading")
    sources = _read_inputs(method, request)
    acquisitions = {role: volumes[0].acquisition for role, volumes in sources.items()}
    resolved = resolve_parameters(method, request.parameters, request.preset, acquisitions)
    progress(0.1, "Bringing the inputs onto one grid")
    inputs, alignment = _onto_one_grid(method, sources, request.align)
    found = region(method, inputs)
    context = Context(found.mask, device, _within(progress, 0.3, 0.95), measured, bundles)
    notes = [told["note"] for told in alignment.values() if "note" in told]
    _warn(context, method, inputs, found, [*resolved.stated, *notes])

    volumes = {
        role: inputs[role] if method.inputs[role].series else inputs[role][0]
        for role in inputs
        if role != MASK_ROLE
    }
    arrays = _compute(method, volumes, resolved.values, context)
    outputs = _as_volumes(method, arrays, inputs)
    provenance = describe_run(method, resolved, list(bundles.values()), device) | {
        "inputs": describe_inputs(sources),
        "alignment": {
            "mode": request.align,
            "reference": method.reference,
            "roles": alignment,
        },
        "mask": {"source": found.source, "voxels": int(found.mask.sum())},
        "record": context.record,
        "warnings": context.warnings,
        "outputs": {name: {"sha256": volume.sha256()} for name, volume in outputs.items()},
        "memory": memory(),
        "seconds": round(time.monotonic() - started, 2),
    }
    progress(0.95, "Done computing")
    return Result(outputs, provenance, context.warnings)


def _find_weights(method: Method, values: Any, wanted: str | None) -> dict[str, Bundle]:
    """Return the weights that the method needs with these parameters, by their declared names.

    Those that were asked for take the place of the method's own; of a method that declares
    several, they replace those of the same name.
    """
    needed = method.weights_for(values)
    if wanted is None:
        return {n: find_bundle(n, method.key if n == method.weights else None) for n in needed}
    if not needed:
        how = " with these parameters" if method.needs_torch else ""
        raise RequestError(f"{method.key} has no weights{how}; leave --weights out.")
    own = find_bundle(wanted, method.key if needed == [method.weights] else None)
    place = own.name if own.name in needed else method.weights
    if place is None or (place == method.weights and own.method != method.key):
        raise RequestError(
            f"{method.key} needs weights named {' and '.join(needed)} with these parameters; "
            f"{own.id} is none of them."
        )
    return {name: own if name == place else find_bundle(name, None) for name in needed}


def _read_inputs(method: Method, request: Request) -> dict[str, list[Volume]]:
    found = {}
    for role, given in request.inputs.items():
        several = [given] if isinstance(given, (Volume, str, Path)) else list(given)
        series = role != MASK_ROLE and method.inputs[role].series
        if len(several) != 1 and not series:
            raise RequestError(f"{method.key} takes one volume as '{role}', not {len(several)}.")
        read = read_mask if role == MASK_ROLE else read_volume
        found[role] = [v if isinstance(v, Volume) else _named(read, role, v) for v in several]
    if request.times_s:
        phases = found.get("phase", [])
        if len(phases) != len(request.times_s):
            raise RequestError(
                f"{len(request.times_s)} times for {len(phases)} volumes of the role 'phase'; "
                "give one --time for each."
            )
        found["phase"] = [
            replace(v, acquisition=replace(v.acquisition, time_s=float(t)))
            for v, t in zip(phases, request.times_s, strict=True)
        ]
    return found


def _named(read: Any, role: str, source: str | Path) -> Volume:
    try:
        volume: Volume = read(source)
    except RequestError as error:
        raise RequestError(f"Input '{role}': {error}") from None
    return volume


def _onto_one_grid(
    method: Method, sources: Mapping[str, list[Volume]], mode: str
) -> tuple[dict[str, list[Volume]], dict[str, Any]]:
    """Align every volume with the reference role; names of a series' volumes get a number."""
    flat = {
        role if index == 0 else f"{role} {index + 1}": volume
        for role, volumes in sources.items()
        for index, volume in enumerate(volumes)
    }
    aligned, report = align(flat, method.reference, mode, masks=(MASK_ROLE,))
    inputs = {
        role: [aligned[role if i == 0 else f"{role} {i + 1}"] for i in range(len(volumes))]
        for role, volumes in sources.items()
    }
    return inputs, report


def region(method: Method, inputs: Mapping[str, list[Volume]]) -> Foreground:
    """Return the mask that was given, else what the T1 inputs tell."""
    same_kind = [
        volume
        for role, volumes in inputs.items()
        if role != MASK_ROLE and method.inputs[role].modality == "T1"
        for volume in volumes
    ]
    mask = inputs[MASK_ROLE][0] if MASK_ROLE in inputs else None
    return foreground(same_kind or inputs[method.reference], mask)


def _warn(
    context: Context,
    method: Method,
    inputs: Mapping[str, list[Volume]],
    region: Foreground,
    told: list[str],
) -> None:
    """Say what was assumed and what looks wrong, before anything is computed."""
    for sentence in told:
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
    method: Method, volumes: Mapping[str, Any], parameters: Any, context: Context
) -> dict[str, Any]:
    measured = {}
    if method.measure is not None:
        measured["measured"] = method.measure(**volumes, context=context)
    return method.function(**volumes, parameters=parameters, context=context, **measured)


def _as_volumes(
    method: Method, arrays: Mapping[str, Any], inputs: Mapping[str, list[Volume]]
) -> dict[str, Volume]:
    """Put arrays on the reference grid and mark them; a defect of the method raises."""
    if set(arrays) != set(method.outputs):
        raise AssertionError(f"{method.key} declares {set(method.outputs)}, gave {set(arrays)}")
    mark = f"by ContrastSynth {__version__} {method.key}, for research only"
    outputs = {}
    for name, declared in method.outputs.items():
        array = np.asarray(arrays[name], dtype=np.float32)
        if not np.isfinite(array).all():
            raise AssertionError(f"{method.key}: output '{name}' holds values that are not finite")
        like = inputs[declared.units_of or method.reference][0]
        outputs[name] = Volume(
            array,
            inputs[method.reference][0].grid,
            # What was injected, and when, is no longer true of a synthetic image.
            replace(like.acquisition, agent=None, dose_mmol_per_kg=None, time_s=None),
            synthetic=mark,
        )
    return outputs


def _within(progress: ProgressFunction, start: float, end: float) -> ProgressFunction:
    """Return a progress function that maps 0 to 1 onto a part of the whole run."""
    return lambda fraction, message: progress(start + fraction * (end - start), message)
