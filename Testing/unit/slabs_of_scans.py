"""Less of a scan, for tests that need one but not all of it: some slices, or smaller voxels."""

from dataclasses import replace

from ContrastSynthLib.volumes import Volume


def slab(volume: Volume, first: int, count: int) -> Volume:
    """Return ``count`` slices of a volume from ``first`` on, where they lie."""
    matrix = volume.grid.index_to_lps.copy()
    matrix[:3, 3] += matrix[:3, 2] * first
    array = volume.array[first : first + count].copy()
    grid = type(volume.grid).from_index_to_lps(array.shape[::-1], matrix)
    return replace(volume, array=array, grid=grid)


def shrunk(volume: Volume, factor: float) -> Volume:
    """Return a volume of voxels that are smaller by ``factor``, turned as before.

    A network sees voxels of about 1 mm: what is shrunk by 3 takes it a twentieth of the time.
    """
    matrix = volume.grid.index_to_lps.copy()
    matrix[:3] /= factor
    grid = type(volume.grid).from_index_to_lps(volume.grid.size, matrix)
    return replace(volume, grid=grid)
