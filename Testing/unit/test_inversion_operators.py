"""Forward operators against the physics in numpy, and the problem against torch's own gradient."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.physics import HIGHEST_R1_PER_S, signal_at_dose

torch = pytest.importorskip("torch")

from ContrastSynthLib.inversion.operators import network_forward, physics_forward
from ContrastSynthLib.inversion.problem import Problem
from ContrastSynthLib.inversion.regularisers import KINDS, Regulariser
from ContrastSynthLib.inversion.solvers import solve

REPETITION_TIME_S, FLIP_ANGLE_DEG, DENSITY = 0.0067, 8.0, 6.0
SETTINGS = {
    "repetition_time_s": REPETITION_TIME_S,
    "flip_angle_deg": FLIP_ANGLE_DEG,
    "proton_density": DENSITY,
}
LIMIT = DENSITY * math.sin(math.radians(FLIP_ANGLE_DEG))
"""No signal of eq. 1 reaches this."""
LEFT = math.exp(-REPETITION_TIME_S * HIGHEST_R1_PER_S)
CEILING = LIMIT * (1 - LEFT) / (1 - math.cos(math.radians(FLIP_ANGLE_DEG)) * LEFT)
"""The signal at the highest R1 that the operator inverts: eq. 1."""
# The first has no solution; the last three are not below the ceiling.
PRES = (0.0, 0.05, 0.33, 0.6, CEILING, (CEILING + LIMIT) / 2, 1.1 * LIMIT)
ALL = slice(None)


@pytest.fixture(autouse=True)
def one_thread():
    """For images this small, threads wait for each other most of the time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def images(seed: int, low: float = 0.02, high: float = 0.7, shape=(3, 6, 5)) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).uniform(low, high, shape))


def along(pre: float, dose: float, x: np.ndarray) -> np.ndarray:
    """What the operator makes of the values ``x``, of one pixel each, after the same ``pre``."""
    values = torch.from_numpy(x)[:, None, None]
    forward = physics_forward(torch.full_like(values, pre), dose, **SETTINGS)
    return forward(values, ALL).numpy().ravel()


# ---- the signal equation


