"""The template of all virtual brains: the MNI152 tissue maps distributed with nilearn.

Only the files of nilearn are read; it is not imported. All maps are in MNI space, with voxels of 1
mm, indexed (k, j, i) with i to the patient's right, j anterior and k superior.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy.ndimage import (
    distance_transform_edt,
    gaussian_filter,
    gaussian_filter1d,
    map_coordinates,
)

from ContrastSynthLib.errors import MissingError
from ContrastSynthLib.volumes import BoolArray, FloatArray

FILE_NAME = "mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
ORIGIN_MM = np.array([-72.0, -134.0, -98.0], dtype=np.float32)
"""Position of the maps' first voxel, (z, y, x) in RAS mm."""

# Intensities of nearly pure grey matter and CSF in the T1 template.
GREY_LEVEL, CSF_LEVEL = 166.0, 69.0
COARSE_MM = 3
SHARPENED_MM = 3.0
CLOSING_MM = 12
FARTHEST_MM = 60.0

# Corners of the box in which deep CSF is ventricle, not sulcus or cistern; (z, y, x) in mm.
VENTRICLES_LOW_MM, VENTRICLES_HIGH_MM = (-10, -58, -38), (32, 42, 38)

MIDLINE_APEX_MM, LATERAL_HEIGHT_MM = 9.0, -25.0
"""Heights z of the tentorium at the midline and at the sides."""


@dataclass(frozen=True)
class Template:
    """Maps of the MNI152 brain, float32.

    ``whiteness`` is about 1 in white and -1 in grey matter, ``fluid`` about 1 in CSF and 0 in
    tissue. Both are sharpened, because the average of many brains is blurred. ``folding`` is 1
    where this average contains no sulci. ``depth_mm`` is the distance to the hull of the brain
    (with closed sulci), positive inside. ``ventricle_mm`` is the distance to the ventricles.
    ``tentorium_mm`` (j, i) is the height z of the tentorium.
    """

    whiteness: FloatArray
    fluid: FloatArray
    folding: FloatArray
    depth_mm: FloatArray
    ventricle_mm: FloatArray
    tentorium_mm: FloatArray

    def sample(self, name: str, points_mm: NDArray[np.floating]) -> FloatArray:
        """Return the values (n,) of the map ``name`` at points (3, n), (z, y, x) in mm."""
        where = points_mm - ORIGIN_MM[:, None]
        found = map_coordinates(
            getattr(self, name), where, order=1, mode="nearest", output=np.float32
        )
        return np.asarray(found)

    def tentorium_at(self, y_mm: FloatArray, x_mm: FloatArray) -> FloatArray:
        """Return the height of the tentorium in mm at y and x, of the same shape."""
        where = np.stack([y_mm - ORIGIN_MM[1], x_mm - ORIGIN_MM[2]])
        height = map_coordinates(
            self.tentorium_mm, where, order=1, mode="nearest", output=np.float32
        )
        return np.asarray(height)

    def gradient(self, name: str, points_mm: NDArray[np.floating], step_mm: float) -> FloatArray:
        """Return the gradient (n, 3) per mm of a map at points (n, 3)."""
        slopes = []
        for axis in range(3):
            shift = np.zeros(3)
            shift[axis] = step_mm
            ahead, behind = (self.sample(name, (points_mm + s).T) for s in (shift, -shift))
            slopes.append((ahead - behind) / (2 * step_mm))
        return np.stack(slopes, axis=-1)


@lru_cache(maxsize=1)
def brain_template() -> Template:
    """Return the template: the maps are read and computed once per process, in about 2 s.

    Raises MissingError when nilearn, which contains the maps, is not installed.
    """
    t1, grey, white = (_read(name) for name in ("t1", "gm", "wm"))
    grey, white = grey / np.float32(254), white / np.float32(254)
    darkness = np.clip((GREY_LEVEL - t1) / (GREY_LEVEL - CSF_LEVEL), 0, 1)
    head = t1 > 0
    fluid = np.where(head, np.maximum(0.5 * darkness, 1 - np.minimum(grey + white, 1)), 1.0)
    fluid = np.asarray(fluid, dtype=np.float32)
    depth = _depth(head)
    return Template(
        whiteness=_sharpened(white - grey, 1.5),
        fluid=_sharpened(fluid, 1.0),
        folding=_folding(white - grey, fluid, depth),
        depth_mm=depth,
        ventricle_mm=_ventricle_distance(fluid, depth),
        tentorium_mm=_tentorium(fluid, depth),
    )


def _sharpened(values: FloatArray, amount: float) -> FloatArray:
    blurred = gaussian_filter(values, SHARPENED_MM)
    return np.asarray(values + np.float32(amount) * (values - blurred), dtype=np.float32)


