"""Volumes as images of SimpleITK."""

from __future__ import annotations

import SimpleITK as sitk

from ContrastSynthLib.volumes import Volume


def to_sitk(volume: Volume) -> sitk.Image:
    """Return a SimpleITK image that holds a copy of the voxels and the grid."""
    image = sitk.GetImageFromArray(volume.array)
    image.SetSpacing(volume.grid.spacing_mm)
    image.SetOrigin(volume.grid.origin_mm)
    image.SetDirection(volume.grid.direction)
    return image
