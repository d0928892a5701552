"""From what a method returned to marked volumes on the reference grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ContrastSynthLib import __version__
from ContrastSynthLib.acquisition import Acquisition
from ContrastSynthLib.errors import MethodError
from ContrastSynthLib.registry import Method, Output
from ContrastSynthLib.registry.volumes import check_output
from ContrastSynthLib.running.inputs import Inputs
from ContrastSynthLib.volumes import Series, Volume

FULL_DOSE = {"pre": 0.0, "post": 1.0}
"""Share of the full dose that a role stands for, where its file does not say."""


def as_volumes(
    method: Method, values: Any, returned: Mapping[str, Any], inputs: Inputs
) -> dict[str, Volume | Series]:
    """Return the outputs on the reference grid, marked as synthetic, with what they show.

    ``values`` are the parameters of the run. Raises MethodError where the method returned what
    it does not declare.
    """
    if set(returned) != set(method.outputs):
        raise MethodError(
            f"{method.key} declares the outputs {', '.join(sorted(method.outputs))}, but returned "
            f"{', '.join(sorted(returned)) or 'nothing'}."
        )
    return {
        name: _series(method, name, values, returned[name], inputs)
        if declared.series
        else _volume(method, name, values, returned[name], inputs)
        for name, declared in method.outputs.items()
    }


def _volume(method: Method, name: str, values: Any, array: Any, inputs: Inputs) -> Volume:
    declared, reference = method.outputs[name], inputs[method.reference][0]
    array = np.asarray(array, dtype=np.float32)
    check_output(f"{method.key}: the output '{name}'", declared, array, reference.grid.shape)
    return Volume(
        array,
        reference.grid,
        _acquisition(method, declared, values, inputs),
        synthetic=f"by ContrastSynth {__version__} {method.key}, for research only",
    )


def _series(method: Method, name: str, values: Any, returned: Any, inputs: Inputs) -> Series:
    if not isinstance(returned, Series):
        raise MethodError(f"{method.key}: the output '{name}' is no Series, but it declares one.")
    volumes = []
    for frame in returned:
        volume = _volume(method, name, values, frame.array, inputs)
        time_s = frame.acquisition.time_s
        volumes.append(replace(volume, acquisition=replace(volume.acquisition, time_s=time_s)))
    return Series(tuple(volumes))


def _acquisition(method: Method, declared: Output, values: Any, inputs: Inputs) -> Acquisition:
    """Return the settings of the scan that an output imitates, and the dose that it shows.

    When the scan was taken, and what had been injected, is no longer true of a synthetic image.
    """
    role = declared.units_of or method.reference
    scan = inputs[role][0].acquisition
    blank = replace(scan, agent=None, dose_mmol_per_kg=None, dose_fraction=None, time_s=None)
    if declared.dose is None:
        return blank
    share = getattr(values, declared.dose) if isinstance(declared.dose, str) else declared.dose
    shown = scan.dose_fraction if scan.dose_fraction is not None else FULL_DOSE.get(role)
    amount = None
    if scan.dose_mmol_per_kg is not None and shown:
        amount = scan.dose_mmol_per_kg * share / shown
    return replace(
        blank,
        dose_fraction=float(share),
        dose_mmol_per_kg=amount,
        agent=scan.agent if share > 0 else None,
    )


def describe_outputs(
    method: Method, outputs: Mapping[str, Volume | Series]
) -> dict[str, dict[str, Any]]:
    """Return the hash, kind, unit and range of each output, for the provenance.

    A series has the hash and the time of each volume. What is unknown is left out.
    """
    described = {}
    for name, output in outputs.items():
        declared = method.outputs[name]
        entry: dict[str, Any] = {"kind": declared.kind}
        if isinstance(output, Series):
            entry |= {
                "sha256": [volume.sha256() for volume in output],
                "times_s": output.times_s.tolist(),
            }
        else:
            entry["sha256"] = output.sha256()
        known = {
            "units_of": declared.units_of,
            "unit": declared.unit or None,
            "low": declared.low,
            "high": declared.high,
            "labels": {str(n): title for n, title in declared.labels.items()} or None,
            "dose_fraction": output.acquisition.dose_fraction,
        }
        described[name] = entry | {k: v for k, v in known.items() if v is not None}
    return described
