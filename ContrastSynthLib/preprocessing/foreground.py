"""Find the voxels of the patient: the given mask, or else an estimate from the scans.

In a skull-stripped scan the voxels above 0 are the brain. In a scan of the whole head only the
outline of the head is found, not the brain, and the result is marked as a guess. The two kinds
of scans are distinguished by the layer under the surface: in a stripped scan it is cortex, with
intensities like those of the tissue further in; in a head it is bright fat and dark bone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy.ndimage as ndi
from numpy.typing import NDArray

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.volumes import BoolArray, FloatArray, Volume

# Connected components smaller than this share of the largest one are removed. It is small because
# in a low slice the temporal lobes and the cerebellum are separate components.
STRAY_SHARE = 0.1

# A stripped brain lies inside the field of view. A neck, a chest wall or noisy air extends beyond
# it and covers a fifth or more of a face of the volume.
CUT_FACE_SHARE = 0.15

# The layer under the surface, and the core, as shares of the depth of the deepest voxel. The layer
# is 2 to 10 mm deep in a brain, 4 to 15 mm in a head. In real T1 scans the share of the layer whose
# intensity is 0.5 to 1.5 times the core's median was 89 to 99 % in stripped scans and 50 to 73 % in
# heads whose air was set to 0 in various ways.
LAYER = (0.06, 0.22)
CORE = 0.35
LIKE_THE_CORE = (0.5, 1.5)
STRIPPED_SHARE = 0.8

# In a single slice near the top of a head this share is higher: 62 to 87 % were measured.
FEW_SLICES = 8
STRIPPED_SHARE_FEW_SLICES = 0.9

# Depths are computed on a grid of about this spacing, which is fine enough for a brain.
COARSE_MM = 2.0

# Gaps up to this width in the outline of a head are closed before it is filled: nostrils, ear
# canals, bone without signal at the edge of the field of view.
CLOSING_MM = 8.0

GUESS_MESSAGE = (
    "No mask was given and the scans do not look skull-stripped. As a guess, the outline of the "
    "whole head or body is taken, not the brain: what is measured inside it (gain, normalisation, "
    "metrics) includes fat, bone and muscle. Have the brain found (--mask auto), or choose a mask "
    "of the brain or breast (--in mask=FILE)."
)


REGION_NAMES = {
    "given": "the mask",
    "found": "the brain",
    "skull-stripped": "the brain",
    "guess": "the outline of the head",
}
"""What a region is called, by its source."""


@dataclass(frozen=True)
class Foreground:
    """The mask of the patient's voxels, shape (k, j, i), and how it was found.

    ``source`` is ``given``, ``found`` (:mod:`brain_mask`), ``skull-stripped`` or ``guess``;
    ``message`` is a warning for the user about a brain that was found and about a guess, else
    None. ``found_by`` tells the scan, package and version of a brain that was found.
    """

    mask: BoolArray
    source: str
    message: str | None = None
    found_by: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What the region is called in sentences: "of the brain", "of the outline of the head"."""
        return REGION_NAMES[self.source]


def foreground(volumes: Sequence[Volume], mask: Volume | None = None) -> Foreground:
    """Return the patient's voxels in scans that share one grid.

    A given ``mask`` is used as it is. Without one, skull-stripped scans give the voxels above 0 in
    all scans; voxels at or below 0 inside the brain (under 1 %, from interpolation in the
    ventricles) are excluded, because ratios and logarithms are not defined there. Other scans
    give the filled outline of the head or body, with a message that it is a guess.

    Raises RequestError when no voxel is left.
    """
    positive = np.logical_and.reduce([volume.array > 0 for volume in volumes])
    if mask is not None:
        inside = mask.array > 0
        if not (inside & positive).any():
            raise RequestError(
                "The mask covers no voxel that is above 0 in all scans: nothing is left to work "
                "on. Is it the mask of this patient, and are the scans on its grid?"
            )
        return Foreground(inside, "given")
    if not positive.any():
        raise RequestError(
            "No voxel is above 0 in all scans: there is no patient to be found. Scans that were "
            "scaled to mean 0 have to be given in their original intensities."
        )
    brain = _without_strays(positive)
    if looks_stripped(brain, volumes):
        return Foreground(brain, "skull-stripped")
    return _guess(volumes)


def is_whole_head(volume: Volume) -> bool:
    """Return whether a scan looks like a whole head or body rather than a stripped brain."""
    positive = volume.array > 0
    return bool(positive.any()) and not looks_stripped(_without_strays(positive), [volume])


