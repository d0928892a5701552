"""The noise power spectrum against explicit Fourier sums, known spectra and Parseval."""

from __future__ import annotations

import cmath
import json
import math
import statistics

import numpy as np
import pytest
from scipy.signal import periodogram

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.metrics import mae_sigma, nps

CUBE = np.arange(27.0).reshape(3, 3, 3)
FIRST = np.zeros((3, 3, 3), bool)
FIRST[0] = True


def integral(spectrum) -> float:
    """The sum over the map times the area of one of its pixels, in mm^-2."""
    dj, di = (f[1] - f[0] for f in (spectrum.frequency_j_per_mm, spectrum.frequency_i_per_mm))
    return float(spectrum.map.sum() * dj * di)


def spectrum_by_sums(residual, mask, di, dj):
    """The definition, one exponential at a time; frequencies from low to high."""
    slices, rows, columns = residual.shape
    voxels = [tuple(at) for at in np.argwhere(mask).tolist()]
    mean = {
        k: statistics.fmean(float(residual[at]) for at in voxels if at[0] == k)
        for k in {at[0] for at in voxels}
    }
    map_ = np.zeros((rows, columns))
    for v, a in enumerate(range(-(rows // 2), rows - rows // 2)):
        for u, b in enumerate(range(-(columns // 2), columns - columns // 2)):
            for k in range(slices):
                total = sum(
                    (float(residual[at]) - mean[k])
                    * cmath.exp(-2j * math.pi * (a * at[1] / rows + b * at[2] / columns))
                    for at in voxels
                    if at[0] == k
                )
                map_[v, u] += abs(total) ** 2 * di * dj / len(voxels)
    return map_


def test_one_voxel_by_hand():
    """A spot of 1 among 27 voxels: the same power at all frequencies but 0, which the mean had."""
    spot = np.zeros((3, 3, 3))
    spot[1, 2, 0] = 1.0
    found = nps(spot, spacing_mm=(0.5, 2.0, 5.0))
    expected = np.full((3, 3), 0.5 * 2.0 / 27)
    expected[1, 1] = 0.0
    assert found.map == pytest.approx(expected, abs=1e-15)
    assert found.frequency_i_per_mm == pytest.approx([-1 / 1.5, 0, 1 / 1.5])
    assert found.frequency_j_per_mm == pytest.approx([-1 / 6, 0, 1 / 6])
    # In its slice 8 voxels are -1/9 and one is 8/9.
    assert found.variance == pytest.approx((8 / 81 + 64 / 81) / 27)
    assert integral(found) == pytest.approx(found.variance)


@pytest.mark.parametrize("shape", [(2, 5, 6), (3, 4, 7)])
def test_the_definition_written_out(shape):
    rng = np.random.default_rng(1)
    residual = rng.normal(2.0, 1.0, shape)
    mask = rng.random(shape) > 0.4
    for where in (mask, np.ones_like(mask)):
        found = nps(residual, spacing_mm=(0.7, 1.3, 9.0), mask=where)
        assert found.map == pytest.approx(spectrum_by_sums(residual, where, 0.7, 1.3), abs=1e-12)
        # Parseval: the integral is the variance about the means of the slices.
        deviations = [
            (value - statistics.fmean(image[w])) ** 2
            for image, w in zip(residual, where, strict=True)
            for value in image[w].tolist()
        ]
        assert found.variance == pytest.approx(statistics.fmean(deviations))
        assert integral(found) == pytest.approx(found.variance)


def test_along_one_axis_it_is_the_periodogram_of_scipy():
    """What does not change along j has its power at frequency 0 of j, spread over j's length."""
    line = np.random.default_rng(6).normal(size=30)
    di, dj, rows = 0.8, 1.5, 9
    found = nps(np.broadcast_to(line, (4, rows, 30)), spacing_mm=(di, dj, 1.0))
    frequencies, density = periodogram(
        line, fs=1 / di, detrend="constant", return_onesided=False, scaling="density"
    )
    order = np.argsort(frequencies)
    assert found.frequency_i_per_mm == pytest.approx(frequencies[order])
    assert found.map[rows // 2] == pytest.approx(density[order] * rows * dj)
    others = np.delete(found.map, rows // 2, axis=0)
    assert np.abs(others).max() < 1e-12


def test_a_wave_shows_at_its_frequency_with_its_power():
    """Amplitude A: A^2 / 4 at plus and minus its frequency, times the area of the slice."""
    rows, columns, di, dj, amplitude = 40, 50, 1.0, 1.25, 0.3
    i = np.arange(columns)
    wave = amplitude * np.cos(2 * np.pi * 8 * i / columns) * np.ones((3, rows, 1))
    found = nps(wave, spacing_mm=(di, dj, 3.0))
    at = np.abs(found.frequency_i_per_mm - 8 / (columns * di)) < 1e-9
    peak = found.map[rows // 2, at]
    assert peak == pytest.approx([amplitude**2 / 4 * rows * dj * columns * di])
    assert found.map.sum() == pytest.approx(2 * peak[0])
    loudest = int(found.radial.argmax())
    assert found.radial_frequency_per_mm[loudest] == pytest.approx(8 / 50)


@pytest.mark.parametrize("round_mask", [False, True])
def test_white_noise_has_the_same_power_everywhere(round_mask):
    rng = np.random.default_rng(2)
    sigma, di, dj = 0.2, 0.9, 1.1
    noise = rng.normal(0, sigma, (60, 64, 48))
    mask = None
    if round_mask:
        j, i = np.ogrid[-1:1:64j, -1:1:48j]
        mask = np.broadcast_to(j**2 + i**2 < 0.8, noise.shape)
        noise = np.where(mask, noise, 1e3)
    found = nps(noise, spacing_mm=(di, dj, 1.0), mask=mask)
    level = sigma**2 * di * dj
    assert found.radial[2:] == pytest.approx(level, rel=0.1)
    assert found.radial[2:].mean() == pytest.approx(level, rel=0.01)
    assert found.variance == pytest.approx(sigma**2, rel=0.02)


def test_rings_are_means_over_what_lies_in_them():
    residual = np.random.default_rng(3).normal(size=(5, 12, 21))
    found = nps(residual, spacing_mm=(0.5, 1.0, 1.0))
    step, nyquist = 1 / 10.5, 0.5
    rings: dict[int, list[float]] = {}
    for v, fj in enumerate(found.frequency_j_per_mm):
        for u, fi in enumerate(found.frequency_i_per_mm):
            ring = math.floor(math.hypot(fj, fi) / step + 0.5)
            rings.setdefault(ring, []).append(found.map[v, u])
    numbers = range(1, math.floor(nyquist / step) + 1)
    assert found.radial_frequency_per_mm == pytest.approx([n * step for n in numbers])
    assert found.radial == pytest.approx([statistics.fmean(rings[n]) for n in numbers])
    # The coarser frequency step is that of the shorter side, 10.5 mm against 12 mm.
    assert len(found.radial) == 5


def test_units_of_space_and_intensity():
    residual = np.random.default_rng(9).normal(size=(4, 8, 10))
    plain = nps(residual, spacing_mm=(1.0, 1.0, 1.0))
    wide = nps(3 * residual, spacing_mm=(2.0, 2.0, 7.0))
    assert wide.map == pytest.approx(9 * 4 * plain.map)
    assert wide.radial == pytest.approx(9 * 4 * plain.radial)
    assert wide.radial_frequency_per_mm == pytest.approx(plain.radial_frequency_per_mm / 2)
    assert wide.variance == pytest.approx(9 * plain.variance)


def test_the_mean_of_each_slice_is_no_noise():
    residual = np.random.default_rng(9).normal(size=(4, 8, 10))
    offsets = np.array([0.0, 5.0, -3.0, 100.0])[:, None, None]
    plain, shifted = (nps(r, spacing_mm=(1, 1, 1)) for r in (residual, residual + offsets))
    assert shifted.map == pytest.approx(plain.map, abs=1e-10)
    nothing = nps(np.broadcast_to(offsets, residual.shape), spacing_mm=(1, 1, 1))
    assert nothing.variance == 0
    assert not nothing.map.any()


def test_slices_without_a_voxel_of_the_mask_do_not_count():
    residual = np.random.default_rng(9).normal(size=(4, 8, 10))
    mask = np.zeros(residual.shape, bool)
    mask[1:3] = True
    part = nps(residual[1:3], spacing_mm=(1, 1, 1))
    found = nps(residual, spacing_mm=(1, 1, 1), mask=mask)
    assert found.map == pytest.approx(part.map)
    assert found.variance == pytest.approx(part.variance)


def test_the_report_of_a_spectrum_is_json():
    found = nps(np.random.default_rng(0).normal(size=(2, 8, 8)), spacing_mm=(1, 1, 1))
    content = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert content["radial"] == found.radial.tolist()
    assert content["radial_frequency_per_mm"] == [0.125, 0.25, 0.375, 0.5]
    assert content["variance"] == found.variance


def test_mae_sigma_by_hand():
    """Residuals of 0, 3 and 6 and of 0, 5 and 10 in the last slice: deviations 2.449 and 4.082."""
    native = CUBE
    steps = np.zeros((3, 3, 3))
    steps[2, :, 0], steps[2, :, 1], steps[2, :, 2] = 0, 3, 6
    reference, synthetic = native + steps, native + steps * 5 / 3
    enhancing = np.ones((3, 3, 3), bool)
    enhancing[2] = False
    expected = math.sqrt(50 / 3) - math.sqrt(6)
    given = {"native": native, "enhancing": enhancing}
    assert mae_sigma(reference, synthetic, **given) == pytest.approx(expected)
    assert mae_sigma(synthetic, reference, **given) == pytest.approx(expected)


def test_mae_sigma_against_the_statistics_module():
    rng = np.random.default_rng(7)
    native = rng.gamma(4.0, 0.2, (6, 7, 8)).astype(np.float32)
    reference, synthetic = (
        (native + rng.normal(0.2, s, native.shape)).astype(np.float32) for s in (0.1, 0.25)
    )
    enhancing, mask = rng.random(native.shape) > 0.7, rng.random(native.shape) > 0.3
    where = mask & ~enhancing
    sigmas = [
        statistics.pstdev(float(a) - float(b) for a, b in zip(x[where], native[where], strict=True))
        for x in (reference, synthetic)
    ]
    given = {"native": native, "enhancing": enhancing, "mask": mask}
    assert mae_sigma(reference, synthetic, **given) == pytest.approx(
        abs(sigmas[1] - sigmas[0]), abs=1e-8
    )
    # What enhances, and what the mask leaves out, does not count.
    changed = np.where(where, synthetic, 1e6)
    assert mae_sigma(reference, changed, **given) == mae_sigma(reference, synthetic, **given)


def test_limits_of_mae_sigma():
    rng = np.random.default_rng(7)
    native, noise = rng.gamma(4.0, 0.2, (5, 5, 5)), rng.normal(size=(5, 5, 5))
    given = {"native": native, "enhancing": np.zeros(native.shape, bool)}
    reference = native + noise
    assert mae_sigma(reference, reference, **given) == 0
    # Another sample, an offset and a sign leave the deviation alone; a smooth image has none.
    assert mae_sigma(reference, native - noise[::-1] + 3, **given) == pytest.approx(0)
    assert mae_sigma(reference, native, **given) == pytest.approx(noise.std())
    assert mae_sigma(reference, native + 3 * noise, **given) == pytest.approx(2 * noise.std())


def test_wrong_input_is_named():
    everywhere = np.ones((3, 3, 3), bool)
    nowhere = ~everywhere
    with pytest.raises(RequestError, match="native scan has the shape"):
        mae_sigma(CUBE, CUBE, native=CUBE[1:], enhancing=nowhere)
    with pytest.raises(RequestError, match="do not enhance is empty"):
        mae_sigma(CUBE, CUBE, native=CUBE, enhancing=everywhere)
    with pytest.raises(RequestError, match="do not enhance is empty"):
        mae_sigma(CUBE, CUBE, native=CUBE, enhancing=FIRST, mask=FIRST)
    with pytest.raises(RequestError, match="enhancing voxels has the shape"):
        mae_sigma(CUBE, CUBE, native=CUBE, enhancing=nowhere[0])
    with pytest.raises(RequestError, match="volumes"):
        nps(CUBE[0], spacing_mm=(1, 1, 1))
    with pytest.raises(RequestError, match="at least 2 x 2"):
        nps(CUBE[:, :1], spacing_mm=(1, 1, 1))
    for spacing in ((0.0, 1.0), (1.0, -1.0), (math.nan, 1.0)):
        with pytest.raises(RequestError, match="positive size"):
            nps(CUBE, spacing_mm=spacing)
    with pytest.raises(RequestError, match="mask is empty"):
        nps(CUBE, spacing_mm=(1, 1, 1), mask=nowhere)


def test_inputs_are_not_written_into():
    residual = np.random.default_rng(0).normal(size=(3, 4, 4)).astype(np.float32)
    residual.flags.writeable = False
    before = residual.copy()
    nps(residual, spacing_mm=(1, 1, 1), mask=residual > 0)
    mae_sigma(residual, residual, native=residual, enhancing=residual > 1)
    np.testing.assert_array_equal(residual, before)
