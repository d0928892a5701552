"""Regularisers R: total variation, its generalised form (eq. 9 and 10 of LIP-CAR), Tikhonov.

A regulariser maps images (n, rows, columns), slices of one or several volumes, to one value for
each slice (n,). The value is a mean over pixels of differences per millimetre, so that it does not
depend on the size of the image or of its pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ContrastSynthLib.errors import RequestError, unknown_name

if TYPE_CHECKING:
    from torch import Tensor

SMOOTHING = 1e-3
"""Added in quadrature to a gradient, in the image's unit per mm: TV has no derivative at 0."""

Spacing = tuple[float, float, float]


@dataclass(frozen=True)
class Regulariser:
    """R(x), or the generalised form R(x - guess) with a ``guess`` (n, rows, columns).

    ``kind`` is a key of KINDS. ``spacing_mm`` is the distance of slices, rows and columns. With
    ``dimensions`` 2 only differences within slices count, with 3 also those between slices.
    ``smoothing`` is epsilon of sqrt(|g|^2 + epsilon^2) - epsilon, which replaces the length of a
    gradient g; tikhonov ignores it. Raises RequestError for an unknown kind, other dimensions and
    spacings that are not above 0.
    """

    kind: str
    spacing_mm: Spacing = (1.0, 1.0, 1.0)
    dimensions: int = 2
    guess: Tensor | None = None
    smoothing: float = SMOOTHING

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown_name("regulariser", self.kind, KINDS)
        if self.dimensions not in (2, 3):
            raise RequestError(f"{self.dimensions} dimensions: a regulariser takes 2 or 3.")
        if min(self.spacing_mm) <= 0:
            raise RequestError(f"The spacings {self.spacing_mm} mm must be above 0.")

    def __call__(self, images: Tensor) -> Tensor:
        """Return the value of each slice (n,), in double precision."""
        departure = images if self.guess is None else images - self.guess
        gradient = differences(departure, self.spacing_mm, self.dimensions)
        return KINDS[self.kind](gradient, self.smoothing).double().mean(dim=(1, 2))


def differences(images: Tensor, spacing_mm: Spacing, dimensions: int) -> Tensor:
    """Return forward differences per mm (n, rows, columns, dimensions).

    The last axis is ([slices,] rows, columns). At the last slice, row and column the difference
    is 0.
    """
    import torch

    found = []
    for axis in range(3 - dimensions, 3):
        step = images.diff(dim=axis) / spacing_mm[axis]
        last = torch.zeros_like(images.narrow(axis, 0, 1))
        found.append(torch.cat([step, last], dim=axis))
    return torch.stack(found, dim=-1)


def _isotropic(gradient: Tensor, smoothing: float) -> Tensor:
    """Total variation: the length of the gradient."""
    return (gradient.square().sum(dim=-1) + smoothing**2).sqrt() - smoothing


def _anisotropic(gradient: Tensor, smoothing: float) -> Tensor:
    """Total variation: the sum of the gradient's absolute components, eq. 9 taken literally."""
    return ((gradient.square() + smoothing**2).sqrt() - smoothing).sum(dim=-1)


def _tikhonov(gradient: Tensor, smoothing: float) -> Tensor:
    """Half of the gradient's square."""
    return gradient.square().sum(dim=-1) / 2


KINDS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "tv": _isotropic,
    "tv_anisotropic": _anisotropic,
    "tikhonov": _tikhonov,
}
