"""Boxes in the patient's space, and smooth random fields that do not depend on the box.

A field is a cubic B-spline on a lattice that covers the whole head. A slab of slices and the whole
volume evaluate the same lattice, so both show the same patient.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.volumes import FloatArray

LATTICE_LOW_MM = np.array([-104.0, -150.0, -120.0])
LATTICE_HIGH_MM = np.array([120.0, 120.0, 110.0])
"""First and last point of every lattice, (z, y, x) in RAS millimetres of the MNI space."""


@dataclass(frozen=True)
class Box:
    """An axis-parallel grid, as the RAS coordinates in mm of its slices, rows and columns.

    Rows run to the posterior and columns to the left, as in an axial DICOM series.
    """

    z_mm: FloatArray
    y_mm: FloatArray
    x_mm: FloatArray

    @classmethod
    def centred(
        cls, size: tuple[int, int, int], spacing_mm: float, centre_mm: tuple[float, float, float]
    ) -> Box:
        """Return the box of ``size`` (i, j, k) centred at ``centre_mm`` (R, A, S)."""
        steps = [(np.arange(n) - (n - 1) / 2) * spacing_mm for n in size]
        x, y, z = (
            np.asarray(centre + sign * step, dtype=np.float32)
            for centre, sign, step in zip(centre_mm, (-1, -1, 1), steps, strict=True)
        )
        return cls(z, y, x)

    @property
    def axes(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Coordinates in mm along z, y and x, the order of the array's indices."""
        return self.z_mm, self.y_mm, self.x_mm

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of an array on this box, (k, j, i)."""
        return len(self.z_mm), len(self.y_mm), len(self.x_mm)

    @property
    def spacing_mm(self) -> float:
        """Edge length of a voxel; boxes are isotropic."""
        return float(self.y_mm[0] - self.y_mm[1])

    @property
    def grid(self) -> Grid:
        """The box as the grid of a volume."""
        edge = self.spacing_mm
        k, j, i = self.shape
        # The origin is in LPS: x grows to the left, y to the posterior.
        first = (-float(self.x_mm[0]), -float(self.y_mm[0]), float(self.z_mm[0]))
        return Grid(size=(i, j, k), spacing_mm=(edge, edge, edge), origin_mm=first)

    def mesh(self) -> list[FloatArray]:
        """Return z, y and x in mm, broadcastable to the shape of the box."""
        return list(np.meshgrid(*self.axes, indexing="ij", sparse=True))

    def around(self, low_mm: ArrayLike, high_mm: ArrayLike) -> tuple[slice, slice, slice]:
        """Return the slices of the box between two corners (z, y, x) in mm; empty if outside."""
        cuts = []
        for axis, low, high in zip(self.axes, np.asarray(low_mm), np.asarray(high_mm), strict=True):
            inside = np.flatnonzero((axis >= low) & (axis <= high))
            cuts.append(slice(inside[0], inside[-1] + 1) if inside.size else slice(0, 0))
        return cuts[0], cuts[1], cuts[2]

    def part(self, cut: tuple[slice, slice, slice]) -> Box:
        """Return the part of the box with the slices of :meth:`around`."""
        return Box(*(axis[piece] for axis, piece in zip(self.axes, cut, strict=True)))


@dataclass(frozen=True)
class Spline:
    """A field with c components: cubic B-spline coefficients (c, z, y, x) every ``step_mm``."""

    coefficients: FloatArray
    step_mm: float

    def on(self, box: Box) -> FloatArray:
        """Return the field on a box, shape (c, k, j, i), float32."""
        field = self.coefficients
        for axis, (points, low) in enumerate(zip(box.axes, LATTICE_LOW_MM, strict=True), start=1):
            weights = _weights((points - low) / self.step_mm, field.shape[axis])
            field = np.moveaxis(np.tensordot(weights, field, (1, axis)), 0, axis)
        return np.ascontiguousarray(field, dtype=np.float32)

    def at(self, points_mm: NDArray[np.floating]) -> FloatArray:
        """Return the field at points (n, 3), (z, y, x) in mm, shape (n, c)."""
        where = ((points_mm - LATTICE_LOW_MM) / self.step_mm).T
        values = [
            map_coordinates(c, where, order=3, prefilter=False, mode="nearest", output=np.float32)
            for c in self.coefficients
        ]
        return np.stack(values, axis=-1)


def lattice_shape(step_mm: float) -> tuple[int, int, int]:
    """Return the number of coefficients of a lattice along z, y and x."""
    k, j, i = (int(n) for n in np.ceil((LATTICE_HIGH_MM - LATTICE_LOW_MM) / step_mm) + 1)
    return k, j, i


def lattice_points(step_mm: float) -> list[FloatArray]:
    """Return z, y and x in mm of a lattice's coefficients, broadcastable."""
    axes = [
        np.asarray(low + step_mm * np.arange(n), dtype=np.float32)
        for low, n in zip(LATTICE_LOW_MM, lattice_shape(step_mm), strict=True)
    ]
    return list(np.meshgrid(*axes, indexing="ij", sparse=True))


def random_spline(
    rng: np.random.Generator, step_mm: float, smoothness_mm: float = 0.0, components: int = 1
) -> Spline:
    """Return a random field with mean 0 and a standard deviation of about 1.

    Its features have a width of about ``step_mm``, or, if given, the sigma ``smoothness_mm`` of a
    Gaussian.
    """
    shape = (components, *lattice_shape(step_mm))
    coefficients = rng.standard_normal(shape, dtype=np.float32)
    if smoothness_mm:
        sigma = (0.0, *[smoothness_mm / step_mm] * 3)
        coefficients = gaussian_filter(coefficients, sigma, mode="nearest")
        coefficients /= coefficients.std(axis=(1, 2, 3), keepdims=True)
        return Spline(coefficients, step_mm)
    # A cubic B-spline with independent coefficients of variance 1 has a variance of 0.479 per axis.
    return Spline(coefficients / np.float32(0.479**1.5), step_mm)


def _weights(positions: FloatArray, count: int) -> FloatArray:
    """Return the matrix (points, count) of cubic B-spline weights; the ends are repeated."""
    inside = np.clip(positions, 0.0, count - 1.0)
    base = np.floor(inside).astype(int)
    t = (inside - base).astype(np.float32)
    pieces = (
        (1 - t) ** 3 / 6,
        (3 * t**3 - 6 * t**2 + 4) / 6,
        (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6,
        t**3 / 6,
    )
    matrix = np.zeros((len(inside), count), np.float32)
    rows = np.arange(len(inside))
    for offset, piece in zip((-1, 0, 1, 2), pieces, strict=True):
        np.add.at(matrix, (rows, np.clip(base + offset, 0, count - 1)), piece)
    return matrix
