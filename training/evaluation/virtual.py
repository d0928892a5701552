"""Virtual patients to measure on, held out from training, and where they are kept.

Each seed is another patient. One of the evaluation is also one of the training with a chance
of 1 in 2^31.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from data import DOSE
from data.enhance_slabs import OTHERS
from numpy.typing import NDArray

from ContrastSynthLib import __version__
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.phantom.brain.parameters import draw_parameters
from ContrastSynthLib.phantom.brain.patient import build_patient
from ContrastSynthLib.volumes import BoolArray, Volume
from evaluation.cases import SCANS, UNENHANCED, Item, Scans, grid_of
from evaluation.low_dose import at_dose, with_full_dose_like_low

VIRTUAL_KINDS = {"same": "training", "different": "different"}
"""Held-out patients: drawn from the ranges of the training, or from outside of them."""
ROLES = (*SCANS, "low", *OTHERS)
"""Scans that are kept of a patient, where they were simulated."""
TRUTHS = ("rise", "lesion")
MARK = "virtual brain patient, research only"


def virtual_items(
    kind: str,
    seeds: Sequence[int],
    *,
    slices: int | None,
    corruption: str | None = None,
    low_dose: float | None = None,
    unenhanced: bool = False,
    others: Sequence[str] = (),
    cache: Path | None = None,
    spacing_mm: float = 1.0,
) -> list[Item]:
    """Return virtual patients of a key of VIRTUAL_KINDS: whole, or ``slices`` slices of each.

    The slices are those around the largest lesion, or around the middle without any.
    ``corruption`` adds a pre scan with artefacts, ``low_dose`` a scan after that fraction of the
    full dose, ``unenhanced`` to the truth the post scan as it would be without agent; ``others``
    are scans like t2. ``cache`` keeps each patient as one .npz file.
    """
    scans: dict[str, Any] = {"doses": (), "only": ("pre", "post", *others)}
    if low_dose:
        scans = {"doses": (low_dose,), "only": ("low",)}
    items = []
    for seed in seeds:
        parameters = draw_parameters(
            seed,
            kind=VIRTUAL_KINDS[kind],
            corruption=corruption,
            spacing_mm=spacing_mm,
            **scans,
        )
        name = "_".join((kind, str(seed), f"slab{slices}" if slices else "whole"))
        name += f"_{corruption}" if corruption else ""
        if low_dose:
            name += "_low" if low_dose == DOSE else f"_low{low_dose:g}"
        name += f"_{UNENHANCED}" if unenhanced else ""
        name += "".join(f"_{role}" for role in others)
        file = cache / f"{name}.npz" if cache else None
        items.append(
            Item(
                name,
                name,
                partial(_virtual_at_dose, parameters, slices, file, unenhanced, low_dose),
            )
        )
    return items


def _virtual_at_dose(
    parameters: Mapping[str, Any],
    slices: int | None,
    file: Path | None,
    unenhanced: bool,
    dose: float | None,
) -> Scans:
    """Return a virtual patient, whose low-dose scan says its dose."""
    case = _virtual_scans(parameters, slices, file, unenhanced)
    return case.with_scan("low", at_dose(case["low"], dose)) if dose else case


def _virtual_scans(
    parameters: Mapping[str, Any], slices: int | None, file: Path | None, unenhanced: bool
) -> Scans:
    """Return a virtual patient, from ``file`` when that was made with the same parameters."""
    made_by = json.dumps({"contrastsynth": __version__, "holds": TRUTHS, "patient": parameters})
    if file is None or not _is_made_by(file, made_by):
        arrays = _make(parameters, slices, unenhanced=unenhanced)
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


def _make(
    parameters: Mapping[str, Any], slices: int | None, *, unenhanced: bool = False
) -> dict[str, NDArray[Any]]:
    """Return scans, brain, truth and index_to_lps of a patient, cut along k."""
    patient = build_patient(parameters)
    low_dose = "low" in parameters["scans"]
    roles = [role for role in ROLES if role in SCANS or role in parameters["scans"]]
    arrays = {role: scan.array for role, scan in patient.scans.items() if role in roles}
    arrays["brain"] = patient.truth["brain"]
    arrays |= {"rise": patient.truth["uptake"], "lesion": patient.truth["lesion"]}
    if unenhanced:
        arrays[UNENHANCED] = without_agent(parameters)
    first, end = _slab(patient.truth["lesion"], patient.truth["brain"], slices, early=low_dose)
    grid = grid_of(patient.scans["pre"].grid, slice(first, end))
    cut = {name: array[first:end] for name, array in arrays.items()}
    return {**cut, "index_to_lps": grid.index_to_lps}


def without_agent(parameters: Mapping[str, Any]) -> NDArray[Any]:
    """Return the post scan (k, j, i) of a patient who got no agent: same position and noise."""
    scans = {**parameters["scans"], "post": {**parameters["scans"]["post"], "dose": 0.0}}
    patient = build_patient({**parameters, "scans": scans, "corruption": None})
    return patient.scans["post"].array


def _slab(
    lesion: NDArray[Any], brain: BoolArray, slices: int | None, *, early: bool = False
) -> tuple[int, int]:
    """Return the first slice and the one after the last, inside the volume.

    Where the middle lies between two slices, or with an odd number of slices, ``early`` starts
    one sooner: so were the published numbers of the low-to-full tables measured.
    """
    if slices is None:
        return 0, len(brain)
    counts = np.bincount(lesion[lesion > 0])
    where = lesion == counts.argmax() if counts.size else brain
    middle = float(np.flatnonzero(where.any(axis=(1, 2)))[[0, -1]].mean())
    start = middle - (slices - 1) / 2
    start = math.floor(start - 0.5) if early else round(start)
    first = int(np.clip(start, 0, max(len(brain) - slices, 0)))
    return first, min(first + slices, len(brain))


def _as_scans(arrays: Mapping[str, NDArray[Any]]) -> Scans:
    grid = Grid.from_index_to_lps(arrays["pre"].shape[::-1], arrays["index_to_lps"])
    scans = {role: Volume(arrays[role], grid, synthetic=MARK) for role in ROLES if role in arrays}
    truth = {name: arrays[name] for name in (*TRUTHS, UNENHANCED) if name in arrays}
    case = Scans(scans, Volume(arrays["brain"], grid), truth)
    return with_full_dose_like_low(case) if "low" in scans else case
