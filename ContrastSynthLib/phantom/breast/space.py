"""The grid of a virtual breast, smooth random fields on it, and layers of tissue.

All distances and fields are in millimetres, so the same seed gives the same anatomy on any grid.
Layers are painted over one another with soft borders: a voxel at a border contains both tissues.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.volumes import FloatArray

Array = NDArray[Any]
Part = tuple[slice, slice, slice]

FIELD_OF_VIEW_MM = (333.0, 333.0, 150.0)
ANTERIOR_MM = -122.0
"""First y of the field of view, in LPS; the skin of the sternum is near 0, the back at 190."""

(AIR, SKIN, FAT, GLAND, MUSCLE, BLOOD, LUNG, MARROW, LESION, NECROSIS) = range(10)
TISSUE_NAMES = {
    AIR: "air",
    SKIN: "skin",
    FAT: "fat",
    GLAND: "gland",
    MUSCLE: "muscle",
    BLOOD: "blood",
    LUNG: "lung",
    MARROW: "marrow",
    LESION: "lesion",
    NECROSIS: "necrosis",
}

MAPS = ("r1_per_s", "r2_per_s", "proton_density", "ktrans_per_s", "ve", "vp")

RATES = ("r1_per_s", "r2_per_s")

# Variance per axis of a cubic B-spline with independent coefficients of variance 1.
SPLINE_VARIANCE = 0.4794


@dataclass(frozen=True)
class Space:
    """A grid with its LPS coordinates z, y, x in mm, broadcastable to (k, j, i)."""

    grid: Grid
    z: FloatArray
    y: FloatArray
    x: FloatArray

    @classmethod
    def of(cls, size: tuple[int, int, int]) -> Space:
        """Return the field of view with ``size`` (i, j, k) voxels."""
        spacing = np.array(FIELD_OF_VIEW_MM) / size
        centred = -np.array(FIELD_OF_VIEW_MM) / 2
        origin = np.array([centred[0], ANTERIOR_MM, centred[2]]) + spacing / 2
        x, y, z = (
            np.asarray(start + step * np.arange(n), np.float32)
            for start, step, n in zip(origin, spacing, size, strict=True)
        )
        grid = Grid(size, tuple(spacing.tolist()), tuple(origin.tolist()))
        return cls(grid, z[:, None, None], y[None, :, None], x[None, None, :])

    @property
    def edge_mm(self) -> float:
        """Mean edge length of a voxel: the width of soft borders."""
        return float(np.mean(self.grid.spacing_mm))

    def noise(self, rng: np.random.Generator, step_mm: float) -> FloatArray:
        """Return a random field (mean 0, standard deviation 1) with features of ``step_mm``."""
        from scipy.interpolate import BSpline

        counts = [int(np.ceil(extent / step_mm)) + 4 for extent in FIELD_OF_VIEW_MM[::-1]]
        values = rng.standard_normal(counts, dtype=np.float32)
        low = (-FIELD_OF_VIEW_MM[2] / 2, ANTERIOR_MM, -FIELD_OF_VIEW_MM[0] / 2)
        for axis, points in enumerate((self.z, self.y, self.x)):
            knots = low[axis] + step_mm * (np.arange(counts[axis] + 4) - 3.0)
            weights = BSpline.design_matrix(points.ravel().astype(float), knots, 3).toarray()
            values = np.tensordot(weights.astype(np.float32), values, (1, axis))
            values = np.moveaxis(values, 0, axis)
        return np.ascontiguousarray(values) / np.float32(SPLINE_VARIANCE**1.5)

    def inside(self, distance_mm: Array) -> FloatArray:
        """Return the share of each voxel inside a surface, from the distance, positive inside."""
        share = np.clip(distance_mm / np.float32(self.edge_mm) + np.float32(0.5), 0, 1)
        return np.asarray(share, np.float32)


@dataclass
class Canvas:
    """The maps on which layers are painted, and the tissue with the largest share of a voxel."""

    tissue: NDArray[np.uint8]
    maps: dict[str, FloatArray]
    values: Mapping[int, Mapping[str, float]]

    @classmethod
    def empty(
        cls, shape: tuple[int, int, int], values: Mapping[int, Mapping[str, float]]
    ) -> Canvas:
        """Return a canvas of air."""
        maps = {name: np.full(shape, values[AIR][name], np.float32) for name in MAPS}
        return cls(np.zeros(shape, np.uint8), maps, values)

    def paint(self, tissue: int, share: Array, where: Any = ..., **changed: Any) -> None:
        """Paint ``tissue`` at ``where``; ``share``, 0 to 1, is its share of each voxel.

        ``changed`` replaces values of the tissue by numbers or maps. Relaxation rates are averaged
        with the visible protons as weights: with suppressed fat a voxel has the rate of its water.
        """
        values = dict(self.values[tissue]) | changed
        below = self.maps["proton_density"][where]
        mixed = below + share * (np.asarray(values["proton_density"], np.float32) - below)
        protons = share * values["proton_density"] / np.maximum(mixed, np.float32(1e-6))
        for name, map_ in self.maps.items():
            part, weight = map_[where], protons if name in RATES else share
            part += weight * (np.asarray(values[name], np.float32) - part)
        self.tissue[where] = np.where(share > 0.5, np.uint8(tissue), self.tissue[where])
