"""Checks that no patient is in two splits, under one name or two.

A network that was trained on a patient does too well on that patient in a test ("leakage"). A name
may be written in two ways, and the same scan may be in a table under two names: as the same voxels,
or resampled, shifted by a voxel, or stored again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import find_objects

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.volumes import BoolArray, FloatArray, Volume

# Blocks along each axis of the brain's box by which images are compared, and from which
# correlation on they count as one. Real brains of one template came to 0.94 at most, a brain
# with noise of a tenth of its median, or shifted by a voxel, to more than 0.9999.
COARSE_BLOCKS = 12
SAME_IMAGE = 0.999


@dataclass(frozen=True)
class Look:
    """What a case looks like: hashes of the voxels of its scans, and thumbnails of both."""

    case: str
    patient: str
    voxels: frozenset[str]
    thumbnails: tuple[FloatArray, FloatArray]

    @classmethod
    def at(
        cls,
        case: str,
        patient: str,
        scans: Iterable[Volume],
        images: Iterable[FloatArray],
        brain: BoolArray,
    ) -> Look:
        """Return the look of pre and post: ``scans`` as read, ``images`` (k, j, i) aligned."""
        # Without the grid: the same voxels under another header are the same patient.
        digests = (hashlib.sha256(scan.array.tobytes()).hexdigest() for scan in scans)
        before, after = (thumbnail(image, brain) for image in images)
        return cls(case, patient, frozenset(digests), (before, after))


def refuse_leakage(new: Look, others: Iterable[Look]) -> None:
    """Raise RequestError, which names both cases, when another patient has the same images."""
    for old in others:
        same = bool(new.voxels & old.voxels)
        alike = max(float(a @ b) for a, b in zip(new.thumbnails, old.thumbnails, strict=True))
        if new.patient != old.patient and (same or alike > SAME_IMAGE):
            found = "hold the same voxels" if same else f"look alike (correlation {alike:.5f})"
            raise RequestError(
                f"The cases '{old.case}' and '{new.case}' {found}, but are of the patients "
                f"'{old.patient}' and '{new.patient}'. One patient must have one name, or "
                "training sees what it is tested on."
            )


def thumbnail(image: FloatArray, brain: BoolArray) -> FloatArray:
    """Return means over blocks of the brain's box, centred and of length 1, flat.

    The product of two of them is the correlation of the images, whatever their grids.
    """
    (box,) = find_objects(brain.astype(np.uint8))
    small = np.where(brain, image, 0)[box].astype(np.float64)
    for axis in range(3):
        edges = np.linspace(0, small.shape[axis], COARSE_BLOCKS, endpoint=False).astype(int)
        sums = np.add.reduceat(small, edges, axis=axis)
        widths = np.maximum(np.diff([*edges, small.shape[axis]]), 1)
        small = sums / np.expand_dims(widths, [other for other in range(3) if other != axis])
    flat = small.ravel() - small.mean()
    return np.asarray(flat / np.linalg.norm(flat), dtype=np.float32)


def refuse_names_alike(rows: Iterable[Mapping[str, str]]) -> None:
    """Raise RequestError for patients whose names differ in capitals or spaces only."""
    written: dict[str, str] = {}
    for row in rows:
        name = row["patient"]
        first = written.setdefault("".join(name.split()).casefold(), name)
        if first != name:
            raise RequestError(
                f"The patients '{first}' and '{name}' differ in capitals or spaces only. Write "
                "the name of a patient the same way in each row."
            )


def refuse_two_splits(cases: Mapping[str, Any]) -> None:
    """Raise RequestError, which names both cases, for a patient in two splits."""
    first: dict[int, str] = {}
    for name, entry in cases.items():
        other = first.setdefault(entry["patient"], name)
        if cases[other]["split"] != entry["split"]:
            raise RequestError(
                f"The cases '{other}' ({cases[other]['split']}) and '{name}' "
                f"({entry['split']}) are of one patient. A patient belongs to one split."
            )
