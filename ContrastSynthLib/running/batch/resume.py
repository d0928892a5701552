"""Whether the results in a folder are those of a request, so that nothing has to be run."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ContrastSynthLib.errors import ContrastSynthError, RequestError
from ContrastSynthLib.files.images import read_any_volume
from ContrastSynthLib.files.series import read_series
from ContrastSynthLib.registry import (
    Method,
    Resolved,
    choose_bundles,
    find_method,
    resolve_parameters,
)
from ContrastSynthLib.running.inputs import finds_brain
from ContrastSynthLib.running.phases import read_used
from ContrastSynthLib.running.provenance import describe_inputs
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.result import PROVENANCE, result_file
from ContrastSynthLib.running.run import SEED, seed_of


def earlier_result(request: Request, folder: Path) -> tuple[dict[str, Any] | None, str]:
    """Return the provenance of the results in ``folder``, and "", if they are the request's.

    Otherwise return None and what differs. Compared are method, parameters as they come out,
    alignment, weights, the seed where one is given, voxels, grids and acquisition of the inputs,
    and the voxels of each output. Device, threads and versions are not: a result stays valid when
    they change. Everything else that is wrong is left to the run to say.
    """
    try:
        recorded = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None, "there is no result"
    except (OSError, ValueError, RecursionError):
        return None, "its provenance cannot be read"
    try:
        differs = _difference(request, recorded, folder)
    except (KeyError, TypeError, AttributeError, IndexError):
        return None, "its provenance is of another version"
    except ContrastSynthError as error:
        return None, f"it could not be compared: {error}"
    return (None, differs) if differs else (recorded, "")


def _difference(request: Request, recorded: dict[str, Any], folder: Path) -> str:
    """Return what differs, or ""; the cheap comparisons come first."""
    method = find_method(request.method)
    if recorded["method"]["key"] != method.key:
        return f"it was made by {recorded['method']['key']}"
    if finds_brain(method, request) != (recorded["mask"]["source"] == "found"):
        return "it was made with another mask"
    if recorded["alignment"]["mode"] != request.align:
        return f"it was made with --align {recorded['alignment']['mode']}"
    given, seed = seed_of(request)
    if (request.seed is not None or SEED in request.parameters) and recorded["seed"] != seed:
        return f"it was made with the seed {recorded['seed']}"
    if missing := [name for name in method.outputs if not _is_there(folder, name)]:
        return f"the output '{missing[0]}' is not there"
    early = resolve_parameters(method, given, request.preset)
    asked = {name for name, source in early.sources.items() if source != "default"}
    if differs := _other_parameter(early, recorded, asked):
        return differs
    bundles = choose_bundles(method, early.values, request.weights, verify=False)
    wanted = {(name, bundle.id, bundle.sha256) for name, bundle in bundles.items()}
    if {(w["network"], w["id"], w["sha256"]) for w in recorded["weights"]} != wanted:
        return "it was made with other weights"
    return _difference_of_voxels(request, method, given, recorded, folder)


def _difference_of_voxels(
    request: Request,
    method: Method,
    given: dict[str, Any],
    recorded: dict[str, Any],
    folder: Path,
) -> str:
    """Return what differs in the inputs, in parameters that come from them, and in the outputs."""
    sources, _ = read_used(method, request)
    if _inputs(_as_json(describe_inputs(sources))) != _inputs(recorded["inputs"]):
        return "it was made from other inputs"
    acquisitions = {role: volumes[0].acquisition for role, volumes in sources.items()}
    resolved = resolve_parameters(method, given, request.preset, acquisitions)
    if differs := _other_parameter(resolved, recorded, set(resolved.sources)):
        return differs
    for name in method.outputs:
        if _hash_in_file(folder, name) != recorded["outputs"][name]["sha256"]:
            return f"the output '{name}' was changed"
    return ""


def _is_there(folder: Path, name: str) -> bool:
    return any((folder / result_file(name, series)).is_file() for series in (False, True))


def _other_parameter(resolved: Resolved, recorded: dict[str, Any], names: set[str]) -> str:
    made_with = {name: entry["value"] for name, entry in recorded["parameters"].items()}
    for name, value in _as_json(asdict(resolved.values)).items():
        if name in names and (name not in made_with or made_with[name] != value):
            return f"it was made with {name} = {made_with.get(name)}"
    return ""


def _inputs(described: dict[str, list[dict[str, Any]]]) -> dict[str, list[Any]]:
    """Return of each input what a result depends on: voxels and grid by hash, how it was made."""
    return {
        role: [(volume["sha256"], volume["acquisition"]) for volume in volumes]
        for role, volumes in described.items()
    }


def _hash_in_file(folder: Path, name: str) -> str | list[str]:
    """Return the hash of an output as the provenance has it: of a volume, or of each of a series.

    Raises RequestError where the file is damaged.
    """
    path = folder / result_file(name, series=True)
    if path.is_file():
        return [volume.sha256() for volume in read_series(path)]
    # Not read_volume: an output may have one value throughout, such as no uptake at all.
    try:
        return read_any_volume(folder / result_file(name, series=False)).sha256()
    except RequestError:  # which names the whole path
        raise RequestError(f"the output '{name}' cannot be read") from None


def _as_json(value: Any) -> Any:
    """Return a value as it comes back from a JSON file: no tuples."""
    return json.loads(json.dumps(value))
