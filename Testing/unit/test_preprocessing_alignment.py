"""Known movements come back; the reference's grid is kept to the last bit.

The head is a formula in millimetres, drawn on any grid under any movement without being
interpolated, so that the truth does not lean on what is tested.
"""

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from ContrastSynthLib.acquisition import Acquisition
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.preprocessing.alignment import align
from ContrastSynthLib.volumes import Volume

CENTRE = np.array([4.0, -6.0, 10.0])
CORNERS = CENTRE + np.array(list(product((-55, 55), (-70, 70), (-50, 50))))
GRID = Grid((80, 92, 70), (2.2, 2.2, 2.2), (-91.0, -94.0, -66.0))
COARSE = Grid((40, 46, 35), (4.4, 4.4, 4.4), (-91.0, -94.0, -66.0))
"""Where nothing is asked of the accuracy."""
T1 = {"fat": 900, "skull": 60, "csf": 120, "grey": 330, "white": 450, "lesion": 250}
T2 = {"fat": 700, "skull": 40, "csf": 900, "grey": 480, "white": 380, "lesion": 650}


def head(points, contrast):
    """Signal at RAS points (..., 3): nothing in it is symmetric."""
    x, y, z = np.moveaxis(points - CENTRE, -1, 0)
    outer = np.sqrt((x / 70) ** 2 + (y / 85) ** 2 + (z / 65) ** 2)
    folds = np.sin(x / 5 + 0.1 * y) * np.sin(y / 6) * np.sin(z / 5 + 0.05 * x)
    signal = np.select(
        [outer > 1, outer > 0.93, outer > 0.86, outer > 0.83, outer + 0.12 * folds > 0.7],
        [0, contrast["fat"], contrast["skull"], contrast["csf"], contrast["grey"]],
        contrast["white"],
    ).astype(float)
    ventricle = ((x + 3) / 9) ** 2 + ((y - 5) / 30) ** 2 + ((z - 8) / 14) ** 2 < 1
    signal[ventricle] = contrast["csf"]
    signal[((x - 30) ** 2 + (y - 25) ** 2 + (z + 5) ** 2) < 14**2] = contrast["lesion"]
    signal[((x + 20) ** 2 + (y + 50) ** 2 + (z + 30) ** 2) < 16**2] = contrast["grey"]
    return signal


def draw(grid, contrast=T1, movement=None, seed=0):
    """The head that ``movement`` (4x4, RAS mm) carried away, as a scan with noise."""
    rng = np.random.default_rng(seed)
    back = np.linalg.inv(np.eye(4) if movement is None else movement)
    signal = np.zeros(grid.shape)
    for offset in product((-0.25, 0.25), repeat=3):
        points = grid.ras_from_index(np.moveaxis(np.indices(grid.shape), 0, -1) + offset)
        signal += head(points @ back[:3, :3].T + back[:3, 3], contrast) / 8
    return Volume(np.abs(signal + rng.normal(0, 12, grid.shape)), grid)


def movement(degrees=(0, 0, 0), mm=(0, 0, 0), stretch=(1, 1, 1), shear=0.0):
    """Rotate and stretch about the head's centre, then shift."""
    linear = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() @ np.diag(stretch)
    linear[0, 1] += shear
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = linear, CENTRE + np.asarray(mm) - linear @ CENTRE
    return matrix


def oblique(size, spacing, turn, flip=(1, 1, 1), centre=CENTRE):
    """A grid around ``centre`` with turned, perhaps flipped axes."""
    axes = Rotation.from_euler("zyx", turn, degrees=True).as_matrix() @ np.diag(flip)
    steps = np.diag([-1, -1, 1]) @ axes * spacing
    matrix = np.eye(4)
    matrix[:3, :3] = steps
    matrix[:3, 3] = np.diag([-1, -1, 1]) @ centre - steps @ ((np.array(size) - 1) / 2)
    return Grid.from_index_to_lps(size, matrix)


OTHER_GRIDS = {
    "oblique": oblique((72, 88, 96), (2.4, 2.2, 1.8), (10, -20, 15)),
    "flipped and permuted": oblique((76, 80, 90), (2.0, 2.3, 2.2), (90, 0, 90), (1, -1, 1)),
    "thick slices": oblique((120, 130, 26), (1.5, 1.5, 5.5), (0, 8, 0)),
}


def corner_error_mm(report, truth):
    found = np.asarray(report["reference_to_scan_ras_mm"])
    move = [CORNERS @ m[:3, :3].T + m[:3, 3] for m in (found, truth)]
    return np.linalg.norm(move[0] - move[1], axis=1).mean()