def looks_stripped(brain: BoolArray, volumes: Sequence[Volume]) -> bool:
    """Return whether the voxels above 0 look like a skull-stripped brain in at least one scan.

    One scan is enough: T2 and ADC are less uniform than T1, and a head is not uniform in any.
    """
    grid = volumes[0].grid
    if _is_cut_by_the_field(brain, grid):
        return False
    step = _coarse_step(grid)
    depth = _depth(_filled_slices(brain, grid)[step], _spacing_kji(grid) * _factors(step))
    deepest = depth.max()
    core = depth > CORE * deepest
    layer = (depth > LAYER[0] * deepest) & (depth <= LAYER[1] * deepest)
    if not layer.any():
        return False
    enough = STRIPPED_SHARE if min(grid.size) >= FEW_SLICES else STRIPPED_SHARE_FEW_SLICES
    return any(_share_like_core(volume.array[step], layer, core) >= enough for volume in volumes)


def _share_like_core(array: FloatArray, layer: BoolArray, core: BoolArray) -> float:
    level = float(np.median(array[core]))
    low, high = (level * limit for limit in LIKE_THE_CORE)
    values = array[layer]
    return float(((values > low) & (values < high)).mean())


def _is_cut_by_the_field(brain: BoolArray, grid: Grid) -> bool:
    """Return whether ``brain`` covers a face of the volume, except those along the slice axis."""
    faces = [brain.take(end, axis) for axis in _in_plane_axes(grid) for end in (0, -1)]
    return max(float(face.mean()) for face in faces) > CUT_FACE_SHARE


def _guess(volumes: Sequence[Volume]) -> Foreground:
    """Return the outline of the head or body: Otsu's threshold, closed and filled."""
    from skimage.filters import threshold_otsu

    grid = volumes[0].grid
    # With the square root, bright fat does not raise the threshold above the brain.
    scans = [np.maximum(volume.array, 0) for volume in volumes]
    combined = sum(np.sqrt(scan / np.percentile(scan[scan > 0], 99)) for scan in scans)
    bright = np.asarray(combined > threshold_otsu(np.minimum(combined, len(scans))))
    widths = tuple(2 * round(CLOSING_MM / 2 / mm) + 1 for mm in _spacing_kji(grid))
    closed = ndi.grey_closing(bright.astype(np.uint8), size=widths, mode="nearest") > 0
    outline = _filled_slices(_without_strays(closed), grid)
    if not outline.any():
        raise RequestError(
            "No outline of a head or body was found in the scans. Choose a mask (--in mask=FILE)."
        )
    return Foreground(outline, "guess", GUESS_MESSAGE)


def _without_strays(mask: BoolArray) -> BoolArray:
    labels, _ = ndi.label(mask)
    counts = np.bincount(labels.ravel())
    counts[0] = 0
    return np.asarray((counts >= max(1, STRAY_SHARE * counts.max()))[labels])


def _filled_slices(mask: BoolArray, grid: Grid) -> BoolArray:
    """Fill holes slice by slice: in 3D the skull is open at the neck."""
    axes = _in_plane_axes(grid)
    in_plane = np.zeros((3, 3, 3), dtype=bool)
    in_plane[1, 1, 1] = True
    for axis in axes:
        in_plane |= np.roll(in_plane, 1, axis) | np.roll(in_plane, -1, axis)
    labels, count = ndi.label(~mask, structure=in_plane)
    outside = np.zeros(count + 1, dtype=bool)
    for axis in axes:
        outside[labels.take([0, -1], axis)] = True
    outside[0] = False
    return np.asarray(~outside[labels])


def _in_plane_axes(grid: Grid) -> list[int]:
    """Return the two array axes within a slice; the slice axis is that of the smallest extent."""
    extents = _spacing_kji(grid) * grid.shape
    return [axis for axis in range(3) if axis != int(extents.argmin())]


def _depth(mask: BoolArray, spacing_kji_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance to the surface in mm; the faces of the volume are no surface."""
    padded = np.pad(mask, 1, mode="edge")
    distances = ndi.distance_transform_edt(padded, sampling=spacing_kji_mm)
    return np.asarray(distances[1:-1, 1:-1, 1:-1])


def _coarse_step(grid: Grid) -> tuple[slice, ...]:
    return tuple(slice(None, None, max(1, round(COARSE_MM / mm))) for mm in _spacing_kji(grid))


def _factors(step: tuple[slice, ...]) -> NDArray[np.float64]:
    return np.array([part.step for part in step], dtype=np.float64)


def _spacing_kji(grid: Grid) -> NDArray[np.float64]:
    return np.array(grid.spacing_mm[::-1])