def _folding(whiteness: FloatArray, fluid: FloatArray, depth_mm: FloatArray) -> FloatArray:
    """Return 1 in thick grey matter near the surface of the cerebrum, where sulci are missing."""
    thick = np.clip((-gaussian_filter(whiteness, 4) - 0.35) / 0.25, 0, 1)
    thick *= np.clip((20 - depth_mm) / 6, 0, 1) * np.clip(
        2.5 - 10 * gaussian_filter(fluid, 1), 0, 1
    )
    z, y, _ = (low + np.arange(n) for low, n in zip(ORIGIN_MM, fluid.shape, strict=True))
    cerebrum = (z[:, None] > -24) | (y > -25)
    folding = np.asarray(thick * cerebrum[..., None], dtype=np.float32)
    return np.asarray(gaussian_filter(folding, 1))


def _read(name: str) -> FloatArray:
    spec = find_spec("nilearn")
    folders = list(spec.submodule_search_locations or []) if spec else []
    paths = [Path(folder) / "datasets" / "data" / FILE_NAME.format(name) for folder in folders]
    found = [path for path in paths if path.is_file()]
    if not found:
        raise MissingError(
            "Virtual brains need the MNI152 tissue maps of nilearn, which is not "
            "installed. Install the extra: pip install 'contrastsynth[phantom]'."
        )
    return np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(str(found[0]))), dtype=np.float32)


def _depth(head: BoolArray) -> FloatArray:
    """Return the distance to the hull of the brain (with closed sulci), positive inside."""
    coarse = np.pad(head[::COARSE_MM, ::COARSE_MM, ::COARSE_MM], CLOSING_MM // COARSE_MM)
    reach = distance_transform_edt(~coarse) * COARSE_MM <= CLOSING_MM
    # The template ends in the neck; its last slice is not a surface.
    reach[: CLOSING_MM // COARSE_MM] = reach[CLOSING_MM // COARSE_MM]
    hull = distance_transform_edt(reach) * COARSE_MM > CLOSING_MM
    distance = distance_transform_edt(hull) - distance_transform_edt(~hull)
    distance = gaussian_filter(distance - 0.5 * np.sign(distance), 0.7) * COARSE_MM
    inner = (slice(CLOSING_MM // COARSE_MM, -(CLOSING_MM // COARSE_MM)),) * 3
    return _refine(distance[inner].astype(np.float32), head.shape)


def _ventricle_distance(fluid: FloatArray, depth_mm: FloatArray) -> FloatArray:
    """Return the distance to CSF deep in the brain, at most FARTHEST_MM."""
    low, high = (np.array(corner) - ORIGIN_MM for corner in (VENTRICLES_LOW_MM, VENTRICLES_HIGH_MM))
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    ventricles = np.zeros(fluid.shape, bool)
    ventricles[box] = (fluid[box] > 0.6) & (depth_mm[box] > 22)
    coarse = ventricles[::COARSE_MM, ::COARSE_MM, ::COARSE_MM]
    distance = np.minimum(distance_transform_edt(~coarse) * COARSE_MM, FARTHEST_MM)
    return _refine(distance.astype(np.float32), fluid.shape)


def _tentorium(fluid: FloatArray, depth_mm: FloatArray) -> FloatArray:
    """Return the height (y, x) of the tentorium, the dark sheet between cerebrum and cerebellum.

    A simple surface that descends from the midline to the sides; it is moved to the darkest voxel
    within 9 mm.
    """
    z, y, x = (low + np.arange(n) for low, n in zip(ORIGIN_MM, fluid.shape, strict=True))
    apex = np.where(y > -48, MIDLINE_APEX_MM, MIDLINE_APEX_MM + 0.85 * (y + 48))
    aside = np.clip(1 - np.abs(x) / 52, 0, 1) ** 1.3
    surface = LATERAL_HEIGHT_MM + (np.maximum(apex, -24)[:, None] - LATERAL_HEIGHT_MM) * aside
    rows = slice(int(-105 - ORIGIN_MM[1]), int(-15 - ORIGIN_MM[1]))
    heights = z[:, None, None]
    cost = gaussian_filter(fluid[:, rows], 1.0) - ((heights - surface[rows]) / 9.0) ** 2
    cost[depth_mm[:, rows] < -1] = -9.0
    found = z[np.argmax(cost, axis=0)]
    surface[rows] = np.where(np.abs(found - surface[rows]) <= 9, found, surface[rows])
    smooth = gaussian_filter1d(gaussian_filter1d(surface, 2.5, axis=0), 2.5, axis=1)
    return np.asarray(smooth, dtype=np.float32)


def _refine(coarse: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """Interpolate a coarse map linearly onto the fine grid, one axis after the other."""
    for axis, count in enumerate(shape):
        where = np.minimum(np.arange(count) / COARSE_MM, coarse.shape[axis] - 1)
        below = np.minimum(where.astype(int), coarse.shape[axis] - 2)
        share = (where - below).astype(np.float32)
        share = share.reshape([-1 if a == axis else 1 for a in range(coarse.ndim)])
        lower, upper = np.take(coarse, below, axis), np.take(coarse, below + 1, axis)
        coarse = lower + (upper - lower) * share
    return np.ascontiguousarray(coarse, dtype=np.float32)
