"""Simulated MR images of tissue maps.

The signal equations are closed forms. Each scan has its own gain and shading, slice thickness,
pixel size, Rician noise, and a small misregistration with the pre scan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import affine_transform
from scipy.spatial.transform import Rotation

from ContrastSynthLib.errors import unknown_name
from ContrastSynthLib.phantom.brain.deformation import CENTRE_MM
from ContrastSynthLib.phantom.brain.fields import Box, random_spline
from ContrastSynthLib.phantom.tissue import interstitial_concentration, plasma_concentration
from ContrastSynthLib.physics import r1_with_agent, relaxivity, spgr_signal
from ContrastSynthLib.volumes import FloatArray

WHITE_LEVEL = 1000.0
"""Signal of white matter in a scan with a gain of 1, in arbitrary units."""

R2_OF_R1 = 1.2
"""Ratio of transverse to longitudinal relaxivity, r2 / r1: our choice for all agents and fields.

Near the ratios in plasma of Rohrer et al., Invest Radiol 2005;40:715-724.
"""

MPRAGE_PULSES = 176
"""Number of excitations after each inversion."""
INVERSION_EFFICIENCY = 0.95
B_VALUE_S_PER_MM2 = 1000.0
BIAS_STEP_MM = 70.0
"""Distance over which the shading varies."""
FLOW_TIME_S = 0.03
"""Decay time of flowing blood in a spin echo: 70 % is left at a TE of 10 ms, 5 % at 90 ms. Our
choice."""


@dataclass(frozen=True)
class Relaxation:
    """Maps of one shape: R1 and R2 in 1/s, proton density, ADC in mm2/s, share of flowing blood."""

    r1: FloatArray
    r2: FloatArray
    density: FloatArray
    adc: FloatArray
    flow: FloatArray


def gadolinium(
    maps: FloatArray, contrast: Mapping[str, float], dose_mmol_per_kg: float, time_s: float
) -> FloatArray:
    """Return the concentration of agent in tissue in mmol/L, ``time_s`` after the injection.

    ``maps`` (7, k, j, i) are those of an ``Anatomy``. The extended Tofts model: the plasma fraction
    times the plasma concentration, plus the leaky interstitial fraction times the concentration in
    the interstitium.
    """
    plasma = plasma_concentration(time_s, dose_mmol_per_kg)
    leaked = interstitial_concentration(time_s, dose_mmol_per_kg, contrast["exchange_per_min"])
    return np.asarray(np.float32(plasma) * maps[4] + np.float32(leaked) * maps[5])


def tissue_with_agent(
    maps: FloatArray, agent_mmol_per_l: FloatArray | None, agent: str, field_strength_t: float
) -> Relaxation:
    """Return the relaxation of an anatomy's ``maps`` with agent in mmol/L; None: without agent."""
    r1, r2, density, adc, flow = (*maps[:4], maps[6])
    if agent_mmol_per_l is None:
        return Relaxation(r1, r2, density, adc, flow)
    r1_of_agent = relaxivity(agent, field_strength_t)
    r1 = r1_with_agent(r1, agent_mmol_per_l, r1_of_agent)
    r2 = r1_with_agent(r2, agent_mmol_per_l, R2_OF_R1 * r1_of_agent)
    return Relaxation(r1, r2, density, adc, flow)


def spgr(tissue: Relaxation, scan: Mapping[str, Any]) -> FloatArray:
    """Return the signal of a spoiled gradient echo: SPHERE, eq. 1, times exp(-TE R2)."""
    signal = spgr_signal(
        tissue.r1,
        repetition_time_s=scan["repetition_time_s"],
        flip_angle_deg=scan["flip_angle_deg"],
        proton_density=tissue.density,
    )
    return np.asarray(signal * np.exp(-np.float32(scan["echo_time_s"]) * tissue.r2))


