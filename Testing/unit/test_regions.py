"""Connected regions: each exactly as large, and where, as it was made."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.measure import label, regionprops

from ContrastSynthLib.analysis.enhancement import missed_and_invented
from ContrastSynthLib.analysis.regions import list_regions
from ContrastSynthLib.analysis.uptake import limited_to, uptake
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.volumes import Volume

GRID = Grid((30, 28, 26), (1.0, 2.0, 1.5), origin_mm=(-20.0, 35.0, 5.0))
VOXEL_MM3 = 3.0


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(2).normal(0, 1, GRID.shape).astype(np.float32)


@pytest.fixture
def where() -> np.ndarray:
    """A box of 60 voxels, one of 24, a voxel that touches that one by a corner, and one alone."""
    made = np.zeros(GRID.shape, bool)
    made[2:5, 3:7, 4:9] = made[10:12, 10:13, 10:14] = True
    made[12, 13, 14] = made[20, 20, 20] = True
    return made


def test_each_region_is_measured(image, where):
    found = list_regions(image, where, GRID, minimum_volume_mm3=0.0)
    assert [round(one.volume_ml * 1000 / VOXEL_MM3) for one in found.regions] == [60, 25, 1]
    assert [one.id for one in found.regions] == [1, 2, 3]
    assert found.regions[0].mean == pytest.approx(image[2:5, 3:7, 4:9].mean(), rel=1e-5)
    centre = GRID.ras_from_index(np.array([3.0, 4.5, 6.0]))
    assert found.regions[0].centre_ras_mm == pytest.approx(centre)
    assert (found.mask == where).all()
    assert (found.smaller_ml, found.smaller_count) == (0.0, 0)
    assert found.volume_ml == pytest.approx(where.sum() * VOXEL_MM3 / 1000)


def test_a_region_has_the_mean_of_a_map_of_uncertainty(image, where):
    expected = np.random.default_rng(3).uniform(0.01, 0.4, GRID.shape).astype(np.float32)
    expected[20] = 0  # outside of what the method computed: the last region lies there
    expected[2:5, 3:5, 4:9] = 0  # and half of the first one: it counts as it is
    options = {"minimum_volume_mm3": 0.0}
    found = list_regions(image, where, GRID, uncertainty=expected, **options)
    first, second, last = found.regions
    assert first.uncertainty == pytest.approx(expected[2:5, 3:7, 4:9].mean(), rel=1e-5)
    within = np.append(expected[10:12, 10:13, 10:14], expected[12, 13, 14])
    assert second.uncertainty == pytest.approx(within.mean(), rel=1e-5)
    assert last.uncertainty is None
    plain = list_regions(image, where, GRID, **options)
    assert {one.uncertainty for one in plain.regions} == {None}


def test_the_uncertainty_is_that_of_the_lesions_of_a_comparison(image):
    expected = np.random.default_rng(4).uniform(0.01, 0.4, GRID.shape).astype(np.float32)
    brain, limit = np.ones(GRID.shape, bool), {"minimum_volume_mm3": 12.0}
    options = {"threshold": 1.2, **limit}
    made = np.where(np.arange(GRID.shape[2]) < 13, image, -image).astype(np.float32)
    report = missed_and_invented(image, made, brain, GRID, uncertainty=expected, **options)
    assert {one.kind for one in report.lesions} == {"found", "missed", "invented"}
    for one in report.lesions:
        box = tuple(slice(*ends) for ends in one.bounds_kji)
        source = made if one.kind == "invented" else image
        labels = label(source > 1.2, connectivity=3)
        place = np.rint(GRID.index_from_ras(np.array(one.inside_ras_mm))).astype(int)
        within = labels[box] == labels[tuple(place)]
        assert one.uncertainty == pytest.approx(expected[box][within].mean(), rel=1e-5)
    listed = report.as_dict()["lesions"]
    assert [one["uncertainty"] for one in listed] == [one.uncertainty for one in report.lesions]
    plain = missed_and_invented(image, made, brain, GRID, **options).as_dict()["lesions"]
    assert all("uncertainty" not in one for one in plain)


def test_a_map_of_uncertainty_on_another_grid_is_refused(image, where):
    with pytest.raises(RequestError, match="map of uncertainty has the shape"):
        list_regions(image, where, GRID, uncertainty=image[1:])
    with pytest.raises(RequestError, match="map of uncertainty has the shape"):
        missed_and_invented(image, image, where, GRID, uncertainty=image[1:])


def test_smaller_ones_are_left_out_and_counted(image, where):
    found = list_regions(image, where, GRID, minimum_volume_mm3=60 * VOXEL_MM3)
    assert len(found.regions) == 1
    assert found.mask.sum() == 60
    assert found.smaller_count == 2
    assert found.smaller_ml == pytest.approx(26 * VOXEL_MM3 / 1000)
    assert found.volume_ml + found.smaller_ml == pytest.approx(where.sum() * VOXEL_MM3 / 1000)


def test_a_corner_connects_if_it_is_to(image, where):
    apart = list_regions(image, where, GRID, minimum_volume_mm3=0.0, connectivity=18)
    assert len(apart.regions) == 4


def test_noise_has_the_regions_that_another_tool_finds(image):
    where = image > 1.2
    found = list_regions(image, where, GRID, minimum_volume_mm3=4 * VOXEL_MM3)
    expected = [one for one in regionprops(label(where, connectivity=3)) if one.area >= 4]
    assert len(found.regions) == len(expected) > 20
    sizes = sorted(round(one.volume_ml * 1000 / VOXEL_MM3) for one in found.regions)
    assert sizes == sorted(int(one.area) for one in expected)
    for one in found.regions:
        inside = np.rint(GRID.index_from_ras(np.array(one.inside_ras_mm))).astype(int)
        assert found.mask[tuple(inside)]


def test_they_are_the_lesions_of_a_comparison_with_itself(image):
    brain, limit = np.ones(GRID.shape, bool), {"minimum_volume_mm3": 12.0}
    report = missed_and_invented(image, image, brain, GRID, threshold=1.2, **limit)
    found = list_regions(image, image > 1.2, GRID, **limit)
    assert [one.volume_ml for one in report.lesions] == [one.volume_ml for one in found.regions]
    assert {one.inside_ras_mm for one in report.lesions} == {
        one.inside_ras_mm for one in found.regions
    }


@pytest.mark.parametrize("limit", [-1.0, float("nan")])
def test_a_volume_that_cannot_be_is_refused(image, where, limit):
    with pytest.raises(RequestError, match="must be 0 or more"):
        list_regions(image, where, GRID, minimum_volume_mm3=limit)


def test_other_shapes_are_refused(image, where):
    with pytest.raises(RequestError, match="They must agree"):
        list_regions(image[1:], where, GRID)


def test_an_uptake_without_small_regions(image, where):
    pre = np.full(GRID.shape, 100.0, np.float32)
    post = Volume(np.where(where, 180.0, pre).astype(np.float32), GRID)
    brain = np.ones(GRID.shape, bool)
    found = uptake(Volume(pre, GRID), post, brain, threshold=0.3)
    assert (found.binary == where).all()
    kept = list_regions(found.difference, found.binary, GRID, minimum_volume_mm3=100.0).mask
    limited = limited_to(found, kept)
    assert (limited.binary == kept).all()
    assert ((limited.soft >= 0.5) == kept).all()
    assert limited.volume_ml == pytest.approx(kept.sum() * VOXEL_MM3 / 1000)
    assert limited.share_of_brain == pytest.approx(kept.mean())
    np.testing.assert_array_equal(limited.soft[kept], found.soft[kept])
