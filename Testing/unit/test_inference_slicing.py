"""Slices look the same however a volume is stored, and go back to where they came from.

What a plan says about directions is checked with images of millimetres: each voxel holds its
own coordinate in the patient.
"""

from itertools import permutations, product

import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.inference.slicing import plan_slices
from ContrastSynthLib.phantom.brain.fields import Box

STORAGES = [
    (order, flips) for order in permutations(range(3)) for flips in product((1, -1), repeat=3)
]
SPACINGS = {
    "as it is": (0.9, 0.92, 1.1),
    "thick slices": (0.9, 0.92, 5.0),
    "fine": (0.5, 0.6, 1.1),
    "coarse": (2.3, 1.9, 1.4),
}


def oblique(size, spacing, turn=(8, -11, 6)):
    """A grid whose axes i, j, k run near to left, posterior, superior."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("zyx", turn, degrees=True).as_matrix() * spacing
    matrix[:3, 3] = (-12.0, 30.0, 7.0)
    return Grid.from_index_to_lps(size, matrix)


def stored(grid, array, order, flips):
    """The same voxels with the array's axes in another order, and some running backwards."""
    matrix, array = grid.index_to_lps, np.array(array)
    for axis in range(3):
        if flips[axis] < 0:
            column = 2 - axis
            matrix[:3, 3] += matrix[:3, column] * (grid.size[column] - 1)
            matrix[:3, column] *= -1
            array = np.flip(array, axis)
    columns = [2 - axis for axis in order][::-1]
    matrix[:3, :3] = matrix[:3, columns]
    array = array.transpose(order)
    return Grid.from_index_to_lps(array.shape[::-1], matrix), array


def scan_and_mask(grid, seed=3):
    rng = np.random.default_rng(seed)
    mask = np.zeros(grid.shape, bool)
    mask[2:-3, 5:-4, 7:-5] = rng.random((grid.size[2] - 5, grid.size[1] - 9, grid.size[0] - 12)) > 0
    return rng.normal(size=grid.shape).astype(np.float32), mask


def millimetres(grid):
    """Three images on the grid: each voxel's L, P and S."""
    kji = np.moveaxis(np.indices(grid.shape), 0, -1)
    points = kji[..., ::-1] @ grid.index_to_lps[:3, :3].T + grid.index_to_lps[:3, 3]
    return np.moveaxis(points, -1, 0).astype(np.float32)


