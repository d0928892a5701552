"""The pre scan in the contrast and shading of the post scan: where the answer is known."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("training_path")

SHAPE = (48, 60, 54)


@pytest.fixture(scope="module")
def matched():
    return importlib.import_module("data.matched")


@pytest.fixture(scope="module")
def brain() -> np.ndarray:
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    return sum(axis**2 for axis in axes) < 0.95


@pytest.fixture(scope="module")
def tissue(brain) -> np.ndarray:
    """Smooth tissue between 0.4 and 1.6, with a mean of about 1 in the brain."""
    noise = gaussian_filter(np.random.default_rng(0).normal(size=SHAPE), 2.5)
    return np.where(brain, np.clip(1 + 0.35 * noise / noise.std(), 0.4, 1.6), 0).astype(np.float32)


@pytest.fixture(scope="module")
def lesion() -> np.ndarray:
    axes = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    away = sum((axis - c) ** 2 for axis, c in zip(axes, (24, 24, 34), strict=True))
    return away < 7**2


def well_inside(brain):
    from scipy.ndimage import binary_erosion

    return binary_erosion(brain, iterations=4)


def test_two_equal_scans_are_left_as_they_are(matched, brain, tissue):
    target = matched.match_to_post(tissue, tissue, brain).target
    assert np.abs(target - tissue)[well_inside(brain)].max() < 0.03


def test_a_gain_a_shading_and_another_contrast_are_found_beside_a_lesion(
    matched, brain, tissue, lesion
):
    slope = np.linspace(-0.06, 0.06, SHAPE[2], dtype=np.float32)
    without = np.where(brain, tissue**0.6 * np.exp(slope), 0)
    post = without + 0.8 * lesion
    found = matched.match_to_post(170 * tissue, post, brain)
    away = np.abs(found.target - without)
    assert np.median(away[brain]) < 0.025
    # What lies under the lesion was never seen without agent.
    assert away[lesion].mean() < 0.06
    assert (post - found.target)[lesion].mean() == pytest.approx(0.8, abs=0.05)


def test_the_gain_of_the_pre_scan_does_not_matter(matched, brain, tissue, lesion):
    post = tissue + 0.5 * lesion
    one, other = (matched.match_to_post(gain * tissue, post, brain).target for gain in (1, 4000))
    np.testing.assert_allclose(one, other, atol=1e-4)


def test_the_map_never_falls_starts_at_0_and_goes_through_the_medians(matched):
    x = np.random.default_rng(1).uniform(0.3, 1.7, 20_000)
    curve = matched.monotone_map(x, 0.2 + 0.5 * x)
    assert curve[0] == 0
    assert (np.diff(curve) >= 0).all()
    within = (matched.LEVELS > 0.45) & (matched.LEVELS < 1.6)
    np.testing.assert_allclose(curve[within], (0.2 + 0.5 * matched.LEVELS)[within], atol=0.01)
    # Beyond the last piece it goes on with the slope that it has there.
    np.testing.assert_allclose(curve[300], 0.2 + 0.5 * 3.0, atol=0.05)


def test_a_falling_relation_becomes_flat(matched):
    x = np.linspace(0.5, 1.5, 5000)
    curve = matched.monotone_map(x, 2 - x)
    assert (np.diff(curve) >= 0).all()


def test_the_soft_label_goes_from_0_to_1_between_its_two_shares(matched):
    low, high = matched.UPTAKE_SPAN
    rise = np.array([0.0, low, (low + high) / 2, high, 1.0]) * 1.4
    np.testing.assert_allclose(matched.soft_uptake(rise, 1.4, blur=0), [0, 0, 0.5, 1, 1], atol=1e-6)


def test_a_brain_of_a_few_voxels_is_refused(matched):
    few = np.zeros(SHAPE, bool)
    few[20:26, 20:26, 20:26] = True
    with pytest.raises(ValueError, match="too small"):
        matched.match_to_post(np.ones(SHAPE, "f4"), np.ones(SHAPE, "f4"), few)


def test_what_agent_cannot_do_is_trusted_less(matched):
    target = np.ones((3, 40, 40), np.float32)
    target[:, :, 30:] = 0.2
    post = target.copy()
    post[:, 5:15, 5:15] += 0.8
    post[:, 20:30, 5:15] -= 0.5
    post[:, 5:35, 30:] += 0.3
    trust = matched.trust_in(post, target, np.ones_like(post))
    assert trust[:, 8:12, 8:12].min() > 0.99
    assert trust[:, 23:27, 8:12].max() == pytest.approx(matched.LEAST_TRUST)
    assert trust[:, 10:30, 34:].max() == pytest.approx(matched.LEAST_TRUST)
    assert trust[:, 20:30, 20:25].min() > 0.99


def test_a_rise_that_is_not_taken_for_agent_is_trusted_less(matched):
    target = np.ones((3, 40, 40), np.float32)
    post = target.copy()
    post[:, 5:15, 5:15] += 0.8
    post[:, 20:30, 5:15] += 0.8
    agent = np.zeros_like(post)
    agent[:, 5:15, 5:15] = 1
    trust = matched.trust_in(post, target, agent)
    assert trust[1, 10, 10] == 1
    assert trust[1, 25, 10] == pytest.approx(matched.LEAST_TRUST)
    assert trust[1, 35, 35] == 1
