"""Solvers against problems whose answer is known, priors against images whose value is known."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import minimize

from ContrastSynthLib.errors import RequestError

torch = pytest.importorskip("torch")

from ContrastSynthLib.inversion.problem import Problem
from ContrastSynthLib.inversion.regularisers import KINDS, SMOOTHING, Regulariser, differences
from ContrastSynthLib.inversion.solvers import SOLVERS, solve

RNG = np.random.default_rng(0)
SHAPE = (2, 7, 6)
TO_TOLERANCE = {
    "adam": {"iterations": 6000, "tolerance": 1e-9},
    "lbfgs": {"iterations": 600, "tolerance": 1e-12},
}


def images(seed: int = 0, shape: tuple[int, ...] = SHAPE):
    draw = np.random.default_rng(seed).uniform(0.2, 0.8, shape)
    return torch.from_numpy(draw)


# ---- regularisers


def test_total_variation_of_a_ramp_and_of_a_square():
    ramp = torch.arange(6, dtype=torch.float64).expand(3, 5, 6) * 0.1
    # 0.1 a pixel of 2 mm, in five of six columns.
    for kind in ("tv", "tv_anisotropic"):
        value = Regulariser(kind, (1, 1, 2), smoothing=1e-9)(ramp)
        torch.testing.assert_close(value, torch.full((3,), 0.05 * 5 / 6, dtype=torch.float64))
    square = torch.zeros(1, 8, 8, dtype=torch.float64)
    square[0, 2:5, 3:6] = 1
    # Its perimeter is 12 pixels, and one corner has both differences at once.
    value = Regulariser("tv_anisotropic", smoothing=1e-9)(square)
    assert value.item() == pytest.approx(12 / 64)
    value = Regulariser("tv", smoothing=1e-9)(square)
    assert value.item() == pytest.approx((10 + np.sqrt(2)) / 64)
    value = Regulariser("tikhonov")(square)
    assert value.item() == pytest.approx(12 / 2 / 64)


def test_the_size_of_pixels_and_of_images_does_not_count():
    """The same disc, on pixels of 1 mm and of a quarter of that, and in a larger stack."""
    values = []
    for size in (64, 256):
        axis = (np.arange(size) + 0.5) * 64 / size - 32
        disc = np.clip((16 - np.hypot(*np.meshgrid(axis, axis))) / 8, 0, 1)[None]
        regulariser = Regulariser("tv", (5.0, 64 / size, 64 / size))
        values += regulariser(torch.from_numpy(np.repeat(disc, 3, axis=0))).tolist()
    # A rise of 1 across a ring of mean circumference 2 pi 12 mm, in an area of 64 x 64 mm2.
    assert values == pytest.approx([2 * np.pi * 12 / 64**2] * 6, rel=0.02)


def test_three_dimensions_see_neighbouring_slices():
    step = torch.zeros(4, 5, 6, dtype=torch.float64)
    step[2:] = 1
    for kind, value in (("tv", 1 / 3), ("tikhonov", 1 / 18)):
        flat, deep = (Regulariser(kind, (3, 1, 1), d, smoothing=1e-9)(step) for d in (2, 3))
        assert flat.abs().max() < 1e-8
        torch.testing.assert_close(deep, torch.tensor([0, value, 0, 0], dtype=torch.float64))


@pytest.mark.parametrize("kind", KINDS)
def test_a_guess_is_what_costs_nothing(kind):
    guess, bright = images(1), images(1) + 0.1
    regulariser = Regulariser(kind, guess=guess)
    assert regulariser(guess).abs().max() < 1e-12
    # Only differences count: a guess of another level is as good.
    assert regulariser(bright).abs().max() < 1e-9
    plain = Regulariser(kind)
    torch.testing.assert_close(regulariser(images(2)), plain(images(2) - guess))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dimensions", [2, 3])
def test_gradients_of_the_objective_are_right(kind, dimensions):
    torch.manual_seed(0)
    smooth = torch.nn.Sequential(
        torch.nn.Conv2d(1, 3, 3, padding=1), torch.nn.Softplus(), torch.nn.Conv2d(3, 1, 1)
    ).double()
    problem = Problem(
        lambda x, which: smooth(x[:, None])[:, 0],
        images(3),
        Regulariser(kind, (2.0, 1.0, 0.8), dimensions, guess=images(4), smoothing=1e-2),
        alpha=0.3,
    )
    given = images(5).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda x: problem.terms(x).objective, given)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"kind": "tvv"}, "Did you mean 'tv'"),
        ({"kind": "tv", "dimensions": 1}, "takes 2 or 3"),
        ({"kind": "tv", "spacing_mm": (1, 0, 1)}, "above 0"),
    ],
)
def test_a_wrong_regulariser_is_refused(arguments, said):
    with pytest.raises(RequestError, match=said):
        Regulariser(**arguments)


# ---- solvers


def linear(seed: int = 6):
    """Return a matrix (n, n) of a slice's pixels, well away from singular, and its operator."""
    count = SHAPE[1] * SHAPE[2]
    matrix = np.eye(count) + 0.3 * np.random.default_rng(seed).normal(size=(count, count)) / 4
    tensor = torch.from_numpy(matrix)
    return matrix, lambda x, which: (x.reshape(len(x), -1) @ tensor.T).reshape(x.shape)


