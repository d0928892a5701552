"""One matrix over every declared method, second half: grids, slices, series, masks, units.

A file of its own, so that two processes share the work.
"""

from dataclasses import replace

import numpy as np
import pytest
from matrix import (
    CUT,
    RANDOM,
    READY,
    SEED,
    SIZE,
    arrays,
    at,
    each,
    fastest,
    head_of,
    inputs_of,
    made_fast,
    made_small,
    quick,
    scans,
    small,
    volumes_of,
)
from turned_volumes import stored

from ContrastSynthLib.files.images import read_volume
from ContrastSynthLib.files.series import read_series
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.registry import IMAGE, METHODS
from ContrastSynthLib.running.request import Request
from ContrastSynthLib.running.result import output_role
from ContrastSynthLib.running.run import run
from ContrastSynthLib.volumes import Series, Volume


@pytest.mark.parametrize("key", READY)
def test_any_grid_will_do(key, tmp_path):
    """Random grids, oblique, flipped, anisotropic: the result lies where its input did, in memory
    and on the disk: 200 of them where the method works voxel by voxel, and its values do not
    depend on the grid; 4 for a method that knows how large a voxel is."""
    rng = np.random.default_rng(0)
    voxelwise = METHODS[key].voxelwise
    given = small(key)
    fast = fastest(key)
    here = arrays(made_small(key))
    for _ in range(200 if voxelwise else 4):
        grid = random_grid(rng, CUT)
        moved = {
            role: each(value, lambda v, grid=grid: replace(v, grid=grid))
            for role, value in given.items()
        }
        result = run(Request(key, moved, preset=fast, seed=SEED))
        there = arrays(result.outputs)
        for path in result.write(tmp_path)[:-1]:
            name = output_role(path)
            assert volumes_of(result.outputs[name])[0].grid == grid
            if voxelwise:
                np.testing.assert_array_equal(here[name], there[name])
            read = read_series if METHODS[key].outputs[name].series else read_volume
            written = volumes_in(read(path))[0].grid.index_to_lps
            np.testing.assert_allclose(written, grid.index_to_lps, rtol=0, atol=1e-9)


def volumes_in(read):
    return read if isinstance(read, list) else [read]


@pytest.mark.parametrize("key", sorted(set(READY) - set(RANDOM)))
@pytest.mark.parametrize("order", [(2, 0, 1), (1, 2, 0), (0, 2, 1)])
def test_the_order_of_the_voxels_in_the_file_does_not_matter(key, order):
    """The same head, stored sagittally or from the top down, gives the same result."""
    turned = {role: each(value, lambda v: stored(v, order)) for role, value in small(key).items()}
    here = made_small(key)
    there = run(Request(key, turned, preset=fastest(key))).outputs
    for name in here:
        for one, other in zip(volumes_of(there[name]), volumes_of(here[name]), strict=True):
            np.testing.assert_allclose(one.array, stored(other, order).array, rtol=1e-5, atol=1e-4)


def random_grid(rng, size):
    axes, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    matrix = np.eye(4)
    matrix[:3, :3] = axes * rng.choice([-1, 1], 3) * rng.uniform(0.4, 6.0, 3)
    matrix[:3, 3] = rng.uniform(-200, 200, 3)
    return Grid.from_index_to_lps(size, matrix)


@pytest.mark.parametrize("key", READY)
def test_one_slice_is_a_volume(key):
    grid = Grid(size=(SIZE[0], SIZE[1], 1))
    given = {
        role: each(value, lambda v: Volume(v.array[15:16], grid, v.acquisition))
        for role, value in inputs_of(key, scans()).items()
    }
    for output in run(Request(key, given)).outputs.values():
        assert volumes_of(output)[0].grid == grid


@pytest.mark.parametrize("key", READY)
def test_a_series_gives_a_series_whose_phases_are_single_runs(key):
    method = METHODS[key]
    declared = (*method.inputs.values(), *method.outputs.values())
    if any(one.series for one in declared):
        pytest.skip("it has a series of its own")
    given = small(key)
    role = next((role for role in ("post", "low") if role in given), method.reference)
    series = Series((at(given[role], 60.0), at(given[role], 120.0)))
    result = run(Request(key, given | {role: series}, preset=fastest(key), seed=SEED))
    for name, output in result.outputs.items():
        assert output.times_s.tolist() == [60.0, 120.0]
        for volume in output:
            assert volume.array.tobytes() == made_small(key)[name].array.tobytes(), name


@pytest.mark.parametrize("key", READY)
def test_a_given_mask_is_used(key):
    given = inputs_of(key, scans())
    reference = scans()[METHODS[key].reference]
    half = head_of(reference, np.arange(SIZE[0]) < SIZE[0] // 2)
    result = run(quick(key, given | {"mask": half}))
    assert result.provenance["mask"] == {"source": "given", "voxels": int(half.array.sum())}


@pytest.mark.parametrize("key", READY)
def test_intensities_scale_with_the_input(key):
    """Result in the units of the input: a scan in other units gives the result in those."""
    given = inputs_of(key, scans())
    scaled = {
        role: each(value, lambda v: v.with_array(v.array * 8)) for role, value in given.items()
    }
    here, there = made_fast(key).outputs, run(quick(key, scaled)).outputs
    for name, declared in METHODS[key].outputs.items():
        factor = 8 if declared.kind == IMAGE else 1
        for one, other in zip(volumes_of(there[name]), volumes_of(here[name]), strict=True):
            np.testing.assert_allclose(
                one.array, factor * other.array, rtol=1e-4, atol=1e-4 * factor
            )
