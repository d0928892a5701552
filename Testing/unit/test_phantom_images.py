"""Sequences against limit cases and an explicit simulation, and what a scanner adds."""

from __future__ import annotations

import numpy as np
import pytest

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.phantom import images
from ContrastSynthLib.phantom.brain.fields import Box
from ContrastSynthLib.phantom.images import Relaxation, Scanner, clean_signal, scan_image
from ContrastSynthLib.phantom.tissue import (
    PROPERTIES,
    SOURCES,
    TISSUES,
    interstitial_concentration,
    plasma_concentration,
    tissue_table,
)
from ContrastSynthLib.physics.constants import TABULATED_FIELDS_T

MPRAGE = {
    "sequence": "mprage",
    "repetition_time_s": 2.0,
    "echo_time_s": 0.0,
    "inversion_time_s": 0.9,
    "flip_angle_deg": 9.0,
    "echo_spacing_s": 0.007,
}
SCAN = {
    "gain": 1.2,
    "noise": 0.05,
    "bias": 0.1,
    "shift_mm": 0.0,
    "rotation_deg": 0.0,
    "thickness_mm": 1.0,
    "pixel_mm": 1.0,
    "seed": 3,
}


def relaxation(r1: float, r2: float = 10.0, flow: float = 0.0) -> Relaxation:
    return Relaxation(*(np.array([v]) for v in (r1, r2, 1.0, 1e-3, flow)))


def simulated_mprage(r1: float, scan: dict[str, float]) -> float:
    """Follow the magnetisation pulse by pulse until the cycles repeat."""
    angle, spacing = np.deg2rad(scan["flip_angle_deg"]), scan["echo_spacing_s"]
    half = images.MPRAGE_PULSES // 2
    before = scan["inversion_time_s"] - half * spacing
    after = scan["repetition_time_s"] - scan["inversion_time_s"] - half * spacing

    def recover(m: float, time: float) -> float:
        return 1 + (m - 1) * np.exp(-time * r1)

    m = 1.0
    for _ in range(60):
        m = recover(-images.INVERSION_EFFICIENCY * m, before)
        for pulse in range(images.MPRAGE_PULSES):
            if pulse == half:
                signal = abs(m) * np.sin(angle)
            m = recover(m * np.cos(angle), spacing)
        m = recover(m, after)
    return float(signal)


@pytest.mark.parametrize("t1_s", [0.3, 0.85, 1.5, 4.0])
def test_mprage_equals_a_simulation_pulse_by_pulse(t1_s):
    closed = images.mprage(relaxation(1 / t1_s), MPRAGE)[0]
    assert closed == pytest.approx(simulated_mprage(1 / t1_s, MPRAGE), rel=1e-5)


def test_flair_nulls_csf_and_spin_echo_has_its_limits():
    csf_r1 = 1 / 4.3
    scan = {"sequence": "flair", "repetition_time_s": 9.0, "echo_time_s": 0.1}
    assert clean_signal(relaxation(csf_r1), scan, csf_r1)[0] == pytest.approx(0, abs=1e-6)
    assert clean_signal(relaxation(1.0), scan, csf_r1)[0] > 0.1
    long = {"sequence": "t2", "repetition_time_s": 1e3, "echo_time_s": 0.0}
    assert clean_signal(relaxation(1.0), long, csf_r1)[0] == pytest.approx(1)
    echo = {**long, "echo_time_s": 0.1}
    assert clean_signal(relaxation(1.0), echo, csf_r1)[0] == pytest.approx(np.exp(-1), rel=1e-6)
    flowing = clean_signal(relaxation(1.0, flow=1.0), echo, csf_r1)[0]
    assert flowing == pytest.approx(np.exp(-1 - 0.1 / images.FLOW_TIME_S), rel=1e-6)
    with pytest.raises(RequestError, match="sequence"):
        clean_signal(relaxation(1.0), {"sequence": "spgrr"}, csf_r1)


def test_adc_comes_back_without_noise():
    box = Box.centred((16, 16, 16), 2.0, (0.0, 0.0, 0.0))
    adc = np.linspace(0.5e-3, 3e-3, 16, dtype=np.float32) * np.ones(box.shape, np.float32)
    one = np.ones(box.shape, np.float32)
    tissue = Relaxation(one, 8 * one, one, adc, 0 * one)
    scan = {**SCAN, "noise": 1e-9, "repetition_time_s": 6.0, "echo_time_s": 0.08}
    found = images.adc_image(box, tissue, {**scan, "pixel_mm": 2.0, "thickness_mm": 2.0}, 0.5)
    np.testing.assert_allclose(found, adc, rtol=1e-3)


