"""Estimate of the time and memory of a run, from earlier runs on this machine.

The provenance of a run records its time and memory. The caller keeps a list of these measurements,
made by :func:`remembered`, and passes it to :func:`estimate`. Without a measurement of the method
the estimate is that of one CPU core, from Resources/Timings.json (tools/measure_timings.py).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ContrastSynthLib.errors import MissingError
from ContrastSynthLib.inference.ladder import USED_SHARE
from ContrastSynthLib.registry import Method, declared_parameters
from ContrastSynthLib.resources import resource

SCHEMA_VERSION = 1
TABLE = "Timings.json"
MOST_REMEMBERED = 60
REST_BYTES_PER_VOXEL = 60
"""Of the volumes themselves, for a method that computes a large one in parts."""


@dataclass(frozen=True)
class Estimate:
    """The expected time and memory of a run.

    - ``bytes``, ``gpu_bytes``: memory of the process and on the GPU, None where unknown.
    - ``gpu_share``: largest fraction of the free GPU memory that is used, None without a GPU.
    - ``from_last_run``: from a run on this machine, else from one CPU core of another.
    - ``same_parameters``: False where only a run with other parameters was measured.
    """

    seconds: float
    bytes: float | None
    gpu_bytes: float | None = None
    gpu_share: float | None = None
    from_last_run: bool = False
    same_parameters: bool = True


def estimate(
    method: Method, values: Any, voxels: int, device: str, known: Sequence[Mapping[str, Any]] = ()
) -> Estimate | None:
    """Return the estimate for a run on a grid of ``voxels``, None for a method never measured.

    ``values`` are the parameters of the run. ``device`` is a device or ``auto``. ``known`` is the
    list that :func:`remembered` returned after the last run.
    """
    wanted = timing_parameters(method, values)
    device = device if method.needs_torch else "cpu"
    mine = [
        entry
        for entry in known
        if entry["method"] == method.key
        and entry["parameters"] == wanted
        and entry["processors"] == os.cpu_count()
        and _is_on(entry["device"], device)
    ]
    share = USED_SHARE if device.startswith("cuda") else None
    if mine:
        last = max(mine, key=lambda entry: entry["device"].startswith("cuda"))
        more = voxels / last["voxels"]
        scaled = {k: last[k] and last[k] * more for k in ("seconds", "bytes", "gpu_bytes")}
        return Estimate(**scaled, gpu_share=share, from_last_run=True)
    return _shipped(method, wanted, voxels, share)


def _is_on(measured: str, wanted: str) -> bool:
    return wanted == "auto" or measured.split(":")[0] == wanted.split(":")[0]


def _shipped(
    method: Method, wanted: Mapping[str, Any], voxels: int, share: float | None
) -> Estimate | None:
    try:
        table = json.loads(resource(TABLE).read_text(encoding="utf-8"))["timings"]
    except MissingError:
        return None
    entries = [entry for entry in table if entry["method"] == method.key]
    if not entries:
        return None

    def differing(entry: Mapping[str, Any]) -> int:
        return sum(entry["parameters"].get(name) != value for name, value in wanted.items())

    nearest = min(entries, key=differing)
    seconds = nearest["seconds"] + voxels * nearest["seconds_per_voxel"]
    # Beyond the first part, a voxel costs no more than its place in the volumes.
    whole = min(voxels, method.part_voxels or voxels)
    taken = nearest["bytes"] + whole * nearest["bytes_per_voxel"]
    taken += (voxels - whole) * min(REST_BYTES_PER_VOXEL, nearest["bytes_per_voxel"])
    same = differing(nearest) == 0
    return Estimate(seconds, taken, gpu_share=share, same_parameters=same)


def timing_parameters(method: Method, values: Any) -> dict[str, Any]:
    """Return the parameters that the run time depends on: all but those of type float.

    A choice or a number of iterations changes the time, a physical quantity such as TR does not.
    Methods that do not use torch take the same time with all parameters: they have none. Several
    numbers are a list, as they are once they were written and read.
    """
    found = {name: getattr(values, name) for name in _timing_names(method)}
    return {n: list(value) if isinstance(value, tuple) else value for n, value in found.items()}


def _timing_names(method: Method) -> list[str]:
    declared = declared_parameters(method) if method.needs_torch else {}
    return [name for name, entry in declared.items() if entry.type is not float]


def remembered(
    known: Sequence[Mapping[str, Any]], method: Method, provenance: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return ``known`` with the measurement of a run added, ready for JSON.

    It replaces an older measurement of the same method, parameters, device and number of
    processors; the list keeps the newest MOST_REMEMBERED. ``provenance`` is that of the run; raises
    KeyError where it lacks time, memory or parameters.
    """
    values = provenance["parameters"]
    key = {
        "method": method.key,
        "parameters": {name: values[name]["value"] for name in _timing_names(method)},
        "device": provenance["device"],
        "processors": provenance["threads"]["processors"],
    }
    (reference, *_) = provenance["inputs"][method.reference]
    # Of a series, the time of one phase: an estimate is multiplied by their number.
    runs = len(provenance.get("record", {}).get("phases", ())) or 1
    entry = key | {
        "voxels": math.prod(reference["grid"]["size"]),
        "seconds": provenance["seconds"] / runs,
        "bytes": provenance["memory"]["process_bytes"],
        "gpu_bytes": provenance["memory"]["gpu_bytes"],
    }
    others = [dict(old) for old in known if any(old[name] != key[name] for name in key)]
    return [*others, entry][-MOST_REMEMBERED:]
