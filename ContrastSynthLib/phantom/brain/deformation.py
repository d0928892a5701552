"""Deformation of a patient's brain: pose, size, random warps, ventricles, mass effect of lesions.

Points are (z, y, x) RAS millimetres. The transform maps points of the patient to the template, so
that every voxel of the patient has a value; :meth:`Deformation.from_template` inverts it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from ContrastSynthLib.phantom.brain.fields import (
    Box,
    Spline,
    lattice_points,
    lattice_shape,
    random_spline,
)
from ContrastSynthLib.phantom.brain.template import Template
from ContrastSynthLib.volumes import FloatArray

CENTRE_MM = np.array([5.0, -18.0, 0.0])
"""Centre of the head, about which it rotates and scales."""
LATTICE_MM = 6.0
"""Spacing of the coefficients of the displacement."""
WARPS_MM = (28, 12, 6)
"""Widths of the random warps."""
SMALLEST_JACOBIAN = 0.2
"""Minimum of the determinant of the Jacobian; stronger warps are reduced until it is reached."""
VENTRICLE_REACH_MM = 14.0
"""Distance from the ventricles over which their enlargement decreases."""


@dataclass(frozen=True)
class Deformation:
    """The map template = matrix (p - CENTRE_MM) + CENTRE_MM + displacement(p)."""

    matrix: NDArray[np.float64]
    displacement: Spline

    def on(self, box: Box) -> FloatArray:
        """Return the position in the template of each voxel of a box, (3, k, j, i) mm."""
        mesh = [axis - c for axis, c in zip(box.mesh(), CENTRE_MM, strict=True)]
        places = self.displacement.on(box)
        for component, row in enumerate(self.matrix.astype(np.float32)):
            for weight, axis in zip(row, mesh, strict=True):
                places[component] += weight * axis
            places[component] += np.float32(CENTRE_MM[component])
        return places

    def at(self, points_mm: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the positions in the template of points (n, 3) of the patient."""
        moved = (points_mm - CENTRE_MM) @ self.matrix.T + CENTRE_MM
        return np.asarray(moved + self.displacement.at(points_mm))

    def from_template(self, points_mm: NDArray[np.floating], rounds: int = 12) -> FloatArray:
        """Return the patient's points (n, 3) of points of the template, found iteratively."""
        back = np.linalg.inv(self.matrix)
        wanted = np.asarray(points_mm, dtype=np.float64)
        points = (wanted - CENTRE_MM) @ back.T + CENTRE_MM
        for _ in range(rounds):
            points = points + 0.9 * (wanted - self.at(points)) @ back.T
        return np.asarray(points, dtype=np.float32)

    def jacobian(self, box: Box) -> FloatArray:
        """Return the determinant of the Jacobian on a box; it is negative where the map folds."""
        places = self.on(box)
        axes = [axis.astype(np.float64) for axis in box.axes]
        slopes = np.stack([np.stack(np.gradient(p, *axes)) for p in places])
        return np.asarray(np.linalg.det(np.moveaxis(slopes, (0, 1), (-2, -1))), dtype=np.float32)


def make_deformation(
    template: Template, parameters: Mapping[str, float], rng: np.random.Generator
) -> Deformation:
    """Return a deformation by the anatomy's ``parameters``: pose, size, warps, ventricles."""
    angles = [parameters[name] for name in ("pitch_deg", "roll_deg", "yaw_deg")]
    # Rotation uses the order x, y, z; arrays here use z, y, x.
    turn = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()[::-1, ::-1]
    sizes = [parameters[name] for name in ("scale_z", "scale_y", "scale_x")]
    matrix = np.diag(1 / np.array(sizes)) @ turn
    coefficients = np.zeros((3, *lattice_shape(LATTICE_MM)), np.float32)
    for width in WARPS_MM:
        # On a lattice of 6 mm, independent coefficients have a width of 6 mm without smoothing.
        smoothness = 0.0 if width <= LATTICE_MM else width / 2
        spline = random_spline(rng, LATTICE_MM, smoothness, components=3)
        coefficients += parameters[f"warp_{width}mm"] * spline.coefficients
    warp = _unfolded(Deformation(matrix, Spline(coefficients, LATTICE_MM)))
    places = _lattice_places(warp)
    distance = template.sample("ventricle_mm", places.T)[:, None]
    slope = template.gradient("ventricle_mm", places, 3.0)
    wider = parameters["ventricle_mm"] * np.exp(-distance / VENTRICLE_REACH_MM) * slope
    return _unfolded(_plus(warp, -wider))


def push_aside(warp: Deformation, masses: Sequence[tuple[FloatArray, float, float]]) -> Deformation:
    """Return the deformation with tissue displaced by lesions (mass effect).

    ``masses`` lists the centre (z, y, x) in the patient, the radius and the displacement in mm.
    """
    mesh = lattice_points(LATTICE_MM)
    for centre, radius, push in masses:
        offsets = np.stack(np.broadcast_arrays(*(m - c for m, c in zip(mesh, centre, strict=True))))
        distance = np.sqrt((offsets**2).sum(axis=0)) + 1e-3
        fall = np.where(distance < radius, distance / radius, np.exp(1 - distance / radius))
        moved = -push * fall * offsets / distance
        back = np.tensordot(warp.matrix, moved, 1).reshape(3, -1).T
        warp = _plus(warp, back)
    return _unfolded(warp)


def _lattice_places(warp: Deformation) -> NDArray[np.floating]:
    """Return the positions in the template of the lattice's points, (n, 3)."""
    mesh = np.broadcast_arrays(*lattice_points(LATTICE_MM))
    points = np.stack([axis.ravel() for axis in mesh], axis=1)
    return np.asarray(warp.at(points))


def _plus(warp: Deformation, displacement_mm: NDArray[np.floating]) -> Deformation:
    added = displacement_mm.T.reshape(warp.displacement.coefficients.shape)
    total = (warp.displacement.coefficients + added).astype(np.float32)
    return Deformation(warp.matrix, Spline(total, LATTICE_MM))


def _unfolded(warp: Deformation) -> Deformation:
    """Return the warp, reduced if necessary so that it folds nowhere in the head."""
    box = Box.centred((46, 56, 44), 4.0, (0.0, -20.0, 0.0))
    for _ in range(20):
        if float(warp.jacobian(box).min()) > SMALLEST_JACOBIAN:
            break
        weaker = warp.displacement.coefficients * np.float32(0.9)
        warp = Deformation(warp.matrix, Spline(weaker, LATTICE_MM))
    return warp