def difference_matrix() -> np.ndarray:
    """Return the differences of a slice as a matrix (2 n, n), by differencing unit images."""
    count = SHAPE[1] * SHAPE[2]
    units = torch.eye(count, dtype=torch.float64).reshape(count, *SHAPE[1:])
    return differences(units, (1, 1, 1), 2).reshape(count, -1).numpy().T


@pytest.mark.parametrize("solver", SOLVERS)
def test_tikhonov_reaches_its_closed_form(solver):
    matrix, forward = linear()
    data, alpha, count = images(7), 0.05, SHAPE[1] * SHAPE[2]
    problem = Problem(forward, data, Regulariser("tikhonov"), alpha, bounds=(-50, 50))
    d = difference_matrix()
    normal = matrix.T @ matrix + alpha * d.T @ d
    wanted = np.linalg.solve(normal, matrix.T @ data.reshape(2, count).numpy().T).T
    wanted = torch.from_numpy(wanted).reshape(SHAPE)
    found = solve(problem, torch.zeros(SHAPE).double(), solver=solver, **TO_TOLERANCE[solver])
    assert found.stopped == "tolerance"
    best, reached = (problem.terms(x).objective.item() for x in (wanted, found.images))
    assert 0 <= reached / best - 1 < 1e-4
    torch.testing.assert_close(found.images, wanted, atol=5e-3, rtol=0)


