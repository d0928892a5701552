"""The grid that a breast is painted on: millimetres, smooth random fields, soft layers.

Everything is a distance or a field in millimetres, so that the same seed gives the same
anatomy on any grid. Layers are painted one over the other with soft edges: a voxel at a
border holds some of both tissues.
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
"""Where the field of view begins, in LPS; the breastbone's skin is near 0, the back at 190."""

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

# A cubic B-spline of independent numbers has this variance along each axis.
SPLINE_VARIANCE = 0.4794


@dataclass(frozen=True)
class Space:
    """A grid with its LPS millimetres z, y, x, broadcastable to (k, j, i)."""

    grid: Grid
    z: FloatArray
    y: FloatArray
    x: FloatArray

    @classmethod
    def of(cls, size: tuple[int, int, int]) -> Space:
        """Return the field of view in ``size`` (i, j, k) voxels."""
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
        """The width over which a border is blurred: a voxel's mean edge."""
        return float(np.mean(self.grid.spacing_mm))

    def noise(self, rng: np.random.Generator, step_mm: float) -> FloatArray:
        """Return a random field of mean 0 and deviation 1, its features ``step_mm`` wide."""
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
        """Return the share of each voxel where a signed distance is positive."""
        share = np.clip(distance_mm / np.float32(self.edge_mm) + np.float32(0.5), 0, 1)
        return np.asarray(share, np.float32)


@dataclass
class Canvas:
    """The maps that layers are painted on, and the tissue that has most of each voxel."""

    tissue: NDArray[np.uint8]
    maps: dict[str, FloatArray]
    values: Mapping[int, Mapping[str, float]]

    @classmethod
    def empty(
        cls, shape: tuple[int, int, int], values: Mapping[int, Mapping[str, float]]
    ) -> Canvas:
        """Return a canvas that holds nothing but air."""
        maps = {name: np.full(shape, values[AIR][name], np.float32) for name in MAPS}
        return cls(np.zeros(shape, np.uint8), maps, values)

    def paint(self, tissue: int, share: Array, where: Any = ..., **changed: Any) -> None:
        """Lay ``tissue`` over what is there, with its ``share`` of the voxels at ``where``.

        ``changed`` replaces one of the tissue's values, by a number or a map. Relaxation rates
        mix by visible protons: suppressed fat leaves a voxel the rate of its water.
        """
        values = dict(self.values[tissue]) | changed
        below = self.maps["proton_density"][where]
        mixed = below + share * (np.asarray(values["proton_density"], np.float32) - below)
        protons = share * values["proton_density"] / np.maximum(mixed, np.float32(1e-6))
        for name, map_ in self.maps.items():
            part, weight = map_[where], protons if name in RATES else share
            part += weight * (np.asarray(values[name], np.float32) - part)
        self.tissue[where] = np.where(share > 0.5, np.uint8(tissue), self.tissue[where])
