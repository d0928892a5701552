"""The method ``iter_unet`` with a recursion whose answer is known."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("monai")

from ContrastSynthLib.acquisition import Acquisition
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.methods.iter_unet import IterUNetParameters, iter_unet
from ContrastSynthLib.phantom.breast.patient import breast_patient
from ContrastSynthLib.registry.context import Context
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.run import run
from ContrastSynthLib.volumes import Volume

SHAPE = (20, 48, 40)


class Washes(torch.nn.Module):
    """Each phase keeps a share ``kept`` of the rise over the pre scan; tells what it was asked."""

    def __init__(self, kept=0.5):
        super().__init__()
        self.kept = kept
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.asked = []

    def recursion(self, pre, phase, times_s, first=0):
        self.asked.append((times_s[0].tolist(), first, tuple(pre.shape)))
        rise = phase - pre
        return [pre + self.kept ** (n + 1) * rise for n in range(times_s.shape[1] - 1)]


class Given(Context):
    """A context whose network is given."""

    def network(self, name):
        return self.given


@pytest.fixture
def scans():
    """Tissue of about 200 with noise, a block of which rises by 150; some of the image is air."""
    rng = np.random.default_rng(0)
    body = np.zeros(SHAPE, bool)
    body[:, :, 8:] = True
    pre = np.where(body, 200 + rng.normal(0, 5, SHAPE), 3)
    phase = pre.copy()
    phase[6:14, 20:30, 20:30] += 150
    return pre.astype("f4"), phase.astype("f4"), body


def made(scans, time_s=85.0, **parameters):
    pre, phase, body = scans
    grid = Grid(pre.shape[::-1], spacing_mm=(2.0, 2.0, 2.5))
    context = Given(body)
    context.given = Washes()
    volumes = (Volume(pre, grid), Volume(phase, grid, Acquisition(time_s=time_s)))
    values = IterUNetParameters(**{"phase_time_s": time_s, **parameters})
    return iter_unet(*volumes, parameters=values, context=context)["phases"], context


def test_phases_come_at_the_times_that_were_asked_for_in_the_units_of_the_scan(scans):
    series, context = made(scans, times=(155.0, 300.0))
    pre, phase, body = scans
    assert series.times_s.tolist() == [155, 300]
    rise = (phase - pre)[6:14, 20:30, 20:30].mean()
    for frame, share in zip(series.array, (0.5, 0.25), strict=True):
        found = (frame - pre)[6:14, 20:30, 20:30].mean()
        assert found == pytest.approx(share * rise, rel=1e-3)
        np.testing.assert_array_equal(frame[~body], phase[~body])
    assert context.given.asked[0][:2] == ([85, 155, 300], 0)
    assert context.warnings == []
    json.dumps(context.record)


def test_it_goes_on_from_any_phase(scans):
    _, context = made(scans, time_s=225.0, times=(365.0, 300.0))
    assert context.given.asked[0][:2] == ([225, 300, 365], 2)


@pytest.mark.parametrize("wrong", [(60.0, 155.0), (85.0,)])
def test_phases_before_the_given_one_are_refused(scans, wrong):
    with pytest.raises(RequestError, match="earlier phase"):
        made(scans, times=wrong)


def test_times_beyond_the_training_are_told(scans):
    _, context = made(scans, times=(900.0,))
    assert "other times are extrapolated" in context.warnings[0]


def test_one_slice_comes_back_as_one_slice(scans):
    one = tuple(array[9:10] for array in scans)
    series, context = made(one)
    assert series.array.shape == (4, 1, *SHAPE[1:])
    assert all(shape[2] > 1 for _, _, shape in context.given.asked)
    whole, _ = made(scans)
    assert series.array.mean() == pytest.approx(whole.array[:, 9:10].mean(), rel=0.02)


# The shipped weights


@pytest.fixture(scope="module")
def breasts():
    """Two virtual breasts that nothing learnt from, with lesions that wash out and that do not."""
    return [breast_patient(seed, size=(128, 128, 48)) for seed in (3_000_001, 3_000_006)]


def agreement(breasts, weights=None):
    """Return the correlation over lesions of the true and the synthetic change to the last phase,
    as shares of the first."""
    true, made = [], []
    for patient in breasts:
        pre, first, *later = patient.phases
        times = tuple(phase.acquisition.time_s for phase in later)
        request = Request(
            "iter_unet", {"pre": pre, "phase": first}, {"times": times}, weights=weights
        )
        last = run(request).outputs["phases"].array[-1]
        for label in range(1, patient.lesion_labels.max() + 1):
            inside = patient.lesion_labels == label
            early = first.array[inside].mean()
            true.append(later[-1].array[inside].mean() / early - 1)
            made.append(last[inside].mean() / early - 1)
    assert min(true) < -0.15 < 0.15 < max(true)
    return np.corrcoef(true, made)[0, 1]


def test_shipped_weights_tell_what_washes_out(breasts):
    assert agreement(breasts) > 0.8


@pytest.mark.slow
def test_random_weights_do_not(breasts, random_weights):
    assert agreement(breasts, str(random_weights("iter_unet").folder)) < 0.8
