"""The same voxels in another order, as other files store them."""

from dataclasses import replace

import numpy as np

from ContrastSynthLib.geometry import Grid


def stored(volume, order):
    """Return the volume with its axes in another order and the first of them reversed."""
    array = np.flip(volume.array.transpose(order), 0)
    # Columns of the matrix are i, j, k: the array's axes from the last to the first.
    columns = [2 - axis for axis in order][::-1]
    matrix = volume.grid.index_to_lps.copy()
    matrix[:, :3] = matrix[:, columns]
    matrix[:3, 3] += matrix[:3, 2] * (array.shape[0] - 1)
    matrix[:3, 2] *= -1
    grid = Grid.from_index_to_lps(array.shape[::-1], matrix)
    return replace(volume, array=np.ascontiguousarray(array), grid=grid)
