"""Two solvers: projected Adam, as in the paper, and L-BFGS-B, which is faster.

Both solve for all slices at once, keep x within the bounds and report every iteration. Adam is
projected onto the bounds after each step. L-BFGS-B (Byrd et al. 1995, scipy's implementation)
handles them itself, with a line search that satisfies the strong Wolfe conditions.
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
"""Our choice, and that of the authors' code: the paper does not state it."""
PATIENCE = 10
"""Iterations of Adam without progress after which its step is halved."""
SMALLEST_STEP = 1e-4
"""Fraction of Adam's first step below which it has converged."""
MEMORY = 5
"""Number of previous steps from which L-BFGS approximates the Hessian."""


@dataclass(frozen=True)
class Iteration:
    """The numbers of one iteration k; ``change`` is |x_k - x_(k-1)| / |x_k|.

    ``evaluations`` counts the evaluations of objective and gradient so far. ``objective`` is
    ``fidelity`` + alpha ``regulariser``.
    """

    iteration: int
    evaluations: int
    objective: float
    fidelity: float
    regulariser: float
    change: float


@dataclass(frozen=True)
class Solution:
    """The images (n, rows, columns), the iterations, and the reason why the solver stopped.

    ``stopped`` is ``tolerance`` when it converged, ``iterations`` when it reached their limit.
    """

    images: Tensor
    history: tuple[Iteration, ...]
    stopped: str


Watch = Callable[[Iteration], None]
"""Called after every iteration; an exception that it raises ends the solver, as for cancelling."""


def watch_nothing(iteration: Iteration) -> None:
    """Ignore the iteration."""


@dataclass
class _History:
    """The iterations so far; ``wanted`` is the number of the one to return, 0 for the last."""

    problem: Problem
    watch: Watch
    wanted: int
    images: Tensor
    iterations: list[Iteration] = field(default_factory=list)
    evaluations: int = 0
    kept: Tensor | None = None

    def add(self, images: Tensor, terms: tuple[float, float, float]) -> Iteration:
        change = float((images - self.images).norm() / images.norm().clamp(min=1e-30))
        self.images = images.clone()
        found = Iteration(len(self.iterations) + 1, self.evaluations, *terms, change)
        self.iterations.append(found)
        if found.iteration == self.wanted:
            self.kept = self.images
        self.watch(found)
        return found

    @property
    def is_done(self) -> bool:
        """Whether the wanted iteration is reached, so that the solver can stop."""
        return self.kept is not None

    def solution(self, images: Tensor, stopped: str) -> Solution:
        chosen = images if self.kept is None else self.kept
        return Solution(chosen.detach(), tuple(self.iterations), stopped)


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
    """Return the solution that ``solver``, a key of SOLVERS, finds from ``start``.

    ``start`` (n, rows, columns) is clipped to the bounds first. The solver stops after
    ``iterations``, or when an iteration lowers the objective by less than the fraction
    ``tolerance`` (0: never). With ``iterate`` the images of that iteration are returned, with 0
    those of the last iteration of L-BFGS, or of Adam's lowest objective. ``options`` are those of
    one solver: ``step`` of Adam, and ``keep_last``, with which Adam returns the images after its
    last step, as the authors' code does, whatever their objective is. Raises RequestError for an
    unknown solver, numbers out of range and a start of another shape than the data.
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
    history = _History(problem, watch, iterate, images)
    return SOLVERS[solver](problem, images, history, iterations, tolerance, **options)


def _adam(
    problem: Problem,
    start: Tensor,
    history: _History,
    iterations: int,
    tolerance: float,
    step: float = ADAM_STEP,
    *,
    keep_last: bool = False,
) -> Solution:
    """Minimise by projected Adam; with a tolerance, its step is halved when progress stops."""
    import torch

    images = start.clone()
    optimiser = torch.optim.Adam([images], lr=step)
    lowest, best, since = float("inf"), images.clone(), 0
    for _ in range(iterations):
        terms, images.grad = problem.terms_and_gradient(images)
        history.evaluations += 1
        before = images.clone()
        optimiser.step()
        images.clamp_(*problem.bounds)
        # The terms were evaluated for the images before the step.
        found = history.add(before, _numbers(terms))
        since = 0 if found.objective < lowest * (1 - tolerance) else since + 1
        if found.objective < lowest:
            lowest, best = found.objective, before
        if history.is_done:
            return history.solution(before, "iterations")
        if tolerance and since >= PATIENCE:
            since = 0
            optimiser.param_groups[0]["lr"] /= 2
            if optimiser.param_groups[0]["lr"] < SMALLEST_STEP * step:
                return history.solution(images if keep_last else best, "tolerance")
    return history.solution(images if keep_last else best, "iterations")


def _lbfgs(
    problem: Problem, start: Tensor, history: _History, iterations: int, tolerance: float
) -> Solution:
    import torch

    # Sums over pixels in place of means: the optimiser's first step is the gradient itself, which
    # for a sum of squares has the length of the way to the minimum.
    pixels = start[0].numel()
    last: dict[bytes, tuple[float, float, float]] = {}

    def as_images(values: Any) -> Tensor:
        flat = torch.from_numpy(np.array(values)).to(start.device, start.dtype)
        return flat.view(start.shape)

    def evaluate(values: Any) -> tuple[float, Any]:
        terms, gradient = problem.terms_and_gradient(as_images(values))
        history.evaluations += 1
        last.clear()
        last[values.tobytes()] = _numbers(terms)
        return pixels * terms.objective.item(), pixels * gradient.double().cpu().numpy().ravel()

    def after(values: Any) -> None:
        images = as_images(values)
        terms = last.get(values.tobytes())
        before = history.iterations[-1].objective if history.iterations else float("inf")
        found = history.add(images, terms or _numbers(problem.terms(images)))
        if history.is_done or before - found.objective < tolerance * found.objective:
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
    reached = "iterations" if found.nit >= iterations or history.is_done else "tolerance"
    return history.solution(as_images(found.x), reached)


def _numbers(terms: Any) -> tuple[float, float, float]:
    objective, fidelity, regulariser = (float(term.detach()) for term in terms)
    return objective, fidelity, regulariser


SOLVERS: dict[str, Callable[..., Solution]] = {"adam": _adam, "lbfgs": _lbfgs}
