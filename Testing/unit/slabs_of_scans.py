"""Some slices of a scan, for tests that need a real one but not all of it."""

from dataclasses import replace

from ContrastSynthLib.volumes import Volume


def slab(volume: Volume, first: int, count: int) -> Volume:
    """Return ``count`` slices of a volume from ``first`` on, where they lie."""
    matrix = volume.grid.index_to_lps.copy()
    matrix[:3, 3] += matrix[:3, 2] * first
    array = volume.array[first : first + count].copy()
    grid = type(volume.grid).from_index_to_lps(array.shape[::-1], matrix)
    return replace(volume, array=array, grid=grid)
