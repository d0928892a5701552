"""How long a run will take, and how much memory: from runs on this machine, else as measured.

What a run took stands in its provenance. Whoever starts runs keeps a list of such measurements
(:func:`remembered`) and hands it back; until there is one, Resources/Timings.json tells what one
core of a CPU took, which tools/measure_timings.py has measured.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ContrastSynthLib.inference.ladder import USED_SHARE
from ContrastSynthLib.registry import Method, declared_parameters
from ContrastSynthLib.resources import resource

SCHEMA_VERSION = 1
TABLE = "Timings.json"
MOST_REMEMBERED = 60


@dataclass(frozen=True)
class Estimate:
    """What a run is expected to take.

    ``bytes`` is the memory of the process, ``gpu_bytes`` that on a GPU, None where unknown;
    ``gpu_share`` is the share of the free GPU memory that it takes at most, None without a GPU.
    ``from_last_run`` is False for one core of a CPU elsewhere; ``same_parameters`` is False where
    only a run with other parameters was measured.
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
    """Return what a run on a grid of so many voxels takes; None where nothing was measured.

    ``values`` are the parameters of the run, ``device`` is a device or ``auto``, ``known`` what
    :func:`remembered` returned after earlier runs.
    """
    wanted = telling_parameters(method, values)
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
    table = json.loads(resource(TABLE).read_text(encoding="utf-8"))["timings"]
    entries = [entry for entry in table if entry["method"] == method.key]
    if not entries:
        return None

    def differing(entry: Mapping[str, Any]) -> int:
        return sum(entry["parameters"].get(name) != value for name, value in wanted.items())

    nearest = min(entries, key=differing)
    seconds, taken = (nearest[k] + voxels * nearest[f"{k}_per_voxel"] for k in ("seconds", "bytes"))
    same = differing(nearest) == 0
    return Estimate(seconds, taken, gpu_share=share, same_parameters=same)


def telling_parameters(method: Method, values: Any) -> dict[str, Any]:
    """Return the parameters by which run times differ: choices and counts, not measures.

    Of methods without a network there are none: all of their choices take the same time.
    """
    return {name: getattr(values, name) for name in _telling(method)}


def _telling(method: Method) -> list[str]:
    declared = declared_parameters(method) if method.needs_torch else {}
    return [name for name, entry in declared.items() if entry.type is not float]


def remembered(
    known: Sequence[Mapping[str, Any]], method: Method, provenance: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return ``known`` with what a run took, ready for JSON, in place of an older one like it.

    ``provenance`` is that of the run. Raises KeyError where it tells too little.
    """
    values = provenance["parameters"]
    key = {
        "method": method.key,
        "parameters": {name: values[name]["value"] for name in _telling(method)},
        "device": provenance["device"],
        "processors": provenance["threads"]["processors"],
    }
    (reference, *_) = provenance["inputs"][method.reference]
    entry = key | {
        "voxels": math.prod(reference["grid"]["size"]),
        "seconds": provenance["seconds"],
        "bytes": provenance["memory"]["process_bytes"],
        "gpu_bytes": provenance["memory"]["gpu_bytes"],
    }
    others = [dict(old) for old in known if any(old[name] != key[name] for name in key)]
    return [*others, entry][-MOST_REMEMBERED:]
