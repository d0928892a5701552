"""Simulated artefacts of a corrupted scan, computed in k-space.

Each function takes a stack of slices (k, rows, columns), phase-encoded along the rows, and returns
a magnitude image of the same shape, float32. All slices of a stack have the same artefact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import fft2, fftfreq, ifft2
from scipy.ndimage import rotate

from ContrastSynthLib.errors import RequestError, unknown_name
from ContrastSynthLib.volumes import FloatArray

POSES = 7
"""Number of positions of the head during a scan with motion."""
STILL = 0.04
"""Share of the k-space lines on each side of the centre without motion."""
DEGREES_PER_MM = 0.6
"""Rotation of the head in degrees per mm of translation: our choice."""


def corrupt(
    image: FloatArray,
    corruption: Mapping[str, Any],
    rng: np.random.Generator,
    *,
    pixel_mm: float,
) -> FloatArray:
    """Return ``image`` with the artefact that ``corruption["type"]`` names.

    ``image`` is (k, rows, columns) with pixels of ``pixel_mm``. ``corruption`` also holds, for
    motion, ``motion_mm``; for aliasing ``aliased_share``, the share of the signal that folds over;
    for a zipper ``zipper_height``, its intensity divided by the image's mean above 0; for ringing
    ``kept_share``, the share of the k-space lines about the centre that were scanned; for streaks
    ``spokes_share``, the radial lines of k-space, as a share of those that leave no gap. Raises
    RequestError for an unknown type, a stack that is not three-dimensional, and slices with a
    single row or column.
    """
    if image.ndim != 3 or min(image.shape[1:]) < 2:
        raise RequestError(
            f"A stack of slices needs three dimensions, and 2 or more rows and columns: it has the "
            f"shape {image.shape}."
        )
    name = corruption["type"]
    if name not in _ARTEFACTS:
        raise unknown_name("corruption", name, _ARTEFACTS)
    result = _ARTEFACTS[name](np.asarray(image, dtype=np.float32), corruption, rng, pixel_mm)
    return np.asarray(result, dtype=np.float32)


def _motion(
    image: FloatArray, corruption: Mapping[str, Any], rng: np.random.Generator, pixel_mm: float
) -> NDArray[np.floating]:
    """Take bands of k-space lines from different positions of the head.

    The position at the centre of k-space, which determines the contrast, is the true one.
    """
    rows, columns = image.shape[1:]
    v, u = fftfreq(rows)[:, None], fftfreq(columns)[None, :]
    # Lines in the order of acquisition: from one edge of k-space to the other.
    order = np.fft.fftshift(np.arange(rows))
    # Most movements are near the centre of k-space, where their effect is visible.
    breaks = rng.normal(0, 0.18, POSES - 1)
    breaks = np.sort(0.5 + breaks + STILL * np.sign(breaks))
    pose_of_line = np.empty(rows, int)
    pose_of_line[order] = np.searchsorted(breaks, (np.arange(rows) + 0.5) / rows)
    middle = pose_of_line[0]
    result = np.zeros(image.shape, np.complex64)
    for pose in range(POSES):
        lines = pose_of_line == pose
        moved, shift = image, np.zeros(2)
        if pose != middle:
            shift = rng.normal(0, corruption["motion_mm"] / pixel_mm / np.sqrt(2), 2)
            angle = DEGREES_PER_MM * corruption["motion_mm"] * rng.normal()
            moved = rotate(image, angle, axes=(1, 2), reshape=False, order=1)
        phase = np.exp(-2j * np.pi * (v * shift[0] + u * shift[1])).astype(np.complex64)
        result[:, lines] = (fft2(moved) * phase)[:, lines]
    return np.asarray(np.abs(ifft2(result)))


def _aliasing(
    image: FloatArray, corruption: Mapping[str, Any], rng: np.random.Generator, pixel_mm: float
) -> NDArray[np.floating]:
    """Attenuate every second k-space line: it adds a ghost shifted by half the field of view."""
    share = corruption["aliased_share"]
    lines = np.ones(image.shape[1], np.float32)
    lines[1::2] = (1 - share) / (1 + share)
    spectrum = fft2(image) * lines[:, None] * (1 + share)
    return np.asarray(np.abs(ifft2(spectrum)))


def _zipper(
    image: FloatArray, corruption: Mapping[str, Any], rng: np.random.Generator, pixel_mm: float
) -> NDArray[np.floating]:
    """Add interference of one frequency, with a random phase in every k-space line."""
    rows, columns = image.shape[1:]
    inside = image[image > 0]
    mean = float(inside.mean()) if inside.size else 1.0
    column = rng.uniform(0.25, 0.75) * columns
    tone = np.exp(-2j * np.pi * fftfreq(columns) * column)
    strength = corruption["zipper_height"] * mean * np.sqrt(rows)
    chatter = rng.standard_normal((2, len(image), rows)) * strength / np.sqrt(2)
    noise = (chatter[0] + 1j * chatter[1])[:, :, None] * tone
    return np.asarray(np.abs(ifft2(fft2(image) + noise)))


def _ringing(
    image: FloatArray, corruption: Mapping[str, Any], rng: np.random.Generator, pixel_mm: float
) -> NDArray[np.floating]:
    """Leave out the k-space lines far from the centre (Gibbs): blur, and ripples at edges."""
    v = np.abs(fftfreq(image.shape[1]))[:, None]
    return np.asarray(np.abs(ifft2(fft2(image) * (v <= corruption["kept_share"] / 2))))


def _streaks(
    image: FloatArray, corruption: Mapping[str, Any], rng: np.random.Generator, pixel_mm: float
) -> NDArray[np.floating]:
    """Scan too few radial lines of k-space, and make the image by filtered back projection.

    A radial line of k-space is the Fourier transform of a projection of the image.
    """
    from skimage.transform import iradon, radon

    side = 2 + math.ceil(math.hypot(*image.shape[1:]))
    before = [(side - size) // 2 for size in image.shape[1:]]
    inside = tuple(slice(b, b + n) for b, n in zip(before, image.shape[1:], strict=True))
    spokes = max(2, round(corruption["spokes_share"] * np.pi / 2 * max(image.shape[1:])))
    angles = (np.arange(spokes) + rng.uniform()) * 180 / spokes
    result = np.empty_like(image)
    for slice_, made in zip(image, result, strict=True):
        whole = np.zeros((side, side), np.float32)
        whole[inside] = slice_
        made[:] = np.abs(iradon(radon(whole, angles, circle=True), angles, circle=True)[inside])
    return result


_ARTEFACTS = {
    "motion": _motion,
    "aliasing": _aliasing,
    "zipper": _zipper,
    "ringing": _ringing,
    "streaks": _streaks,
}
