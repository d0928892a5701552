"""The gain field between two scans: smooth, and blind to enhancement."""

from __future__ import annotations

import numpy as np
import pytest

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.preprocessing.shading import gain_field

SHAPE, SPACING_MM = (24, 96, 80), (2.0, 2.0, 2.0)


def head(seed: int = 0):
    """Return a brain of two tissues with fine structure (k, j, i), and its mask."""
    rng = np.random.default_rng(seed)
    k, j, i = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    mask = (k / 1.2) ** 2 + j**2 + i**2 < 0.8
    image = 100 + 30 * (np.sin(9 * j) * np.cos(8 * i) > 0)
    return (image * mask + rng.normal(0, 2, SHAPE) * mask).astype(np.float32), mask, (k, j, i)


def shading(place):
    k, j, i = place
    return 1.3 * np.exp(0.15 * j + 0.1 * i * k - 0.08 * i**2)


def test_it_finds_a_smooth_shading():
    before, mask, place = head()
    true = shading(place)
    found = gain_field(before, (before * true).astype(np.float32), mask, SPACING_MM)
    assert found.shape == SHAPE
    assert np.abs(found / true - 1)[mask].mean() < 0.01
    assert np.abs(found / true - 1)[mask].max() < 0.08
    # A single gain is off by several times as much.
    one = np.median(true[mask])
    assert np.abs(one / true - 1)[mask].mean() > 4 * np.abs(found / true - 1)[mask].mean()


def test_enhancement_is_not_taken_for_shading():
    before, mask, place = head()
    true = shading(place)
    k, j, i = place
    lesion = mask & ((k / 0.6) ** 2 + ((j - 0.3) / 0.3) ** 2 + ((i - 0.2) / 0.3) ** 2 < 1)
    after = before * true * np.where(lesion, 1.3, 1.0)
    found = gain_field(before, after.astype(np.float32), mask, SPACING_MM)
    assert lesion.sum() > 0.01 * mask.sum()
    # Of a rise of 30 % hardly a tenth is lost.
    assert np.median((found / true)[lesion]) < 1.03


@pytest.mark.parametrize("rise", [0.15, 0.25])
def test_a_lesion_of_six_centimetres_keeps_its_middle(rise):
    before, mask, place = head()
    true = shading(place)
    k, j, i = place
    off_mm = np.sqrt((24 * k) ** 2 + (96 * (j - 0.2)) ** 2 + (80 * (i + 0.1)) ** 2)
    after = before * true * np.where(mask & (off_mm < 30), 1 + rise, 1.0)
    rng = np.random.default_rng(2)
    scans = [image + mask * rng.normal(0, 6, SHAPE) for image in (before, after)]
    found = gain_field(*(scan.astype(np.float32) for scan in scans), mask, SPACING_MM)
    # Of a rise by ``rise`` not even a fifth is taken for shading.
    assert np.median((found / true)[mask & (off_mm < 15)]) < 1 + rise / 5


def test_the_gain_alone_remains_where_scans_agree():
    before, mask, _ = head()
    rng = np.random.default_rng(1)
    after = (1.7 * before + rng.normal(0, 2, SHAPE)).astype(np.float32)
    found = gain_field(before, after, mask, SPACING_MM)
    np.testing.assert_allclose(found[mask], 1.7, rtol=0.01)


@pytest.mark.parametrize("spacing_mm", [(6.0, 1.0, 1.0), (2.0, 2.0, 2.0), (0.7, 0.7, 0.7)])
def test_any_grid_will_do(spacing_mm):
    before, mask, _ = head()
    for cut in (slice(None), slice(11, 12)):
        found = gain_field(before[cut], 0.8 * before[cut], mask[cut], spacing_mm)
        assert found.shape == before[cut].shape
        np.testing.assert_allclose(found, 0.8, rtol=1e-4)


def test_scans_without_a_common_voxel_are_told():
    before, mask, _ = head()
    with pytest.raises(RequestError, match="no gain between them"):
        gain_field(before, np.zeros_like(before), mask, SPACING_MM)
