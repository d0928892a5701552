"""Resampling a volume to the slices that the networks were trained on, and back.

The training slices are axial with pixels of 1 mm; row indices increase to the posterior, column
indices to the patient's left. A network sees each slice with its neighbours 1 mm below and above.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.volumes import BoolArray, FloatArray

Scalar = TypeVar("Scalar", bound=np.generic)

NETWORK_PIXEL_MM = 1.0
NEIGHBOUR_MM = 1.0

# Our choice: pixels close to what a network knows are not resampled, because interpolation blurs.
LEFT_AS_THEY_ARE = (0.75, 1.35)
SQUARE_WITHIN = 1.05

THICK_SLICES = 2.0
"""Slices are thick when their distance exceeds this times the longer edge of their pixels."""

LEFT, POSTERIOR, SUPERIOR = np.eye(3)
VIEWS = np.array(
    [
        [-LEFT, -SUPERIOR, POSTERIOR],
        [POSTERIOR, -SUPERIOR, LEFT],
        [SUPERIOR, POSTERIOR, LEFT],
    ]
)
"""Directions in LPS in which slices, rows and columns are ordered: sagittal, coronal, axial.

The direction of the slices is the cross product columns x rows, so that no view is mirrored.
"""

# Spacings from headers in single precision have an error of 1e-7, which over 1000 voxels adds up
# to less than this fraction of a voxel.
ROUNDING_VOXELS = 1e-3


def stripped(image: FloatArray, mask: BoolArray) -> FloatArray:
    """Return ``image`` (k, j, i) with 0 outside the mask: networks have learned from brains alone.

    Before it is resampled, so that nothing of a skull is mixed into the rim of the brain.
    """
    return np.where(mask, image, np.float32(0))


def changed_by(change: FloatArray, image: FloatArray, mask: BoolArray) -> FloatArray:
    """Return ``image`` plus a change, both (k, j, i): not below 0, ``image`` outside the mask."""
    changed: FloatArray = np.maximum(image + change, np.minimum(image, 0))
    np.copyto(changed, image, where=~mask)
    return changed


@dataclass(frozen=True)
class SlicePlan:
    """How arrays on one grid are resampled to a stack of slices (n, rows, columns), and back.

    ``axes`` are the array axes that become slices, rows and columns; ``flipped`` says which of the
    three are reversed. After that ``crop`` is cut out and resampled to voxels of ``voxel_mm``
    (slices, rows, columns). Rows and columns are padded with zeros to multiples of ``multiple``,
    and to ``least`` where they are fewer.
    """

    grid: Grid
    axes: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]
    crop: tuple[slice, slice, slice]
    voxel_mm: tuple[float, float, float]
    multiple: int
    least: int = 0

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Spacing of the grid along slices, rows and columns."""
        return _spacing_mm(self.grid, self.axes)

    @property
    def pixel_mm(self) -> tuple[float, float]:
        """Size of the pixels of a slice, (rows, columns)."""
        return self.voxel_mm[1:]

    @property
    def resampled(self) -> bool:
        """Whether the voxels of the slices differ in size from those of the grid."""
        return self.voxel_mm != self.spacing_mm

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of a stack, (n, rows, columns)."""
        (above, below), (left, right) = self._padding
        rows, columns = self._sampled
        return self._sides[0][2], above + rows + below, left + columns + right

    def slices(self, array: FloatArray | BoolArray) -> FloatArray:
        """Return the stack (n, rows, columns), float32, of an array (k, j, i) on the grid."""
        _check_shape(array, self.grid)
        view = _oriented(array, self.axes, self.flipped)[self.crop]
        stack = np.ascontiguousarray(view, dtype=np.float32)
        stack = self._resampled(
            stack,
            # For larger voxels the kernel is wider, against aliasing of finer detail.
            *(
                None
                if mm == voxel
                else _linear_kernel(target, voxel, source, mm, half_width_mm=max(voxel, mm))
                for source, mm, target, voxel in self._sides
            ),
        )
        return np.pad(stack, ((0, 0), *self._padding))

    def restore(self, stack: FloatArray, outside: FloatArray | float) -> FloatArray:
        """Return a stack (n, rows, columns) as an array (k, j, i), float32, on the grid.

        Pixels are interpolated linearly, or unchanged to the bit where they were not resampled.
        Voxels outside of the crop get the values of ``outside``, an array (k, j, i) or a number.
        Raises ValueError for a stack of another shape than the plan's.
        """
        if stack.shape != self.shape:
            raise ValueError(f"A stack of {stack.shape} does not fit a plan of {self.shape}.")
        inner = (
            slice(before, before + n)
            for (before, _), n in zip(self._padding, self._sampled, strict=True)
        )
        stack = stack[(slice(None), *inner)]
        stack = self._resampled(
            stack,
            *(
                None
                if mm == voxel
                else _linear_kernel(source, mm, target, voxel, half_width_mm=voxel)
                for source, mm, target, voxel in self._sides
            ),
        )
        restored = np.full(self.grid.shape, outside, dtype=np.float32)
        _oriented(restored, self.axes, self.flipped)[self.crop] = stack
        return restored

    def with_neighbours(
        self, stack: FloatArray, count: int = 3, which: slice = slice(None)
    ) -> FloatArray:
        """Return (b, count, rows, columns): each slice ``which`` with its neighbours, 1 mm apart.

        ``count`` is odd, and the slice itself is in the middle. Neighbours are interpolated
        linearly between the slices of ``stack``; beyond its ends the last slice is repeated.
        Raises ValueError for an even count.
        """
        return neighbouring(stack, self.voxel_mm[0], count, which)

    @staticmethod
    def _resampled(stack: FloatArray, *kernels: FloatArray | None) -> FloatArray:
        """Return a stack (n, rows, columns) after the kernel (target, source) of each side."""
        slices, rows, columns = kernels
        if rows is not None:
            stack = np.asarray(rows @ stack, dtype=np.float32)
        if columns is not None:
            stack = np.asarray(stack @ columns.T, dtype=np.float32)
        if slices is not None:
            stack = np.asarray(np.tensordot(slices, stack, axes=1), dtype=np.float32)
        return stack

    @property
    def _sides(self) -> list[tuple[int, float, int, float]]:
        """For each side: voxels and spacing in mm on the grid, then those of the slices."""
        sides = zip(self.crop, self.spacing_mm, self.voxel_mm, strict=True)
        return [
            (part.stop - part.start, mm, _voxels(part.stop - part.start, mm, voxel), voxel)
            for part, mm, voxel in sides
        ]

    @property
    def _sampled(self) -> tuple[int, int]:
        """Rows and columns of a slice before padding."""
        _, rows, columns = (target for _, _, target, _ in self._sides)
        return rows, columns

    @property
    def _padding(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Number of zeros before and after the rows, and the columns."""
        missing = [max(-n % self.multiple, self.least - n) for n in self._sampled]
        rows, columns = ((m // 2, m - m // 2) for m in missing)
        return rows, columns


def plan_slices(
    grid: Grid,
    mask: BoolArray,
    *,
    margin_mm: float = 8.0,
    multiple: int = 16,
    least: int = 0,
    slice_mm: float | None = None,
    pixel_mm: float = NETWORK_PIXEL_MM,
    across: int | None = None,
) -> SlicePlan:
    """Return the plan of slices that covers the mask of a volume on ``grid``.

    ``across`` is the array axis along which slices follow each other; with None it is the first of
    :func:`slicing_axes`. Axial slices are ordered to the superior, with rows to
    the posterior and columns to the left; coronal ones to the posterior, with rows to the
    inferior and columns to the left; sagittal ones to the right, with rows to the inferior and
    columns to the posterior; each along the nearest axis of the grid.

    The stack reaches from the first to the last slice in which ``mask``, shape (k, j, i), is
    True, and in-plane by ``margin_mm`` beyond the mask. Pixels of 0.75 to 1.35 ``pixel_mm`` that
    are square within 5 % are not resampled, others become ``pixel_mm``. ``slice_mm`` is the
    distance of slices for a three-dimensional network; with None it is that of the grid.
    ``multiple`` and ``least`` are those of the plan. Raises RequestError when the mask is empty.
    """
    _check_shape(mask, grid)
    if not mask.any():
        raise RequestError(
            "The mask is empty: there is no slice to compute. Choose a mask that covers the "
            "brain or breast (--in mask=FILE)."
        )
    axes, flipped = _view(grid, slicing_axes(grid)[0] if across is None else across)
    spacing_mm = _spacing_mm(grid, axes)
    inside = _oriented(mask, axes, flipped)
    margins = (0, *(round(margin_mm / mm) for mm in spacing_mm[1:]))
    slices, rows, columns = (_extent(inside, axis, margins[axis]) for axis in range(3))
    least_mm, most_mm = sorted(spacing_mm[1:])
    low, high = (share * pixel_mm for share in LEFT_AS_THEY_ARE)
    fits = low <= least_mm and most_mm <= min(high, SQUARE_WITHIN * least_mm)
    pixels = spacing_mm[1:] if fits else (pixel_mm, pixel_mm)
    voxel_mm = (spacing_mm[0] if slice_mm is None else slice_mm, *pixels)
    return SlicePlan(grid, axes, flipped, (slices, rows, columns), voxel_mm, multiple, least)


def neighbouring(
    stack: FloatArray, spacing_mm: float, count: int, which: slice = slice(None)
) -> FloatArray:
    """Return (b, count, rows, columns): each slice ``which`` of a stack with its neighbours.

    The slices of the stack are ``spacing_mm`` apart, the neighbours 1 mm; see :func:`neighbours`.
    """
    lower, upper, share = neighbours(np.arange(len(stack))[which], count, spacing_mm, len(stack))
    share = share[..., None, None]
    return np.asarray(stack[lower] * (1 - share) + stack[upper] * share)


def neighbours(
    slices: NDArray[np.integer], count: int, spacing_mm: float, depth: int
) -> tuple[NDArray[np.integer], NDArray[np.integer], FloatArray]:
    """Return where slices and their neighbours 1 mm apart lie in a stack, (b, count) each.

    ``slices`` (b) are numbers of slices in a stack of ``depth`` slices, ``spacing_mm`` apart. A
    neighbour lies between the slices of the first and the second array, at the share in the third
    of the way; beyond its ends the last slice is repeated. Raises ValueError for an even count.
    """
    if count % 2 == 0:
        raise ValueError(f"{count} slices have no middle one; give an odd count.")
    offsets_mm = NEIGHBOUR_MM * (np.arange(count) - count // 2)
    positions = slices[:, None] + offsets_mm / spacing_mm
    nearest = np.round(positions)
    exact = np.abs(positions - nearest) < ROUNDING_VOXELS
    positions = np.clip(np.where(exact, nearest, positions), 0, depth - 1)
    lower = np.floor(positions).astype(int)
    upper = np.minimum(lower + 1, depth - 1)
    return lower, upper, (positions - lower).astype(np.float32)


def slicing_axes(grid: Grid) -> tuple[int, ...]:
    """Return the array axes along which a volume may be sliced, the best one first.

    A grid of thick slices, or of a single one, has one axis: it keeps these slices. For any other
    the axis nearest to the superior direction comes first.
    """
    single = [axis for axis in range(3) if grid.shape[axis] == 1]
    if len(single) == 1:
        return (single[0],)
    spacing_kji = np.array(grid.spacing_mm[::-1])
    _, second, largest = np.sort(spacing_kji)
    if largest > THICK_SLICES * second:
        return (int(spacing_kji.argmax()),)
    first = int(np.abs(_directions(grid) @ SUPERIOR).argmax())
    others = () if single else tuple(axis for axis in range(3) if axis != first)
    return (first, *others)


def _directions(grid: Grid) -> NDArray[np.float64]:
    """Return the directions in LPS of the axes k, j, i."""
    return np.reshape(grid.direction, (3, 3)).T[::-1]


def _view(grid: Grid, across: int) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """Return the array axes that become slices, rows and columns, and which are flipped."""
    directions = _directions(grid)
    towards = VIEWS[int(np.argmax(np.abs(directions[across])))]
    agreement = directions @ towards.T  # array axis, then slices, rows, columns
    first, second = (axis for axis in range(3) if axis != across)
    axes = max(
        (across, first, second),
        (across, second, first),
        key=lambda order: float(np.abs(agreement[order, range(3)]).sum()),
    )
    slices, rows, columns = (bool(agreement[axis, role] < 0) for role, axis in enumerate(axes))
    return axes, (slices, rows, columns)


def _spacing_mm(grid: Grid, axes: tuple[int, int, int]) -> tuple[float, float, float]:
    slices, rows, columns = (grid.spacing_mm[::-1][axis] for axis in axes)
    return slices, rows, columns


def _oriented(
    array: NDArray[Scalar], axes: tuple[int, int, int], flipped: tuple[bool, bool, bool]
) -> NDArray[Scalar]:
    """Return a view (slices, rows, columns) of an array (k, j, i)."""
    steps = tuple(slice(None, None, -1 if flip else 1) for flip in flipped)
    return array.transpose(axes)[steps]


def _extent(inside: BoolArray, axis: int, margin: int) -> slice:
    """Return the range of one axis in which ``inside`` has True, plus a margin in voxels."""
    others = tuple(other for other in range(3) if other != axis)
    held = np.flatnonzero(inside.any(axis=others))
    return slice(max(0, int(held[0]) - margin), min(inside.shape[axis], int(held[-1]) + 1 + margin))


def _voxels(count: int, mm: float, voxel_mm: float) -> int:
    """Return how many voxels of size ``voxel_mm`` cover the centres of ``count`` of size ``mm``."""
    return math.ceil((count - 1) * mm / voxel_mm - ROUNDING_VOXELS) + 1


def _linear_kernel(
    target: int, target_mm: float, source: int, source_mm: float, *, half_width_mm: float
) -> FloatArray:
    """Return the linear (triangular) kernel (target, source) that resamples a row of pixels.

    The two rows have the same centre. With a half width of ``source_mm`` the kernel interpolates
    between the two nearest pixels; a wider one smooths as well. Each row of weights sums to 1, so
    that values beyond the ends are those of the last pixel.
    """
    to, of = (
        (np.arange(n) - (n - 1) / 2) * mm for n, mm in ((target, target_mm), (source, source_mm))
    )
    weights = np.maximum(1 - np.abs(to[:, None] - of) / half_width_mm, 0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


def _check_shape(array: FloatArray | BoolArray, grid: Grid) -> None:
    if array.shape != grid.shape:
        raise ValueError(f"An array of {array.shape} does not fit a grid of {grid.shape}.")
