"""The post/pre relation against eq. 11 as printed, and the signal at any dose."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.physics import (
    LOWEST_R1_PER_S,
    post_from_pre,
    pre_from_post,
    signal_at_dose,
    spgr_r1,
    spgr_signal,
)

try:
    import torch
except ImportError:
    torch = None
needs_torch = pytest.mark.skipif(torch is None, reason="torch is not installed")

SETTINGS = {"repetition_time_s": 0.0067, "flip_angle_deg": 8.0}
AGENT = {"peak_concentration_mmol_per_l": 1.2, "relaxivity_per_mmol_s": 3.5}
LIMIT = math.sin(math.radians(8.0))

t1_s = st.floats(0.1, 5.0)
spgr = st.fixed_dictionaries(
    {"repetition_time_s": st.floats(0.002, 0.02), "flip_angle_deg": st.floats(2.0, 40.0)}
)
# Image values with zeros, negative ones and ones that no T1 explains: rho is 1.
values = st.one_of(
    st.sampled_from([0.0, -0.0, -0.1, 1e-9, LIMIT, 0.3, 5.0]), st.floats(-0.05, 0.15)
)


def eq_11_as_printed(post, uptake, beta, r1, rho, repetition_time_s, flip_angle_deg):
    """Eq. 11 term by term, in fifty digits."""
    with mpmath.workdps(50):
        post, uptake, beta, r1, rho = map(mpmath.mpf, (post, uptake, beta, r1, rho))
        tr, a = mpmath.mpf(repetition_time_s), mpmath.mpf(flip_angle_deg) * mpmath.pi / 180
        sin, cos, e = mpmath.sin(a), mpmath.cos(a), mpmath.exp(tr * r1 * beta * uptake)
        above = rho * sin * (post * e - post * cos - rho * e * sin + rho * sin)
        below = post * e * cos - post * cos - rho * e * mpmath.sin(2 * a) / 2 + rho * sin
        return float(above / below)


@given(t1=t1_s, uptake=st.floats(0.0, 1.0), beta=st.floats(0.0, 5.0), spgr=spgr)
@settings(deadline=None)
def test_pre_is_eq_11_of_the_paper(t1, uptake, beta, spgr):
    r1, rho = 4.5, 1.7
    post = float(
        post_from_pre(
            spgr_signal(1 / t1, proton_density=rho, **spgr),
            uptake,
            peak_concentration_mmol_per_l=beta,
            relaxivity_per_mmol_s=r1,
            proton_density=rho,
            **spgr,
        )
    )
    pre = pre_from_post(
        post,
        uptake,
        peak_concentration_mmol_per_l=beta,
        relaxivity_per_mmol_s=r1,
        proton_density=rho,
        **spgr,
    )
    printed = eq_11_as_printed(post, uptake, beta, r1, rho, **spgr)
    # The subtraction of a large uptake from R1 costs digits, whatever the form.
    assert pre == pytest.approx(printed, rel=1e-10)
    assert pre == pytest.approx(spgr_signal(1 / t1, proton_density=rho, **spgr), rel=1e-10)


def test_agent_shortens_t1_as_eq_7_says():
    pre = spgr_signal(np.array([0.5, 1.0]), **SETTINGS)
    post = post_from_pre(pre, np.array([0.0, 0.5]), **AGENT, **SETTINGS)
    np.testing.assert_allclose(spgr_r1(post, **SETTINGS), [0.5, 1.0 + 3.5 * 1.2 * 0.5])
    np.testing.assert_allclose(post[0], pre[0], rtol=1e-14)


def test_removal_stops_at_the_floor_and_spares_what_is_below_it():
    r1_post = np.array([1.0, 0.05, 0.05])
    post = spgr_signal(r1_post, **SETTINGS)
    pre = pre_from_post(post, np.array([1.0, 1.0, 0.0]), **AGENT, **SETTINGS)
    np.testing.assert_allclose(spgr_r1(pre, **SETTINGS), [LOWEST_R1_PER_S, 0.05, 0.05])


@needs_torch
def test_image_values_outside_the_equation_give_finite_values_and_gradients():
    post = torch.tensor([-0.2, 0.0, 0.05, LIMIT, 0.9, 1.0], requires_grad=True)
    uptake = torch.full_like(post, 0.8).requires_grad_()
    for function in (pre_from_post, post_from_pre):
        result = function(post, uptake, **AGENT, **SETTINGS)
        assert ((result >= 0) & (result <= LIMIT * (1 + 1e-6))).all()
        grads = torch.autograd.grad(result.sum(), (post, uptake))
        assert all(torch.isfinite(grad).all() for grad in grads)


@needs_torch
@pytest.mark.parametrize("function", [pre_from_post, post_from_pre])
def test_torch_equals_numpy_with_gradient_and_dtype(function):
    signal = spgr_signal(np.array([1.5, 3.0, 5.0]), **SETTINGS)
    uptake = np.array([0.05, 0.2, 0.9])
    tensors = [torch.tensor(v, requires_grad=True) for v in (signal, uptake)]
    result = function(*tensors, **AGENT, **SETTINGS).detach().numpy()
    np.testing.assert_allclose(result, function(signal, uptake, **AGENT, **SETTINGS), rtol=1e-12)
    assert torch.autograd.gradcheck(lambda s, m: function(s, m, **AGENT, **SETTINGS), tensors)
    wide = {name: np.float64(value) for name, value in (AGENT | SETTINGS).items()}
    single = signal.astype(np.float32)
    single.flags.writeable = False
    assert function(single, uptake.astype(np.float32), **wide).dtype == np.float32
    assert function(torch.tensor(single), np.float64(0.5), **wide).dtype == torch.float32


def at(pre, post, dose, gain=1.0, **keywords):
    return signal_at_dose(
        np.asarray(pre), np.asarray(post), dose, gain=gain, **(SETTINGS | keywords)
    )


def rounding(*signals):
    return 1e-12 * np.abs(signals).max() + 1e-300


@given(pre=values, post=values, gain=st.floats(0.25, 4.0), spgr=spgr)
@settings(deadline=None, max_examples=300)
def test_dose_is_exact_at_both_ends_and_monotone(pre, post, gain, spgr):
    doses = np.linspace(0.0, 2.0, 41)
    results = [at([pre], [post], float(dose), gain, **spgr) for dose in doses]
    curve = np.array([signal[0] for signal, _ in results])
    slack = rounding(pre, post)
    assert curve[0] == pytest.approx(pre, abs=slack)
    assert curve[20] == pytest.approx(post, abs=slack)
    inside = np.diff(curve[:21]) * np.sign(post - pre)
    assert (inside >= -slack).all()
    beyond = np.diff(curve[20:])
    slack = rounding(curve)
    assert (beyond >= -slack).all() or (beyond <= slack).all()
    assert np.isfinite(curve).all()
    if pre >= 0 and post >= 0:
        assert (curve >= 0).all()
    assert (curve[20:] * np.sign(post) >= -slack).all()


@given(pre=values, post=values, gain=st.floats(0.25, 4.0))
@settings(deadline=None)
def test_dose_is_continuous_at_1(pre, post, gain):
    below, above = (at(pre, post, 1 + step, gain)[0] for step in (-1e-9, 1e-9))
    assert float(above) == pytest.approx(float(below), abs=1e-6 * max(1.0, abs(post)))


def test_dose_scales_the_change_of_r1_and_carries_the_gain():
    r1_pre, r1_post = np.array([0.7, 1.0, 2.0]), np.array([4.0, 1.0, 1.5])
    pre, post = spgr_signal(r1_pre, **SETTINGS), 1.3 * spgr_signal(r1_post, **SETTINGS)
    for dose in (0.25, 0.8, 1.7):
        low, solved = at(pre, post, dose, gain=1.3)
        assert solved.all()
        expected = 1.3 ** min(dose, 1) * spgr_signal(r1_pre + dose * (r1_post - r1_pre), **SETTINGS)
        np.testing.assert_allclose(low, expected, rtol=1e-12)


def test_dose_where_the_gain_would_overshoot_stays_between_the_scans():
    """The gain falls faster than the agent raises: log S has its top inside."""
    pre = spgr_signal(np.array([0.3]), **SETTINGS)
    post = 0.25 * spgr_signal(np.array([3.0]), **SETTINGS)
    free = 0.25**0.3 * spgr_signal(0.3 + 0.3 * 2.7, **SETTINGS)
    assert free > max(pre[0], post[0]), "the example must overshoot"
    assert at(pre, post, 0.3, gain=0.25)[0] == max(pre, post)


def test_dose_without_a_solution_is_linear_and_keeps_its_sign():
    pre = np.array([0.0, 0.3, 0.3, -0.04, 0.3, -0.04, 0.05])
    post = np.array([0.1, 0.5, 0.1, -0.01, -0.01, 0.02, 0.05])
    half, solved = at(pre, post, 0.5)
    np.testing.assert_array_equal(solved, [False] * 6 + [True])
    np.testing.assert_allclose(half, (pre + post) / 2, rtol=1e-12)
    double, _ = at(pre, post, 2.0)
    np.testing.assert_allclose(double, [0.2, 0.7, 0.0, 0.0, -0.32, 0.08, 0.05], atol=1e-12)
    # A post signal that only its gain puts out of reach is no solution either.
    assert not at(0.1, 0.1, 0.5, gain=0.5)[1]


def test_dose_beyond_1_does_not_take_r1_below_the_floor():
    r1_pre, r1_post = np.array([2.0, 0.5]), np.array([0.5, 0.1])
    pre, post = spgr_signal(r1_pre, **SETTINGS), spgr_signal(r1_post, **SETTINGS)
    double, _ = at(pre, post, 2.0)
    np.testing.assert_allclose(spgr_r1(double, **SETTINGS), [LOWEST_R1_PER_S, 0.1])


def test_dose_takes_a_map_of_the_proton_density_with_zeros():
    density = np.array([0.0, 1.0, 2.0])
    pre = spgr_signal(0.7, proton_density=density, **SETTINGS)
    post = spgr_signal(2.0, proton_density=density, **SETTINGS)
    with np.errstate(all="raise"):
        half, solved = at(pre, post, 0.5, proton_density=density)
    np.testing.assert_array_equal(solved, [False, True, True])
    np.testing.assert_allclose(half, density * spgr_signal(1.35, **SETTINGS), rtol=1e-12)


@needs_torch
def test_dose_in_torch_equals_numpy_with_finite_gradients():
    generator = np.random.default_rng(3)
    pre, post = generator.uniform(-0.02, 0.16, (2, 200))
    for dose in (0.0, 0.4, 1.0, 1.6):
        expected, solved = at(pre, post, dose, gain=1.2)
        assert 0 < solved.sum() < 200
        tensors = [torch.tensor(v, requires_grad=True) for v in (pre, post)]
        signal, solved_too = signal_at_dose(*tensors, dose, gain=1.2, **SETTINGS)
        np.testing.assert_allclose(signal.detach(), expected, rtol=1e-12, atol=1e-15)
        np.testing.assert_array_equal(solved_too, solved)
        grads = torch.autograd.grad(signal.sum(), tensors)
        assert all(torch.isfinite(grad).all() for grad in grads)


@needs_torch
@pytest.mark.parametrize("dose", [0.3, 1.5])
def test_dose_gradient(dose):
    tensors = [
        torch.tensor(v, dtype=torch.float64, requires_grad=True)
        for v in ([0.02, 0.05, 0.3, -0.02], [0.09, 0.03, 0.5, -0.01])
    ]
    assert torch.autograd.gradcheck(
        lambda pre, post: signal_at_dose(pre, post, dose, gain=1.1, **SETTINGS)[0], tensors
    )


@needs_torch
def test_dose_keeps_dtype_and_inputs():
    pre, post = np.array([0.03, 0.0], np.float32), np.array([0.06, 0.2], np.float32)
    copies = pre.copy(), post.copy()
    for array in (pre, post):
        array.flags.writeable = False
    signal, solved = signal_at_dose(
        pre, post, np.float64(0.5), gain=np.float64(1.1), proton_density=np.float64(1), **SETTINGS
    )
    assert signal.dtype == np.float32
    assert solved.dtype == np.bool_
    tensors = torch.tensor(pre), torch.tensor(post)
    signal, solved = signal_at_dose(*tensors, 0.5, gain=np.float64(1.1), **SETTINGS)
    assert signal.dtype == torch.float32
    assert solved.dtype == torch.bool
    for tensor, copy in zip(tensors, copies, strict=True):
        np.testing.assert_array_equal(tensor, copy)


@pytest.mark.parametrize(
    ("dose", "gain", "advice"),
    [
        (-0.1, 1.0, "0 to 2 of the full dose"),
        (2.1, 1.0, "0 to 2 of the full dose"),
        (math.nan, 1.0, "0 to 2 of the full dose"),
        (0.5, 0.0, "above 0"),
        (0.5, -1.0, "above 0"),
        (0.5, math.inf, "finite"),
        (0.5, math.nan, "above 0"),
    ],
)
def test_dose_and_gain_outside_their_range_are_refused(dose, gain, advice):
    with pytest.raises(RequestError, match=advice):
        at(0.03, 0.06, dose, gain)