@pytest.mark.parametrize("kind", ["tv", "tv_anisotropic"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_total_variation_reaches_what_another_solver_finds(solver, kind):
    """SLSQP, with an objective in numpy of its own, one slice after the other, in the bounds."""
    matrix, forward = linear()
    data, alpha, bounds = 1.6 * images(8) - 0.3, 0.02, (0.0, 1.0)
    problem = Problem(forward, data, Regulariser(kind, smoothing=1e-3), alpha, bounds)

    def objective(x, y):
        image = x.reshape(SHAPE[1:])
        down = np.diff(image, axis=0, append=image[-1:])
        right = np.diff(image, axis=1, append=image[:, -1:])
        if kind == "tv":
            prior = np.sqrt(down**2 + right**2 + 1e-6) - 1e-3
        else:
            prior = np.sqrt(down**2 + 1e-6) + np.sqrt(right**2 + 1e-6) - 2e-3
        return ((matrix @ x - y) ** 2).mean() / 2 + alpha * prior.mean()

    best = 0.0
    for y in data.reshape(2, -1).numpy():
        start = np.full(y.size, 0.5)
        limits = [bounds] * y.size
        options = {"maxiter": 500, "ftol": 1e-12}
        best += minimize(
            objective, start, args=(y,), method="SLSQP", bounds=limits, options=options
        ).fun
    found = solve(problem, images(9), solver=solver, **TO_TOLERANCE[solver])
    reached = problem.terms(found.images).objective.item()
    assert abs(reached / best - 1) < 1e-4
    assert found.images.min() >= 0
    assert found.images.max() <= 1
    # The bounds matter here: without them both ends would be passed.
    assert (found.images == 0).any()


def test_small_changes_of_the_data_move_the_solution_less():
    """LIP-CAR, section 3.3: a convex prior; with the identity the solution is a contraction."""
    data, change = images(20), 0.05 * torch.from_numpy(RNG.normal(size=SHAPE))
    first, second = (
        solve(
            Problem(lambda x, which: x, y, Regulariser("tv"), 0.01, bounds=(-50, 50)),
            images(21),
            solver="lbfgs",
            **TO_TOLERANCE["lbfgs"],
        ).images
        for y in (data, data + change)
    )
    moved = torch.linalg.vector_norm(second - first)
    assert 0 < moved < torch.linalg.vector_norm(change)


def test_the_solution_reaches_the_truth_as_the_noise_vanishes():
    """LIP-CAR, section 3.3: alpha goes with the noise, so that noise squared by alpha goes too."""
    _, forward = linear()
    truth, noise = images(22), torch.from_numpy(np.random.default_rng(23).normal(size=SHAPE))
    clean = forward(truth, None)
    errors = []
    for level in (0.2, 0.1, 0.05, 0.025, 0.0125):
        problem = Problem(forward, clean + level * noise, Regulariser("tv"), 0.1 * level)
        found = solve(problem, images(24), solver="lbfgs", **TO_TOLERANCE["lbfgs"]).images
        errors.append(torch.linalg.vector_norm(found - truth).item())
    assert all(later < 0.7 * earlier for earlier, later in pairwise(errors))


def test_the_faster_solver_needs_fewer_evaluations():
    _, forward = linear()
    problem = Problem(forward, images(10), Regulariser("tv"), 0.01)
    adam = solve(problem, images(11), solver="adam", iterations=150, tolerance=0)
    reached = min(step.objective for step in adam.history)
    fast = solve(problem, images(11), solver="lbfgs", iterations=150, tolerance=0)
    evaluations = [s.evaluations for s in fast.history if s.objective <= reached]
    assert adam.history[-1].evaluations == 150
    assert evaluations
    assert evaluations[0] <= 50


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_history_records_every_iteration(solver):
    _, forward = linear()
    problem = Problem(forward, images(12), Regulariser("tv"), 0.05)
    seen = []
    found = solve(problem, images(13), solver=solver, iterations=20, tolerance=0, watch=seen.append)
    assert list(found.history) == seen
    assert [step.iteration for step in seen] == list(range(1, len(seen) + 1))
    assert all(b.evaluations > a.evaluations for a, b in pairwise(seen))
    for step in seen:
        assert step.objective == pytest.approx(step.fidelity + 0.05 * step.regulariser)
    assert seen[-1].objective < seen[0].objective
    assert seen[-1].change < 0.5
    # Any iterate can be returned, and is the one of the history.
    wanted = solve(problem, images(13), solver=solver, iterations=20, tolerance=0, iterate=7)
    assert len(wanted.history) == 7
    assert problem.terms(wanted.images).objective.item() == pytest.approx(seen[6].objective)


def test_adam_keeps_the_lowest_objective_or_its_last_step():
    """With a step that is too large the last is not the lowest."""
    _, forward = linear()
    problem = Problem(forward, images(12), Regulariser("tv"), 0.05)
    options = {"solver": "adam", "iterations": 15, "tolerance": 0, "step": 0.3}
    lowest, last = (solve(problem, images(13), keep_last=keep, **options) for keep in (False, True))
    assert last.history == lowest.history
    objectives = [step.objective for step in lowest.history]
    assert problem.terms(lowest.images).objective.item() == pytest.approx(min(objectives))
    # One iteration more evaluates what the last step led to.
    more = solve(problem, images(13), iterate=16, **{**options, "iterations": 16})
    assert torch.equal(last.images, more.images)
    assert not torch.equal(last.images, lowest.images)


@pytest.mark.parametrize("solver", SOLVERS)
def test_watching_can_end_it(solver):
    class Cancelled(Exception):
        pass

    def watch(step):
        if step.iteration == 3:
            raise Cancelled

    _, forward = linear()
    problem = Problem(forward, images(12), Regulariser("tv"), 0.05)
    with pytest.raises(Cancelled):
        solve(problem, images(13), solver=solver, watch=watch)


@pytest.mark.parametrize("solver", SOLVERS)
def test_slices_do_not_see_each_other(solver):
    """Solved together or alone, the objective and what is found are the same."""
    data, start = images(14), images(15)
    options = TO_TOLERANCE[solver]
    whole = solve(
        Problem(lambda x, which: x**2, data, Regulariser("tv"), 0.01),
        start,
        solver=solver,
        **options,
    )
    for n in range(2):
        one = Problem(lambda x, which: x**2, data[n : n + 1], Regulariser("tv"), 0.01)
        alone = solve(one, start[n : n + 1], solver=solver, **options)
        torch.testing.assert_close(alone.images[0], whole.images[n], atol=2e-3, rtol=0)


def test_data_outside_do_not_count_and_a_warm_start_is_quick():
    inside = torch.ones(SHAPE).double()
    inside[:, :3] = 0
    data = images(16)
    wrong = torch.where(inside > 0, data, 9.0)
    found = [
        solve(Problem(lambda x, which: x, y, Regulariser("tv"), 0.01, inside=inside), images(17))
        for y in (data, wrong)
    ]
    torch.testing.assert_close(found[0].images, found[1].images)
    problem = Problem(lambda x, which: x, data, Regulariser("tv"), 0.01, inside=inside)
    again = solve(problem, found[0].images)
    assert len(again.history) < len(found[0].history) / 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"solver": "adm"}, "Did you mean 'adam'"),
        ({"iterations": 0}, "at least 1"),
        ({"iterate": 151}, "iterate 151"),
        ({"tolerance": -1}, "tolerance of 0"),
        ({"start": images(0, (1, 7, 6))}, "the shape"),
    ],
)
def test_wrong_options_are_refused(options, said):
    problem = Problem(lambda x, which: x, images(), Regulariser("tv"), 0.1)
    with pytest.raises(RequestError, match=said):
        solve(problem, **{"start": images(1), **options})
    with pytest.raises(RequestError, match="lower and an upper"):
        Problem(lambda x, which: x, images(), Regulariser("tv"), 0.1, bounds=(1, 0))
    with pytest.raises(RequestError, match="0 or above"):
        Problem(lambda x, which: x, images(), Regulariser("tv"), -0.1)


def test_the_smoothing_is_small_beside_an_edge():
    assert SMOOTHING <= 1e-3