def mprage(tissue: Relaxation, scan: Mapping[str, Any]) -> FloatArray:
    """Return the steady-state signal of an MPRAGE at the middle of its pulse train.

    Each cycle changes the longitudinal magnetisation m linearly: inversion m -> -c m, recovery
    m -> 1 + (m - 1) E(t), and n pulses, which bring m towards m_ss = (1 - E) / (1 - E cos a) by a
    factor of (E cos a)^n. The steady state is the fixed point of the cycle. The signal is
    rho m sin(a) exp(-TE R2) at the middle pulse, TI after the inversion (Deichmann et al.,
    NeuroImage 2000;12:112-127).
    """
    r1 = tissue.r1
    cosine, sine = (np.float32(f(np.deg2rad(scan["flip_angle_deg"]))) for f in (np.cos, np.sin))
    spacing, half = scan["echo_spacing_s"], MPRAGE_PULSES // 2
    before = scan["inversion_time_s"] - half * spacing
    after = scan["repetition_time_s"] - scan["inversion_time_s"] - half * spacing
    e_pulse = np.exp(np.float32(-spacing) * r1)
    steady = (1 - e_pulse) / (1 - e_pulse * cosine)
    train = (e_pulse * cosine) ** half
    e_before, e_after = (np.exp(np.float32(-t) * r1) for t in (before, after))
    # m at the middle pulse is offset - slope m, with m the magnetisation before the inversion.
    slope = np.float32(INVERSION_EFFICIENCY) * e_before * train
    offset = (1 - e_before) * train + steady * (1 - train)
    # From the middle pulse to the next inversion, then the fixed point of the whole cycle.
    last = 1 - e_after + e_after * steady * (1 - train)
    middle = (offset - slope * last) / (1 + slope * e_after * train)
    decay = np.exp(-np.float32(scan["echo_time_s"]) * tissue.r2)
    return np.asarray(tissue.density * np.abs(middle) * sine * decay)


def spin_echo(tissue: Relaxation, scan: Mapping[str, Any]) -> FloatArray:
    """Return rho (1 - exp(-TR R1)) exp(-TE R2); TR and TE determine the T1 or T2 weighting.

    Flowing blood leaves the slice before the echo: the share exp(-TE / FLOW_TIME_S) is left.
    """
    recovered = -np.expm1(-np.float32(scan["repetition_time_s"]) * tissue.r1)
    return np.asarray(tissue.density * recovered * _echo(tissue, scan["echo_time_s"]))


def _echo(tissue: Relaxation, echo_time_s: float) -> FloatArray:
    decay = np.exp(-np.float32(echo_time_s) * tissue.r2)
    lost = np.float32(-np.expm1(-echo_time_s / FLOW_TIME_S))
    return np.asarray(decay * (1 - lost * tissue.flow))


def flair(tissue: Relaxation, scan: Mapping[str, Any], csf_r1_per_s: float) -> FloatArray:
    """Return rho |1 - 2 exp(-TI R1) + exp(-TR R1)| exp(-TE R2), with the TI that nulls CSF."""
    repetition = np.float32(scan["repetition_time_s"])
    inversion = flair_inversion_time(float(repetition), csf_r1_per_s)
    level = 1 - 2 * np.exp(-np.float32(inversion) * tissue.r1) + np.exp(-repetition * tissue.r1)
    return np.asarray(tissue.density * np.abs(level) * _echo(tissue, scan["echo_time_s"]))


def flair_inversion_time(repetition_time_s: float, csf_r1_per_s: float) -> float:
    """Return the TI in s that nulls CSF: ln(2 / (1 + exp(-TR R1))) / R1."""
    full = np.exp(-repetition_time_s * csf_r1_per_s)
    return float(np.log(2 / (1 + full)) / csf_r1_per_s)


def clean_signal(tissue: Relaxation, scan: Mapping[str, Any], csf_r1_per_s: float) -> FloatArray:
    """Return the noise-free signal of a scan; for "adc" that without diffusion weighting.

    Raises RequestError for an unknown sequence.
    """
    if scan["sequence"] == "flair":
        return flair(tissue, scan, csf_r1_per_s)
    known = {
        "spgr": spgr,
        "mprage": mprage,
        "spin_echo": spin_echo,
        "t2": spin_echo,
        "adc": spin_echo,
    }
    if scan["sequence"] not in known:
        raise unknown_name("sequence", scan["sequence"], (*known, "flair"))
    return known[scan["sequence"]](tissue, scan)


