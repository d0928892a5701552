"""One case read from its folder: what the provenance tells, and what its volumes show."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ContrastSynthLib.cohort.budget import PictureSize
from ContrastSynthLib.cohort.row import DAMAGED, DONE, Row
from ContrastSynthLib.cohort.thumbnails import thumbnail
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.images import read_any_volume
from ContrastSynthLib.registry import IMAGE
from ContrastSynthLib.registry.volumes import TAKEN_UP, UPTAKE
from ContrastSynthLib.running.batch.cells import one_line, without_paths
from ContrastSynthLib.running.result import PROVENANCE
from ContrastSynthLib.running.stored_result import checked_output, volumes_of
from ContrastSynthLib.volumes import Volume

MM3_PER_ML = 1000.0
BYTES_PER_MB = 1e6

Files = Mapping[str, Sequence[Path]]
"""The scans of a case by role, as the table of cases has them."""


@dataclass(frozen=True)
class Seen:
    """A case as it was read: its row, and its picture as JPEG, b"" where there is none."""

    row: Row
    picture: bytes = b""


def read_provenance(folder: Path) -> bytes:
    """Return the provenance of a case as it lies on the disk; RequestError where it does not."""
    try:
        return (folder / PROVENANCE).read_bytes()
    except OSError:
        raise RequestError(f"{PROVENANCE} is not there; run the case again.") from None


def read_case(row: Row, folder: Path, provenance: bytes, files: Files, size: PictureSize) -> Seen:
    """Return a case that the batch says is done, measured and with its picture.

    ``files`` are its scans, of which the one that the result imitates is shown where it is still
    the one that was read. A result that cannot be read, is not marked as synthetic or was changed
    makes the case DAMAGED, with the reason. Raises MissingError without Pillow.
    """
    try:
        told = json.loads(provenance)
        row = _from_provenance(row, told)
        image = _image(told)
        result = None if image is None else _output(folder, image, told)
        uptake = _output(folder, UPTAKE, told) if UPTAKE in told["outputs"] else None
        return _seen(row, told, image, result, uptake, files, size)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        return Seen(_damaged(row, f"{PROVENANCE} cannot be read, or is of another version."))
    except RequestError as error:
        return Seen(_damaged(row, str(error), folder))


def _damaged(row: Row, reason: str, folder: Path | None = None) -> Row:
    known = {} if folder is None else {str(folder): "the folder of the case"}
    told = one_line(without_paths(reason, known))
    return Row(row.case, DAMAGED, told, row.method, row.seconds)


def _from_provenance(row: Row, told: Mapping[str, Any]) -> Row:
    memory = told["memory"]["process_bytes"]
    mask = told["mask"][0] if isinstance(told["mask"], list) else told["mask"]
    (reference, *_) = told["inputs"][told["alignment"]["reference"]]
    voxel_ml = math.prod(reference["grid"]["spacing_mm"]) / MM3_PER_ML
    recorded = told.get("record", {}).get("uptake_ml")
    return replace(
        row,
        status=DONE,
        seconds=float(told["seconds"]),
        memory_mb=None if memory is None else round(memory / BYTES_PER_MB, 1),
        brain_ml=round(mask["voxels"] * voxel_ml, 2) if "voxels" in mask else None,
        warnings=len(told["warnings"]),
        uptake_ml=None if recorded is None else round(float(recorded), 3),
    )


def _image(told: Mapping[str, Any]) -> str | None:
    """Return the first output that is an image, None where a method makes none."""
    return next((name for name, of in told["outputs"].items() if of["kind"] == IMAGE), None)


def _output(folder: Path, name: str, told: Mapping[str, Any]) -> Volume:
    """Return an output as the run wrote it; of a series, the middle one."""
    if Path(name).name != name:
        raise ValueError("The name of an output is no path.")
    volumes, series = volumes_of(folder, name)
    checked = checked_output(name, told["outputs"][name], volumes, series, f"the output '{name}'")
    return checked.volumes[len(volumes) // 2]


def _seen(
    row: Row,
    told: Mapping[str, Any],
    image: str | None,
    result: Volume | None,
    uptake: Volume | None,
    files: Files,
    size: PictureSize,
) -> Seen:
    inside = None
    if uptake is not None:
        inside = uptake.with_array(uptake.array >= TAKEN_UP)
        row = replace(row, uptake_ml=round(float(inside.array.sum()) * _voxel_ml(uptake), 3))
        inside = inside if inside.array.any() else None
    if image is None or result is None:
        return Seen(row)
    role = told["outputs"][image].get("units_of") or told["alignment"]["reference"]
    scan = _scan(told, role, files, result)
    if scan is None and role != told["alignment"]["reference"]:
        role = told["alignment"]["reference"]
        scan = _scan(told, role, files, result)
    same_units = role == told["outputs"][image].get("units_of")
    if scan is not None and same_units:
        row = replace(row, change_percent=_change_percent(scan, result))
    return Seen(row, thumbnail(result, scan, inside, size, same_units))


def _voxel_ml(volume: Volume) -> float:
    return math.prod(volume.grid.spacing_mm) / MM3_PER_ML


def _scan(told: Mapping[str, Any], role: str, files: Files, result: Volume) -> Volume | None:
    """Return the scan of a role that was read, None where it is not found or lies elsewhere."""
    recorded = told["inputs"].get(role, [])
    if len(recorded) != 1 or len(files.get(role, [])) != 1:
        return None
    try:
        scan = read_any_volume(files[role][0])
    except RequestError:
        return None
    if scan.sha256() != recorded[0]["sha256"] or scan.array.shape != result.array.shape:
        return None
    return (
        scan if np.allclose(scan.grid.index_to_ras, result.grid.index_to_ras, atol=1e-3) else None
    )


def _change_percent(scan: Volume, result: Volume) -> float | None:
    """Return the mean absolute change of the voxels with signal, in percent of the scan's mean."""
    inside = scan.array > 0
    if not inside.any():
        return None
    before = scan.array[inside].astype(np.float64)
    after = result.array[inside].astype(np.float64)
    return round(100 * float(np.abs(after - before).mean() / before.mean()), 3)
