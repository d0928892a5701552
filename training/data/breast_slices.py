"""Virtual breasts for SPHERE: slabs to fine-tune on, and scans to measure on. Table 4 of the paper.

A breast has three scans of one examination: ``post``, at one time after the contrast agent, the
same without agent (``unenhanced``: the same position, gain and noise), and ``pre``, which was
scanned before with noise of its own. What lies behind the sternum, heart and lungs, is left out, as
all that is not brain is of a head: agent in the heart would outweigh any lesion.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.phantom.breast.lesions import Scanner
from ContrastSynthLib.phantom.breast.patient import breast_patient, noise_deviation
from ContrastSynthLib.phantom.breast.space import AIR
from ContrastSynthLib.phantom.tissue import TISSUES
from ContrastSynthLib.volumes import BoolArray, FloatArray
from data.slabs import ROLES

SIZE = (256, 256, 60)
"""Voxels of 1.3 x 1.3 x 2.5 mm: no method resamples slices of such pixels."""
TIME_S = (70.0, 240.0)
"""Of the post scan, after the injection."""
SNR = (12.0, 35.0)
SLABS = 4
"""Of each patient."""
SLAB_MM = 32
LESION_SHARE = 0.6
"""Share of the slabs that lie about a lesion."""


@dataclass(frozen=True)
class BreastScans:
    """Scans of one patient on ``grid``, each (k, j, i), and the labels of ``lesions``.

    ``breast`` is the part of the body in front of the sternum. ``rise`` is what the agent adds to
    the signal without noise, in medians of it.
    """

    grid: Grid
    post: FloatArray
    unenhanced: FloatArray
    pre: FloatArray
    rise: FloatArray
    breast: BoolArray
    lesions: NDArray[np.uint8]


def breast_scans(seed: int, size: tuple[int, int, int] = SIZE) -> BreastScans:
    """Return the scans of the patient of a seed; the same seed gives the same bits."""
    rng = np.random.default_rng([seed, 3])
    times = (0.0, float(rng.uniform(*TIME_S)))
    patient = breast_patient(seed, size=size, times_s=times, snr=np.inf)
    scanner = Scanner(**patient.parameters["scanner"])
    sigma = noise_deviation(scanner, float(rng.uniform(*SNR)))
    before, after = (phase.array for phase in patient.phases)
    first, second = (sigma * rng.standard_normal((2, *before.shape), np.float32) for _ in range(2))
    grid = patient.phases[0].grid
    breast = patient.tissue != AIR
    breast[:, rows_in_front(grid) :] = False
    return BreastScans(
        grid,
        _rician(after, second),
        _rician(before, second),
        _rician(before, first),
        (after - before) / float(np.median(before[breast])),
        breast,
        patient.lesion_labels,
    )


def rows_in_front(grid: Grid) -> int:
    """Return how many rows of an axial grid lie in front of the sternum, whose skin is at y = 0."""
    return math.ceil(-grid.origin_mm[1] / grid.spacing_mm[1])


def _rician(image: FloatArray, noise: FloatArray) -> FloatArray:
    """Return the magnitude of an image with complex noise (2, k, j, i)."""
    return np.hypot(image + noise[0], noise[1])


def make_slabs(seed: int) -> Iterator[np.ndarray]:
    """Yield the slabs (roles, slices, rows, columns) of one patient, slices 1 mm apart."""
    scans = breast_scans(seed)
    rng = np.random.default_rng([seed, 4])
    spacing_mm = scans.grid.spacing_mm[2]
    depth_mm = (len(scans.post) - 1) * spacing_mm
    tumour = np.where(scans.lesions > 0, TISSUES["tumour"].label, 0)
    seen = (scans.post, scans.unenhanced, scans.pre, scans.pre, scans.breast, tumour)
    rows = rows_in_front(scans.grid)
    images = [(image * scans.breast)[:, :rows] for image in seen]
    in_lesions = np.flatnonzero(scans.lesions.any(axis=(1, 2)))
    for _ in range(SLABS):
        middle = rng.uniform(0, depth_mm)
        if len(in_lesions) and rng.random() < LESION_SHARE:
            middle = float(rng.choice(in_lesions)) * spacing_mm
        first = float(np.clip(middle - SLAB_MM / 2, 0, depth_mm - SLAB_MM))
        at = (first + np.arange(SLAB_MM)) / spacing_mm
        slab = np.stack([_between(image, at) for image in images])
        slab[ROLES.index("tissue")] = images[-1][np.round(at).astype(int)]
        yield slab.astype(np.float16)


def _between(image: NDArray[np.generic], at: FloatArray) -> FloatArray:
    """Return slices at positions between those of an image (k, j, i), interpolated linearly."""
    lower = np.floor(at).astype(int)
    share = (at - lower)[:, None, None]
    upper = np.minimum(lower + 1, len(image) - 1)
    return np.asarray(image[lower] * (1 - share) + image[upper] * share)
