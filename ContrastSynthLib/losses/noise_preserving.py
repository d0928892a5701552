r"""The noise-preserving loss of the low-dose conditional GAN: eq. 2 and section 2.2.

Images are compared by what values each small patch holds, not by where in it they are:

    W(x^, x) = min_T <C, T>    with C_ij = |x^_i - x_j| and a plan T of uniform marginals

    l_NP(y^, y) = mean over patches p of W(P_(p+o) y^, P_(p+o) y),    o drawn at random

An image that is smooth where its reference is noisy is penalised, one with other noise of the same
strength hardly. The paper sums over patches; the mean, which does not depend on the size of the
image, is our choice.

Three solvers give W of many pairs of patches at once:

    exact      mean_i |sort(x^)_i - sort(x)_i|, the closed form of the minimum in one dimension
    sinkhorn   the cost of the entropic plan at EPSILON max(C)
    ipot       the paper's: inexact proximal point steps (Xie et al. 2020) at EPSILON max(C)

The last two take the plan as given when they are differentiated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

PATCH = 4
"""Voxels along each side of a patch."""
EPSILON = 0.1
"""Regularisation, as a share of the largest cost of a pair: the paper's."""
ITERATIONS = 100
AT_ONCE = 4096
"""Pairs of patches whose plans are in memory together."""
LEAST = 1e-12
"""Two patches of one same value have no cost to be a share of."""

Offset = tuple[int, int, int]


def noise_preserving_loss(
    synthetic: Tensor, reference: Tensor, *, offset: Offset = (0, 0, 0), solver: str = "exact"
) -> Tensor:
    """Return l_NP of images (n, c, k, j, i): the mean Wasserstein distance of their patches.

    ``offset`` moves the patches, with periodic boundaries; see :func:`draw_offset`. It is computed
    in single precision at least. Raises ValueError for images of different shapes, sides that are
    no multiple of PATCH, and an unknown solver.
    """
    if synthetic.shape != reference.shape:
        raise ValueError(f"shapes differ: {tuple(synthetic.shape)} and {tuple(reference.shape)}")
    pairs = (patches(image, offset) for image in (synthetic, reference))
    return wasserstein(*pairs, solver=solver).mean()


def over_heads(
    loss: Callable[[Tensor, Tensor], Tensor], heads: Sequence[Tensor], reference: Tensor
) -> Tensor:
    """Return the sum of ``loss`` over the heads of a generator, each (n, c, k, j, i).

    The reference is averaged to the size of each head: our choice. Raises ValueError for a head
    whose size does not divide that of the reference.
    """
    terms = []
    for head in heads:
        whole, part = tuple(reference.shape[2:]), tuple(head.shape[2:])
        steps, rest = zip(*map(divmod, whole, part), strict=True)
        if any(rest):
            raise ValueError(f"{part} does not divide {whole}")
        terms.append(loss(head, torch.nn.functional.avg_pool3d(reference, steps)))
    return torch.stack(terms).sum()


def draw_offset(generator: torch.Generator | None = None) -> Offset:
    """Return an offset of the patches: 0 to half a patch along each axis, uniform."""
    drawn = torch.randint(0, -(-PATCH // 2) + 1, (3,), generator=generator)
    k, j, i = drawn.tolist()
    return k, j, i


def patches(image: Tensor, offset: Offset = (0, 0, 0)) -> Tensor:
    """Return the patches (p, PATCH^3) of an image (n, c, k, j, i), which do not overlap.

    The first begins at ``offset``, and what leaves the image on one side enters on the other.
    Raises ValueError for sides that are no multiple of PATCH.
    """
    if any(side % PATCH for side in image.shape[2:]):
        raise ValueError(f"sides {tuple(image.shape[2:])} are no multiples of {PATCH}")
    moved = image.roll([-step for step in offset], dims=(2, 3, 4))
    for dim in (2, 3, 4):
        moved = moved.unfold(dim, PATCH, PATCH)
    return moved.reshape(-1, PATCH**3)


def wasserstein(synthetic: Tensor, reference: Tensor, *, solver: str = "exact") -> Tensor:
    """Return W of each pair of rows of two tensors (p, m): (p,), single precision at least.

    Raises ValueError for tensors of different shapes and an unknown solver.
    """
    if solver not in SOLVERS:
        raise ValueError(f"unknown solver '{solver}': one of {', '.join(SOLVERS)}")
    if synthetic.shape != reference.shape or synthetic.dim() != 2:
        raise ValueError("give two tensors (p, m) of one shape")
    single = torch.promote_types(synthetic.dtype, torch.float32)
    solve = SOLVERS[solver]
    with torch.autocast(synthetic.device.type, enabled=False):
        parts = zip(
            synthetic.to(single).split(AT_ONCE), reference.to(single).split(AT_ONCE), strict=True
        )
        return torch.cat([solve(made, real) for made, real in parts])


def exact(synthetic: Tensor, reference: Tensor) -> Tensor:
    """Return W of each pair of rows (p, m) in its closed form."""
    return (synthetic.sort(dim=1).values - reference.sort(dim=1).values).abs().mean(dim=1)


def sinkhorn(synthetic: Tensor, reference: Tensor) -> Tensor:
    """Return the cost (p,) of the entropic plan, by ITERATIONS in the logarithmic domain."""
    cost = _cost(synthetic, reference)
    with torch.no_grad():
        scaled = cost / _epsilon(cost)
        # Each marginal is 1/m: the constant cancels but for the last normalisation.
        rows = torch.zeros_like(scaled[:, :, 0])
        columns = torch.zeros_like(scaled[:, 0])
        for _ in range(ITERATIONS):
            columns = -torch.logsumexp(rows[:, :, None] - scaled, dim=1)
            rows = -torch.logsumexp(columns[:, None] - scaled, dim=2)
        plan = torch.exp(rows[:, :, None] + columns[:, None] - scaled) / cost.shape[1]
    return (cost * plan).sum(dim=(1, 2))


def ipot(synthetic: Tensor, reference: Tensor) -> Tensor:
    """Return the cost (p,) of the plan after ITERATIONS of the inexact proximal point method."""
    return ipot_after(synthetic, reference, ITERATIONS)


def ipot_after(synthetic: Tensor, reference: Tensor, iterations: int) -> Tensor:
    """Return the cost (p,) after a number of proximal steps, each with one Sinkhorn iteration."""
    cost = _cost(synthetic, reference)
    with torch.no_grad():
        share = 1 / cost.shape[1]
        kernel = torch.exp(-cost / _epsilon(cost))
        plan = torch.full_like(cost, share**2)
        columns = torch.full_like(cost[:, :1], share)
        for _ in range(iterations):
            step = kernel * plan
            rows = share / (step * columns).sum(dim=2, keepdim=True).clamp(min=LEAST)
            columns = share / (step * rows).sum(dim=1, keepdim=True).clamp(min=LEAST)
            plan = rows * step * columns
    return (cost * plan).sum(dim=(1, 2))


def _cost(synthetic: Tensor, reference: Tensor) -> Tensor:
    """Return C (p, m, m)."""
    return (synthetic[:, :, None] - reference[:, None]).abs()


def _epsilon(cost: Tensor) -> Tensor:
    """Return the regularisation of each pair, (p, 1, 1)."""
    return (EPSILON * cost.amax(dim=(1, 2), keepdim=True)).clamp(min=LEAST)


SOLVERS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "exact": exact,
    "sinkhorn": sinkhorn,
    "ipot": ipot,
}