@dataclass(frozen=True)
class Scanner:
    """Shading, position, resolution and noise of one scan on one box.

    ``white`` is the noise-free signal of white matter; intensities and noise are scaled by it.
    """

    box: Box
    scan: Mapping[str, Any]
    white: float

    def shade(self, rng: np.random.Generator) -> FloatArray:
        """Return the shading of the receive coil times the gain of the scan."""
        field = random_spline(rng, BIAS_STEP_MM).on(self.box)[0]
        level = self.scan["gain"] * WHITE_LEVEL / self.white
        return np.asarray(level * np.exp(np.float32(self.scan["bias"]) * field))

    def move(self, image: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Return the image shifted and rotated by a residual registration error."""
        direction, axis = (v / np.linalg.norm(v) for v in rng.normal(size=(2, 3)))
        if not self.scan["shift_mm"] and not self.scan["rotation_deg"]:
            return image
        turn = Rotation.from_rotvec(np.deg2rad(self.scan["rotation_deg"]) * axis).as_matrix()
        # The head rotates about its centre, wherever the box is.
        first = np.array([axis[0] for axis in self.box.axes], dtype=float)
        steps = np.array([1.0, -1.0, -1.0]) * self.box.spacing_mm
        shift = self.scan["shift_mm"] * direction
        matrix = (turn * steps) / steps[:, None]
        offset = (turn @ (first - CENTRE_MM) + CENTRE_MM + shift - first) / steps
        moved = affine_transform(image, matrix, offset, order=1, mode="nearest", output=np.float32)
        return np.asarray(moved)

    def blurred(self, image: FloatArray, rng: np.random.Generator | None) -> FloatArray:
        """Return the image averaged over the scan's voxels and resampled to the box.

        Noise is added in between, at the scan's resolution; not if ``rng`` is None.
        """
        widths = self.scan["thickness_mm"], self.scan["pixel_mm"], self.scan["pixel_mm"]
        pairs = [
            _resampling(len(axis), self.box.spacing_mm, max(width, self.box.spacing_mm))
            for axis, width in zip(self.box.axes, widths, strict=True)
        ]
        for axis, (average, _) in enumerate(pairs):
            image = _along(average, image, axis)
        if rng is not None:
            image = self.noisy(image, rng)
        for axis, (_, spread) in enumerate(pairs):
            image = _along(spread, image, axis)
        return np.maximum(image, 0)

    def noisy(self, image: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Return the magnitude of the image with complex Gaussian noise (Rician noise)."""
        sigma = np.float32(self.scan["noise"] * WHITE_LEVEL * self.scan["gain"])
        real, imaginary = sigma * rng.standard_normal((2, *image.shape), dtype=np.float32)
        return np.asarray(np.hypot(image + real, imaginary))


def _resampling(
    count: int, spacing_mm: float, width_mm: float
) -> tuple[FloatArray | None, FloatArray | None]:
    """Return the matrices that average to voxels of ``width_mm``, and that interpolate back.

    Both are None if the size of the voxels does not change.
    """
    if width_mm < 1.001 * spacing_mm:
        return None, None
    coarse = int(np.ceil(count * spacing_mm / width_mm))
    centres = (np.arange(coarse) + 0.5) * width_mm / spacing_mm - 0.5
    away = np.abs(np.arange(count) - centres[:, None])
    half = width_mm / spacing_mm / 2
    average = np.clip(half + 0.5 - away, 0, 1)
    average /= average.sum(axis=1, keepdims=True)
    spread = np.clip(1 - away.T / (2 * half), 0, 1)
    spread /= spread.sum(axis=1, keepdims=True)
    return average.astype(np.float32), spread.astype(np.float32)


def _along(matrix: FloatArray | None, image: FloatArray, axis: int) -> FloatArray:
    if matrix is None:
        return image
    return np.ascontiguousarray(np.moveaxis(np.tensordot(matrix, image, (1, axis)), 0, axis))


def scan_image(
    box: Box,
    clean: FloatArray,
    scan: Mapping[str, Any],
    white: float,
    repeat: int = 0,
) -> FloatArray:
    """Return the image of a noise-free signal, float32 and never negative, in arbitrary units.

    The seed of the scan determines shading and position; another ``repeat`` changes only the noise.
    """
    rng = np.random.default_rng(scan["seed"])
    scanner = Scanner(box, scan, white)
    shaded = scanner.shade(rng) * clean
    moved = scanner.move(shaded, rng)
    return scanner.blurred(moved, np.random.default_rng([scan["seed"], repeat]))


def adc_image(box: Box, tissue: Relaxation, scan: Mapping[str, Any], white: float) -> FloatArray:
    """Return the ADC in mm2/s from two noisy images at b = 0 and B_VALUE_S_PER_MM2.

    ADC = ln(S0 / Sb) / b, limited to 0-0.004; 0 where there is no signal.
    """
    unweighted = spin_echo(tissue, scan)
    weighted = unweighted * np.exp(-np.float32(B_VALUE_S_PER_MM2) * tissue.adc)
    first, second = (
        scan_image(box, image, scan, white, repeat)
        for repeat, image in enumerate((unweighted, weighted))
    )
    there = first > 4 * scan["noise"] * scan["gain"] * WHITE_LEVEL
    ratio = np.where(there, first, 1) / np.where(there, np.maximum(second, 1e-3), 1)
    return np.asarray(np.clip(np.log(ratio) / B_VALUE_S_PER_MM2, 0, 0.004), dtype=np.float32)
