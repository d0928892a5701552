"""A method on a few voxels of a scan, at once and equal to what a run makes of them.

A method that declares ``measure`` goes voxel by voxel once the whole volumes were measured. So
what a run does once, finding the brain and measuring, is done once here too, and any voxels can
then be asked for with any parameters: those of the slice that is shown, while a slider moves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

import ContrastSynthLib.methods  # noqa: F401 - declares the methods
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.registry import MASK_ROLE, Context, Method, check_roles
from ContrastSynthLib.running.inputs import region
from ContrastSynthLib.volumes import BoolArray, FloatArray, Volume, check_same_grid

ROUNDING_VOXELS = 1e-3
"""A plane this near to the middle of a slice shows that slice alone."""


@dataclass(frozen=True)
class Preview:
    """The scans of a run that was prepared, with the brain's mask and what was measured."""

    method: Method
    volumes: Mapping[str, Volume]
    mask: BoolArray
    measured: Any

    def voxels(self, parameters: Any, which: Any) -> dict[str, FloatArray]:
        """Return each output at ``which`` voxels, an index into arrays (k, j, i), as one row.

        ``parameters`` are those of a run, see ``resolve_parameters``. Raises RequestError as the
        method does.
        """
        inside = self.mask[which].reshape(1, 1, -1)
        if not inside.size:
            return {role: np.zeros(0, np.float32) for role in self.method.outputs}
        grid = Grid((inside.size, 1, 1))
        volumes = {
            role: replace(volume, array=volume.array[which].reshape(1, 1, -1), grid=grid)
            for role, volume in self.volumes.items()
        }
        found = self.method.function(
            **volumes, parameters=parameters, measured=self.measured, context=Context(inside)
        )
        return {role: array.ravel() for role, array in found.items()}


def prepare(method: Method, volumes: Mapping[str, Volume]) -> Preview:
    """Do what a run with these volumes, by role, does before it goes voxel by voxel.

    Raises RequestError for a method that cannot do that, for missing or differing inputs, and as
    a run does for scans in which there is no patient.
    """
    if not method.can_preview:
        raise RequestError(f"{method.key} works on whole volumes: there is no preview of it.")
    check_roles(method, volumes)
    reference = volumes[method.reference]
    check_same_grid({method.reference: reference, **volumes})
    mask = region(method, {role: [volume] for role, volume in volumes.items()}).mask
    scans = {role: volume for role, volume in volumes.items() if role != MASK_ROLE}
    measured = method.measure(**scans, context=Context(mask)) if method.measure else None
    return Preview(method, scans, mask, measured)


def voxels_near_plane(
    grid: Grid, point_ras: ArrayLike, normal_ras: ArrayLike
) -> tuple[NDArray[np.intp], ...]:
    """Return the voxels, as an index (k, j, i), that interpolation between voxels shows on a plane.

    Of a plane along a slice these are its voxels, or those of the two slices that it lies between;
    of an oblique one those whose distance it takes to be a neighbour.
    """
    matrix = grid.index_to_ras
    normal = matrix[:3, :3].T @ np.asarray(normal_ras, dtype=np.float64)
    distance = float(np.dot(normal_ras, np.asarray(point_ras) - matrix[:3, 3]))
    along = int(np.abs(normal).argmax())
    others = [axis for axis in range(3) if axis != along]
    rows, columns = np.meshgrid(*(np.arange(grid.size[axis]) for axis in others), indexing="ij")
    across = normal[others[0]] * rows + normal[others[1]] * columns
    middle = (distance - across) / normal[along]
    reach = np.abs(normal).sum() / abs(normal[along]) - ROUNDING_VOXELS
    first, last = np.ceil(middle - reach), np.floor(middle + reach)
    found: list[list[NDArray[np.intp]]] = [[], [], []]
    for step in range(int(2 * reach) + 1):
        position = (first + step).astype(np.intp)
        near = (position <= last) & (position >= 0) & (position < grid.size[along])
        found[along].append(position[near])
        found[others[0]].append(rows[near])
        found[others[1]].append(columns[near])
    i, j, k = (np.concatenate(parts) for parts in found)
    return k, j, i
