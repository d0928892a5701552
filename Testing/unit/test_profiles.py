"""Line profiles against fields that are known everywhere and against map_coordinates."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation
from scipy.stats import norm

from ContrastSynthLib.analysis.profile_rows import MEASURE_COLUMNS, measures_of
from ContrastSynthLib.analysis.profiles import Profile, find_edge, line_profile, profile_error
from ContrastSynthLib.cli import main
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.images import write_volume
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.volumes import Volume


def grid_of(size, spacing, rotation=None, flips=(1, 1, 1), centre_lps=(0.0, 0.0, 0.0)):
    """Return a grid whose middle lies at ``centre_lps``."""
    direction = np.eye(3) if rotation is None else rotation.as_matrix()
    direction = direction * np.asarray(flips)
    origin = np.asarray(centre_lps) - direction @ (np.asarray(spacing) * (np.array(size) - 1) / 2)
    return Grid(tuple(size), tuple(spacing), tuple(origin), tuple(direction.ravel()))


GRIDS = {
    "plain": grid_of((20, 24, 18), (1.0, 1.0, 1.0)),
    "flipped": grid_of((20, 24, 18), (1.0, 0.8, 2.0), flips=(-1, -1, 1), centre_lps=(9, -4, 30)),
    "oblique": grid_of(
        (20, 24, 18),
        (0.9, 1.1, 2.5),
        Rotation.from_euler("xyz", [20, -35, 50], degrees=True),
        flips=(1, -1, 1),
        centre_lps=(-12.0, 7.0, 41.0),
    ),
}


def linear_field(grid: Grid) -> Volume:
    """Return a volume whose value is 2 R - 3 A + 0.5 S + 7, from SimpleITK's side of the matrix."""
    k, j, i = np.indices(grid.shape)
    lps = np.einsum("ab,bkji->akji", grid.index_to_lps[:3, :3], np.stack([i, j, k]))
    x, y, z = lps + np.reshape(grid.origin_mm, (3, 1, 1, 1))
    return Volume((-2 * x + 3 * y + 0.5 * z + 7).astype(np.float32), grid)


@pytest.mark.parametrize("name", GRIDS)
def test_a_linear_field_is_met_exactly(name):
    volume = linear_field(GRIDS[name])
    middle = (
        np.array([-1.0, -1.0, 1.0])
        * (volume.grid.index_to_lps @ [*(np.array(volume.grid.size) - 1) / 2, 1])[:3]
    )
    start, end = np.add(middle, [(-3.0, 4.0, -2.0), (4.0, -2.5, 3.0)])
    found = line_profile(volume, start, end)
    expected = found.ras_mm @ [2.0, -3.0, 0.5] + 7
    np.testing.assert_allclose(found.values, expected, atol=2e-4)
    np.testing.assert_allclose(found.ras_mm[[0, -1]], [start, end])
    np.testing.assert_allclose(found.distance_mm, np.linalg.norm(found.ras_mm - start, axis=1))
    assert np.diff(found.distance_mm).max() <= min(volume.grid.spacing_mm) / 2 + 1e-9


def test_noise_agrees_with_map_coordinates():
    grid = GRIDS["oblique"]
    values = np.random.default_rng(1).normal(size=grid.shape).astype(np.float32)
    matrix = np.linalg.inv(np.diag([-1, -1, 1, 1]) @ grid.index_to_lps)
    ends = np.array([[8.0, -12.0, 36.0], [15.0, -3.0, 45.0]])
    found = line_profile(Volume(values, grid), *ends, samples=57)
    points = np.linspace(*ends, 57)
    ijk = points @ matrix[:3, :3].T + matrix[:3, 3]
    expected = map_coordinates(values.astype(float), ijk[:, ::-1].T, order=1)
    np.testing.assert_allclose(found.values, expected, atol=1e-5)


