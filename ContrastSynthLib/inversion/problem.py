"""The inverse problem of eq. 8 of LIP-CAR: which full dose would have given this low dose?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.inversion.regularisers import Regulariser

if TYPE_CHECKING:
    from torch import Tensor

Forward = Callable[["Tensor"], "Tensor"]
"""From full-dose images (n, rows, columns) to low-dose ones, differentiable by torch."""


class Terms(NamedTuple):
    """The parts of the objective, a number each, summed over slices."""

    objective: Tensor
    fidelity: Tensor
    regulariser: Tensor


@dataclass(frozen=True)
class Problem:
    """min over x in [low, high]^n of  mean (F(x) - y)^2 / 2  +  alpha R(x), each slice alone.

    ``data`` y is (n, rows, columns). Both terms are means over the pixels of a slice, and the
    objective is the sum over slices, so that neither the size of a slice nor the number of
    slices changes what an alpha means. R counts differences per mm, hence alpha is in mm times
    the unit of the image; with pixels of 1 mm it is the alpha of the paper, whose two terms are
    sums over the same pixels. ``inside`` (n, rows, columns), where given, are the voxels whose
    data count. Raises RequestError for bounds in the wrong order and an alpha below 0.
    """

    forward: Forward
    data: Tensor
    regulariser: Regulariser
    alpha: float
    bounds: tuple[float, float] = (0.0, 1.0)
    inside: Tensor | None = None

    def __post_init__(self) -> None:
        if not self.bounds[0] < self.bounds[1]:
            raise RequestError(f"The bounds {self.bounds} must be a lower and an upper one.")
        if not self.alpha >= 0:
            raise RequestError(f"alpha is {self.alpha:g}; it must be 0 or above.")

    def residual(self, images: Tensor) -> Tensor:
        """Return F(x) - y (n, rows, columns), 0 where the data do not count."""
        found = self.forward(images) - self.data
        return found if self.inside is None else found * self.inside

    def terms(self, images: Tensor) -> Terms:
        """Return the objective and its two parts."""
        fidelity = self.residual(images).square().mean(dim=(1, 2)).sum() / 2
        regulariser = self.regulariser(images).sum()
        return Terms(fidelity + self.alpha * regulariser, fidelity, regulariser)
