"""A simple skull-stripped brain made of ellipsoids, quick to compute: sample data and tests.

It has grey and white matter, ventricles, vessels, a ring-enhancing and a solid lesion. All images
are computed from maps of T1, proton density and gadolinium by SPHERE, eq. 1 and 7.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter

from ContrastSynthLib.acquisition import Acquisition
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.phantom.corruption import corrupt
from ContrastSynthLib.physics import r1_with_agent, relaxivity, spgr_signal
from ContrastSynthLib.physics.constants import (
    DEFAULT_AGENT,
    DEFAULT_FIELD_STRENGTH_T,
    STANDARD_DOSE_MMOL_PER_KG,
)
from ContrastSynthLib.volumes import BoolArray, Volume

# T1 in s at 3 T, and proton density relative to water. Stanisz et al., Magn Reson Med
# 2005;54:507-512 for white matter, grey matter and blood; Rooney et al., Magn Reson Med
# 2007;57:308-318 for CSF. Tumour: our choice, between grey matter and CSF.
WHITE, GREY, CSF, BLOOD, TUMOUR, NECROSIS = range(1, 7)
T1_S = {WHITE: 0.95, GREY: 1.45, CSF: 4.0, BLOOD: 1.8, TUMOUR: 1.6, NECROSIS: 2.4}
PROTON_DENSITY = {WHITE: 0.7, GREY: 0.82, CSF: 1.0, BLOOD: 0.85, TUMOUR: 0.88, NECROSIS: 0.95}
# mmol/l of tissue some minutes after the standard dose of gadoterate: our choice.
CONCENTRATION = {WHITE: 0.01, GREY: 0.02, CSF: 0.0, BLOOD: 0.7, TUMOUR: 0.45, NECROSIS: 0.02}
AGENT, FIELD_T = DEFAULT_AGENT, DEFAULT_FIELD_STRENGTH_T
REPETITION_TIME_S, FLIP_ANGLE_DEG = 0.0082, 16.0
WATER_SIGNAL = 8000.0
"""Signal of water with a gain and a relaxation factor of 1, in arbitrary units."""
MOTION = {"type": "motion", "motion_mm": 4.0}
SPAN_MM = 192.0
"""Width of the grid from right to left."""


@dataclass(frozen=True)
class SamplePatient:
    """Scans by role (``pre``, ``low`` at 0.33 of the dose, ``post``, ``corrupted``) and true maps.

    ``tissue`` holds labels, 0 outside the brain; all maps are (k, j, i).
    """

    scans: dict[str, Volume]
    tissue: NDArray[np.uint8]
    brain: BoolArray
    concentration_mmol_per_l: NDArray[np.float64]


def sample_patient(
    seed: int = 0, size: tuple[int, int, int] = (128, 152, 104), snr: float = 40.0
) -> SamplePatient:
    """Return a patient on a grid of ``size`` (i, j, k) that spans 192 x 228 x 156 mm.

    ``snr`` is the signal of white matter divided by the standard deviation of the Rician noise.
    Each scan has its own gain and shading. The same seed gives the same bits.
    """
    rng = np.random.default_rng(seed)
    grid = _grid(size)
    tissue = _tissue(grid, rng)
    t1_s, density, concentration = (
        np.array([fill, *table.values()])[tissue]
        for fill, table in ((1.0, T1_S), (0.0, PROTON_DENSITY), (0.0, CONCENTRATION))
    )
    r1_of_agent = relaxivity(AGENT, FIELD_T)
    scans = {}
    for role, dose, gain in (("pre", 0.0, 1.0), ("low", 0.33, 1.05), ("post", 1.0, 1.1)):
        r1 = r1_with_agent(1.0 / t1_s, dose * concentration, r1_of_agent)
        signal = WATER_SIGNAL * gain * density * _spgr(r1)
        noise = WATER_SIGNAL * gain * PROTON_DENSITY[WHITE] * _spgr(1.0 / T1_S[WHITE]) / snr
        real, imaginary = rng.normal(0.0, noise, (2, *grid.shape))
        image = np.hypot(signal * _shading(grid, rng) + real, imaginary)
        scans[role] = Volume(np.where(tissue > 0, image, 0.0), grid, _acquisition(dose))
    pre = scans["pre"]
    moved = corrupt(pre.array, MOTION, np.random.default_rng([seed, 1]), pixel_mm=SPAN_MM / size[0])
    scans["corrupted"] = pre.with_array(np.where(tissue > 0, moved, np.float32(0)))
    return SamplePatient(scans, tissue, tissue > 0, concentration)


def _spgr(r1_per_s: Any) -> Any:
    return spgr_signal(r1_per_s, repetition_time_s=REPETITION_TIME_S, flip_angle_deg=FLIP_ANGLE_DEG)


def _acquisition(dose: float) -> Acquisition:
    return Acquisition(
        repetition_time_s=REPETITION_TIME_S,
        flip_angle_deg=FLIP_ANGLE_DEG,
        field_strength_t=FIELD_T,
        agent=AGENT if dose else None,
        dose_mmol_per_kg=STANDARD_DOSE_MMOL_PER_KG * dose if dose else None,
    )


def _grid(size: tuple[int, int, int]) -> Grid:
    """Return a slightly oblique grid centred on the origin."""
    angle = np.deg2rad(6.0)
    turn = np.array(
        [
            [1, 0, 0],
            [0, np.cos(angle), -np.sin(angle)],
            [0, np.sin(angle), np.cos(angle)],
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = turn * (np.array([SPAN_MM, 228.0, 156.0]) / np.array(size))
    matrix[:3, 3] = -matrix[:3, :3] @ ((np.array(size) - 1) / 2)
    return Grid.from_index_to_lps(size, matrix)


def _tissue(grid: Grid, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the label of every voxel; 0 is outside the brain."""
    points = grid.ras_from_index(np.moveaxis(np.indices(grid.shape), 0, -1))
    tissue = np.zeros(grid.shape, np.uint8)
    brain = _inside(points, (0, 0, 0), (68, 86, 60))
    tissue[brain] = CSF
    # Smooth noise makes the borders between CSF, cortex and white matter irregular.
    depth = distance_transform_edt(brain, sampling=grid.spacing_mm[::-1])
    smooth = gaussian_filter(rng.normal(size=grid.shape), 3.5 / np.array(grid.spacing_mm[::-1]))
    sulci = np.abs(smooth / smooth.std())
    tissue[brain & (depth > 1.5) & (sulci > 0.14 * (depth < 16))] = GREY
    tissue[brain & (depth > 5) & (sulci > np.where(depth < 18, 0.75, 0.0))] = WHITE
    for side in (-1, 1):
        tissue[_inside(points, (side * 24, 6, -2), (8, 14, 10))] = GREY
        tissue[_inside(points, (side * 11, 4, 12), (6, 30, 9))] = CSF
        tissue[_tube(points, (side * 10, 50, 0), (side * 52, 10, -8), 1.8)] = BLOOD
    tissue[brain & _tube(points, (0, -84, -10), (0, 40, 58), 3.0)] = BLOOD
    lesion = np.array([30.0, -22.0, 22.0]) + rng.uniform(-6, 6, 3)
    tissue[_inside(points, lesion, (17, 20, 16))] = TUMOUR
    tissue[_inside(points, lesion + np.array([1.0, 2.0, 0.0]), (11, 13, 10))] = NECROSIS
    nodule = np.array([-34.0, 24.0, 20.0]) + rng.uniform(-4, 4, 3)
    tissue[_inside(points, nodule, (6, 6, 6))] = TUMOUR
    tissue[~brain] = 0
    return tissue


def _inside(points: NDArray[np.float64], centre: object, radii: object) -> BoolArray:
    scaled = (points - np.asarray(centre, dtype=float)) / np.asarray(radii, dtype=float)
    return np.asarray((scaled**2).sum(axis=-1) <= 1.0)


def _tube(points: NDArray[np.float64], start: object, end: object, radius: float) -> BoolArray:
    first, last = np.asarray(start, dtype=float), np.asarray(end, dtype=float)
    along = last - first
    share = np.clip((points - first) @ along / (along @ along), 0.0, 1.0)
    return np.asarray(np.linalg.norm(points - first - share[..., None] * along, axis=-1) <= radius)


def _shading(grid: Grid, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a smooth field around 1: the shading of a receive coil."""
    slopes = rng.uniform(-0.04, 0.04, 3)
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in grid.shape), indexing="ij", sparse=True)
    return np.asarray(1.0 + sum(slope * axis for slope, axis in zip(slopes, axes, strict=True)))