@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, 1), (1, -1, -1), (-1, -1, -1)])
def test_a_known_voxel_lies_where_its_axes_say(flips):
    """One bright voxel to the right, front and top of the centre, however it is stored."""
    grid = grid_of((11, 11, 11), (2.0, 2.0, 2.0), flips=flips)
    # Right 4 mm, anterior 6 mm, superior 2 mm is LPS (-4, -6, 2): 2, 3 and 1 voxels away.
    i, j, k = (5 + flip * step for flip, step in zip(flips, (-2, -3, 1), strict=True))
    array = np.zeros(grid.shape, np.float32)
    array[k, j, i] = 10.0
    found = line_profile(Volume(array, grid), (0.0, 6.0, 2.0), (8.0, 6.0, 2.0), samples=9)
    np.testing.assert_allclose(found.values, [0, 0, 0, 5, 10, 5, 0, 0, 0], atol=1e-5)


def test_outside_is_nan_and_the_faces_of_the_voxels_are_the_border():
    volume = Volume(
        np.arange(1, 5, dtype=np.float32).reshape(1, 1, 4), grid_of((4, 1, 1), (2, 2, 2))
    )
    # Centres at L -3, -1, 1, 3 mm, that is R 3, 1, -1, -3; faces at R 4 and R -4.
    found = line_profile(volume, (5.0, 0.0, 0.0), (-5.0, 0.0, 0.0), samples=11)
    expected = [np.nan, 1, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4, np.nan]
    np.testing.assert_allclose(found.values, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("height", "inside"), [(0.0, True), (2.49, True), (-2.5, True), (2.6, False)]
)
def test_one_slice_is_as_thick_as_its_slice(height, inside):
    grid = grid_of((16, 16, 1), (1.0, 1.0, 5.0))
    array = np.tile(np.arange(16, dtype=np.float32), (1, 16, 1))
    ends = (7.0, 0.0, height), (-7.0, 0.0, height)
    if not inside:
        with pytest.raises(RequestError, match="does not meet the volume"):
            line_profile(Volume(array, grid), *ends)
        return
    found = line_profile(Volume(array, grid), *ends, samples=15)
    np.testing.assert_allclose(found.values, np.arange(15) + 0.5, atol=1e-5)


def test_wrong_lines_are_named():
    volume = linear_field(GRIDS["plain"])
    with pytest.raises(RequestError, match="no length"):
        line_profile(volume, (1.0, 2.0, 3.0), (1.0, 2.0, 3.0))
    with pytest.raises(RequestError, match=r"does not meet.*centre is at \(0, 0, 0\)"):
        line_profile(volume, (100.0, 0.0, 0.0), (120.0, 0.0, 0.0))
    with pytest.raises(RequestError, match="points"):
        line_profile(volume, (0.0, 0.0, 0.0), (1.0, 0.0, 0.0), samples=1)
    with pytest.raises(RequestError, match="points"):
        line_profile(volume, (0.0, 0.0, 0.0), (1e12, 0.0, 0.0))
    for point in [(np.nan, 0.0, 0.0), (0.0, 0.0), (np.inf, 0.0, 0.0)]:
        with pytest.raises(RequestError, match="not a point"):
            line_profile(volume, point, (1.0, 0.0, 0.0))


def test_the_error_of_a_profile():
    volume = linear_field(GRIDS["plain"])
    ends = (-15.0, 0.0, 0.0), (9.0, 1.0, 2.0)
    one = line_profile(volume, *ends)
    other = line_profile(volume.with_array(volume.array - 2.5), *ends)
    assert np.isnan(one.values).any()
    assert profile_error(one, one) == 0
    assert profile_error(one, other) == pytest.approx(2.5, abs=1e-5)
    values = np.array([1, 2, np.nan, 4], np.float32)
    by_hand = Profile(np.arange(4.0), np.zeros((4, 3)), values)
    against = Profile(np.arange(4.0), np.zeros((4, 3)), np.array([0, np.nan, 3, 7], np.float32))
    assert profile_error(by_hand, against) == pytest.approx((1 + 3) / 2)
    nowhere = Profile(np.arange(4.0), np.zeros((4, 3)), np.full(4, np.nan, np.float32))
    with pytest.raises(RequestError, match="no point"):
        profile_error(by_hand, nowhere)
    with pytest.raises(RequestError, match="different points"):
        profile_error(one, line_profile(volume, *ends, samples=7))
    with pytest.raises(RequestError, match="different points"):
        profile_error(one, line_profile(volume, ends[0], (9.0, 2.0, 2.0), samples=len(one.values)))


