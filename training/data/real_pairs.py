"""Pairs of real scans to learn from: read from a table, matched, labelled, and kept on the disk.

A folder of pairs holds ``cases.json``, which gives the files of ``pre`` and ``post`` of each case,
relative to the folder of that name, and may hold ``index.csv`` with ``case``, ``patient``,
``grade``, ``median_difference``. Scans of a pair lie on one grid of 1 mm and are skull-stripped.
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

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.volumes import BoolArray, FloatArray
from data.matched import DARK, match_to_post, range_of, soft_uptake

MAPS = ("post", "target", "uptake", "lesion", "brain")
"""What is kept of a pair, in this order, half precision: see :class:`RealPair`."""
MARGIN = 4
WORST_DIFFERENCE = 0.06
"""Pairs whose scans differ by more where nothing enhances, in means of the brain, are left out."""
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
    folder: Path, same_patient: Iterable[Sequence[str]] = ()
) -> dict[str, dict[str, str]]:
    """Return ``pre``, ``post`` and ``patient`` of each case of a folder of pairs, by its name.

    Each of ``same_patient`` is a group of cases that are dates of one patient. Cases without both
    scans, and those whose ``median_difference`` exceeds WORST_DIFFERENCE, are left out. Raises
    RequestError when the table is missing or names an unknown case.
    """
    try:
        cases = json.loads((folder / "cases.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RequestError(f"{folder / 'cases.json'}: is no table of cases ({error}).") from None
    known = _index(folder / "index.csv")
    groups = {case: min(group) for group in same_patient for case in group}
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
        scans = {role: str(folder / case / files[role]) for role in ("pre", "post")}
        found[case] = {**scans, "patient": patient}
    return found


def _index(path: Path) -> dict[str, dict[str, str]]:
    if not path.exists():
        return {}
    with open(path, newline="", encoding="utf-8") as file:
        return {row["case"]: row for row in csv.DictReader(file)}


def held_out(patients: Iterable[str], count: int, seed: int = 0) -> set[str]:
    """Return ``count`` patients to choose checkpoints by: the first by a hash of their names.

    Nothing but the names and the seed decides, so that the choice cannot depend on any result.
    """

    def place(patient: str) -> str:
        return hashlib.sha256(f"{seed}:{patient}".encode()).hexdigest()

    return set(sorted(set(patients), key=place)[:count])


def prepare_pairs(table: Mapping[str, Mapping[str, str]], out: Path) -> list[RealPair]:
    """Return the pairs of a table; the maps of those that are not in ``out`` yet are made."""
    out.mkdir(parents=True, exist_ok=True)
    pairs = []
    for case, row in table.items():
        path = out / f"{case}.npy"
        if not path.exists():
            maps = maps_of_pair(read_axial(Path(row["pre"])), read_axial(Path(row["post"])))
            with open(path.with_suffix(".part"), "wb") as file:
                np.save(file, maps.astype(np.float16))
            os.replace(path.with_suffix(".part"), path)
            print(f"{case}: matched", flush=True)
        pairs.append(RealPair(case, row["patient"], path))
    return pairs


def read_axial(path: Path) -> FloatArray:
    """Return a scan as (slices to superior, rows to posterior, columns to the left)."""
    image = sitk.DICOMOrient(sitk.ReadImage(str(path), sitk.sitkFloat32), "LPS")
    return np.asarray(sitk.GetArrayFromImage(image), dtype=np.float32)


def maps_of_pair(pre: FloatArray, post: FloatArray) -> FloatArray:
    """Return the MAPS of two skull-stripped scans on one grid of 1 mm, cut to the brain."""
    brain = largest_part((pre > 0) & (post > 0))
    box = tuple(
        slice(max(cut.start - MARGIN, 0), cut.stop + MARGIN)
        for cut in ndimage.find_objects(brain.astype(np.uint8))[0]
    )
    brain, pre, post = brain[box], np.clip(pre[box], 0, None), np.clip(post[box], 0, None)
    post = post / post[brain].mean()
    target = match_to_post(pre, post, brain).target
    inside = ndimage.binary_erosion(brain)
    label = soft_uptake((post - target) * brain, range_of(target, inside)) * brain
    # In a pair of two sequences fluid rises, but stays dark.
    label *= np.clip((post - DARK[0]) / (DARK[1] - DARK[0]), 0, 1)
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
