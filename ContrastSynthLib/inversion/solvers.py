"""Two ways to the minimum: Adam, as in the paper, and L-BFGS with bounds, which is faster.

Both take all slices at once, stay inside the bounds, and tell of each iteration: Adam by
projecting after each step, L-BFGS-B (Byrd et al. 1995, scipy's) by bounds of its own, with a
line search that meets the strong Wolfe conditions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import Bounds, minimize

from ContrastSynthLib.errors import RequestError, unknown_name
from ContrastSynthLib.inversion.problem import Problem

if TYPE_CHECKING:
    from torch import Tensor

ADAM_STEP = 1e-2
"""Our choice, and that of the authors' code: the paper does not tell."""
PATIENCE = 10
"""Iterations of Adam without progress after which its step is halved."""
SMALLEST_STEP = 1e-4
"""Share of Adam's first step at which it has converged."""
MEMORY = 5
"""Pairs of vectors that L-BFGS remembers."""


@dataclass(frozen=True)
class Iteration:
    """What one iteration came to; ``change`` is |x_k - x_(k-1)| / |x_k|.

    ``evaluations`` counts the evaluations of objective and gradient so far.
    """

    iteration: int
    evaluations: int
    objective: float
    fidelity: float
    regulariser: float
    change: float


@dataclass(frozen=True)
class Solution:
    """The images (n, rows, columns), how they came about, and why the solver stopped.

    ``stopped`` is ``tolerance`` or ``iterations``.
    """

    images: Tensor
    history: tuple[Iteration, ...]
    stopped: str


Watch = Callable[[Iteration], None]
"""Called after every iteration; what it raises ends the solver, which is how one cancels."""


def watch_nothing(iteration: Iteration) -> None:
    """Take an iteration and do nothing with it."""


@dataclass
class _Trail:
    """The iterations so far; ``wanted`` is the one whose images are returned, 0 for the last."""

    problem: Problem
    watch: Watch
    wanted: int
    images: Tensor
    history: list[Iteration] = field(default_factory=list)
    evaluations: int = 0
    kept: Tensor | None = None

    def add(self, images: Tensor, terms: tuple[float, float, float]) -> Iteration:
        change = float((images - self.images).norm() / images.norm().clamp(min=1e-30))
        self.images = images.clone()
        found = Iteration(len(self.history) + 1, self.evaluations, *terms, change)
        self.history.append(found)
        if found.iteration == self.wanted:
            self.kept = self.images
        self.watch(found)
        return found

    @property
    def is_full(self) -> bool:
        """Whether the wanted iteration is there: no need to go on."""
        return self.kept is not None

    def solution(self, images: Tensor, stopped: str) -> Solution:
        chosen = images if self.kept is None else self.kept
        return Solution(chosen.detach(), tuple(self.history), stopped)


def solve(
    problem: Problem,
    start: Tensor,
    *,
    solver: str = "lbfgs",
    iterations: int = 150,
    tolerance: float = 1e-5,
    iterate: int = 0,
    watch: Watch = watch_nothing,
    **options: Any,
) -> Solution:
    """Return the solution that ``solver``, a key of SOLVERS, comes to from ``start``.

    It stops after ``iterations``, or when an iteration lowers the objective by less than the
    share ``tolerance`` of it (0: never). ``iterate`` asks for that iterate in place of the
    last. The start is put inside the bounds first. Raises RequestError for an unknown solver,
    numbers out of range and a start of another shape than the data.
    """
    if solver not in SOLVERS:
        raise unknown_name("solver", solver, SOLVERS)
    if iterations < 1 or not 0 <= iterate <= iterations or not tolerance >= 0:
        raise RequestError(
            f"{iterations} iterations, iterate {iterate}, tolerance {tolerance:g}: give at least 1 "
            "iteration, an iterate up to that number and a tolerance of 0 or above."
        )
    if start.shape != problem.data.shape:
        raise RequestError(
            f"The start has the shape {tuple(start.shape)}, the data {tuple(problem.data.shape)}."
        )
    images = start.detach().clamp(*problem.bounds)
    trail = _Trail(problem, watch, iterate, images)
    return SOLVERS[solver](problem, images, trail, iterations, tolerance, **options)


def _adam(
    problem: Problem,
    start: Tensor,
    trail: _Trail,
    iterations: int,
    tolerance: float,
    step: float = ADAM_STEP,
) -> Solution:
    """Adam with projection. With a tolerance its step is halved where it makes no progress."""
    import torch

    images = start.clone()
    optimiser = torch.optim.Adam([images], lr=step)
    lowest, best, since = float("inf"), images.clone(), 0
    for _ in range(iterations):
        terms, images.grad = problem.terms_and_gradient(images)
        trail.evaluations += 1
        before = images.clone()
        optimiser.step()
        images.clamp_(*problem.bounds)
        # What was evaluated are the images before the step.
        found = trail.add(before, _numbers(terms))
        since = 0 if found.objective < lowest * (1 - tolerance) else since + 1
        if found.objective < lowest:
            lowest, best = found.objective, before
        if trail.is_full:
            return trail.solution(before, "iterations")
        if tolerance and since >= PATIENCE:
            since = 0
            optimiser.param_groups[0]["lr"] /= 2
            if optimiser.param_groups[0]["lr"] < SMALLEST_STEP * step:
                return trail.solution(best, "tolerance")
    return trail.solution(best, "iterations")


def _lbfgs(
    problem: Problem, start: Tensor, trail: _Trail, iterations: int, tolerance: float
) -> Solution:
    import torch

    # Sums over pixels in place of means: the optimiser's first step is the gradient itself, and
    # that of a sum of squares is as long as the way to go.
    pixels = start[0].numel()
    last: dict[bytes, tuple[float, float, float]] = {}

    def as_images(values: Any) -> Tensor:
        flat = torch.from_numpy(np.array(values)).to(start.device, start.dtype)
        return flat.view(start.shape)

    def evaluate(values: Any) -> tuple[float, Any]:
        terms, gradient = problem.terms_and_gradient(as_images(values))
        trail.evaluations += 1
        last.clear()
        last[values.tobytes()] = _numbers(terms)
        return pixels * terms.objective.item(), pixels * gradient.double().cpu().numpy().ravel()

    def after(values: Any) -> None:
        images = as_images(values)
        terms = last.get(values.tobytes())
        before = trail.history[-1].objective if trail.history else float("inf")
        found = trail.add(images, terms or _numbers(problem.terms(images)))
        if trail.is_full or before - found.objective < tolerance * found.objective:
            raise StopIteration

    found = minimize(
        evaluate,
        start.double().cpu().numpy().ravel(),
        jac=True,
        method="L-BFGS-B",
        bounds=Bounds(*problem.bounds),
        callback=after,
        options={
            "maxiter": iterations,
            "maxfun": 20 * iterations,
            "maxcor": MEMORY,
            "ftol": 0.0,
            "gtol": 0.0,
        },
    )
    reached = "iterations" if found.nit >= iterations or trail.is_full else "tolerance"
    return trail.solution(as_images(found.x), reached)


def _numbers(terms: Any) -> tuple[float, float, float]:
    objective, fidelity, regulariser = (float(term.detach()) for term in terms)
    return objective, fidelity, regulariser


SOLVERS: dict[str, Callable[..., Solution]] = {"adam": _adam, "lbfgs": _lbfgs}
