"""The input function against osipi, tissue against dcmri, adaptive quadrature and limit cases."""

from __future__ import annotations

from itertools import pairwise

import dcmri
import numpy as np
import osipi
import pytest
from scipy.integrate import quad

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.physics.constants import HAEMATOCRIT
from ContrastSynthLib.physics.kinetics import blood_concentration, tofts_concentration

TIMES_S = np.array([0.0, 12.0, 40.0, 85.0, 155.0, 365.0])
TISSUE = {"ktrans_per_s": 0.25 / 60, "ve": 0.4}


def test_the_blood_agrees_with_osipi():
    t = np.arange(0.0, 600.0, 0.37)
    np.testing.assert_allclose(
        blood_concentration(t + 25.0, arrival_s=25.0),
        osipi.aif_parker(t, BAT=0.0, Hct=0.0, dose=0.1),
        rtol=1e-6,
    )
    np.testing.assert_allclose(
        blood_concentration(t, arrival_s=10.0, dose_mmol_per_kg=0.05)[28:],
        osipi.aif_parker(t, BAT=10.0, Hct=0.0, dose=0.05)[28:],
        rtol=1e-6,
    )


def test_nothing_comes_before_the_bolus():
    assert not blood_concentration([-30.0, 0.0, 19.9], arrival_s=20.0).any()
    assert not tofts_concentration([-30.0, 0.0, 19.9], arrival_s=20.0, **TISSUE, vp=0.1).any()


def test_tissue_agrees_with_dcmri_on_a_fine_grid():
    """dcmri convolves the samples exactly as if they were joined by straight lines."""
    t = np.arange(0.0, 400.0, 0.05)
    plasma = dcmri.aif_parker(t) * 1000 / (1 - HAEMATOCRIT)
    k = TISSUE["ktrans_per_s"] / TISSUE["ve"]
    expected = 0.05 * plasma + TISSUE["ktrans_per_s"] * dcmri.expconv(plasma, 1 / k, t) / k
    found = tofts_concentration(t[::500], **TISSUE, vp=0.05)
    np.testing.assert_allclose(found, expected[::500], rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("kep_per_s", [1e-5, 0.003, 0.05, 0.5])
def test_the_convolution_agrees_with_adaptive_quadrature(kep_per_s):
    ve = 0.2

    def under(u, t):
        return float(blood_concentration(u)) * np.exp(-kep_per_s * (t - u))

    for t in (7.0, 85.0, 365.0):
        edges = np.linspace(0.0, t, 40)
        area = sum(
            quad(under, *edge, args=(t,), epsabs=1e-14, epsrel=1e-12)[0] for edge in pairwise(edges)
        )
        found = tofts_concentration([t], ktrans_per_s=kep_per_s * ve, ve=ve, haematocrit=0.0)
        np.testing.assert_allclose(found, [kep_per_s * ve * area], rtol=1e-11)


def test_a_value_does_not_depend_on_the_other_times():
    together = tofts_concentration(TIMES_S, arrival_s=18.0, **TISSUE)
    alone = [tofts_concentration([t], arrival_s=18.0, **TISSUE)[0] for t in TIMES_S]
    np.testing.assert_allclose(together, alone, rtol=1e-12)
    backwards = tofts_concentration(TIMES_S[::-1], arrival_s=18.0, **TISSUE)
    np.testing.assert_array_equal(backwards[::-1], together)


def test_limit_cases():
    plasma = blood_concentration(TIMES_S) / (1 - HAEMATOCRIT)
    # Without a way out of the vessels only the plasma counts; in blood itself it is all there.
    only_plasma = tofts_concentration(TIMES_S, ktrans_per_s=0.0, ve=0.0, vp=0.3)
    np.testing.assert_allclose(only_plasma, 0.3 * plasma)
    blood = tofts_concentration(TIMES_S, ktrans_per_s=0.0, ve=0.0, vp=1 - HAEMATOCRIT)
    np.testing.assert_allclose(blood, blood_concentration(TIMES_S))
    # A wide open door: the space outside the vessels follows the plasma.
    late = plasma[-1]
    fast = tofts_concentration(TIMES_S, ktrans_per_s=0.1, ve=0.2)
    assert fast[-1] == pytest.approx(0.2 * late, rel=0.01)
    # Half the dose, half the agent; twice the tissue parameters at one kep, twice the agent.
    full = tofts_concentration(TIMES_S, **TISSUE)
    half = tofts_concentration(TIMES_S, **TISSUE, dose_mmol_per_kg=0.05)
    np.testing.assert_allclose(half, full / 2)
    twice = tofts_concentration(TIMES_S, ktrans_per_s=0.5 / 60, ve=0.8)
    np.testing.assert_allclose(twice, 2 * full)


def test_maps_are_taken_voxel_by_voxel():
    ktrans = np.array([[0.0, 0.001, 0.002], [0.004, 0.006, 0.01]])
    ve = np.array([[0.0, 0.1, 0.3], [0.2, 0.5, 0.4]])
    vp = np.array([[0.6, 0.0, 0.02], [0.1, 0.0, 0.05]])
    maps = tofts_concentration(TIMES_S, ktrans_per_s=ktrans, ve=ve, vp=vp, arrival_s=5.0)
    assert maps.shape == (6, 2, 3)
    for at in np.ndindex(ktrans.shape):
        one = tofts_concentration(
            TIMES_S, ktrans_per_s=ktrans[at], ve=ve[at], vp=vp[at], arrival_s=5.0
        )
        np.testing.assert_allclose(maps[(slice(None), *at)], one, rtol=1e-12)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"ktrans_per_s": 0.25, "ve": 0.3}, "per minute"),
        ({"ktrans_per_s": -0.001}, "Ktrans"),
        ({"ve": 1.2}, "ve is a volume fraction"),
        ({"ve": 0.0}, "needs a volume"),
        ({"vp": np.nan}, "vp is a volume fraction"),
        ({"haematocrit": 1.0}, "haematocrit"),
        ({"dose_mmol_per_kg": -0.1}, "dose"),
    ],
)
def test_what_no_tissue_has_is_refused(wrong, message):
    with pytest.raises(RequestError, match=message):
        tofts_concentration(TIMES_S, **(TISSUE | wrong))
    with pytest.raises(RequestError, match="times"):
        tofts_concentration([0.0, np.nan], **TISSUE)
