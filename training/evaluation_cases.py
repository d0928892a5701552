"""What evaluate.py measures on: prepared cases, folders of pairs, held-out virtual patients."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ContrastSynthLib.files.images import read_mask, read_volume
from numpy.typing import NDArray
from prepare_data import read_cases

from ContrastSynthLib import __version__
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.phantom.brain.parameters import draw_parameters
from ContrastSynthLib.phantom.brain.patient import build_patient
from ContrastSynthLib.volumes import BoolArray, Volume, check_same_grid

VIRTUAL_KINDS = {"same": "training", "different": "different"}
"""Held-out patients: drawn from the training ranges, or from outside of them."""
SCANS = ("pre", "post", "corrupted")
TRUTHS = ("rise", "lesion")
MARK = "virtual brain patient, research only"


@dataclass(frozen=True)
class Scans:
    """Scans of one case on one grid, by role; ``mask`` is the brain where it is known.

    ``truth`` (k, j, i) is known of virtual patients: ``rise``, of the noise-free signal in
    medians of the brain, and ``lesion``, the labels of lesions.
    """

    scans: Mapping[str, Volume]
    mask: Volume | None
    truth: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    @property
    def brain(self) -> BoolArray:
        """The voxels that are measured: the mask, else those above 0 in pre and post."""
        if self.mask is not None:
            return np.asarray(self.mask.array > 0)
        return np.asarray((self.scans["pre"].array > 0) & (self.scans["post"].array > 0))


@dataclass(frozen=True)
class Item:
    """A case to measure; ``read`` loads it when it is needed."""

    name: str
    patient: str
    read: Callable[[], Scans]


def items_in_folder(folder: Path, split: str) -> list[Item]:
    """Return the cases of a folder; ``split`` counts for one that prepare_data.py wrote.

    Cases without a pair are left out, and that is told. Raises RequestError without a list.
    """
    path = folder / "cases.json"
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RequestError(f"{path}: cannot be read as a list of cases ({error}).") from error
    if "schema_version" in listed:
        return [
            Item(c.name, str(c.patient), partial(_read_scans, c.folder, _files(c.roles)))
            for c in read_cases(folder, split)
        ]
    items = []
    for name, files in listed.items():
        known = {role: files[role] for role in (*SCANS, "mask") if role in files}
        if {"pre", "post"} <= set(known):
            items.append(Item(name, name, partial(_read_scans, folder / name, known)))
        else:
            print(f"{name}: left out, it is no pair of pre and post.", file=sys.stderr)
    return items


def _files(roles: tuple[str, ...]) -> dict[str, str]:
    return {role: f"{role}.nrrd" for role in roles}


def _read_scans(folder: Path, files: Mapping[str, str]) -> Scans:
    scans = {role: read_volume(folder / file) for role, file in files.items() if role != "mask"}
    check_same_grid(scans)
    return Scans(scans, read_mask(folder / files["mask"]) if "mask" in files else None)


def virtual_items(
    kind: str,
    seeds: Sequence[int],
    *,
    slices: int | None,
    corruption: str | None,
    cache: Path | None,
    spacing_mm: float = 1.0,
) -> list[Item]:
    """Return virtual patients of a key of VIRTUAL_KINDS: whole, or ``slices`` slices of each.

    The slices are those around the largest lesion, or around the middle without any. ``cache``
    keeps each patient as one .npz file.
    """
    items = []
    for seed in seeds:
        parameters = draw_parameters(
            seed,
            kind=VIRTUAL_KINDS[kind],
            corruption=corruption,
            doses=(),
            only=("pre", "post"),
            spacing_mm=spacing_mm,
        )
        name = "_".join((kind, str(seed), f"slab{slices}" if slices else "whole"))
        name += f"_{corruption}" if corruption else ""
        file = cache / f"{name}.npz" if cache else None
        items.append(Item(name, name, partial(_virtual_scans, parameters, slices, file)))
    return items


def _virtual_scans(parameters: Mapping[str, Any], slices: int | None, file: Path | None) -> Scans:
    """Return a virtual patient, from ``file`` when that was made with the same parameters."""
    made_by = json.dumps({"contrastsynth": __version__, "holds": TRUTHS, "patient": parameters})
    if file is None or not _is_made_by(file, made_by):
        arrays = _make(parameters, slices)
        if file is None:
            return _as_scans(arrays)
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f".partial-{file.name}")
        np.savez_compressed(part, made_by=np.array(made_by), **arrays)  # type: ignore[arg-type]
        os.replace(part, file)
    with np.load(file) as stored:
        return _as_scans(dict(stored))


def _is_made_by(file: Path, made_by: str) -> bool:
    if not file.is_file():
        return False
    with np.load(file) as stored:
        return str(stored["made_by"]) == made_by


def _make(parameters: Mapping[str, Any], slices: int | None) -> dict[str, NDArray[Any]]:
    """Return scans, brain and index_to_lps of a patient, cut along k."""
    patient = build_patient(parameters)
    arrays = {role: scan.array for role, scan in patient.scans.items() if role in SCANS}
    arrays["brain"] = patient.truth["brain"]
    arrays |= {"rise": patient.truth["uptake"], "lesion": patient.truth["lesion"]}
    matrix = patient.scans["pre"].grid.index_to_lps
    first, end = _slab(patient.truth["lesion"], patient.truth["brain"], slices)
    matrix[:, 3] = matrix @ (0, 0, first, 1)
    return {name: array[first:end] for name, array in arrays.items()} | {"index_to_lps": matrix}


def _slab(lesion: NDArray[Any], brain: BoolArray, slices: int | None) -> tuple[int, int]:
    """Return the first slice and the one after the last, inside the volume."""
    if slices is None:
        return 0, len(brain)
    counts = np.bincount(lesion[lesion > 0])
    where = lesion == counts.argmax() if counts.size else brain
    middle = float(np.flatnonzero(where.any(axis=(1, 2)))[[0, -1]].mean())
    first = int(np.clip(round(middle - (slices - 1) / 2), 0, max(len(brain) - slices, 0)))
    return first, min(first + slices, len(brain))


def _as_scans(arrays: Mapping[str, NDArray[Any]]) -> Scans:
    grid = Grid.from_index_to_lps(arrays["pre"].shape[::-1], arrays["index_to_lps"])
    scans = {role: Volume(arrays[role], grid, synthetic=MARK) for role in SCANS if role in arrays}
    truth = {name: arrays[name] for name in TRUTHS}
    return Scans(scans, Volume(arrays["brain"], grid), truth)
