"""The inverse problem of eq. 8 of LIP-CAR: which full-dose image belongs to a low-dose scan?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.inversion.regularisers import Regulariser

if TYPE_CHECKING:
    from torch import Tensor

Forward = Callable[["Tensor", slice], "Tensor"]
"""From full-dose images (n, rows, columns) to low-dose ones, differentiable by torch. The second
argument is the part of the whole stack of slices that the images are."""


class Terms(NamedTuple):
    """The objective and its two parts, scalars summed over slices; objective includes alpha."""

    objective: Tensor
    fidelity: Tensor
    regulariser: Tensor


@dataclass(frozen=True)
class Problem:
    """Minimise mean((F(x) - y)^2) / 2 + alpha R(x) over images x within ``bounds``: eq. 8.

    ``data`` y and x are (n, rows, columns). Both terms are means over the pixels of a slice, and
    the objective is their sum over slices, so that alpha does not depend on the size or number of
    slices. R is made of differences per mm, hence alpha is in mm times the unit of the image; with
    pixels of 1 mm it is the alpha of the paper, whose two terms are sums over the same pixels.

    ``inside`` (n, rows, columns), where given, is the mask of the voxels to solve for: outside of
    it x is taken as 0 and the data are ignored. ``batch`` is the number of slices for which the
    forward operator is evaluated at once; its memory for the gradient is most of what a solver
    needs. Raises RequestError for bounds in the wrong order and an alpha below 0.
    """

    forward: Forward
    data: Tensor
    regulariser: Regulariser
    alpha: float
    bounds: tuple[float, float] = (0.0, 1.0)
    inside: Tensor | None = None
    batch: int = 16

    def __post_init__(self) -> None:
        if not self.bounds[0] < self.bounds[1]:
            raise RequestError(f"The bounds {self.bounds} must be a lower and an upper one.")
        if not self.alpha >= 0:
            raise RequestError(f"alpha is {self.alpha:g}; it must be 0 or above.")

    def residual(self, images: Tensor, which: slice = slice(None)) -> Tensor:
        """Return F(x) - y (n, rows, columns) of the slices ``which``, 0 outside of ``inside``."""
        found = self.forward(self._masked(images, which), which) - self.data[which]
        return found if self.inside is None else found * self.inside[which]

    def terms(self, images: Tensor) -> Terms:
        """Return the objective and its two parts."""
        fidelity = sum((self._fidelity(images[part], part) for part in self._parts), start=0.0)
        regulariser = self.regulariser(self._masked(images)).sum()
        return Terms(fidelity + self.alpha * regulariser, fidelity, regulariser)

    def terms_and_gradient(self, images: Tensor) -> tuple[Terms, Tensor]:
        """Return the terms and the gradient of the objective (n, rows, columns).

        The forward operator is evaluated batch by batch.
        """
        import torch

        leaf = images.detach().requires_grad_(True)
        regulariser = self.regulariser(self._masked(leaf)).sum()
        (gradient,) = torch.autograd.grad(self.alpha * regulariser, leaf)
        fidelity = torch.zeros_like(regulariser)
        for part in self._parts:
            some = images[part].detach().requires_grad_(True)
            value = self._fidelity(some, part)
            gradient[part] += torch.autograd.grad(value, some)[0]
            fidelity += value.detach()
        regulariser = regulariser.detach()
        return Terms(fidelity + self.alpha * regulariser, fidelity, regulariser), gradient

    def _masked(self, images: Tensor, which: slice = slice(None)) -> Tensor:
        """Return the images with 0 outside of ``inside``."""
        return images if self.inside is None else images * self.inside[which]

    def _fidelity(self, images: Tensor, which: slice) -> Tensor:
        # In double precision: a line search compares sums that are almost equal.
        return self.residual(images, which).double().square().mean(dim=(1, 2)).sum() / 2

    @property
    def _parts(self) -> list[slice]:
        count = len(self.data)
        return [slice(n, min(n + self.batch, count)) for n in range(0, count, self.batch)]