def test_noise_is_rician_and_of_the_size_asked_for():
    box = Box.centred((48, 48, 48), 1.0, (0.0, 0.0, 0.0))
    scan = {**SCAN, "bias": 0.0}
    sigma = 0.05 * images.WHITE_LEVEL * 1.2
    air = scan_image(box, np.zeros(box.shape, np.float32), scan, 0.1)
    # Of two Gaussians without signal the magnitude is Rayleigh-distributed.
    assert air.mean() == pytest.approx(sigma * np.sqrt(np.pi / 2), rel=0.01)
    white = scan_image(box, np.full(box.shape, 0.1, np.float32), scan, 0.1)
    assert white.mean() == pytest.approx(images.WHITE_LEVEL * 1.2, rel=0.01)
    assert white.std() == pytest.approx(sigma, rel=0.02)
    again = scan_image(box, np.full(box.shape, 0.1, np.float32), scan, 0.1, repeat=1)
    assert np.corrcoef(white.ravel(), again.ravel())[0, 1] == pytest.approx(0, abs=0.02)


def test_thick_slices_average_and_keep_the_mean():
    box = Box.centred((24, 24, 40), 1.0, (0.0, 0.0, 0.0))
    image = np.zeros(box.shape, np.float32)
    image[20] = 1
    scanner = Scanner(box, {**SCAN, "thickness_mm": 5.0}, 1.0)
    blurred = scanner.blurred(image, None)
    assert blurred.max() == pytest.approx(0.2, rel=0.05)
    assert blurred.sum() == pytest.approx(image.sum(), rel=0.05)
    flat = scanner.blurred(np.ones(box.shape, np.float32), None)
    np.testing.assert_allclose(flat, 1, rtol=1e-5)


def test_a_moved_scan_is_shifted_by_what_was_asked_for():
    box = Box.centred((32, 32, 32), 1.0, (0.0, -18.0, 5.0))
    z, y, x = box.mesh()
    blob = np.exp(-(((z - 5) ** 2 + (y + 18) ** 2 + x**2) / 18)).astype(np.float32)
    scanner = Scanner(box, {**SCAN, "shift_mm": 3.0, "rotation_deg": 0.0}, 1.0)
    moved = scanner.move(blob, np.random.default_rng(0))
    centre = [float((moved * axis).sum() / moved.sum()) for axis in (z, y, x)]
    assert np.linalg.norm(np.array(centre) - (5, -18, 0)) == pytest.approx(3.0, abs=0.05)
    # Turned about the centre of the head, a ball there stays where it is.
    turned = Scanner(box, {**SCAN, "rotation_deg": 30.0}, 1.0).move(blob, np.random.default_rng(0))
    np.testing.assert_allclose(turned, blob, atol=0.05)


def test_agent_in_leaky_tissue_follows_the_convolution():
    times = np.linspace(0, 600, 6001)
    plasma = plasma_concentration(times, 0.1)
    kep, step, ends = 0.7 / 60, times[1], range(0, 6001, 1000)
    convolved = [
        kep * np.trapezoid(plasma[: i + 1] * np.exp(-kep * (times[i] - times[: i + 1])), dx=step)
        for i in ends
    ]
    closed = interstitial_concentration(times[::1000], 0.1, 0.7)
    np.testing.assert_allclose(closed, convolved, rtol=1e-4, atol=1e-6)
    assert plasma_concentration(0.0, 0.1) == pytest.approx(0.1 * (3.99 + 4.78))
    assert plasma_concentration(-1.0, 0.1) == 0
    assert interstitial_concentration(-1.0, 0.1, 0.7) == 0
    assert interstitial_concentration(300.0, 0.2, 0.7) == pytest.approx(2 * closed[3])


def test_tissues_are_cited_and_in_order():
    assert len({tissue.label for tissue in TISSUES.values()}) == len(TISSUES)
    for tissue in TISSUES.values():
        assert set(tissue.sources) <= set(SOURCES)
    for field in TABULATED_FIELDS_T:
        table = tissue_table(field)
        r1, r2 = PROPERTIES.index("r1"), PROPERTIES.index("r2")
        assert table["white"][r1] > table["grey"][r1] > table["csf"][r1]
        assert table["white"][r2] > table["grey"][r2] > table["csf"][r2]
    # Relaxation slows down with the field, and between the two lies what lies between.
    low, middle, high = (tissue_table(f)["grey"][0] for f in (1.5, 2.0, 3.0))
    assert low > middle > high
    changed = tissue_table(3.0, {"grey": {"r1": 1.1}})
    assert changed["grey"][0] == pytest.approx(1.1 * tissue_table(3.0)["grey"][0])
    assert changed["white"][0] == tissue_table(3.0)["white"][0]
    for wrong in ({"gray": {"r1": 1.0}}, {"grey": {"t1": 1.0}}):
        with pytest.raises(RequestError):
            tissue_table(3.0, wrong)
    with pytest.raises(RequestError, match="7"):
        tissue_table(7.0)
