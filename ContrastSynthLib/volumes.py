"""What every part of the library works on: a volume, and a series of volumes with their times."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
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
    volume when a scanner did not, and is None for a scan. ``notes`` are warnings of its reader, a
    sentence each, which the run and the commands pass on.
    """

    array: FloatArray
    grid: Grid
    acquisition: Acquisition = field(default_factory=Acquisition)
    synthetic: str | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        array = np.asarray(self.array, dtype=np.float32).view()
        if array.shape != self.grid.shape:
            raise ValueError(f"An array of {array.shape} does not fit a grid of {self.grid.shape}.")
        array.flags.writeable = False
        object.__setattr__(self, "array", array)

    def with_array(self, array: ArrayLike, synthetic: str | None = None) -> Volume:
        """Return a volume on the same grid, with the same acquisition, holding ``array``."""
        return replace(
            self, array=np.asarray(array, dtype=np.float32), synthetic=synthetic, notes=()
        )

    def sha256(self) -> str:
        """Return the SHA-256 of voxels and grid: the same however the scan was stored."""
        digest = hashlib.sha256(np.ascontiguousarray(self.array).ravel().data)
        # Adding zero makes one zero of 0 and -0, which differ in their bytes.
        digest.update((np.round(self.grid.index_to_lps, 6) + 0.0).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Series:
    """Volumes of one patient on one grid, each with its ``acquisition.time_s``, which increases.

    Raises RequestError for no volume, differing grids, and times that are missing or do not
    increase.
    """

    volumes: tuple[Volume, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "volumes", tuple(self.volumes))
        if not self.volumes:
            raise RequestError("A series has one volume at least; there is none.")
        check_same_grid({f"volume {n + 1}": volume for n, volume in enumerate(self.volumes)})
        times_of(self.volumes)

    def __len__(self) -> int:
        return len(self.volumes)

    def __iter__(self) -> Iterator[Volume]:
        return iter(self.volumes)

    @property
    def times_s(self) -> NDArray[np.float64]:
        """Seconds from the injection to each volume, (t,)."""
        return times_of(self.volumes)

    @property
    def grid(self) -> Grid:
        """The grid that all volumes share."""
        return self.volumes[0].grid

    @property
    def acquisition(self) -> Acquisition:
        """How the first volume was made."""
        return self.volumes[0].acquisition

    @property
    def array(self) -> FloatArray:
        """A copy of all voxels, (t, k, j, i)."""
        return np.stack([volume.array for volume in self.volumes])

    def with_frames(
        self, array: ArrayLike, times_s: Sequence[float] | NDArray[np.float64]
    ) -> Series:
        """Return a series on the same grid of other voxels (t, k, j, i) at other times, in seconds.

        Settings are those of the first volume.
        """
        first = self.volumes[0]
        frames = np.asarray(array, dtype=np.float32)
        times = checked_times([float(time) for time in times_s], len(frames), "The series")
        return Series(
            tuple(
                replace(first, array=frame, acquisition=replace(first.acquisition, time_s=time))
                for frame, time in zip(frames, times.tolist(), strict=True)
            )
        )


def times_of(volumes: Sequence[Volume]) -> NDArray[np.float64]:
    """Return the seconds of all volumes; RequestError unless all are known and increase."""
    times = [volume.acquisition.time_s for volume in volumes]
    if None in times:
        raise RequestError(
            f"Volume {times.index(None)} of the series has no time. Give one time in seconds for "
            "each volume."
        )
    return checked_times([time for time in times if time is not None], len(volumes), "The series")


def checked_times(times_s: Sequence[float], count: int, where: str) -> NDArray[np.float64]:
    """Return the times as an array; RequestError unless ``count`` finite, increasing seconds."""
    times = np.asarray(times_s, dtype=np.float64)
    if times.shape != (count,):
        raise RequestError(
            f"{where}: {times.size} times for {count} volumes; give one time in seconds for each."
        )
    if not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        listed = ", ".join(f"{time:g}" for time in times)
        raise RequestError(
            f"{where}: the times {listed} s do not increase. The volumes must be in the order in "
            "which they were taken."
        )
    return times


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