@pytest.mark.parametrize("name", OTHER_GRIDS)
def test_a_known_rigid_movement_comes_back(name):
    truth = movement((7, -6, 9), (8, -6, 7))
    fixed, moving = draw(GRID), draw(OTHER_GRIDS[name], T2, truth, seed=1)
    kept = moving.array.copy(), fixed.array.copy()
    aligned, report = align({"pre": fixed, "t2": moving}, "pre", "rigid")
    found = report["t2"]
    assert corner_error_mm(found, truth) < 0.5 * min(GRID.spacing_mm)
    assert found["rotation_deg"] == pytest.approx(
        np.degrees(Rotation.from_matrix(truth[:3, :3]).magnitude()), abs=0.5
    )
    assert found["translation_mm"] == pytest.approx([-8, 6, -7], abs=2.5)
    assert found["mutual_information_after"] > 1.5 * found["mutual_information_before"]
    assert found["covered"] > 0.9
    assert "stretch" not in found
    json.dumps(report)

    assert aligned["t2"].grid == GRID
    assert np.array_equal(aligned["pre"].array, fixed.array)
    assert np.array_equal(moving.array, kept[0])
    assert np.array_equal(fixed.array, kept[1])
    inside = head(GRID.ras_from_index(np.moveaxis(np.indices(GRID.shape), 0, -1)), T1) > 0
    ideal = draw(GRID, T2).array
    # Slices of 5.5 mm average over what the ideal image shows apart.
    least = 0.8 if name == "thick slices" else 0.9
    assert np.corrcoef(aligned["t2"].array[inside], ideal[inside])[0, 1] > least


def test_the_volume_is_what_the_reported_transform_says():
    truth = movement((5, 5, -6), (5, 5, -5))
    fixed, moving = draw(GRID), draw(OTHER_GRIDS["oblique"], T1, truth, seed=1)
    aligned, report = align({"pre": fixed, "post": moving}, "pre", "rigid")
    matrix = np.asarray(report["post"]["reference_to_scan_ras_mm"])
    points = GRID.ras_from_index(np.moveaxis(np.indices(GRID.shape), 0, -1))
    where = moving.grid.index_from_ras(points @ matrix[:3, :3].T + matrix[:3, 3])
    expected = map_coordinates(moving.array, np.moveaxis(where, -1, 0), order=1, cval=0.0)
    inside = np.all((where > 0) & (where < np.array(moving.array.shape) - 1), axis=-1)
    np.testing.assert_allclose(aligned["post"].array[inside], expected[inside], atol=0.1)
    outside = np.any((where < -0.5) | (where > np.array(moving.array.shape) - 0.5), axis=-1)
    assert outside.any()
    assert not aligned["post"].array[outside].any()


def test_a_known_affine_movement_comes_back():
    truth = movement((5, -7, 6), (7, -5, 6), stretch=(1.05, 0.95, 1.03), shear=0.03)
    fixed, moving = draw(GRID), draw(OTHER_GRIDS["oblique"], T2, truth, seed=1)
    _, rigid = align({"pre": fixed, "t2": moving}, "pre", "rigid")
    _, affine = align({"pre": fixed, "t2": moving}, "pre", "affine")
    assert corner_error_mm(affine["t2"], truth) < 0.5 * min(GRID.spacing_mm)
    assert corner_error_mm(rigid["t2"], truth) > 1.0 * min(GRID.spacing_mm)
    expected = 1 / np.linalg.svd(truth[:3, :3], compute_uv=False)
    assert affine["t2"]["stretch"] == pytest.approx(expected, abs=0.02)


def test_the_same_bits_twice_and_the_threads_are_given_back():
    volumes = {
        "pre": draw(COARSE),
        "post": draw(COARSE, T2, movement((6, 0, 0), (0, 6, 0)), seed=1),
    }
    threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    (first, found), (second, again) = (align(volumes, "pre", "rigid") for _ in range(2))
    assert np.array_equal(first["post"].array, second["post"].array)
    assert found == again
    assert sitk.ProcessObject.GetGlobalDefaultNumberOfThreads() == threads


def test_scans_on_one_grid_are_registered_too_and_a_header_far_off_is_overcome():
    """The second scan's header puts it 300 mm away: the centres of mass bring it back."""
    truth = movement((5, -5, 8), (5, 8, -6))
    moving = draw(GRID, T2, truth, seed=1)
    far = replace(GRID, origin_mm=tuple(np.add(GRID.origin_mm, (0.0, 300.0, 0.0))))
    away = np.eye(4)
    away[1, 3] = -300.0
    scans = {"pre": draw(GRID), "same": moving, "far": replace(moving, grid=far)}
    _, report = align(scans, "pre", "rigid")
    assert corner_error_mm(report["same"], truth) < 0.5 * min(GRID.spacing_mm)
    assert corner_error_mm(report["far"], away @ truth) < 0.5 * min(GRID.spacing_mm)
    assert report["far"]["mutual_information_before"] == 0


def test_a_scan_of_noise_keeps_the_headers_or_says_what_was_found():
    """What cannot be matched never gets worse than the headers, by the measure itself."""
    noise = Volume(np.random.default_rng(0).random(COARSE.shape), COARSE)
    _, report = align({"pre": draw(COARSE), "post": noise}, "pre", "rigid")
    found = report["post"]
    assert found["mutual_information_after"] >= found["mutual_information_before"]


