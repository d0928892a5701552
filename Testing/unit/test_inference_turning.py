"""Oblique slices: where a turned stack shows what, and that it comes back."""

from __future__ import annotations

import numpy as np
import pytest

from ContrastSynthLib.inference.turning import Turn

SHAPE = (30, 48, 32)
ANGLES = (18, 36, 54, 72)


def blob(shape, middle, voxel_mm, width_mm=4.0):
    """A smooth ball about a place in mm from the middle of a stack."""
    axes = [(np.arange(n) - (n - 1) / 2) * mm for n, mm in zip(shape, voxel_mm, strict=True)]
    away = np.meshgrid(*(a - m for a, m in zip(axes, middle, strict=True)), indexing="ij")
    return np.exp(-sum(a**2 for a in away) / (2 * width_mm**2)).astype(np.float32)


def centre(stack, voxel_mm):
    """The centre of mass in mm from the middle."""
    axes = [(np.arange(n) - (n - 1) / 2) * mm for n, mm in zip(stack.shape, voxel_mm, strict=True)]
    places = np.meshgrid(*axes, indexing="ij")
    return np.array([float((place * stack).sum() / stack.sum()) for place in places])


@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize("towards", [1, 2])
def test_what_was_turned_comes_back(towards, angle):
    turn = Turn(SHAPE, (1.0, 1.0, 1.0), towards, angle)
    stack = blob(SHAPE, (4, -6, 3), (1, 1, 1))
    back = turn.back(turn.turn(stack))
    assert back.shape == SHAPE
    # Two linear interpolations widen a ball of 4 mm a little.
    assert np.abs(back - stack).max() < 0.06
    assert back.sum() == pytest.approx(stack.sum(), rel=0.01)


@pytest.mark.parametrize("towards", [1, 2])
def test_a_place_moves_by_the_angle_in_the_plane_of_the_turn(towards):
    turn = Turn(SHAPE, (1.0, 1.0, 1.0), towards, 36)
    place = (5.0, 0.0, 0.0)
    found = centre(turn.turn(blob(SHAPE, place, (1, 1, 1), width_mm=2.0)), (1, 1, 1))
    wanted = [5 * np.cos(np.deg2rad(36)), 0.0, 0.0]
    wanted[towards] = -5 * np.sin(np.deg2rad(36))
    np.testing.assert_allclose(found, wanted, atol=0.05)


def test_a_quarter_turn_makes_slices_of_the_rows():
    shape = (32, 64, 32)
    stack = np.random.default_rng(0).random(shape, dtype=np.float32)
    turned = Turn(shape, (1.0, 1.0, 1.0), 1, 90).turn(stack)
    assert turned.shape == (64, 32, 32)
    wanted, inner = stack.transpose(1, 0, 2)[:, ::-1], (slice(1, -1), slice(1, -1))
    np.testing.assert_allclose(turned[inner], wanted[inner], atol=1e-3)


@pytest.mark.parametrize("angle", ANGLES)
def test_voxels_of_any_size_become_1_mm_in_the_plane_and_nothing_is_cut_off(angle):
    voxel_mm = (1.0, 0.8, 1.3)
    turn = Turn(SHAPE, voxel_mm, 1, angle)
    slices, rows, columns = turn.turned_shape
    assert (rows % 16, columns) == (0, SHAPE[2])
    corner = np.zeros(SHAPE, np.float32)
    corner[2:6, 2:7, 10:20] = 1
    turned = turn.turn(corner)
    # One voxel of the turned stack is smaller by the factor of the pixels.
    assert turned.sum() == pytest.approx(corner.sum() * 0.8, rel=0.1)
    edge = turned[[0, -1]].sum() + turned[:, [0, -1]].sum()
    assert edge == 0
    assert slices >= max(SHAPE[0], 0.8 * SHAPE[1]) * 0.7
