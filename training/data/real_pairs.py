"""Pairs of real scans to learn from: read from a table, matched, labelled, and kept on the disk.

A plain folder of pairs holds ``cases.json``, which gives the files of ``pre`` and ``post`` of each
case, relative to the folder of that name, and may hold ``index.csv`` with ``case``, ``patient``,
``grade``, ``median_difference``. Scans of a pair lie on one grid and are skull-stripped.

A folder that ``prepare_data.py`` wrote serves as well. Its masks and its targets, the pre scans in
the contrast of the post scans, are used as they are, and its split. What is not of 1 mm is
resampled.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.volumes import BoolArray, FloatArray
from data.matched import (
    DARK,
    FLUID_EDGE,
    MOST_CURVED,
    departure_of,
    match_to_post,
    range_of,
    soft_uptake,
)
from data.pair_options import patient_of
from data.prepared_cases import Case, read_cases

MAPS = ("post", "target", "uptake", "lesion", "brain")
"""What is kept of a pair, in this order, half precision: see :class:`RealPair`."""
MARGIN = 4
WORST_DIFFERENCE = 0.06
"""Pairs whose scans differ by more where nothing enhances, in means of the brain, are left out."""
NOT_LEARNT = "C"
"""Grade of pairs that are not to be learnt from with a loss between images."""
LEARNT_SPLITS = ("train", "validation")
VOXEL_MM, NEARLY = 1.0, 0.01
"""Size of the voxels of the maps, and what is near enough to it not to be interpolated."""
LEAST_LESION = 100
"""Voxels of strong uptake, after an opening, from which it is taken for a lesion."""
DEEP, DEEP_SHARE = 5, 0.85
"""Depth in voxels below the surface of the brain, and the share of a lesion that lies there."""
BRIGHT = 1.1
"""Means of the brain that a lesion has in the post scan at least."""
HALO = 3


@dataclass(frozen=True)
class RealPair:
    """One pair: maps (MAPS, k, j, i) as a file, axial, rows to posterior, columns to the left.

    ``post`` is in means of its brain, ``target`` the pre scan in its contrast; ``uptake`` and
    ``lesion`` are soft labels, 0 to 1, the latter of enhancing lesions with their surroundings;
    ``brain`` is 0 or 1.
    """

    name: str
    patient: str
    path: Path

    @cached_property
    def maps(self) -> np.ndarray:
        """The maps; the disk is read when they are used."""
        maps: np.ndarray = np.load(self.path, mmap_mode="r")
        return maps

    @cached_property
    def places(self) -> np.ndarray:
        """Places of uptake, (n, 3): any, and as many as there are, of lesions first."""
        uptake = np.asarray(self.maps[MAPS.index("uptake")])
        return _some(np.argwhere(uptake[::2, ::2, ::2] > 0.5) * 2)

    @cached_property
    def lesions(self) -> np.ndarray:
        """Places in enhancing lesions, (n, 3)."""
        chosen = np.asarray(self.maps[MAPS.index("lesion")])[::2, ::2, ::2] > 0.9
        chosen &= np.asarray(self.maps[MAPS.index("uptake")])[::2, ::2, ::2] > 0.5
        return _some(np.argwhere(chosen) * 2)

    @cached_property
    def inside(self) -> np.ndarray:
        """Places in the brain, (n, 3)."""
        brain = np.asarray(self.maps[MAPS.index("brain")])
        return _some(np.argwhere(brain[::4, ::4, ::4] > 0) * 4)


def _some(places: np.ndarray, most: int = 20_000) -> np.ndarray:
    return places[:: 1 + len(places) // most]


def read_table(
    folder: Path, same_patient: Iterable[Sequence[str]] = (), others: Sequence[str] = ()
) -> dict[str, dict[str, str]]:
    """Return ``pre``, ``post`` and ``patient`` of each case of a folder of pairs, by its name.

    The files of the roles ``others`` are returned too, of a case of a plain folder that has them.
    Each of ``same_patient`` is a group of cases that are dates of one patient. Cases without both
    scans, and those whose ``median_difference`` exceeds WORST_DIFFERENCE, are left out. A folder
    of ``prepare_data.py`` gives ``mask``, ``target`` and ``split`` as well, of its train and
    validation split, and its numbers of patients. Raises RequestError when the table is missing,
    of an older version or names an unknown case, and for a prepared folder without pairs to train
    on or with two numbers for one patient.
    """
    try:
        cases = json.loads((folder / "cases.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RequestError(f"{folder / 'cases.json'}: is no table of cases ({error}).") from None
    if "schema_version" in cases:
        return _prepared(folder, cases.get("cases", {}), same_patient)
    known = _index(folder / "index.csv")
    groups = patient_of(same_patient)
    if unknown := set(groups) - set(cases):
        raise RequestError(f"{folder.name} has no case '{min(unknown)}'.")
    found = {}
    for case, files in cases.items():
        row = known.get(case, {})
        if not {"pre", "post"} <= set(files):
            continue
        if float(row.get("median_difference") or 0) > WORST_DIFFERENCE:
            continue
        patient = groups.get(case) or row.get("patient") or case
        there = [role for role in ("pre", "post", *others) if role in files]
        scans = {role: str(folder / case / files[role]) for role in there}
        found[case] = {**scans, "patient": patient}
    return found


def _prepared(
    folder: Path, listed: Mapping[str, Any], same_patient: Iterable[Sequence[str]]
) -> dict[str, dict[str, str]]:
    """Return the rows of a folder that ``prepare_data.py`` wrote, whose ``listed`` cases have a
    patient already."""
    by_split = [read_cases(folder, split) for split in LEARNT_SPLITS]
    for group in same_patient:
        if unknown := set(group) - set(listed):
            raise RequestError(f"{folder.name} has no case '{min(unknown)}'.")
        if len(numbers := {listed[case]["patient"] for case in group}) > 1:
            raise RequestError(
                f"{', '.join(group)} are of the patients {', '.join(map(str, sorted(numbers)))} in "
                f"{folder.name}, whose split is by patient. Give them one patient in the table of "
                "cases, and prepare the data again in another folder."
            )
    found = {
        case.name: _row_of(case)
        for cases in by_split
        for case in cases
        if case.grade != NOT_LEARNT and "target" in case.roles
    }
    if not any(row["split"] == "train" for row in found.values()):
        raise RequestError(
            f"{folder.name} has no pair of the split 'train' that is better than {NOT_LEARNT}: "
            "nothing to learn from. Prepare more cases, or a smaller share for validation and test."
        )
    return found


def _row_of(case: Case) -> dict[str, str]:
    files = {role: str(case.path_of(role)) for role in ("pre", "post", "mask", "target")}
    patient = str(case.patient)
    return {**files, "patient": patient, "split": case.split, "grade": str(case.grade)}


def _index(path: Path) -> dict[str, dict[str, str]]:
    if not path.exists():
        return {}
    with open(path, newline="", encoding="utf-8") as file:
        return {row["case"]: row for row in csv.DictReader(file)}


def drawn(patients: Iterable[str], count: int, seed: int = 0) -> set[str]:
    """Return ``count`` patients: the first by a hash of their names.

    Nothing but the names and the seed decides, so that the choice cannot depend on any result, and
    who is among few is among more.
    """

    def place(patient: str) -> str:
        return hashlib.sha256(f"{seed}:{patient}".encode()).hexdigest()

    return set(sorted(set(patients), key=place)[:count])


def held_out_of(table: Mapping[str, Mapping[str, str]], count: int, seed: int = 0) -> set[str]:
    """Return the patients of a table to choose checkpoints by, who are not learnt from.

    A prepared folder has decided that: they are those of its validation split, perhaps none. Of a
    plain folder they are ``count`` patients, as :func:`drawn` chooses them.
    """
    if any("split" in row for row in table.values()):
        return {row["patient"] for row in table.values() if row["split"] == "validation"}
    return drawn((row["patient"] for row in table.values()), count, seed)


def prepare_pairs(table: Mapping[str, Mapping[str, str]], out: Path) -> list[RealPair]:
    """Return the pairs of a table; the maps of those that are not in ``out`` yet are made.

    Those of a prepared case are made again when it was prepared again. Raises RequestError for a
    scan that cannot be read.
    """
    out.mkdir(parents=True, exist_ok=True)
    pairs = []
    for case, row in table.items():
        path = out / f"{case}.npy"
        if not path.exists() or _is_older(path, row):
            maps = _maps_of_row(row)
            keep_whole(path, maps.astype(np.float16))
            print(f"{case}: matched", flush=True)
        pairs.append(RealPair(case, row["patient"], path))
    return pairs


def keep_whole(path: Path, array: np.ndarray) -> None:
    """Write an array into a file, which is there as a whole or not at all."""
    part = path.with_suffix(".part")
    with open(part, "wb") as file:
        np.save(file, array)
    os.replace(part, path)


def _is_older(path: Path, row: Mapping[str, str]) -> bool:
    """Return whether maps are older than the prepared scans that they would be made from."""
    files = [Path(row[role]) for role in ("post", "mask", "target") if "target" in row]
    changed = (file.stat().st_mtime for file in files if file.exists())
    return path.stat().st_mtime < max(changed, default=0)


def _maps_of_row(row: Mapping[str, str]) -> FloatArray:
    if "target" not in row:
        return maps_of_pair(read_axial(Path(row["pre"])), read_axial(Path(row["post"])))
    post, target, mask = (read_axial(Path(row[role])) for role in ("post", "target", "mask"))
    two_sequences = row.get("grade") == "B"
    return maps_of_matched(post, target, mask > 0.5, two_sequences=two_sequences)


def read_axial(path: Path) -> FloatArray:
    """Return a scan as (slices to superior, rows to posterior, columns to the left), of 1 mm.

    Raises RequestError for a file that cannot be read.
    """
    try:
        image = sitk.ReadImage(str(path), sitk.sitkFloat32)
    except RuntimeError:
        raise RequestError(f"{path}: cannot be read as a scan. Is it there, and whole?") from None
    image = _of_1_mm(sitk.DICOMOrient(image, "LPS"))
    return np.asarray(sitk.GetArrayFromImage(image), dtype=np.float32)


def _of_1_mm(image: sitk.Image) -> sitk.Image:
    """Return an image with voxels of VOXEL_MM in the same field of view, interpolated linearly."""
    spacing = np.array(image.GetSpacing())
    if np.abs(spacing / VOXEL_MM - 1).max() < NEARLY:
        return image
    size = np.maximum(np.round(np.array(image.GetSize()) * spacing / VOXEL_MM), 1)
    # The outer faces of both grids meet, not the centres of their first voxels.
    first = 0.5 * VOXEL_MM / spacing - 0.5
    return sitk.Resample(
        image,
        [int(n) for n in size],
        sitk.Transform(),
        sitk.sitkLinear,
        image.TransformContinuousIndexToPhysicalPoint(first.tolist()),
        [VOXEL_MM] * 3,
        image.GetDirection(),
    )


def maps_of_pair(pre: FloatArray, post: FloatArray) -> FloatArray:
    """Return the MAPS of two skull-stripped scans on one grid of 1 mm, cut to the brain."""
    brain = largest_part((pre > 0) & (post > 0))
    box = _box_about(brain)
    brain, pre, post = brain[box], np.clip(pre[box], 0, None), np.clip(post[box], 0, None)
    post = post / post[brain].mean()
    matched = match_to_post(pre, post, brain)
    two_sequences = departure_of(matched, pre, post, brain) > MOST_CURVED
    return _labelled(post, matched.target, brain, two_sequences=two_sequences)


def maps_of_matched(
    post: FloatArray, target: FloatArray, mask: BoolArray, *, two_sequences: bool = False
) -> FloatArray:
    """Return the MAPS of a scan (k, j, i) of 1 mm and of its target, both in one unit.

    ``two_sequences`` says that the scans were made by two. ``mask`` is the brain; of it, what the
    post scan does not reach is left out. Raises ValueError where nothing is left.
    """
    brain = mask & ndimage.binary_fill_holes(mask & (post > 0))
    if not brain.any():
        raise ValueError("There is no voxel above 0 in the mask.")
    box = _box_about(brain)
    brain, target, post = brain[box], np.clip(target[box], 0, None), np.clip(post[box], 0, None)
    level = post[brain].mean()
    return _labelled(post / level, target / level, brain, two_sequences=two_sequences)


def _box_about(brain: BoolArray) -> tuple[slice, ...]:
    return tuple(
        slice(max(cut.start - MARGIN, 0), cut.stop + MARGIN)
        for cut in ndimage.find_objects(brain.astype(np.uint8))[0]
    )


def _labelled(
    post: FloatArray, target: FloatArray, brain: BoolArray, *, two_sequences: bool
) -> FloatArray:
    """Return the MAPS of images in means of the brain."""
    inside = ndimage.binary_erosion(brain)
    label = soft_uptake((post - target) * brain, range_of(target, inside)) * brain
    # In a pair of two sequences fluid and its edges rise, but stay darker than tissue.
    low, high = FLUID_EDGE if two_sequences else DARK
    label *= np.clip((post - low) / (high - low), 0, 1)
    return np.stack([post * brain, target * brain, label, lesions_of(label, post, brain), brain])


def largest_part(mask: BoolArray) -> BoolArray:
    """Return the largest connected part of a mask. Raises ValueError for an empty one."""
    labels, _ = ndimage.label(mask)
    counts = np.bincount(labels.ravel())
    counts[0] = 0
    if not counts.any():
        raise ValueError("There is no voxel above 0 in both scans.")
    return np.asarray(labels == counts.argmax())


def lesions_of(uptake: FloatArray, post: FloatArray, brain: BoolArray) -> FloatArray:
    """Return a soft mask of enhancing lesions and HALO voxels about them.

    Lesions are bright parts of the strong uptake that an opening leaves, nearly all of which lie
    below the surface of the brain: vessels are thin, and dura is at the surface. What a ring
    encloses in a slice belongs to it.
    """
    opened = ndimage.binary_opening(uptake > 0.9, iterations=2)
    labels, count = ndimage.label(opened)
    if not count:
        return np.zeros_like(uptake)
    depth = ndimage.distance_transform_edt(brain)
    numbers = np.arange(1, count + 1)
    sizes = np.bincount(labels.ravel())[1:]
    deep = ndimage.mean(depth > DEEP, labels, numbers)
    bright = ndimage.mean(post, labels, numbers)
    chosen = (sizes >= LEAST_LESION) & (deep > DEEP_SHARE) & (bright > BRIGHT)
    found = ndimage.binary_dilation(np.isin(labels, numbers[chosen]), iterations=2)
    for slice_ in found:
        slice_[...] = ndimage.binary_fill_holes(slice_)
    halo = ndimage.binary_dilation(found, iterations=HALO)
    return np.asarray(ndimage.gaussian_filter(halo.astype(np.float32), 1.2) * brain)