def test_a_profile_can_be_written_as_json():
    found = line_profile(linear_field(GRIDS["plain"]), (-15.0, 0.0, 0.0), (9.0, 1.0, 2.0))
    content = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert content["values"][0] is None
    assert content["values"][-1] == pytest.approx(float(found.values[-1]))
    assert len(content["ras_mm"]) == len(content["distance_mm"]) == len(content["values"])


def along(values, spacing_mm=1.0):
    """Return a profile with these values at equal distances."""
    distance = spacing_mm * np.arange(len(values))
    ras = np.stack([distance, 0 * distance, 0 * distance], axis=1)
    return Profile(distance, ras, np.asarray(values, np.float32))


@pytest.mark.parametrize(("before", "after"), [(100.0, 300.0), (300.0, 100.0)])
def test_the_edge_of_a_ramp_is_where_the_formula_says(before, after):
    distance = np.arange(0.0, 30.0, 0.5)
    values = np.interp(distance, [10.0, 14.0], [before, after])
    found = find_edge(along(values, 0.5))
    assert found.at_mm == pytest.approx(12.0)
    assert found.width_mm == pytest.approx(0.8 * 4.0)
    assert found.step == pytest.approx(after - before)
    assert found.contrast == pytest.approx(200.0 / 400.0)


def test_the_edge_of_a_blurred_step_is_as_wide_as_the_error_function_says():
    distance, sigma = np.arange(0.0, 40.0, 0.1), 2.0
    found = find_edge(along(50 + 20 * norm.cdf(distance, 17.3, sigma), 0.1))
    assert found.at_mm == pytest.approx(17.3, abs=1e-3)
    assert found.width_mm == pytest.approx(2 * sigma * norm.ppf(0.9), rel=1e-3)


def test_the_largest_of_several_edges_is_found_though_a_part_lies_outside():
    values = [np.nan, np.nan, 5, 5, 9, 9, 1, 1, 3, np.nan]
    found = find_edge(along(values))
    assert (found.at_mm, found.step) == (5.5, -8.0)
    assert find_edge(along([2.0, 2.0, 2.0])) is None
    assert find_edge(along([-3.0, 2.0])).contrast is None
    told = measures_of(along(values))
    assert (told["lowest"], told["highest"], told["length_mm"]) == (1.0, 9.0, 9.0)
    assert measures_of(along([2.0, 2.0]))["edge_at_mm"] is None


def test_the_command_writes_both_tables(tmp_path, capsys):
    volume = linear_field(GRIDS["plain"])
    for name, mark in (("scan.nrrd", None), ("made.nrrd", "SYNTHETIC")):
        write_volume(replace(volume, synthetic=mark), tmp_path / name)
    line = ["--from=-5,0,0", "--to=5,0,0", "--csv", str(tmp_path / "line.csv")]
    words = ["profile", "--volume", str(tmp_path / "scan.nrrd"), str(tmp_path / "made.nrrd")]
    assert main([*words, *line, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["profiles"]["scan.nrrd"]
    with (tmp_path / "line-measures.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["series"] for row in rows] == ["real", "SYNTHETIC"]
    assert list(rows[0]) == list(MEASURE_COLUMNS)
    step = float(rows[0]["edge_step"])
    assert step == pytest.approx(20.0, rel=1e-4) == told["measures"]["edge_step"]
    with (tmp_path / "line.csv").open(newline="") as stream:
        values = [float(row["value"]) for row in csv.DictReader(stream)]
    assert values[: len(told["values"])] == pytest.approx(told["values"])
    (tmp_path / "line-measures.csv").write_text("other\n")
    assert main([*words, *line]) == 2
    assert "no such table" in capsys.readouterr().err
