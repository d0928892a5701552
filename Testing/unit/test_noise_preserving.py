"""The noise-preserving loss: its three solvers beside other libraries, its patches and heads."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

torch = pytest.importorskip("torch")

from ContrastSynthLib.losses import noise_preserving as npl

PAIRS = 12


@pytest.fixture(scope="module")
def pairs():
    """Rows of 64 values: noise, noise of another strength, shifted, with a bright spot."""
    rng = np.random.default_rng(0)
    made, real = rng.normal(size=(2, PAIRS, 64))
    made[3:6] *= 0.2
    made[6:9] += 0.7
    real[9:, :8] += 5
    return torch.from_numpy(made), torch.from_numpy(real)


def test_exact_is_the_distance_of_scipy(pairs):
    found = npl.wasserstein(*pairs)
    wanted = [wasserstein_distance(made, real) for made, real in zip(*pairs, strict=True)]
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    single = npl.wasserstein(*(rows.float() for rows in pairs))
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single, wanted, atol=1e-6)


def test_exact_is_the_least_cost_of_pot(pairs):
    ot = pytest.importorskip("ot")
    even = np.full(64, 1 / 64)
    for found, made, real in zip(npl.wasserstein(*pairs), *pairs, strict=True):
        cost = np.abs(made.numpy()[:, None] - real.numpy())
        assert float(found) == pytest.approx(ot.emd2(even, even, cost), abs=1e-9)


def test_sinkhorn_is_the_cost_of_the_entropic_plan_of_pot(pairs):
    ot = pytest.importorskip("ot")
    even = np.full(64, 1 / 64)
    for found, made, real in zip(npl.wasserstein(*pairs, solver="sinkhorn"), *pairs, strict=True):
        cost = np.abs(made.numpy()[:, None] - real.numpy())
        plan = ot.sinkhorn(even, even, cost, npl.EPSILON * cost.max(), method="sinkhorn_log")
        assert float(found) == pytest.approx(float((plan * cost).sum()), rel=1e-5)


def test_ipot_reaches_exact_in_the_limit(pairs):
    exact = npl.wasserstein(*pairs)
    few, more, many = (npl.ipot_after(*pairs, iterations) for iterations in (20, 100, 3000))
    away = [float((found - exact).abs().mean()) for found in (few, more, many)]
    assert away[0] > 2 * away[1] > 4 * away[2]
    np.testing.assert_allclose(many, exact, rtol=2e-3, atol=1e-4)
    np.testing.assert_allclose(npl.wasserstein(*pairs, solver="ipot"), more)


@pytest.mark.parametrize("solver", npl.SOLVERS)
def test_every_solver_falls_along_its_gradient(pairs, solver):
    made, real = (rows.clone() for rows in pairs)
    made.requires_grad_()
    before = npl.wasserstein(made, real, solver=solver).mean()
    before.backward()
    assert torch.isfinite(made.grad).all()
    after = npl.wasserstein(made.detach() - 3 * made.grad, real, solver=solver).mean()
    assert after < before
    # Those that were shifted up are to come down.
    assert (made.grad[6:9].sum(dim=1) > 0).all()


@pytest.mark.parametrize("solver", npl.SOLVERS)
def test_patches_of_one_value_have_a_distance_and_a_finite_gradient(solver):
    made = torch.full((2, 64), 1.5, requires_grad=True)
    real = torch.stack([torch.full((64,), 1.5), torch.full((64,), 1.0)])
    found = npl.wasserstein(made, real, solver=solver)
    np.testing.assert_allclose(found.detach(), [0, 0.5], atol=1e-6)
    found.sum().backward()
    assert torch.isfinite(made.grad).all()


def test_many_pairs_are_solved_in_parts(pairs, monkeypatch):
    whole = npl.wasserstein(*pairs, solver="sinkhorn")
    monkeypatch.setattr(npl, "AT_ONCE", 5)
    np.testing.assert_allclose(npl.wasserstein(*pairs, solver="sinkhorn"), whole, rtol=1e-12)


def image(seed, shape=(2, 1, 8, 12, 16)):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def test_patches_tile_the_image_and_wrap_around_it():
    given = image(0)
    for offset in ((0, 0, 0), (1, 2, 2)):
        found = npl.patches(given, offset)
        assert found.shape == (2 * 2 * 3 * 4, 64)
        np.testing.assert_array_equal(np.sort(found.ravel()), np.sort(given.ravel()))
    np.testing.assert_array_equal(npl.patches(given)[0], given[0, 0, :4, :4, :4].ravel())
    first = npl.patches(given, (1, 2, 2))[0]
    np.testing.assert_array_equal(first, given[0, 0, 1:5, 2:6, 2:6].ravel())


def test_offsets_reach_half_a_patch():
    generator = torch.Generator().manual_seed(0)
    drawn = [npl.draw_offset(generator) for _ in range(200)]
    assert {step for offset in drawn for step in offset} == {0, 1, 2}
    assert len(set(drawn)) == 27


def test_other_noise_of_the_same_strength_costs_less_than_none():
    """L1 says the opposite: this is what the loss is for."""
    real, other = image(1, (1, 1, 16, 16, 16)), image(2, (1, 1, 16, 16, 16))
    smooth = torch.zeros_like(real)
    noisy, none = (npl.noise_preserving_loss(made, real) for made in (other, smooth))
    assert noisy < 0.4 * none
    assert (other - real).abs().mean() > (smooth - real).abs().mean()
    assert npl.noise_preserving_loss(real, real) == 0


def test_half_precision_is_computed_in_single():
    given = [image(seed).float() for seed in (3, 4)]
    with torch.autocast("cpu", torch.bfloat16):
        found = npl.noise_preserving_loss(*given)
    assert found.dtype == torch.float32
    half = npl.noise_preserving_loss(*(each.bfloat16() for each in given))
    assert float(half) == pytest.approx(float(found), rel=0.02)


def test_every_head_counts_against_the_reference_of_its_size():
    real = image(5, (1, 1, 16, 16, 16))
    coarse = torch.nn.functional.avg_pool3d(real, 4)
    assert npl.over_heads(npl.noise_preserving_loss, [coarse, real], real) == 0
    loss = npl.over_heads(npl.noise_preserving_loss, [coarse + 0.5, real], real)
    assert float(loss) == pytest.approx(0.5)
    with pytest.raises(ValueError, match=r"\(5, 5, 5\) does not divide \(16, 16, 16\)"):
        npl.over_heads(npl.noise_preserving_loss, [real[..., :5, :5, :5]], real)


def test_what_cannot_be_compared_is_refused():
    one = image(6)
    with pytest.raises(ValueError, match="shapes differ"):
        npl.noise_preserving_loss(one, one[:1])
    with pytest.raises(ValueError, match="no multiples of 4"):
        npl.noise_preserving_loss(one[..., :6], one[..., :6])
    with pytest.raises(ValueError, match="unknown solver 'magic': one of exact, sinkhorn, ipot"):
        npl.noise_preserving_loss(one, one, solver="magic")
    with pytest.raises(ValueError, match="of one shape"):
        npl.wasserstein(one[0, 0, 0], one[0, 0, 1, :3])
