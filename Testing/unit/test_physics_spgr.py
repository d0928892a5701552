"""The SPGR equation against a Bloch simulation, high precision, dcmri and its limits."""

import math
import subprocess
import sys

import dcmri
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.physics import (
    SOLVABLE_MARGIN,
    check_spgr_settings,
    spgr_has_solution,
    spgr_r1,
    spgr_signal,
)

try:
    import torch
except ImportError:
    torch = None
needs_torch = pytest.mark.skipif(torch is None, reason="torch is not installed")

T1_S = np.geomspace(0.1, 5.0, 60)
CORNERS = [(tr, flip) for tr in (0.002, 0.02) for flip in (2.0, 40.0)]
MIDDLE = {"repetition_time_s": 0.0067, "flip_angle_deg": 8.0}

t1_s = st.floats(0.1, 5.0)
tr_s = st.floats(0.002, 0.02)
flip_deg = st.floats(2.0, 40.0)


def keywords(tr, flip):
    return {"repetition_time_s": tr, "flip_angle_deg": flip}


def bloch_steady_state(t1, tr, flip, pulses):
    """Play pulse after pulse on the three components, transverse magnetisation spoiled."""
    angle = math.radians(flip)
    rotation = np.array(
        [
            [1, 0, 0],
            [0, math.cos(angle), math.sin(angle)],
            [0, -math.sin(angle), math.cos(angle)],
        ]
    )
    magnetisation = np.zeros((3, t1.size))
    magnetisation[2] = 1.0
    after = magnetisation
    decay = np.exp(-tr / t1)
    for _ in range(pulses):
        after = rotation @ magnetisation
        magnetisation = np.zeros_like(after)
        magnetisation[2] = 1.0 + (after[2] - 1.0) * decay
    return np.hypot(after[0], after[1])


@pytest.mark.parametrize(("tr", "flip"), [*CORNERS, (0.0067, 8.0), (0.012, 25.0)])
def test_signal_is_the_steady_state_of_the_bloch_equations(tr, flip):
    t1 = np.array([0.1, 0.3, 1.0, 2.5, 5.0])
    simulated = bloch_steady_state(t1, tr, flip, pulses=40_000)
    np.testing.assert_allclose(spgr_signal(1 / t1, **keywords(tr, flip)), simulated, rtol=1e-10)


@pytest.mark.parametrize(("tr", "flip"), CORNERS)
def test_signal_and_inverse_agree_with_the_paper_in_fifty_digits(tr, flip):
    with mpmath.workdps(50):
        for t1 in (0.1, 0.7, 5.0):
            rho, alpha = mpmath.mpf(1.3), mpmath.mpf(flip) * mpmath.pi / 180
            e = mpmath.exp(-mpmath.mpf(tr) * mpmath.mpf(1 / t1))
            exact = rho * mpmath.sin(alpha) * (1 - e) / (1 - mpmath.cos(alpha) * e)
            signal = spgr_signal(1 / t1, proton_density=1.3, **keywords(tr, flip))
            assert abs(signal / exact - 1) < 4e-15
            s = mpmath.mpf(float(signal))
            limit = rho * mpmath.sin(alpha)
            e_of_s = (s - limit) / (s * mpmath.cos(alpha) - limit)
            r1 = spgr_r1(signal, proton_density=1.3, **keywords(tr, flip))
            assert abs(r1 / (-mpmath.log(e_of_s) / mpmath.mpf(tr)) - 1) < 1e-12


@pytest.mark.parametrize(("tr", "flip"), CORNERS)
def test_signal_and_inverse_agree_with_dcmri(tr, flip):
    r1 = 1 / T1_S
    signal = spgr_signal(r1, proton_density=2.0, **keywords(tr, flip))
    np.testing.assert_allclose(signal, dcmri.signal_ss(2.0, r1, tr, flip), rtol=1e-12)
    r1_native, relaxivity = 0.5, 4.0
    theirs = dcmri.conc_ss(signal, tr, flip, 1 / r1_native, relaxivity, S0=2.0)
    ours = spgr_r1(signal, proton_density=2.0, **keywords(tr, flip))
    np.testing.assert_allclose((ours - r1_native) / relaxivity, theirs, rtol=1e-9, atol=1e-10)


