"""What every part of the library works on: a scan or a result, and its grid."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ContrastSynthLib.acquisition import Acquisition
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.geometry import Grid, grid_table

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Volume:
    """A scan or a result in the units of its file.

    ``array`` is float32, indexed (k, j, i) and read-only; ``synthetic`` says what made the
    volume when a scanner did not, and is None for a scan.
    """

    array: FloatArray
    grid: Grid
    acquisition: Acquisition = field(default_factory=Acquisition)
    synthetic: str | None = None

    def __post_init__(self) -> None:
        array = np.asarray(self.array, dtype=np.float32).view()
        if array.shape != self.grid.shape:
            raise ValueError(f"An array of {array.shape} does not fit a grid of {self.grid.shape}.")
        array.flags.writeable = False
        object.__setattr__(self, "array", array)

    def with_array(self, array: ArrayLike, synthetic: str | None = None) -> Volume:
        """Return a volume on the same grid, with the same acquisition, holding ``array``."""
        return replace(self, array=np.asarray(array, dtype=np.float32), synthetic=synthetic)

    def sha256(self) -> str:
        """Return the SHA-256 of voxels and grid: the same however the scan was stored."""
        digest = hashlib.sha256(np.ascontiguousarray(self.array).tobytes())
        # Adding zero makes one zero of 0 and -0, which differ in their bytes.
        digest.update((np.round(self.grid.index_to_lps, 6) + 0.0).tobytes())
        return digest.hexdigest()


def check_same_grid(volumes: Mapping[str, Volume]) -> None:
    """Raise RequestError with a table of what differs unless all volumes share one grid.

    The first one is the reference.
    """
    grids = {name: volume.grid for name, volume in volumes.items()}
    first = next(iter(grids.values()))
    if all(first.is_same(grid) for grid in grids.values()):
        return
    raise RequestError(
        "The volumes lie on different grids:\n\n"
        + grid_table(grids)
        + "\n\nResample them (--align resample) if the patient did not move between the scans, or "
        "register them (--align rigid or --align affine)."
    )
