"""Preview of a method: its result on single voxels, fast and equal to that of a run.

A method that declares ``measure`` computes each voxel by itself, from numbers measured over the
whole volumes. Masking and measuring are done once, by :func:`prepare`. After that the voxels of
the displayed slice are computed within milliseconds whenever the user changes a parameter.
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
"""A plane whose distance to the middle of a slice is below this shows that slice alone."""


@dataclass(frozen=True)
class Preview:
    """The inputs by role, the mask of the brain (k, j, i), and the result of ``measure``."""

    method: Method
    volumes: Mapping[str, Volume]
    mask: BoolArray
    measured: Any

    def voxels(self, parameters: Any, which: Any) -> dict[str, FloatArray]:
        """Return each output by name, at the voxels ``which``, as a one-dimensional array.

        ``which`` is an index into arrays (k, j, i); voxels outside of the mask may be included.
        ``parameters`` are the ``values`` of ``resolve_parameters``. Raises RequestError as the
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
    """Find the mask of ``volumes``, by role, and measure them, as a run does.

    Raises RequestError for a method without preview, for missing inputs, inputs on different grids,
    and scans without foreground.
    """
    if not method.can_preview:
        raise RequestError(f"{method.key} computes whole volumes: there is no preview of it.")
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
    """Return the voxels, as an index (k, j, i), that linear interpolation on a plane needs.

    The plane goes through ``point_ras``, in mm, and is perpendicular to ``normal_ras``. Parallel to
    the slices of the grid it needs the voxels of the one or two nearest slices; oblique to them all
    voxels within one voxel of the plane.
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