@given(t1=t1_s, tr=tr_s, flip=flip_deg, rho=st.floats(1e-3, 1e5))
@settings(deadline=None)
def test_round_trip_in_double_precision(t1, tr, flip, rho):
    signal = spgr_signal(1 / t1, proton_density=rho, **keywords(tr, flip))
    assert spgr_has_solution(signal, proton_density=rho, **keywords(tr, flip))
    r1 = spgr_r1(signal, proton_density=rho, **keywords(tr, flip))
    assert r1 * t1 == pytest.approx(1.0, rel=1e-10)


@pytest.mark.parametrize(("tr", "flip"), CORNERS)
def test_round_trip_in_single_precision(tr, flip):
    r1 = (1 / T1_S).astype(np.float32)
    back = spgr_r1(spgr_signal(r1, **keywords(tr, flip)), **keywords(tr, flip))
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, r1, rtol=1e-4)


@given(t1=t1_s, tr=tr_s, flip=flip_deg)
@settings(deadline=None)
def test_signal_grows_with_r1_and_stays_below_its_limit(t1, tr, flip):
    low, high = spgr_signal(np.array([1.0, 1.01]) / t1, **keywords(tr, flip))
    assert 0 < low < high < math.sin(math.radians(flip))


def test_limits():
    sine, versine = math.sin(math.radians(8.0)), 1 - math.cos(math.radians(8.0))
    assert spgr_signal(0.0, **MIDDLE) == 0.0
    # Full recovery between the pulses: sin(a). Hardly any: TR R1 sin(a) / (1 - cos(a)).
    assert spgr_signal(1e6, proton_density=3.0, **MIDDLE) == pytest.approx(3.0 * sine, rel=1e-12)
    assert spgr_signal(1e-9, **MIDDLE) == pytest.approx(0.0067e-9 * sine / versine, rel=1e-8)
    # A flip angle far below Ernst's shows the proton density and not T1.
    low_flip = spgr_signal(1 / np.array([0.1, 0.2]), **keywords(0.02, 2.0))
    np.testing.assert_allclose(low_flip, math.sin(math.radians(2.0)), rtol=6e-3)


@pytest.mark.parametrize("t1", [0.3, 1.0, 2.0])
def test_ernst_angle_has_the_most_signal(t1):
    best = minimize_scalar(
        lambda flip: -spgr_signal(1 / t1, **keywords(0.01, flip)),
        bounds=(2.0, 40.0),
        method="bounded",
        options={"xatol": 1e-8},
    )
    assert best.x == pytest.approx(math.degrees(math.acos(math.exp(-0.01 / t1))), abs=1e-4)


def test_outside_the_solvable_range_is_clamped_and_told():
    limit = math.sin(math.radians(8.0))
    signal = np.array([-1.0, 0.0, 1e-9, 0.5 * limit, limit, 1.0, 1e6])
    np.testing.assert_array_equal(
        spgr_has_solution(signal, **MIDDLE), [False, False, False, True, False, False, False]
    )
    r1 = spgr_r1(signal, **MIDDLE)
    ends = spgr_r1(limit * np.array([SOLVABLE_MARGIN, 1 - SOLVABLE_MARGIN]), **MIDDLE)
    np.testing.assert_allclose(r1[[0, 1, 2]], ends[0])
    np.testing.assert_allclose(r1[[4, 5, 6]], ends[1], rtol=1e-9)
    assert 0 < ends[0] < ends[1] < 6200


def test_no_proton_density_means_no_signal_and_no_solution():
    density = np.array([0.0, 1.0])
    signal = spgr_signal(np.array([1.0, 1.0]), proton_density=density, **MIDDLE)
    assert signal[0] == 0 < signal[1]
    np.testing.assert_array_equal(
        spgr_has_solution(signal, proton_density=density, **MIDDLE), [False, True]
    )
    with np.errstate(all="raise"):
        assert np.isfinite(spgr_r1(signal, proton_density=density, **MIDDLE)).all()