def test_a_scan_that_matches_already_stays_where_it_is_and_says_so():
    scan = draw(COARSE)
    aligned, report = align({"pre": scan, "post": scan}, "pre", "rigid")
    assert report["post"]["rotation_deg"] < 0.05
    assert np.linalg.norm(report["post"]["translation_mm"]) < 0.1
    if report["post"]["mutual_information_after"] == report["post"]["mutual_information_before"]:
        assert "headers" in report["post"]["note"]
        assert np.array_equal(aligned["post"].array, scan.array)


def test_resample_follows_the_headers_and_masks_take_the_nearest_voxel():
    grid = OTHER_GRIDS["oblique"]
    moving = draw(grid)
    drawn = moving.with_array((moving.array > 400).astype(np.float32))
    volumes = {"pre": draw(GRID), "post": moving, "mask": drawn}
    aligned, report = align(volumes, "pre", "resample", masks=("mask",))
    where = grid.index_from_ras(GRID.ras_from_index(np.moveaxis(np.indices(GRID.shape), 0, -1)))
    inside = np.all((where > 0) & (where < np.array(grid.shape) - 1), axis=-1)
    linear = map_coordinates(moving.array, np.moveaxis(where, -1, 0), order=1)
    np.testing.assert_allclose(aligned["post"].array[inside], linear[inside], atol=0.1)
    nearest = drawn.array[tuple(np.moveaxis(np.rint(where[inside]).astype(int), -1, 0))]
    assert np.array_equal(np.unique(aligned["mask"].array), [0, 1])
    assert np.mean(aligned["mask"].array[inside] != nearest) < 1e-3
    assert report["post"]["mode"] == report["mask"]["mode"] == "resample"
    assert all(volume.grid == GRID for volume in aligned.values())


def test_a_mask_on_the_reference_grid_stays_when_scans_are_registered():
    pre = draw(COARSE)
    mask = pre.with_array((pre.array > 400).astype(np.float32))
    volumes = {"pre": pre, "mask": mask, "post": draw(COARSE, T2, movement((6, 0, 5)), seed=1)}
    aligned, report = align(volumes, "pre", "rigid", masks=("mask",))
    assert np.array_equal(aligned["mask"].array, mask.array)
    assert report["mask"] == {"mode": "none"}


def test_what_a_volume_knows_of_itself_is_kept():
    acquisition = Acquisition(repetition_time_s=0.007, agent="gadoterate")
    moving = replace(draw(OTHER_GRIDS["oblique"]), acquisition=acquisition, synthetic="by a test")
    for mode in ("resample", "rigid"):
        aligned, _ = align({"pre": draw(COARSE), "post": moving}, "pre", mode)
        assert aligned["post"].acquisition == acquisition
        assert aligned["post"].synthetic == "by a test"


def test_none_takes_grids_that_are_the_same_but_for_rounding_and_no_others():
    near = replace(GRID, origin_mm=tuple(np.add(GRID.origin_mm, 1e-6)))
    scan = draw(GRID)
    aligned, report = align({"post": replace(scan, grid=near), "pre": scan}, "pre", "none")
    assert aligned["post"].grid == GRID
    assert report == {"post": {"mode": "none"}, "pre": {"mode": "reference"}}
    with pytest.raises(RequestError, match="<- differs"):
        align({"pre": scan, "t2": draw(OTHER_GRIDS["oblique"])}, "pre", "none")


def test_scans_that_do_not_overlap_are_refused_with_their_grids():
    scan = draw(GRID)
    far = replace(GRID, origin_mm=tuple(np.add(GRID.origin_mm, (0.0, 0.0, 500.0))))
    with pytest.raises(RequestError, match="does not overlap") as refusal:
        align({"pre": scan, "post": replace(scan, grid=far)}, "pre", "resample")
    assert "origin, mm (LPS)" in str(refusal.value)


def test_little_overlap_is_told():
    """Half of the head only: rigid registration succeeds, and reports the covered share."""
    grid = replace(COARSE, size=(40, 46, 15))
    _, report = align({"pre": draw(COARSE), "post": draw(grid)}, "pre", "rigid")
    assert report["post"]["covered"] < 0.5
    assert "covers only" in report["post"]["note"]


def test_one_slice_is_resampled_and_not_registered():
    slice_grid = oblique((90, 100, 1), (2.0, 2.0, 5.0), (0, 0, 0))
    one, other = draw(slice_grid), draw(replace(slice_grid, spacing_mm=(2.1, 2.1, 5.0)))
    aligned, _ = align({"pre": one, "post": other}, "pre", "resample")
    middle = (slice(None), slice(10, -10), slice(10, -10))
    correlation = np.corrcoef(one.array[middle].ravel(), aligned["post"].array[middle].ravel())
    assert correlation[0, 1] > 0.9
    for mode in ("rigid", "affine"):
        with pytest.raises(RequestError, match=r"'pre' has 1 slice.*--align resample"):
            align({"pre": one, "post": draw(GRID)}, "pre", mode)


def test_unknown_names_are_refused():
    scan = draw(GRID)
    with pytest.raises(RequestError, match="Did you mean 'rigid'"):
        align({"pre": scan}, "pre", "ridgid")
    with pytest.raises(RequestError, match="Known: pre"):
        align({"pre": scan}, "post", "none")