def steps(plan, grid):
    """Millimetres (L, P, S) from one slice, row and column to the next, in the stack's middle."""
    stacks = np.array([plan.slices(image) for image in millimetres(grid)])
    n, row, column = (size // 2 for size in plan.shape)
    here = stacks[:, n, row, column]
    ahead = ((n + 1, row, column), (n, row + 1, column), (n, row, column + 1))
    return np.array([stacks[(slice(None), *there)] - here for there in ahead])


@pytest.mark.parametrize("spacing", SPACINGS.values(), ids=SPACINGS)
def test_slices_do_not_depend_on_how_the_volume_is_stored(spacing):
    grid = oblique((31, 36, 12), spacing)
    scan, mask = scan_and_mask(grid)
    expected = plan_slices(grid, mask).slices(scan)
    for order, flips in STORAGES:
        other, array = stored(grid, scan, order, flips)
        plan = plan_slices(other, stored(grid, mask, order, flips)[1])
        np.testing.assert_array_equal(plan.slices(array), expected)
        _, back = stored(grid, plan_slices(grid, mask).restore(expected, -7.0), order, flips)
        np.testing.assert_array_equal(plan.restore(expected, -7.0), back)


@pytest.mark.parametrize("spacing", [SPACINGS["as it is"], SPACINGS["thick slices"]])
def test_pixels_that_are_left_alone_keep_their_bits(spacing):
    grid = oblique((31, 36, 12), spacing)
    scan, mask = scan_and_mask(grid)
    plan = plan_slices(grid, mask, margin_mm=2.0)
    assert not plan.resampled
    elsewhere = scan + 100
    restored = plan.restore(plan.slices(scan), elsewhere)
    cropped = np.zeros(grid.shape, bool)
    cropped[2:-3, 3:-2, 5:-3] = True  # 2 mm are two pixels of 0.9 mm
    np.testing.assert_array_equal(restored, np.where(cropped, scan, elsewhere))
    assert restored.dtype == np.float32


def test_slices_are_those_that_the_phantom_trains_on():
    grid = Box.centred((32, 48, 5), 1.0, (0.0, -18.0, 20.0)).grid
    scan = np.random.default_rng(0).normal(size=grid.shape).astype(np.float32)
    plan = plan_slices(grid, np.ones(grid.shape, bool))
    assert plan.shape == (5, 48, 32)
    np.testing.assert_array_equal(plan.slices(scan), scan)


@pytest.mark.parametrize(
    ("spacing", "expected"),
    [
        ((1.0, 1.0, 1.0), ("S", "P", "L")),
        ((1.0, 1.0, 5.0), ("S", "P", "L")),
        ((1.0, 5.0, 1.0), ("P", "I", "L")),
        ((5.0, 1.0, 1.0), ("R", "I", "P")),
        # Twice is not clearly more.
        ((2.0, 1.0, 1.0), ("S", "P", "L")),
        ((1.0, 5.0, 5.0), ("S", "P", "L")),
    ],
)
@pytest.mark.parametrize("turn", [(0, 0, 0), (25, -20, 20), (-20, 25, -30)])
def test_slices_rows_and_columns_run_as_promised(spacing, expected, turn):
    grid = oblique((20, 20, 20), spacing, turn)
    found = steps(plan_slices(grid, np.ones(grid.shape, bool)), grid)
    for step, letter in zip(found, expected, strict=True):
        nearest = int(np.abs(step).argmax())
        assert ("LPS" if step[nearest] > 0 else "RAI")[nearest] == letter
    assert np.linalg.det(found) < 0  # columns x rows is where the slices run


@pytest.mark.parametrize(
    ("rows_mm", "columns_mm", "resampled"),
    [
        (0.75, 0.75, False),
        (1.35, 1.35, False),
        (1.0, 1.04, False),
        (0.74, 0.76, True),
        (1.34, 1.36, True),
        (1.0, 1.06, True),
        (1.06, 1.0, True),
        (0.4, 0.4, True),
        (6.0, 6.0, True),
    ],
)
def test_which_pixels_are_resampled(rows_mm, columns_mm, resampled):
    grid = Grid((40, 40, 3), (columns_mm, rows_mm, 13.0))
    plan = plan_slices(grid, np.ones(grid.shape, bool))
    assert plan.resampled == resampled
    pixel_mm = (1.0, 1.0) if resampled else (rows_mm, columns_mm)
    assert plan.pixel_mm == pixel_mm
    # The smoothing of fine pixels moves them by up to some hundredths of a millimetre.
    found = np.linalg.norm(steps(plan, grid), axis=1)
    np.testing.assert_allclose(found, (13.0, *pixel_mm), rtol=0.05)


def test_coarse_pixels_are_interpolated_linearly():
    grid = Grid((9, 11, 2), (2.5, 1.7, 6.0))
    scan = np.random.default_rng(1).normal(size=grid.shape).astype(np.float32)
    plan = plan_slices(grid, np.ones(grid.shape, bool), multiple=1)
    assert plan.shape == (2, 18, 21)  # 17 and 20 mm between the outermost centres
    rows, columns = 5 + (np.arange(18) - 8.5) / 1.7, 4 + (np.arange(21) - 10) / 2.5
    points = np.meshgrid(range(2), rows, columns, indexing="ij")
    expected = map_coordinates(scan.astype(float), points, order=1, mode="nearest")
    np.testing.assert_allclose(plan.slices(scan), expected, atol=1e-5)


def test_fine_pixels_are_smoothed_before_they_are_thinned_out():
    grid = Grid((80, 80, 2), (0.4, 0.4, 1.0))
    stripes = np.broadcast_to((-1.0) ** np.arange(80), grid.shape).astype(np.float32)
    plan = plan_slices(grid, np.ones(grid.shape, bool), multiple=1)
    assert plan.shape == (2, 33, 33)
    assert np.abs(plan.slices(stripes)[..., 2:-2]).max() < 0.15
    np.testing.assert_allclose(plan.slices(np.ones(grid.shape, np.float32)), 1.0, rtol=1e-6)


@pytest.mark.parametrize("pixel_mm", [0.4, 0.7, 1.6, 2.0, 3.3, 6.0])
def test_what_was_resampled_comes_back_in_place(pixel_mm):
    """A ramp survives interpolation; a shift of half a pixel, 0.2 mm and more, would show."""
    grid = oblique((24, 28, 3), (pixel_mm, pixel_mm, 20.0))
    plan = plan_slices(grid, np.ones(grid.shape, bool))
    for image in millimetres(grid):
        restored = plan.restore(plan.slices(image), np.nan)
        assert np.isfinite(restored).all()
        inner = np.s_[:, 4:-4, 4:-4]
        np.testing.assert_allclose(restored[inner], image[inner], rtol=0, atol=0.02)


def test_whole_millimetres_come_back_exactly_but_for_rounding():
    grid = Grid((9, 8, 4), (2.0, 3.0, 7.0))
    scan, _ = scan_and_mask(Grid((21, 21, 9)))
    scan = scan[:4, :8, :9]
    plan = plan_slices(grid, np.ones(grid.shape, bool))
    np.testing.assert_allclose(plan.restore(plan.slices(scan), 0.0), scan, atol=1e-5)


def test_crop_margin_and_zeros_around_it():
    grid = Grid((100, 90, 20))
    mask = np.zeros(grid.shape, bool)
    mask[6, 40, 50] = mask[9, 44, 50] = True
    plan = plan_slices(grid, mask, margin_mm=3.0, multiple=8)
    stack = plan.slices(np.ones(grid.shape, np.float32))
    assert stack.shape == plan.shape == (4, 16, 8)  # 5 + 6 rows and 1 + 6 columns, filled up
    assert stack.dtype == np.float32
    expected = np.zeros((16, 8))
    expected[2:13, 0:7] = 1
    np.testing.assert_array_equal(stack, np.broadcast_to(expected, stack.shape))
    restored = plan.restore(stack * 5, 2.0)
    np.testing.assert_array_equal(np.argwhere(restored == 5).min(axis=0), (6, 37, 47))
    np.testing.assert_array_equal(np.argwhere(restored == 5).max(axis=0), (9, 47, 53))
    assert set(np.unique(restored)) == {2.0, 5.0}


def test_the_crop_ends_where_the_volume_does():
    grid = Grid((16, 20, 1))
    mask = np.zeros(grid.shape, bool)
    mask[0, 1, 15] = True
    plan = plan_slices(grid, mask, margin_mm=4.0, multiple=1)
    assert plan.shape == (1, 6, 5)


@pytest.mark.parametrize("axis", range(3))
def test_a_single_slice_is_cut_along_itself(axis):
    shape = tuple(1 if other == axis else 40 for other in range(3))
    grid = oblique(shape[::-1], (1.0, 1.0, 1.0))
    plan = plan_slices(grid, np.ones(shape, bool))
    assert plan.shape == (1, 48, 48)
    scan = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    np.testing.assert_array_equal(plan.restore(plan.slices(scan), 0.0), scan)
    stack = plan.slices(scan)
    np.testing.assert_array_equal(plan.with_neighbours(stack)[0], np.repeat(stack, 3, axis=0))


def stack_of(spacing_mm, values=(10.0, 20.0, 40.0, 80.0)):
    """A plan with slices so far apart, and a stack of even slices."""
    grid = Grid((16, 16, len(values)), (1.0, 1.0, spacing_mm))
    plan = plan_slices(grid, np.ones(grid.shape, bool))
    return plan, np.broadcast_to(np.float32(values)[:, None, None], plan.shape).copy()


@pytest.mark.parametrize(
    ("spacing_mm", "expected"),
    [
        (1.0, [[10, 10, 20], [10, 20, 40], [20, 40, 80], [40, 80, 80]]),
        (0.99999994, [[10, 10, 20], [10, 20, 40], [20, 40, 80], [40, 80, 80]]),
        (0.5, [[10, 10, 40], [10, 20, 80], [10, 40, 80], [20, 80, 80]]),
        (5.0, [[10, 10, 12], [18, 20, 24], [36, 40, 48], [72, 80, 80]]),
    ],
)
def test_neighbours_are_a_millimetre_away(spacing_mm, expected):
    plan, stack = stack_of(spacing_mm)
    found = plan.with_neighbours(stack)
    assert found.shape == (4, 3, 16, 16)
    assert found.dtype == np.float32
    exact = spacing_mm <= 1
    np.testing.assert_allclose(found[..., 3, 5], expected, rtol=0 if exact else 1e-6)


def test_neighbours_batch_by_batch_are_those_of_the_whole_stack():
    plan, stack = stack_of(1.3)
    whole = plan.with_neighbours(stack, 5)
    assert whole.shape[1] == 5
    np.testing.assert_array_equal(plan.with_neighbours(stack, 5, slice(1, 3)), whole[1:3])
    np.testing.assert_array_equal(plan.with_neighbours(stack, 1)[:, 0], stack)


def test_neighbours_of_an_even_count_have_no_middle():
    plan, stack = stack_of(1.0)
    with pytest.raises(ValueError, match="odd"):
        plan.with_neighbours(stack, 4)


def test_an_empty_mask_is_refused():
    with pytest.raises(RequestError, match=r"empty.*--in mask="):
        plan_slices(Grid((8, 8, 8)), np.zeros((8, 8, 8), bool))


def test_arrays_of_another_grid_are_refused():
    grid = Grid((8, 9, 10))
    plan = plan_slices(grid, np.ones(grid.shape, bool))
    with pytest.raises(ValueError, match="does not fit"):
        plan_slices(grid, np.ones((8, 9, 10), bool))
    with pytest.raises(ValueError, match="does not fit"):
        plan.slices(np.ones((8, 9, 10), np.float32))
    with pytest.raises(ValueError, match="does not fit"):
        plan.restore(np.zeros((10, 16, 8), np.float32), 0.0)


def test_inputs_are_not_written_into():
    grid = oblique((31, 36, 12), SPACINGS["as it is"])
    scan, mask = scan_and_mask(grid)
    kept = scan.copy()
    plan = plan_slices(grid, mask)
    stack = plan.slices(scan)
    stack += 1
    plan.restore(stack, scan)
    np.testing.assert_array_equal(scan, kept)


def test_few_pixels_are_padded_to_the_least_and_come_back():
    grid, scan = Grid((9, 12, 5)), np.random.default_rng(0).random((5, 12, 9), dtype=np.float32)
    mask = np.ones(grid.shape, bool)
    assert plan_slices(grid, mask).slices(scan).shape == (5, 16, 16)
    plan = plan_slices(grid, mask, least=32)
    assert plan.slices(scan).shape == (5, 32, 32)
    np.testing.assert_array_equal(plan.restore(plan.slices(scan), 0.0), scan)
    wide = Grid((40, 12, 5))
    shape = plan_slices(wide, np.ones(wide.shape, bool), least=32).shape
    assert shape == (5, 32, 48)
