"""Turning a stack of slices about one of its axes, so that a network sees oblique slices of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform

from ContrastSynthLib.volumes import FloatArray

MULTIPLE, LEAST = 16, 32
"""Rows and columns of a turned stack are multiples of the one and not less than the other: a
network that halves them four times has two of each left, which normalisation by instance needs."""


@dataclass(frozen=True)
class Turn:
    """A stack (n, rows, columns) of ``shape`` turned by ``angle_deg`` towards one of its axes.

    The slices of the turned stack lie 1 mm apart and are those of the stack turned about the axis
    that is neither the first nor ``towards``, 1 for rows or 2 for columns. The turned stack holds
    all of the stack. Voxels of the stack have the size ``voxel_mm`` (slices, rows, columns); those
    of the turned one 1 mm in the plane of the turn, and the same along the axis of the turn. What
    lies outside of the stack is 0; voxels are interpolated linearly.
    """

    shape: tuple[int, int, int]
    voxel_mm: tuple[float, float, float]
    towards: int
    angle_deg: float

    def turn(self, stack: FloatArray) -> FloatArray:
        """Return a stack of ``shape`` as the turned one, of ``turned_shape``."""
        return self._resampled(stack, self.turned_shape, self._to_stack)

    def back(self, turned: FloatArray) -> FloatArray:
        """Return a stack of ``turned_shape`` as one of ``shape``."""
        return self._resampled(turned, self.shape, np.linalg.inv(self._to_stack).astype(float))

    @cached_property
    def turned_shape(self) -> tuple[int, int, int]:
        """The shape of the turned stack, (n, rows, columns)."""
        extent_mm = [self.shape[a] * self.voxel_mm[a] for a in (0, self.towards)]
        turned_mm = np.round(np.abs(self._rotation) @ extent_mm, 6)
        sides = list(self.shape)
        for axis, length in zip((0, self.towards), turned_mm, strict=True):
            multiple, least = (MULTIPLE, LEAST) if axis else (1, 1)
            sides[axis] = max(least, multiple * int(np.ceil(length / multiple)))
        slices, rows, columns = sides
        return slices, rows, columns

    @property
    def _rotation(self) -> NDArray[np.float64]:
        """From places in mm of the turned stack to those of the stack: (first axis, towards)."""
        angle = np.deg2rad(self.angle_deg)
        return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

    @property
    def _to_stack(self) -> NDArray[np.float64]:
        """From voxels of the turned stack to voxels of the stack, both from the middle."""
        plane, matrix = (0, self.towards), np.eye(3)
        size_mm = np.array([self.voxel_mm[axis] for axis in plane])
        matrix[np.ix_(plane, plane)] = self._rotation / size_mm[:, None]
        return matrix

    @staticmethod
    def _resampled(
        stack: FloatArray, shape: Sequence[int], matrix: NDArray[np.float64]
    ) -> FloatArray:
        """Return ``stack`` at the voxels of ``shape``, which ``matrix`` brings onto its own."""
        middle, target = ((np.array(sides) - 1) / 2 for sides in (stack.shape, shape))
        offset = middle - matrix @ target
        found = affine_transform(
            stack.astype(np.float32, copy=False), matrix, offset, tuple(shape), order=1
        )
        return np.asarray(found, dtype=np.float32)