@pytest.mark.parametrize("dose", [0.02, 0.25, 0.7, 1.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_low_dose_is_what_the_physics_says(dose, dtype):
    """More agent and less, in every pixel; the other function is written for numpy arrays."""
    pre, full = (images(seed, 0.01, 0.99 * CEILING).numpy().astype(dtype) for seed in (0, 1))
    wanted, solved = signal_at_dose(pre, full, dose, gain=1.0, **SETTINGS)
    assert solved.all()
    assert (full < pre).any()
    assert (full > pre).any()
    forward = physics_forward(torch.from_numpy(pre), dose, **SETTINGS)
    found = forward(torch.from_numpy(full), ALL)
    assert found.dtype == getattr(torch, dtype)
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(found.numpy(), wanted, rtol=tolerance)
    # It is not what a difference that scales would make.
    assert dose == 1 or np.abs(wanted - (pre + dose * (full - pre))).max() > 0.01


@pytest.mark.parametrize("pre", [0.0, -0.1, (CEILING + LIMIT) / 2, 1.1 * LIMIT])
def test_where_the_scan_before_has_no_solution_the_change_scales(pre):
    x = np.linspace(0, 1.3 * LIMIT, 50)
    np.testing.assert_allclose(along(pre, 0.25, x), pre + 0.25 * (x - pre), atol=1e-12)


@pytest.mark.parametrize("dose", [0.1, 0.25, 1.0])
@pytest.mark.parametrize("pre", PRES)
def test_without_uptake_any_dose_is_the_scan_before(pre, dose):
    assert along(pre, dose, np.array([pre])) == pytest.approx(pre, abs=1e-9)


@pytest.mark.parametrize("pre", PRES)
def test_the_full_dose_is_itself(pre):
    x = np.linspace(0, 1.3 * LIMIT, 1000)
    np.testing.assert_allclose(along(pre, 1.0, x), x, atol=2e-6 * LIMIT)


@pytest.mark.parametrize("dose", [0.02, 0.25, 1.0])
@pytest.mark.parametrize("pre", PRES)
def test_it_rises_without_a_jump_from_nothing_to_beyond_the_ceiling(pre, dose):
    """A jump would be as high on a grid four times as fine; a slope makes a quarter of it."""
    coarse, fine = (along(pre, dose, np.linspace(0, 1.5 * LIMIT, n + 1)) for n in (5000, 20000))
    assert np.diff(fine).min() > -1e-12
    assert fine[-1] - fine[0] > dose * LIMIT
    assert np.diff(fine).max() < 0.3 * np.diff(coarse).max()


@pytest.mark.parametrize("pre", [0.05, 0.33, 0.6])
def test_above_the_ceiling_it_goes_on_with_the_slope_of_the_dose(pre):
    x = np.array([CEILING, CEILING + 0.01, LIMIT, 2 * LIMIT])
    np.testing.assert_allclose(np.diff(along(pre, 0.25, x)), 0.25 * np.diff(x), rtol=1e-9)


@pytest.mark.parametrize("dose", [0.25, 1.0])
def test_gradients_of_the_physics_are_right(dose):
    pre, full = images(2), images(3)
    pre[0, 0, :4] = torch.tensor([0.0, 0.8, 0.9, 0.3], dtype=torch.float64)
    full[0, 0, 2:4] = 1.0
    assert full[0, 0, 3] > CEILING > full[1:].max()
    forward = physics_forward(pre, dose, **SETTINGS)
    assert torch.autograd.gradcheck(lambda x: forward(x, ALL), full.requires_grad_(True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_numbers_at_the_ends_too(dtype):
    ends = (0.0, 1e-7, 0.3, CEILING, LIMIT, 2 * LIMIT)
    pre, x = torch.meshgrid(*2 * (torch.tensor(ends, dtype=dtype),), indexing="ij")
    x = x[None].clone().requires_grad_(True)
    found = physics_forward(pre[None], 0.25, **SETTINGS)(x, ALL)
    (gradient,) = torch.autograd.grad(found.sum(), x)
    assert found.isfinite().all()
    assert gradient.isfinite().all()
    assert (gradient >= 0).all()
    # Where there is signal, it shows in the data.
    assert (gradient[..., 2:] > 0.01).all()


@pytest.mark.parametrize("dose", [0.0, -0.25, 1.01, 25.0, math.nan])
def test_a_dose_that_is_no_low_one_is_refused(dose):
    with pytest.raises(RequestError, match=r"low dose of .* of the full one: give one above 0"):
        physics_forward(images(0), dose, **SETTINGS)


def test_settings_that_no_scanner_has_are_refused():
    for wrong, said in (({"repetition_time_s": 6.7}, "milli"), ({"flip_angle_deg": 90.0}, "flip")):
        with pytest.raises(RequestError, match=said):
            physics_forward(images(0), 0.25, **{**SETTINGS, **wrong})


# ---- networks, and the slices that an operator is called with


class Noted:
    """A network of two inputs or one, which notes what it saw."""

    def __init__(self):
        self.seen = []

    def __call__(self, channels):
        self.seen.append(channels)
        weights = torch.tensor([10.0, 1.0])[-channels.shape[1] :, None, None]
        return {"image": (channels * weights).sum(dim=1, keepdim=True)}


def test_a_network_sees_the_scan_before_and_then_the_full_dose():
    pre, full = images(0), images(1)
    network = Noted()
    found = network_forward(network, pre)(full, ALL)
    (seen,) = network.seen
    assert torch.equal(seen, torch.stack([pre, full], dim=1))
    assert found.shape == full.shape
    torch.testing.assert_close(found, 10 * pre + full)
    network = Noted()
    torch.testing.assert_close(network_forward(network)(full, ALL), full)
    assert torch.equal(network.seen[0], full[:, None])


@pytest.mark.parametrize("which", [slice(0, 1), slice(1, 3), slice(2, 3)])
def test_only_the_given_slices_are_used(which):
    pre, full = images(0), images(1)
    network = Noted()
    found = network_forward(network, pre)(full[which], which)
    assert torch.equal(network.seen[0], torch.stack([pre[which], full[which]], dim=1))
    torch.testing.assert_close(found, (10 * pre + full)[which])
    physics = physics_forward(pre, 0.25, **SETTINGS)
    assert torch.equal(physics(full[which], which), physics(full, ALL)[which])


@pytest.mark.parametrize(
    ("batch", "parts"),
    [
        (1, [(0, 1), (1, 2), (2, 3)]),
        (2, [(0, 2), (2, 3)]),
        (3, [(0, 3)]),
        (16, [(0, 3)]),
    ],
)
def test_a_batch_is_no_larger_than_its_limit(batch, parts):
    called = []

    def forward(x, which):
        called.append((which.start, which.stop))
        assert len(x) == which.stop - which.start
        return x

    problem = Problem(forward, images(0), Regulariser("tv"), 0.1, batch=batch)
    problem.terms(images(1))
    assert called == parts
    problem.terms_and_gradient(images(1))
    assert called == 2 * parts


# ---- the problem


def problem_with(batch: int, dimensions: int, kind: str = "tv", inside: bool = True) -> Problem:
    mask = (images(5) > 0.3).double()
    regulariser = Regulariser(kind, (2.0, 1.0, 0.8), dimensions, guess=images(6), smoothing=1e-2)
    forward = physics_forward(images(4), 0.25, **SETTINGS)
    given = {"inside": mask} if inside else {}
    return Problem(forward, images(7), regulariser, alpha=0.05, batch=batch, **given)


def test_the_terms_are_means_over_pixels_and_sums_over_slices():
    problem, x = problem_with(2, 2), images(8)
    pre, data, mask = (images(seed).numpy() for seed in (4, 7, 5))
    low, _ = signal_at_dose(pre, x.numpy(), 0.25, gain=1.0, **SETTINGS)
    fidelity = sum((((low - data)[n] ** 2) * (mask[n] > 0.3)).mean() / 2 for n in range(3))
    # To the prior, what is not solved for is 0.
    prior = problem.regulariser(x * (images(5) > 0.3)).sum().item()
    for terms in (problem.terms(x), problem.terms_and_gradient(x)[0]):
        assert terms.fidelity.item() == pytest.approx(fidelity)
        assert terms.regulariser.item() == pytest.approx(prior)
        assert terms.objective.item() == pytest.approx(fidelity + 0.05 * prior)
    # Both count.
    assert min(fidelity, 0.05 * prior) > 1e-4


@pytest.mark.parametrize("batch", [1, 2, 3, 16])
@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("inside", [True, False])
def test_the_gradient_batch_by_batch_is_that_of_the_whole(batch, dimensions, kind, inside):
    x = images(8).requires_grad_(True)
    whole = problem_with(3, dimensions, kind, inside).terms(x)
    (wanted,) = torch.autograd.grad(whole.objective, x)
    problem = problem_with(batch, dimensions, kind, inside)
    given = images(8)
    found, gradient = problem.terms_and_gradient(given)
    torch.testing.assert_close(gradient, wanted, rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(tuple(found), tuple(term.detach() for term in whole))
    torch.testing.assert_close(tuple(problem.terms(given)), tuple(found))
    # A solver goes on with these: nothing may hang on them, and what was given stays.
    assert not any(t.requires_grad for t in (*found, gradient, given))
    assert torch.equal(given, images(8))


def test_slices_are_tied_by_the_prior_in_3_dimensions_alone():
    """Another middle slice changes the gradient of its neighbours only where the prior sees it."""
    x, other = images(8), images(8)
    other[1] = images(9)[1]
    for dimensions in (2, 3):
        problem = problem_with(1, dimensions)
        first, second = (problem.terms_and_gradient(given)[1] for given in (x, other))
        for n in (0, 2):
            assert torch.equal(first[n], second[n]) is (dimensions == 2)


def test_data_outside_have_no_part_in_the_gradient():
    problem, x = problem_with(2, 2), images(8)
    mask = problem.inside
    assert 0.2 < mask.mean() < 0.8
    residual = problem.residual(x)
    assert (residual[mask == 0] == 0).all()
    assert (residual[mask == 1] != 0).all()
    torch.testing.assert_close(problem.residual(x[1:], slice(1, 3)), residual[1:])
    plain = Problem(problem.forward, problem.data, problem.regulariser, 0.0, inside=mask)
    gradient = plain.terms_and_gradient(x)[1]
    assert torch.equal(gradient == 0, mask == 0)


# ---- all of it together


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_low_dose_without_noise_gives_the_full_one_back(dimensions):
    """The low dose comes from numpy; a prior of next to no weight keeps close to the pre scan."""
    shape = (3, 16, 14)
    rows, cols = np.mgrid[:16, :14]
    pre = images(0, 0.2, 0.4, shape).numpy()
    blob = np.exp(-((rows - 8) ** 2 + (cols - 6) ** 2) / 12)
    full = pre + 0.3 * blob * np.array([0.2, 1.0, 0.6])[:, None, None]
    assert 0.6 < full.max() < CEILING
    low, solved = signal_at_dose(pre, full, 0.25, gain=1.0, **SETTINGS)
    assert solved.all()
    start = torch.from_numpy(pre)
    problem = Problem(
        physics_forward(start, 0.25, **SETTINGS),
        torch.from_numpy(low),
        Regulariser("tv", dimensions=dimensions, guess=start),
        alpha=1e-8,
    )
    found = solve(problem, start, solver="lbfgs", iterations=400, tolerance=1e-8)
    error = np.abs(found.images.numpy() - full)
    assert error.max() < 2e-3
    assert np.abs(pre - full).max() > 0.25
    # The change of the signal over the dose, as one would guess it, is far from that.
    assert np.abs(pre + (low - pre) / 0.25 - full).max() > 0.03


def test_a_heavy_prior_lets_through_only_a_level():
    """What costs nothing is the pre scan, brighter or darker as a whole."""
    pre, full = images(0, 0.2, 0.4), images(1, 0.3, 0.6)
    forward = physics_forward(pre, 0.25, **SETTINGS)
    problem = Problem(forward, forward(full, ALL), Regulariser("tv", guess=pre), alpha=10.0)
    found = solve(problem, pre, iterations=400, tolerance=1e-9).images - pre
    assert found.std(dim=(1, 2)).max() < 1e-3
    assert (found.mean(dim=(1, 2)) > 0.05).all()
