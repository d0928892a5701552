"""Swapped, unenhanced and unlike pairs are noticed; right ones raise no alarm."""

import numpy as np
import pytest
import scipy.ndimage as ndi

from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.phantom.sample import sample_patient
from ContrastSynthLib.preprocessing.input_checks import change_of_signal, warnings_for_pair
from ContrastSynthLib.volumes import Volume

SIZE = (64, 76, 52)


@pytest.fixture(scope="module", params=[0, 1])
def patient(request):
    return sample_patient(seed=request.param, size=SIZE, snr=200.0)


def at_dose(patient, dose, noise, seed=0):
    """Pre and post, the difference scaled to a dose, Rician noise in shares of the median."""
    rng = np.random.default_rng(seed)
    pre, post = (patient.scans[role].array for role in ("pre", "post"))
    deviation = noise * np.median(pre[patient.brain])
    scans = []
    for signal in (pre, 1.1 * pre + dose * (post - 1.1 * pre)):
        real, imaginary = rng.normal(0, deviation, (2, *pre.shape))
        noisy = np.where(patient.brain, np.hypot(signal + real, imaginary), 0)
        scans.append(patient.scans["pre"].with_array(noisy))
    return scans


@pytest.mark.parametrize(
    ("dose", "noise"),
    [(1, 0), (1, 0.2), (0.33, 0), (0.33, 0.1), (0.33, 0.2), (0.1, 0), (0.1, 0.05), (0.1, 0.1)],
)
def test_the_order_is_told_down_to_a_low_dose_and_up_to_much_noise(patient, dose, noise):
    pre, post = at_dose(patient, dose, noise)
    assert warnings_for_pair(pre, post, patient.brain) == []
    (warning,) = warnings_for_pair(post, pre, patient.brain)
    assert "swapped" in warning


@pytest.mark.parametrize("noise", [0, 0.02, 0.1, 0.3])
def test_a_pair_without_agent_is_noticed_in_either_order(patient, noise):
    scans = at_dose(patient, 0, noise)
    for pre, post in (scans, scans[::-1]):
        (warning,) = warnings_for_pair(pre, post, patient.brain)
        assert "No uptake stands out" in warning


@pytest.mark.parametrize("shift", [(0, 4, 0), (2, 0, 3)])
def test_a_patient_who_moved_is_noticed_and_not_called_swapped(patient, shift):
    pre, _ = at_dose(patient, 0, 0.02)
    moved = pre.with_array(ndi.shift(pre.array, shift, order=1))
    (warning,) = warnings_for_pair(pre, moved, patient.brain)
    assert "--align rigid" in warning
    assert "swapped" not in warning


@pytest.mark.parametrize("factor", [0.05, 20])
def test_an_odd_gain_is_noticed(patient, factor):
    pre, post = at_dose(patient, 1, 0.03)
    (warning,) = warnings_for_pair(pre, post.with_array(factor * post.array), patient.brain)
    assert "times as bright" in warning


def test_scans_without_a_common_voxel_are_noticed(patient):
    pre = patient.scans["pre"]
    empty = pre.with_array(np.zeros(SIZE[::-1]))
    (warning,) = warnings_for_pair(pre, empty, patient.brain)
    assert "no voxel in common" in warning


def test_one_slice_will_do(patient):
    scans = at_dose(patient, 1, 0.05)
    k = int(np.argmax((patient.scans["post"].array - patient.scans["pre"].array).sum((1, 2))))
    grid = Grid(size=(*SIZE[:2], 1))
    pre, post = (Volume(scan.array[k : k + 1], grid) for scan in scans)
    brain = patient.brain[k : k + 1]
    assert warnings_for_pair(pre, post, brain) == []
    assert "swapped" in warnings_for_pair(post, pre, brain)[0]


def test_change_of_known_blocks():
    """One block rises and one of a third of its size falls by as much, without noise."""
    pre = np.full((12, 40, 40), 100.0)
    post = pre.copy()
    post[2:10, 5:15, 5:23] += 50
    post[2:10, 25:35, 5:11] -= 50
    volumes = [Volume(array, Grid(size=(40, 40, 12))) for array in (pre, post)]
    inside = np.ones(pre.shape, bool)
    change = change_of_signal(*volumes, inside, gain=1.0)
    # The cube widens a block by one voxel on each side; the last per mille falls below 1 %.
    assert change.brighter == pytest.approx(10 * 12 * 20 / inside.size, rel=1e-6)
    assert change.darker == pytest.approx(10 * 12 * 8 / inside.size, rel=1e-6)
    assert change.balance == pytest.approx(0.5, abs=0.02)
    back = change_of_signal(*volumes[::-1], inside, gain=1.0)
    assert back.balance == pytest.approx(-change.balance, abs=1e-6)
    assert (back.brighter, back.darker) == (change.darker, change.brighter)
