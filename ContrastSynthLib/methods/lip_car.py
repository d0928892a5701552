"""LIP-CAR: the full-dose image as the solution of an inverse problem with a low-dose scan as data.

A forward operator F (a network or the signal equation) predicts the low-dose image from a full-dose
image x. The method finds the x whose F(x) agrees with the scan and which is piecewise smooth.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.inference.ladder import first_that_fits
from ContrastSynthLib.inversion.alpha import alpha_for_noise, per_pixel, rising_alpha
from ContrastSynthLib.inversion.parts import PART_VOXELS, combined_history, overlapping_parts
from ContrastSynthLib.methods._lip_car_parameters import (
    PRESET_TITLES,
    PRESETS,
    PRIORS,
    WITH_GUESS,
    LipCarParameters,
)
from ContrastSynthLib.methods._low_dose import LowDose, low_dose_slices, need_pre
from ContrastSynthLib.methods._spgr import median_signal, proton_density
from ContrastSynthLib.methods.direct_low_to_full import direct_slices
from ContrastSynthLib.registry import Column, Context, Input, Network, Output, method
from ContrastSynthLib.volumes import FloatArray, Volume

if TYPE_CHECKING:
    from ContrastSynthLib.inversion.problem import Forward, Problem
    from ContrastSynthLib.inversion.solvers import Iteration, Solution

SOLVING_FROM = 0.2
"""Progress of the run, from 0 to 1, at which the solver starts."""
SLICES_AT_ONCE = 16
BRIGHTEST = 1.2
"""The upper bound of x is 1, or this times the brightest voxel of the low dose if that is more."""

OBJECTIVE_PLOT, CHANGE_PLOT = "Objective", "Relative change"
HISTORY = {
    "iteration": Column("Iteration"),
    "evaluations": Column("Evaluations"),
    "objective": Column("Objective", plot=OBJECTIVE_PLOT),
    "fidelity": Column("Fidelity (residual)", plot=OBJECTIVE_PLOT),
    "regulariser": Column("Prior x alpha", plot=OBJECTIVE_PLOT, factor="alpha_mm"),
    "change": Column("Relative change", plot=CHANGE_PLOT),
}
"""What the solver records at each iteration; the numbers have no unit."""


@method(
    key="lip_car",
    title="LIP-CAR: full dose from low dose as an inverse problem",
    task="full",
    recommended=True,
    inputs={
        "low": Input("After a low dose"),
        "pre": Input("Pre-contrast", optional=True),
        "guess": Input("A guess of the full dose", optional=True),
    },
    outputs={"post": Output("Synthetic full dose", units_of="low", dose=1)},
    parameters=LipCarParameters,
    reference="low",
    presets=PRESETS,
    preset_titles=PRESET_TITLES,
    networks={
        "h2l": Network(when={"forward": ("h2l",)}),
        "ph2l": Network(when={"forward": ("ph2l",)}),
        "l2h": Network(
            of="direct_low_to_full",
            when={"forward": ("h2l",), "prior": WITH_GUESS, "guess": ("direct",)},
        ),
        "pl2h": Network(
            of="direct_low_to_full",
            when={"forward": ("ph2l", "physics"), "prior": WITH_GUESS, "guess": ("direct",)},
        ),
    },
    requires=("torch",),
    history=HISTORY,
    part_voxels=PART_VOXELS,
    citation="lipcar",
    intended_use="Research. T1-weighted brains after a low dose of gadolinium. Enhancement may be "
    "missed, invented or smoothed away.",
)
def lip_car(
    low: Volume,
    pre: Volume | None = None,
    guess: Volume | None = None,
    *,
    parameters: LipCarParameters,
    context: Context,
) -> dict[str, FloatArray]:
    """Minimise |F(x) - x_L|^2 / 2 + alpha R(x) over x in [0, 1]^n: eq. 8 of LIP-CAR.

    x_L is the low-dose scan. F is a trained network or the signal equation. R(x) is the total
    variation of x (eq. 9) or of the difference between x and a guess (eq. 10), or half the squared
    gradient of that difference (Tikhonov). Intensities are normalised by ``low_dose``; the result
    has the gain of the low-dose scan. Every iteration is recorded. All slices are solved at once,
    or those of a large volume in parts.
    """
    if parameters.forward != "h2l" or _needs(parameters, "pre", "difference"):
        pre = need_pre(
            pre, "This inverse problem", "h2l with tv (--set forward=h2l --set prior=tv)"
        )
    if _needs(parameters, "given") and guess is None:
        raise RequestError("The guess 'given' needs a volume: choose one (--in guess=FILE).")
    _warn_of_assumptions(low, parameters, context)
    slices = low_dose_slices(low, pre, context)
    generalised = PRIORS[parameters.prior][1]
    near = _guess(slices, guess, parameters, context) if generalised else None
    arrays = _set_up(slices, near, parameters, context)
    full = np.empty_like(arrays.data)
    histories, stopped = [], set()
    parts = overlapping_parts(full.shape, parameters.dimensions)
    for number, (kept, seen) in enumerate(parts):
        within = number / len(parts), (number + 1) / len(parts)
        solution = _solve(arrays.part(seen), parameters, context, within)
        images = solution.images[kept.start - seen.start : kept.stop - seen.start]
        full[kept] = images.cpu().numpy() * slices.inside[kept]
        histories.append(_columns(solution.history))
        stopped.add(solution.stopped)
    context.record.update(
        stopped_by="iterations" if "iterations" in stopped else "tolerance",
        voxels_at_the_upper_bound=int((full[slices.inside] >= arrays.bounds[1]).sum()),
        history=combined_history(histories),
    )
    return {"post": slices.volume(full, low)}


def _warn_of_assumptions(low: Volume, parameters: LipCarParameters, context: Context) -> None:
    for bundle in context.bundles.values():
        trained = bundle.metadata.get("dose")
        if trained is not None and trained != parameters.dose:
            context.warn(
                f"The weights {bundle.id} were trained on a low dose of {trained:g} of the full "
                f"dose; the dose of this scan is {parameters.dose:g}."
            )
    if parameters.forward == "physics" and low.acquisition.inversion_time_s:
        context.warn(
            "'low' was made with an inversion pulse (MPRAGE); the forward operator 'physics' "
            "assumes a spoiled gradient echo without one."
        )


def _needs(parameters: LipCarParameters, *guesses: str) -> bool:
    """Return whether the prior uses a guess, and it is one of ``guesses``."""
    return PRIORS[parameters.prior][1] and parameters.guess in guesses


def _guess(
    slices: LowDose, given: Volume | None, parameters: LipCarParameters, context: Context
) -> FloatArray:
    """Return the guess (n, rows, columns) of a prior that penalises the departure from it."""
    if parameters.guess == "direct":
        network = "l2h" if parameters.forward == "h2l" else "pl2h"
        return direct_slices(slices, network, "none", context, (0.05, SOLVING_FROM))
    if parameters.guess == "given":
        assert given is not None
        return slices.slices(given)
    assert slices.pre is not None
    if parameters.guess == "pre":
        return slices.pre
    difference = slices.denoised("nlm") - slices.pre
    return np.maximum(slices.pre + difference / np.float32(parameters.dose), 0)


@dataclass(frozen=True)
class _ProblemArrays:
    """The inverse problem as numpy arrays (n, rows, columns), before it is moved to a device.

    ``density`` is rho of eq. 1 for the signal equation, None for a network.
    """

    slices: LowDose
    data: FloatArray
    guess: FloatArray | None
    alpha: float
    bounds: tuple[float, float]
    density: float | None

    def part(self, which: slice) -> _ProblemArrays:
        """Return the problem of some of the slices."""
        guess = None if self.guess is None else self.guess[which]
        return replace(self, slices=self.slices.part(which), data=self.data[which], guess=guess)


def _set_up(
    slices: LowDose, guess: FloatArray | None, parameters: LipCarParameters, context: Context
) -> _ProblemArrays:
    data = slices.denoised(parameters.denoiser)
    alpha = _alpha(slices.sigma, parameters)
    bounds = (0.0, max(1.0, BRIGHTEST * float(data.max())))
    context.record.update(
        alpha_mm=alpha, alpha_pixels=per_pixel(alpha, slices.plan.pixel_mm), valid_range=bounds
    )
    density = None
    if parameters.forward == "physics":
        assert slices.pre is not None
        median = median_signal(slices.pre, slices.inside)
        density = proton_density(
            median, field_strength_t=parameters.field_strength_t, **_settings(parameters)
        )
        context.record.update(proton_density=density)
    return _ProblemArrays(slices, data, guess, alpha, bounds, density)


def _alpha(sigma: float, parameters: LipCarParameters) -> float:
    """Return the weight of the prior in mm, for noise of ``sigma``."""
    if not parameters.alpha:
        return alpha_for_noise(
            sigma,
            dose=parameters.dose,
            sees_pre=parameters.forward != "h2l",
            guess_of_a_network=_needs(parameters, "direct"),
        )
    if parameters.alpha_at_most:
        return rising_alpha(sigma, parameters.alpha, parameters.alpha_at_most)
    return parameters.alpha


def _settings(parameters: LipCarParameters) -> dict[str, float]:
    return {
        "repetition_time_s": parameters.repetition_time_s,
        "flip_angle_deg": parameters.flip_angle_deg,
    }


def _solve(
    arrays: _ProblemArrays,
    parameters: LipCarParameters,
    context: Context,
    within: tuple[float, float],
) -> Solution:
    """Return the solution, computed with the first device and batch that memory suffices for.

    ``within`` is the part of the solving that this is, as shares of all of it.
    """
    from ContrastSynthLib.inversion.solvers import solve

    def watch(iteration: Iteration) -> None:
        share = np.interp(iteration.iteration / parameters.iterations, (0, 1), within)
        context.measured({**asdict(iteration), "alpha_mm": arrays.alpha})
        context.progress(
            SOLVING_FROM + (1 - SOLVING_FROM) * float(share),
            f"Iteration {iteration.iteration}, objective {iteration.objective:.4g}",
        )

    def compute(device: str, batch: int) -> Solution:
        problem = _problem(arrays, parameters, context, device, batch)
        guess = problem.regulariser.guess
        return solve(
            problem,
            problem.data if guess is None or parameters.start == "low" else guess,
            solver=parameters.solver,
            iterations=parameters.iterations,
            tolerance=parameters.tolerance,
            iterate=min(parameters.iterate, parameters.iterations),
            watch=watch,
            **(_of_adam(parameters) if parameters.solver == "adam" else {}),
        )

    return first_that_fits(
        compute,
        SLICES_AT_ONCE,
        device=context.device,
        warn=context.warn,
        record=context.record,
    )


def _of_adam(parameters: LipCarParameters) -> dict[str, Any]:
    return {"step": parameters.step, "keep_last": parameters.adam_keeps == "last"}


def _problem(
    arrays: _ProblemArrays, parameters: LipCarParameters, context: Context, device: str, batch: int
) -> Problem:
    """Return the inverse problem on a device; F is applied to ``batch`` slices at a time."""
    import torch

    from ContrastSynthLib.inversion.problem import Problem
    from ContrastSynthLib.inversion.regularisers import Regulariser

    def tensor(array: Any) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)).to(device)

    plan = arrays.slices.plan
    kind, _ = PRIORS[parameters.prior]
    guess = None if arrays.guess is None else tensor(arrays.guess)
    spacing_mm = (plan.spacing_mm[0], *plan.pixel_mm)
    return Problem(
        _forward(arrays, parameters, context, device),
        tensor(arrays.data),
        Regulariser(kind, spacing_mm, parameters.dimensions, guess),
        arrays.alpha,
        arrays.bounds,
        tensor(arrays.slices.inside),
        batch,
    )


def _forward(
    arrays: _ProblemArrays, parameters: LipCarParameters, context: Context, device: str
) -> Forward:
    import torch

    from ContrastSynthLib.inversion.operators import network_forward, physics_forward

    pre = None
    if parameters.forward != "h2l":
        before = arrays.slices.pre
        assert before is not None
        pre = torch.from_numpy(np.asarray(before, dtype=np.float32)).to(device)
    if parameters.forward != "physics":
        network = context.network(parameters.forward)
        return network_forward(network.to(device), pre)
    assert arrays.density is not None
    settings = _settings(parameters)
    return physics_forward(pre, parameters.dose, proton_density=arrays.density, **settings)


def _columns(history: tuple[Iteration, ...]) -> dict[str, list[float]]:
    """Return the history as columns by name, which is shorter as JSON than rows."""
    return {name: [getattr(step, name) for step in history] for name in HISTORY}