@needs_torch
@pytest.mark.parametrize("function", [spgr_signal, spgr_r1])
@pytest.mark.parametrize(("tr", "flip"), CORNERS)
def test_torch_equals_numpy_and_has_the_right_gradient(function, tr, flip):
    values = spgr_signal(1 / T1_S, **keywords(tr, flip)) if function is spgr_r1 else 1 / T1_S
    density = np.linspace(0.9, 1.2, T1_S.size)
    tensors = [torch.tensor(v, requires_grad=True) for v in (values, density)]
    result = function(tensors[0], proton_density=tensors[1], **keywords(tr, flip))
    expected = function(values, proton_density=density, **keywords(tr, flip))
    np.testing.assert_allclose(result.detach().numpy(), expected, rtol=1e-12)
    assert torch.autograd.gradcheck(
        lambda v, rho: function(v, proton_density=rho, **keywords(tr, flip)), tensors, eps=1e-8
    )


@needs_torch
def test_gradient_outside_the_solvable_range_is_finite():
    signal = torch.tensor([-1.0, 0.0, 1e-9, 0.05, 0.1391731, 1.0, 1e6], requires_grad=True)
    density = torch.tensor([1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0], requires_grad=True)
    spgr_r1(signal, proton_density=density, **MIDDLE).sum().backward()
    assert torch.isfinite(signal.grad).all()
    assert torch.isfinite(density.grad).all()
    assert signal.grad[[0, 1, 2, 5, 6]].eq(0).all()


@needs_torch
@pytest.mark.parametrize("function", [spgr_signal, spgr_r1])
def test_dtype_is_kept_and_inputs_are_not_touched(function):
    for dtype in (np.float32, np.float64):
        array = np.array([0.01, 0.05], dtype=dtype)
        array.flags.writeable = False
        assert function(array, **MIDDLE).dtype == dtype
        # Numbers of numpy's own types must not widen a volume.
        wide = {name: np.float64(value) for name, value in MIDDLE.items()}
        assert function(array, proton_density=np.float64(1.5), **wide).dtype == dtype
        tensor = torch.tensor(array)
        assert function(tensor, proton_density=np.float64(1.5), **wide).dtype == tensor.dtype
        np.testing.assert_array_equal(tensor.numpy(), array)
    assert function(0.05, **MIDDLE).dtype == np.float64
    assert function(np.array([1, 2], dtype=np.int16), **MIDDLE).dtype == np.float64
    half = function(torch.tensor([0.05], dtype=torch.float16), **MIDDLE)
    assert half.dtype == torch.float32


@pytest.mark.parametrize(
    ("tr", "flip", "advice"),
    [
        (6.7, 8.0, "give 0.0067"),
        (2.0, 8.0, "0.002 to 0.02 s"),
        (0.001, 8.0, "0.002 to 0.02 s"),
        (math.nan, 8.0, "0.002 to 0.02 s"),
        (0.0067, 90.0, "2 to 40 degrees"),
        (0.0067, 0.1396, "give 8"),
        (0.0067, -8.0, "2 to 40 degrees"),
    ],
)
def test_settings_outside_the_model_are_refused_with_advice(tr, flip, advice):
    for refused in (
        lambda: check_spgr_settings(tr, flip),
        lambda: spgr_signal(1.0, **keywords(tr, flip)),
        lambda: spgr_r1(0.1, **keywords(tr, flip)),
        lambda: spgr_has_solution(0.1, **keywords(tr, flip)),
    ):
        with pytest.raises(RequestError, match=advice):
            refused()


def test_physics_does_not_load_torch():
    code = (
        "import sys, numpy; from ContrastSynthLib.physics import spgr_signal;"
        "spgr_signal(numpy.ones(3), repetition_time_s=0.005, flip_angle_deg=10);"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
