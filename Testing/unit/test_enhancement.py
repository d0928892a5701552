"""Missed and invented lesions: exactly those that were put there, and nothing else."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.measure import label, regionprops

from ContrastSynthLib.analysis.enhancement import (
    ADDED_PART,
    FOUND,
    INVENTED,
    LOST_PART,
    MISSED,
    NONE,
    missed_and_invented,
)
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.geometry import Grid

GRID = Grid((48, 44, 40), origin_mm=(-20.0, 35.0, 5.0))
BRAIN = np.ones(GRID.shape, bool)
CENTRES_KJI = [(8, 8, 8), (8, 30, 10), (20, 20, 36), (31, 9, 24), (30, 34, 34)]
FREE_KJI = (20, 35, 14)


def ball(centre_kji, diameter_mm=6.0, grid=GRID) -> np.ndarray:
    """Voxels whose centre lies in a ball around a voxel."""
    spacing = np.reshape(grid.spacing_mm[::-1], (3, 1, 1, 1))
    offsets = np.indices(grid.shape) - np.reshape(centre_kji, (3, 1, 1, 1))
    return np.sum((spacing * offsets) ** 2, axis=0) <= (diameter_mm / 2) ** 2


@pytest.fixture
def real() -> np.ndarray:
    """Noise of 0.03 and five lesions of 0.5: at a threshold of 0.2, nothing but the lesions."""
    noise = np.random.default_rng(1).normal(0, 0.03, GRID.shape)
    lesions = sum(ball(centre, 5 + n) for n, centre in enumerate(CENTRES_KJI))
    return (noise + 0.5 * lesions).astype(np.float32)


@pytest.fixture
def synthetic(real) -> np.ndarray:
    """The same lesions, a little fainter, under other noise."""
    noise = np.random.default_rng(2).normal(0, 0.03, GRID.shape)
    return np.where(real > 0.2, 0.4, noise).astype(np.float32)


def compare(reference, synthetic, **options):
    given = {"brain": BRAIN, "grid": GRID, "threshold": 0.2} | options
    return missed_and_invented(reference, synthetic, given.pop("brain"), given.pop("grid"), **given)


def counts(report) -> tuple[int, int, int]:
    """Found, missed and invented."""
    content = report.as_dict()
    return content["found_count"], content["missed_count"], content["invented_count"]


def rows(report, kind) -> list:
    """All that describes the lesions of a kind, but for their numbers."""
    found = [vars(lesion).copy() for lesion in report.lesions if lesion.kind == kind]
    return [tuple(row.items()) for row in found if row.pop("id")]


def test_inventing_one_lesion_of_6_mm_adds_exactly_one_row(real, synthetic):
    before = compare(real, synthetic)
    assert counts(before) == (5, 0, 0)
    lesion = ball(FREE_KJI)
    after = compare(real, np.where(lesion, 0.4, synthetic))
    assert counts(after) == (5, 0, 1)
    assert rows(after, "found") == rows(before, "found")
    row = after.lesions[-1]
    assert (row.kind, row.id, row.overlap) == ("invented", 6, 0.0)
    assert row.volume_ml == after.invented_ml == pytest.approx(lesion.sum() / 1000)
    assert row.mean_error == pytest.approx(0.4 - real[lesion].mean(), abs=1e-6)
    assert row.bounds_kji == ((17, 24), (32, 39), (11, 18))
    # The origin is LPS (-20, 35, 5); i = 14 goes on to the left, j = 35 to the back.
    assert row.centre_ras_mm == pytest.approx((20 - 14, -35 - 35, 5 + 20))
    assert np.array_equal(after.map == INVENTED, lesion)
    assert np.array_equal(after.map == INVENTED, after.map != before.map)


@pytest.mark.parametrize("index", range(5))
def test_deleting_one_lesion_adds_exactly_one_row_to_the_missed(real, synthetic, index):
    before = compare(real, synthetic)
    lesion = ball(CENTRES_KJI[index], 5 + index)
    after = compare(real, np.where(lesion, 0.0, synthetic))
    assert counts(after) == (4, 1, 0)
    (row,) = [lesion for lesion in after.lesions if lesion.kind == "missed"]
    assert row.volume_ml == after.missed_ml == pytest.approx(lesion.sum() / 1000)
    assert row.mean_error == pytest.approx(-real[lesion].mean(), abs=1e-6)
    assert set(rows(after, "found")) < set(rows(before, "found"))
    assert np.array_equal(after.map == MISSED, lesion)
    assert after.invented_ml == after.lost_part_ml == after.added_part_ml == 0


def test_for_each_kind_of_synthetic_scan(real):
    """The differences are those of the module docstring: pre from post, and post from pre."""
    rng = np.random.default_rng(3)
    pre = 1 + rng.normal(0, 0.02, GRID.shape)
    post = pre + real
    hidden, made_up = ball(CENTRES_KJI[2], 7), ball(FREE_KJI)
    # A pre scan that keeps the agent of one lesion, and has a hole elsewhere.
    synthetic_pre = pre + np.where(hidden, real, 0) - 0.5 * made_up
    assert counts(compare(post - pre, post - synthetic_pre)) == (4, 1, 1)
    # A post scan without one lesion, and with a bright spot.
    synthetic_post = post - np.where(hidden, real, 0) + 0.5 * made_up
    assert counts(compare(post - pre, synthetic_post - pre)) == (4, 1, 1)
    # A third of the dose: a third of the difference, and of the threshold.
    low, synthetic_low = pre + real / 3, pre + (synthetic_post - pre) / 3
    assert counts(compare(low - pre, synthetic_low - pre, threshold=0.2 / 3)) == (4, 1, 1)


def test_a_place_inside_is_given_where_the_centre_is_not():
    """In millimetres: two slices of 9 mm are further away than six rows of 1 mm."""
    grid = Grid((15, 15, 5), spacing_mm=(1.0, 1.0, 9.0), origin_mm=(1.0, 2.0, 3.0))
    k, j, i = np.indices(grid.shape)
    radius = np.hypot(j - 7, i - 7)
    ring = (radius <= 7) & ((radius >= 6) | (np.abs(k - 2) == 2))  # a shell, hollow inside
    report = missed_and_invented(ring * 1.0, ring * 0.0, ring | True, grid)
    (row,) = report.lesions
    assert row.centre_ras_mm == pytest.approx((-1 - 7, -2 - 7, 3 + 18))
    place = np.array(row.inside_ras_mm)
    right, anterior, superior = place - row.centre_ras_mm
    assert superior == pytest.approx(0)
    assert np.hypot(right, anterior) == pytest.approx(6)


def test_three_voxels_by_hand():
    """Voxels of 10 mm3: three of them are 30 mm3, and corners connect."""
    grid = Grid((3, 3, 3), spacing_mm=(2.0, 2.5, 2.0), origin_mm=(1.0, 2.0, 3.0))
    real, made, everywhere = np.zeros((3, 3, 3)), np.zeros((3, 3, 3)), np.ones((3, 3, 3), bool)
    real[0, 0, 0], real[1, 1, 1], real[2, 2, 2] = 1.0, 2.0, 3.0
    report = missed_and_invented(real, made, everywhere, grid)
    (row,) = report.lesions
    assert (row.id, row.kind, row.overlap) == (1, "missed", 0.0)
    assert row.volume_ml == pytest.approx(0.03)
    assert row.mean_error == pytest.approx(-2)
    assert row.centre_ras_mm == pytest.approx((-1 - 2, -2 - 2.5, 3 + 2))
    assert row.bounds_kji == ((0, 3), (0, 3), (0, 3))
    # Two voxels are 20 mm3.
    real[2, 2, 2] = 0
    assert missed_and_invented(real, made, everywhere, grid).lesions == ()
    assert (
        len(missed_and_invented(real, made, everywhere, grid, minimum_volume_mm3=20).lesions) == 1
    )
    # At the threshold is not above it.
    any_size = {"minimum_volume_mm3": 0.0}
    assert (
        missed_and_invented(real, made, everywhere, grid, threshold=2.0, **any_size).lesions == ()
    )
    assert missed_and_invented(real, made, everywhere, grid, threshold=1.9, **any_size).lesions


@pytest.mark.parametrize("spacing_mm", [0.9, float(np.float32(0.9))])
def test_a_spacing_in_single_precision_does_not_cost_a_voxel(spacing_mm):
    """Thirty voxels of 0.9 mm3 are 27 mm3; in single precision 0.9 is a little less."""
    grid = Grid((32, 3, 3), spacing_mm=(spacing_mm, 1.0, 1.0))
    real = np.zeros(grid.shape)
    real[1, 1, 1:31] = 1.0
    given = 0 * real, np.ones(grid.shape, bool), grid
    assert len(missed_and_invented(real, *given, minimum_volume_mm3=27.0).lesions) == 1
    assert len(missed_and_invented(real, *given, minimum_volume_mm3=27.9).lesions) == 0


def test_what_is_no_lesion_counts_as_overlap():
    """Of a synthetic lesion of 40 mm3 a half lies on real enhancement of 20 mm3."""
    grid = Grid((20, 10, 1))
    real, made = np.zeros(grid.shape), np.zeros(grid.shape)
    real[0, 2:4, 2:12], made[0, 2:6, 2:12] = 1.0, 1.0
    report = missed_and_invented(real, made, np.ones(grid.shape, bool), grid)
    assert report.lesions == ()
    assert np.array_equal(report.map == ADDED_PART, (made > 0) & (real == 0))
    assert report.added_part_ml == pytest.approx(0.02)
    assert set(np.unique(report.map)) == {NONE, ADDED_PART}


@pytest.mark.parametrize(("connectivity", "lesions"), [(6, 3), (18, 2), (26, 1)])
def test_what_connects_is_a_parameter(connectivity, lesions):
    """Three blocks; the first two touch along an edge, the third at a corner."""
    grid = Grid((12, 12, 12))
    real = np.zeros(grid.shape)
    real[:4, :4, :4] = real[:4, 4:8, 4:8] = real[4:8, 8:, 8:] = 1.0
    report = missed_and_invented(
        real, 0 * real, np.ones(grid.shape, bool), grid, connectivity=connectivity
    )
    assert len(report.lesions) == lesions
    assert report.missed_ml == pytest.approx(3 * 64 / 1000)


def by_scikit_image(real, made, agent, grid, *, voxels, share, connectivity):
    """The rules written out once more: the map, and a row for each lesion in no order."""
    rows, painted = [], np.zeros(grid.shape, int)
    for name, other in (("synthetic", "real"), ("real", "synthetic")):
        for region in regionprops(label(agent[name], connectivity=connectivity)):
            where = tuple(region.coords.T)
            hits = agent[other][where]
            matched = hits.mean() >= share
            if region.area < voxels:
                continue
            if name == "synthetic" and matched:
                painted[where] = np.where(hits, NONE, ADDED_PART)
                continue
            kind = INVENTED if name == "synthetic" else FOUND if matched else MISSED
            painted[where] = np.where(hits, FOUND, LOST_PART) if kind == FOUND else kind
            lps = grid.index_to_lps @ np.append(region.centroid[::-1], 1)
            measured = (region.area, hits.mean(), (made - real)[where].mean())
            rows.append((kind, *measured, -lps[0], -lps[1], lps[2], *region.bbox))
    return painted, rows


@pytest.mark.parametrize("neighbours", [6, 26])
def test_against_scikit_image(neighbours):
    """Two correlated fields, whose regions overlap in every way, on a turned grid."""
    grid = Grid((30, 28, 26), (0.9, 1.1, 1.5), direction=(0, 1, 0, 0, 0, 1, 1, 0, 0))
    noise = np.random.default_rng(4).normal(size=(2, *grid.shape))
    real, other = gaussian_filter(noise, (0, 1, 1, 1))
    made = 0.6 * real + 0.8 * other
    brain = ball((13, 14, 15), 24, grid)
    threshold, voxel_mm3 = 1.5 * real.std(), 0.9 * 1.1 * 1.5
    report = missed_and_invented(
        real,
        made,
        brain,
        grid,
        threshold=threshold,
        minimum_volume_mm3=10 * voxel_mm3,
        minimum_overlap=0.3,
        connectivity=neighbours,
    )
    agent = {"synthetic": brain & (made > threshold), "real": brain & (real > threshold)}
    painted, expected = by_scikit_image(
        real, made, agent, grid, voxels=10, share=0.3, connectivity={6: 1, 26: 3}[neighbours]
    )
    assert np.array_equal(report.map, painted)
    got = [
        (
            ("found", "missed", "invented").index(row.kind) + 1,
            row.volume_ml * 1000 / voxel_mm3,
            row.overlap,
            row.mean_error,
            *row.centre_ras_mm,
            *np.transpose(row.bounds_kji).ravel(),
        )
        for row in report.lesions
    ]
    assert min(counts(report)) > 0
    assert np.array(sorted(got)) == pytest.approx(np.array(sorted(expected)))
    order = [(kind, -round(size)) for kind, size, *_ in got]
    assert order == sorted(order)
    assert [row.id for row in report.lesions] == list(range(1, len(got) + 1))
    for part, volume in ((LOST_PART, report.lost_part_ml), (ADDED_PART, report.added_part_ml)):
        assert volume == pytest.approx((painted == part).sum() * voxel_mm3 / 1000)
        assert volume > 0


def test_a_tenth_of_a_lesion_is_enough_to_find_it():
    grid = Grid((20, 10, 1))
    real, made = np.zeros(grid.shape), np.zeros(grid.shape)
    real[0, 2:7, 2:12] = 1.0
    made[0, 2, 2:6] = 1.0
    brain = np.ones(grid.shape, bool)
    assert counts(missed_and_invented(real, made, brain, grid)) == (0, 1, 0)
    made[0, 2, 6] = 1.0
    found = missed_and_invented(real, made, brain, grid)
    assert counts(found) == (1, 0, 0)
    assert found.lesions[0].overlap == pytest.approx(0.1)
    assert found.lost_part_ml == pytest.approx(0.045)
    assert counts(missed_and_invented(real, made, brain, grid, minimum_overlap=0.11)) == (0, 1, 0)
    # The other way round a synthetic lesion is invented only below a tenth.
    assert counts(missed_and_invented(made, real, brain, grid)) == (0, 0, 0)
    made[0, 2, 6] = 0.0
    assert counts(missed_and_invented(made, real, brain, grid)) == (0, 0, 1)


def test_a_synthetic_scan_that_enhances_everywhere_finds_all_and_invents_one(real):
    flooded = compare(real, np.ones(GRID.shape))
    assert counts(flooded) == (5, 0, 1)
    assert flooded.invented_ml == pytest.approx(BRAIN.sum() / 1000)
    # Real lesions show through in the map.
    assert set(np.unique(flooded.map)) == {FOUND, INVENTED}


def test_identical_constant_inverted_and_scaled_differences(real):
    same = compare(real, real)
    assert counts(same) == (5, 0, 0)
    assert all(row.overlap == 1 and row.mean_error == 0 for row in same.lesions)
    assert same.lost_part_ml == same.added_part_ml == 0
    assert set(np.unique(same.map)) == {NONE, FOUND}
    for nothing in (np.zeros_like(real), np.full_like(real, 0.1), -real):
        assert counts(compare(real, nothing)) == (0, 5, 0)
        assert counts(compare(nothing, real)) == (0, 0, 5)
        assert counts(compare(nothing, nothing)) == (0, 0, 0)
    doubled = compare(2 * real, 2 * real, threshold=0.4)
    assert [vars(row) for row in doubled.lesions] == [vars(row) for row in same.lesions]


def test_outside_the_brain_nothing_counts(real, synthetic):
    brain = ~ball(CENTRES_KJI[0], 9)
    assert counts(compare(real, np.where(ball(CENTRES_KJI[0], 5), 0, synthetic), brain=brain)) == (
        4,
        0,
        0,
    )
    unknown = np.where(brain, synthetic, np.nan)
    assert counts(compare(np.where(brain, real, np.nan), unknown, brain=brain)) == (4, 0, 0)


def test_the_report_is_json_and_adds_up(real, synthetic):
    changed = np.where(ball(FREE_KJI), 0.4, np.where(ball(CENTRES_KJI[4], 9), 0, synthetic))
    report = compare(real, changed)
    content = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert content["schema_version"] == 1
    assert (content["threshold"], content["minimum_volume_mm3"]) == (0.2, 30.0)
    assert (content["minimum_overlap"], content["connectivity"]) == (0.1, 26)
    assert counts(report) == (4, 1, 1)
    for kind in ("found", "missed", "invented"):
        volumes = [row["volume_ml"] for row in content["lesions"] if row["kind"] == kind]
        assert content[f"{kind}_ml"] == pytest.approx(sum(volumes))
        assert volumes == sorted(volumes, reverse=True)
    assert (content["missed_ml"], content["invented_ml"]) == (report.missed_ml, report.invented_ml)
    assert set(content["lesions"][0]) == {
        "id",
        "kind",
        "volume_ml",
        "overlap",
        "mean_error",
        "centre_ras_mm",
        "inside_ras_mm",
        "bounds_kji",
    }
    assert report.map.dtype == np.uint8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 0.0}, "threshold of enhancement is 0"),
        ({"threshold": np.nan}, "threshold of enhancement is nan"),
        ({"minimum_volume_mm3": -1.0}, "minimum volume of a lesion is -1 mm3"),
        ({"minimum_overlap": 0.0}, "minimum overlap is 0"),
        ({"minimum_overlap": 1.1}, "minimum overlap is 1.1"),
        ({"connectivity": 8}, "8 neighbours"),
        ({"brain": ~BRAIN}, "brain mask is empty"),
        ({"brain": BRAIN[1:]}, "brain mask has the shape"),
        ({"grid": Grid((3, 3, 3))}, "real difference has the shape"),
    ],
)
def test_wrong_input_is_named(real, options, message):
    with pytest.raises(RequestError, match=message):
        compare(real, real, **options)
    with pytest.raises(RequestError, match="synthetic difference has the shape"):
        compare(real, real[1:])


def test_inputs_are_not_written_into(real, synthetic):
    before = real.copy(), synthetic.copy()
    real.flags.writeable = synthetic.flags.writeable = False
    compare(real, synthetic)
    np.testing.assert_array_equal(real, before[0])
    np.testing.assert_array_equal(synthetic, before[1])
