"""Each paper's normalisation against its definition; the gain between two scans."""

import numpy as np
import pytest
from scipy import stats

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.preprocessing.normalisation import KINDS, Normalisation, fit, radiometric_gain

SHAPE = (12, 30, 25)


@pytest.fixture
def scan():
    return np.random.default_rng(0).gamma(4.0, 90.0, SHAPE).astype(np.float32)


@pytest.fixture
def mask():
    return np.random.default_rng(1).random(SHAPE) < 0.4


@pytest.mark.parametrize(
    ("kind", "statistic", "expected"),
    [
        ("mean", np.mean, 1.0),
        ("p95", lambda x: np.sort(x)[int(0.95 * x.size)], 1.0),
        ("unit", lambda x: np.sort(x)[int(0.999 * x.size)], 1.0),
        ("median", lambda x: stats.scoreatpercentile(x, 50), 1.0),
        ("ti", np.mean, 0.0),
        ("ti", np.std, 1.0),
    ],
)
def test_a_kind_does_what_its_paper_says_inside_the_mask(scan, mask, kind, statistic, expected):
    elsewhere = np.where(mask, scan, 1e6).astype(np.float32)
    normalised = fit(kind, elsewhere, mask).apply(elsewhere)
    # The quantiles of the check are a neighbouring sample, not interpolated.
    assert statistic(normalised[mask].astype(np.float64)) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_air_stays_zero_unless_the_mean_is_taken_off(scan, mask, kind):
    fitted = fit(kind, scan, mask)
    assert (fitted.apply(np.zeros(1))[0] == 0) == (kind != "ti")
    assert fitted.name == kind
    assert np.array_equal(np.argsort(fitted.apply(scan).ravel()), np.argsort(scan.ravel()))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_undo_is_the_inverse_and_float32_and_leaves_the_input_alone(scan, mask, kind, dtype):
    given = scan.astype(dtype)
    kept = given.copy()
    given.flags.writeable = False
    fitted = fit(kind, given, mask)
    there = fitted.apply(given)
    back = fitted.undo(there)
    assert there.dtype == back.dtype == np.float32
    np.testing.assert_allclose(back, kept, rtol=1e-5, atol=1e-3)
    assert np.array_equal(given, kept)


def test_nothing_is_clipped(scan, mask):
    assert fit("unit", scan, mask).apply(scan).max() > 1


def test_torch_gives_the_same_and_is_differentiable():
    torch = pytest.importorskip("torch")
    fitted = Normalisation("ti", scale=40.0, offset=100.0)
    values = np.linspace(-5, 900, 20, dtype=np.float32)
    tensor = torch.tensor(values, requires_grad=True)
    assert np.array_equal(fitted.apply(tensor).detach().numpy(), fitted.apply(values))
    assert np.array_equal(fitted.undo(tensor).detach().numpy(), fitted.undo(values))
    fitted.apply(tensor).sum().backward()
    np.testing.assert_allclose(tensor.grad, 1 / 40)


def test_unknown_kind_names_the_nearest(scan, mask):
    with pytest.raises(RequestError, match="Did you mean 'median'"):
        fit("medien", scan, mask)


def test_an_empty_mask_and_a_level_of_zero_are_refused(scan, mask):
    with pytest.raises(RequestError, match="mask is empty"):
        fit("mean", scan, np.zeros(SHAPE, bool))
    for kind in KINDS:
        with pytest.raises(RequestError, match="is 0"):
            fit(kind, np.zeros(SHAPE, np.float32), mask)
    with pytest.raises(RequestError, match="above 0"):
        fit("mean", -scan, mask)


def pair(seed, *, gain, share, enhancement, snr, size=60_000):
    """Three tissues; a share of the voxels enhances; Rician noise on both scans."""
    rng = np.random.default_rng(seed)
    tissue = rng.choice([1.0, 0.75, 0.3], size, p=[0.4, 0.45, 0.15]) * rng.normal(1, 0.05, size)
    rise = np.where(rng.random(size) < share, enhancement(rng, size), 0.0)

    def noisy(signal):
        return np.hypot(*(part + rng.normal(0, 1 / snr, size) for part in (signal, 0 * signal)))

    shape = (10, 60, size // 600)
    scans = noisy(tissue), gain * noisy(tissue * (1 + rise))
    return [(300 * scan).reshape(shape).astype(np.float32) for scan in scans]


ENHANCEMENTS = {
    "exponential": lambda rng, n: rng.exponential(0.5, n),
    "uniform": lambda rng, n: rng.uniform(0, 1, n),
    "all by 0.3": lambda rng, n: np.full(n, 0.3),
    "faint": lambda rng, n: rng.exponential(0.2, n),
}


@pytest.mark.parametrize("gain", [0.5, 1.0, 1.24, 3.0])
@pytest.mark.parametrize("share", [0.0, 0.15, 0.3])
@pytest.mark.parametrize("kind", ENHANCEMENTS)
def test_the_gain_is_found_to_two_percent_whatever_enhances(gain, share, kind):
    pre, post = pair(0, gain=gain, share=share, enhancement=ENHANCEMENTS[kind], snr=25)
    everywhere = np.ones(pre.shape, bool)
    assert radiometric_gain(pre, post, everywhere) == pytest.approx(gain, rel=0.02)


def test_mean_and_median_would_not_do():
    pre, post = pair(0, gain=1.24, share=0.3, enhancement=ENHANCEMENTS["uniform"], snr=25)
    ratio = post / pre
    assert np.mean(ratio) > 1.1 * 1.24
    assert np.median(ratio) > 1.03 * 1.24


def test_the_gain_of_a_few_voxels():
    pre, post = pair(3, gain=1.3, share=0.2, enhancement=ENHANCEMENTS["uniform"], snr=30)
    few = np.zeros(pre.shape, bool)
    few[0, :30, :30] = True
    assert radiometric_gain(pre, post, few) == pytest.approx(1.3, rel=0.03)
    one = np.zeros(pre.shape, bool)
    one[2, 3, 4] = True
    assert radiometric_gain(pre, post, one) == pytest.approx(post[2, 3, 4] / pre[2, 3, 4])


def test_scans_that_differ_by_a_factor_only_give_it_exactly(scan, mask):
    assert radiometric_gain(scan, np.float32(1.7) * scan, mask) == pytest.approx(1.7, rel=1e-6)
    assert radiometric_gain(scan, scan, mask) == 1.0


def test_voxels_without_signal_and_outside_the_mask_do_not_count(scan, mask):
    post = np.where(mask, 1.3 * scan, 9 * scan).astype(np.float32)
    dead = mask & (np.random.default_rng(2).random(SHAPE) < 0.6)
    pre = np.where(dead, -3, scan).astype(np.float32)
    assert radiometric_gain(pre, post, mask) == pytest.approx(1.3, rel=1e-5)


def test_the_gain_back_is_the_inverse():
    pre, post = pair(5, gain=1.24, share=0.2, enhancement=ENHANCEMENTS["exponential"], snr=30)
    everywhere = np.ones(pre.shape, bool)
    there, back = (radiometric_gain(*order, everywhere) for order in ((pre, post), (post, pre)))
    assert there * back == pytest.approx(1, abs=0.01)


def test_no_common_signal_is_refused(scan, mask):
    with pytest.raises(RequestError, match="above 0 in both"):
        radiometric_gain(scan, np.zeros(SHAPE, np.float32), mask)
