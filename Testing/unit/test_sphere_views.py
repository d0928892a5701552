"""SPHERE's network on slices of three directions: what is averaged, and what is uncertain."""

from __future__ import annotations

import numpy as np
import pytest

from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.inference.slicing import plan_slices, slicing_axes
from ContrastSynthLib.inference.views import Views
from ContrastSynthLib.methods import sphere
from ContrastSynthLib.registry import Context
from ContrastSynthLib.registry.context import no_progress
from ContrastSynthLib.volumes import Volume

torch = pytest.importorskip("torch")
pytest.importorskip("monai")

SHAPE = (12, 20, 16)


class Ramp(torch.nn.Module):
    """Takes away a share of the middle slice that grows along its columns."""

    def forward(self, slices):
        ramp = torch.linspace(0, 1, slices.shape[-1])
        middle = slices[:, 1:2]
        return {"pre": middle * (1 - ramp), "uptake": torch.ones_like(middle)}


def volume(shape=SHAPE, spacing=(1.0, 1.0, 1.0)):
    array = np.random.default_rng(0).uniform(0.5, 1.5, shape).astype("f4")
    return Volume(array, Grid(shape[::-1], spacing))


def run(given, axes, *, mirrored=False, progress=no_progress):
    mask = np.ones(given.grid.shape, bool)
    views = Views(Ramp(), 3, axes, mirrored)
    return views.average(given.array, given.grid, mask, Context(mask, progress=progress).predict)


def test_a_volume_has_three_directions_the_axial_one_first():
    assert slicing_axes(Grid((16, 20, 12))) == (0, 1, 2)
    turned = Grid((16, 20, 12), direction=(1, 0, 0, 0, 0, 1, 0, 1, 0))
    assert slicing_axes(turned) == (1, 0, 2)


@pytest.mark.parametrize(
    ("shape", "spacing", "axis"),
    [((16, 20, 1), (1, 1, 1), 0), ((16, 1, 12), (1, 1, 1), 1), ((16, 20, 12), (1, 1, 5), 0)],
)
def test_thick_slices_and_single_ones_have_one_direction(shape, spacing, axis):
    assert slicing_axes(Grid(shape, tuple(map(float, spacing)))) == (axis,)


@pytest.mark.parametrize(("across", "expected"), [(0, (1, 2)), (1, (0, 2)), (2, (0, 1))])
def test_slices_follow_each_other_along_the_axis_asked_for(across, expected):
    given = volume()
    plan = plan_slices(given.grid, np.ones(SHAPE, bool), across=across, multiple=1)
    assert plan.axes[0] == across
    assert {*plan.axes[1:]} == {*expected}
    np.testing.assert_array_equal(plan.restore(plan.slices(given.array), 0.0), given.array)


def test_the_change_is_the_mean_of_the_directions_and_the_spread_their_deviation():
    given = volume()
    alone = [run(given, [axis])["change"] for axis in range(3)]
    found = run(given, [0, 1, 2])
    np.testing.assert_allclose(found["change"], np.mean(alone, axis=0), atol=1e-6)
    np.testing.assert_allclose(found["spread"], np.std(alone, axis=0), atol=1e-3)
    np.testing.assert_allclose(found["uptake"], 1, atol=1e-6)
    assert not np.allclose(alone[0], alone[2])


def test_one_direction_has_no_spread_and_its_mirror_image_has_one():
    given = volume()
    assert run(given, [0])["spread"].max() < 1e-3
    once = run(given, [0])["change"]
    mirrored = run(given, [0], mirrored=True)
    # The padding is as wide on either side, so that the ramp's mirror image is 1 - ramp.
    np.testing.assert_allclose(mirrored["change"], -given.array / 2, atol=1e-5)
    half = np.abs(once - (-given.array - once)) / 2
    np.testing.assert_allclose(mirrored["spread"], half, atol=1e-3)


def test_progress_goes_on_over_the_directions():
    seen = []
    run(volume(), [0, 1, 2], progress=lambda fraction, _: seen.append(fraction))
    assert seen == sorted(seen)
    assert seen[0] == 0
    assert 2 / 3 <= seen[-1] <= 1


def test_the_uncertainty_joins_what_the_network_expects_and_the_spread():
    found = {"error": np.full(3, 3.0, "f4"), "spread": np.full(3, 4.0, "f4")}
    np.testing.assert_allclose(sphere.uncertainty(found), 5)
    np.testing.assert_allclose(sphere.uncertainty({"spread": found["spread"]}), 4)


@pytest.mark.parametrize(("slices", "count"), [(20, 1), (63, 1), (64, 3)])
def test_a_slab_is_sliced_one_way_and_a_whole_head_three(slices, count):
    given = Volume(np.ones((slices, 70, 70), "f4"), Grid((70, 70, slices)))
    assert len(sphere.SphereParameters().axes(given)) == count
    assert len(sphere.SphereParameters(three_directions=False).axes(given)) == 1
