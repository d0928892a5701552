"""Swapped or unenhanced pairs are noticed; right ones raise no alarm."""

import numpy as np
import pytest

from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.preprocessing.input_checks import tail_asymmetry, warnings_for_pair
from ContrastSynthLib.volumes import Volume

SIZE = (48, 56, 40)


@pytest.fixture(scope="module", params=[(seed, snr) for seed in range(3) for snr in (15.0, 40.0)])
def patient(request):
    seed, snr = request.param
    return sample_patient(seed=seed, size=SIZE, snr=snr)


@pytest.mark.parametrize("role", ["low", "post"])
def test_a_right_pair_raises_no_alarm_and_a_swapped_one_does(patient, role):
    pre, post = patient.scans["pre"], patient.scans[role]
    assert warnings_for_pair(pre, post, patient.brain) == []
    (warning,) = warnings_for_pair(post, pre, patient.brain)
    assert "swapped" in warning


def test_a_pair_without_agent_is_noticed(patient):
    pre = patient.scans["pre"]
    noise = np.random.default_rng(0).normal(0, 0.04 * pre.array[patient.brain].mean(), SIZE[::-1])
    again = pre.with_array(np.where(patient.brain, np.abs(1.2 * pre.array + noise), 0))
    for second in (again, pre):
        (warning,) = warnings_for_pair(pre, second, patient.brain)
        assert "No uptake stands out" in warning


def test_an_odd_gain_is_noticed(patient):
    pre, post = patient.scans["pre"], patient.scans["post"]
    for factor in (0.05, 20):
        (warning,) = warnings_for_pair(pre, post.with_array(factor * post.array), patient.brain)
        assert "times as bright" in warning


def test_scans_without_a_common_voxel_are_noticed(patient):
    pre = patient.scans["pre"]
    empty = pre.with_array(np.zeros(SIZE[::-1]))
    (warning,) = warnings_for_pair(pre, empty, patient.brain)
    assert "no voxel in common" in warning


def test_asymmetry_of_a_known_distribution():
    """Exponential tails of lengths 3 and 1: their percentiles are in the same ratio."""
    rng = np.random.default_rng(1)
    draws = rng.exponential(size=40_000)
    log_ratio = np.where(rng.random(40_000) < 0.5, 0.3 * draws, -0.1 * draws).reshape(20, 40, 50)
    pre = Volume(np.full((20, 40, 50), 7.0), sample_grid())
    post = pre.with_array(7.0 * np.exp(log_ratio))
    inside = np.ones((20, 40, 50), bool)
    assert tail_asymmetry(pre, post, inside, gain=1.0) == pytest.approx(0.5, abs=0.03)
    assert tail_asymmetry(post, pre, inside, gain=1.0) == pytest.approx(-0.5, abs=0.03)


def sample_grid():
    from ContrastSynthLib.geometry import Grid

    return Grid(size=(50, 40, 20))
