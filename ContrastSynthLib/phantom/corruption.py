"""Artefacts of a scan that went wrong, made where they arise: in k-space.

Each function takes a stack of slices (k, rows, columns), phase-encoded along the rows, and
returns a magnitude of the same shape, float32. The slices of a stack suffer alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import fft2, fftfreq, ifft2
from scipy.ndimage import rotate

from ContrastSynthLib.errors import RequestError, unknown_name
from ContrastSynthLib.volumes import FloatArray

POSES = 7
STILL = 0.04
"""This share of the lines on either side of the middle sees the head at rest."""
DEGREES_PER_MM = 0.6
"""How far the head turns where it moves by one millimetre; our choice."""


def corrupt(
    image: FloatArray,
    corruption: Mapping[str, Any],
    rng: np.random.Generator,
    *,
    pixel_mm: float,
) -> FloatArray:
    """Return ``image`` with the artefact that ``corruption["type"]`` names.

    motion: ``motion_mm``; aliasing: ``aliased_share`` of the signal that folds over; zipper:
    ``zipper_height``, its size over the brain's mean. Raises RequestError for an unknown
    type, a stack that is not three-dimensional, and slices of one row or column.
    """
    if image.ndim != 3 or min(image.shape[1:]) < 2:
        raise RequestError(
            f"A stack of slices has three dimensions and no slice of one row: {image.shape}."
        )
    name = corruption["type"]
    if name not in _ARTEFACTS:
        raise unknown_name("corruption", name, _ARTEFACTS)
    result = _ARTEFACTS[name](np.asarray(image, dtype=np.float32), corruption, rng, pixel_mm)
    return np.asarray(result, dtype=np.float32)


def _motion(
    image: FloatArray, corruption: Mapping[str, Any], rng: np.random.Generator, pixel_mm: float
) -> NDArray[np.floating]:
    """Fill bands of k-space lines from different poses of the head.

    The pose at the middle of k-space, which holds the contrast, is the true one.
    """
    rows, columns = image.shape[1:]
    v, u = fftfreq(rows)[:, None], fftfreq(columns)[None, :]
    # Lines in the order of time: from one edge of k-space to the other.
    order = np.fft.fftshift(np.arange(rows))
    # Most breaks fall near the middle, where they show.
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
    """Weaken every second k-space line: a ghost, half the field of view away, appears."""
    share = corruption["aliased_share"]
    lines = np.ones(image.shape[1], np.float32)
    lines[1::2] = (1 - share) / (1 + share)
    spectrum = fft2(image) * lines[:, None] * (1 + share)
    return np.asarray(np.abs(ifft2(spectrum)))


def _zipper(
    image: FloatArray, corruption: Mapping[str, Any], rng: np.random.Generator, pixel_mm: float
) -> NDArray[np.floating]:
    """Add radio waves of one frequency, received in every line with another phase."""
    rows, columns = image.shape[1:]
    inside = image[image > 0]
    mean = float(inside.mean()) if inside.size else 1.0
    column = rng.uniform(0.25, 0.75) * columns
    tone = np.exp(-2j * np.pi * fftfreq(columns) * column)
    strength = corruption["zipper_height"] * mean * np.sqrt(rows)
    chatter = rng.standard_normal((2, len(image), rows)) * strength / np.sqrt(2)
    noise = (chatter[0] + 1j * chatter[1])[:, :, None] * tone
    return np.asarray(np.abs(ifft2(fft2(image) + noise)))


_ARTEFACTS = {"motion": _motion, "aliasing": _aliasing, "zipper": _zipper}
