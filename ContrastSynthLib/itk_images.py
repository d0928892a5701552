"""Volumes as images of SimpleITK, and the grid of such an image."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from ContrastSynthLib.geometry import Grid, refuse_shear
from ContrastSynthLib.volumes import Volume


def to_sitk(volume: Volume) -> sitk.Image:
    """Return a SimpleITK image that holds a copy of the voxels and the grid."""
    image = sitk.GetImageFromArray(volume.array)
    image.SetSpacing(volume.grid.spacing_mm)
    image.SetOrigin(volume.grid.origin_mm)
    image.SetDirection(volume.grid.direction)
    return image


def grid_of(image: sitk.Image) -> Grid:
    """Return the grid of a three-dimensional SimpleITK image."""
    direction = np.reshape(image.GetDirection(), (3, 3))
    refuse_shear(direction / np.linalg.norm(direction, axis=0))
    matrix = np.eye(4)
    matrix[:3, :3] = direction * np.asarray(image.GetSpacing())
    matrix[:3, 3] = image.GetOrigin()
    return Grid.from_index_to_lps(image.GetSize(), matrix)
