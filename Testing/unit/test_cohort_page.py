"""Outliers first, failures by reason, and a page that stays small however many cases there are."""

import io
import json
from dataclasses import asdict

import numpy as np
import pytest

from ContrastSynthLib.cohort import Cohort
from ContrastSynthLib.cohort.budget import PAGE_BYTES, SIZES, in_page, picture_size
from ContrastSynthLib.cohort.failures import grouped
from ContrastSynthLib.cohort.outliers import FROM_Z, robust_z, with_outliers
from ContrastSynthLib.cohort.page import in_order, page
from ContrastSynthLib.cohort.plots import histograms, within
from ContrastSynthLib.cohort.row import DONE, FAILED, Row
from ContrastSynthLib.cohort.thumbnails import thumbnail
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.volumes import Volume

pytest.importorskip("matplotlib", reason="matplotlib is not installed")


def done(case, **more):
    return Row(case, DONE, "", "physics_pre", **more)


def test_robust_z_is_that_of_the_median():
    """Median 3, absolute deviations 2 1 0 1 97: their median 1, times 1.4826."""
    zs = robust_z([1, 2, 3, 4, 100], least=0.01)
    assert zs == pytest.approx([-2 / 1.4826, -1 / 1.4826, 0, 1 / 1.4826, 97 / 1.4826])


def test_equal_values_and_rounding_make_no_outliers():
    assert robust_z([5.0] * 9, least=0.1) == [0.0] * 9
    assert max(map(abs, robust_z([5.0] * 8 + [5.01], least=0.1))) < FROM_Z


def test_few_cases_have_no_outliers():
    rows = [done(f"c{n}", uptake_ml=10.0 + n % 3) for n in range(6)] + [done("odd", uptake_ml=900)]
    assert {row.outlier for row in with_outliers(rows)} == {None}
    more = [done(f"d{n}", uptake_ml=10.0) for n in range(3)]
    assert with_outliers([*rows, *more])[6].outlier_because == "uptake 900 ml, usually 10.5"


def test_a_warning_that_few_cases_have_is_told_and_one_that_many_have_is_not():
    few = [done(f"c{n}", warnings=int(n == 0)) for n in range(100)]
    assert with_outliers(few)[0].outlier_because == "warnings 1, usually 0"
    many = [done(f"c{n}", warnings=n % 2) for n in range(100)]
    assert {row.outlier_because for row in with_outliers(many)} == {""}


def test_failures_have_no_part_in_what_is_usual():
    rows = [done(f"c{n}", seconds=10.0 + n) for n in range(10)]
    failed = [Row(f"f{n}", FAILED, "No.", "m", seconds=0.0) for n in range(50)]
    assert with_outliers([*rows, *failed])[:10] == with_outliers(rows)


def test_failures_that_differ_in_numbers_and_names_are_one():
    rows = [
        Row("anna", FAILED, "The grid of anna is 24 x 28.", "m"),
        done("berta"),
        Row("carl", FAILED, "No scan.", "m"),
        Row("dora", FAILED, "The grid of dora is 20 x 18.", "m"),
    ]
    assert [group.cases for group in grouped(rows)] == [("anna", "dora"), ("carl",)]
    assert grouped(rows)[0].reason == "The grid of anna is 24 x 28."


def cohort_of(count, picture_bytes=None, **more):
    rows = [done(f"case {n}", uptake_ml=float(n % 7), **more) for n in range(count)]
    size = picture_size(count)
    picture = b"\xff\xd8\xff" + bytes((picture_bytes or size.bytes) - 3)
    return Cohort(tuple(with_outliers(rows)), {row.case: picture for row in rows}, size, 0)


@pytest.mark.parametrize("count", [1, 100, 500, 3000])
def test_the_page_stays_small_with_the_pictures_of_all(count):
    text = page(cohort_of(count))
    assert len(text.encode()) < PAGE_BYTES
    assert text.count("<figcaption>") == count if count <= 500 else text.count("<figcaption>") > 0


def test_a_page_of_far_too_many_says_what_it_leaves_out():
    text = page(cohort_of(12000))
    shown = text.count("<figcaption>")
    assert len(text.encode()) < PAGE_BYTES
    assert f"{12000 - shown} of 12000 cases are not shown here" in text
    assert len(text.encode()) > 0.9 * PAGE_BYTES  # and what fits is shown


def test_the_page_stays_small_with_failures_of_every_kind():
    rows = [
        Row(f"{'&' * 190}{n}", FAILED, f"{'<' * 900} {chr(97 + n % 26)}{chr(97 + n // 26 % 26)}")
        for n in range(4000)
    ]
    text = page(Cohort(tuple(rows), {}, SIZES[-1], 0))
    assert len(text.encode()) < PAGE_BYTES / 5
    assert "in the table" in text


def test_names_and_reasons_are_text_not_markup():
    rows = (done("<script>x</script>"), Row("<i>", FAILED, "<b>no</b>", "<u>"))
    text = page(Cohort(rows, {}, SIZES[0], 0))
    for markup in ("<script>", "<i>", "<b>no", "<u>"):
        assert markup not in text
    assert "&lt;script&gt;x" in text


def test_outliers_come_first_the_farthest_first():
    rows = [done("a"), done("b", outlier=4.0), done("c", outlier=1.0), done("d", outlier=9.0)]
    assert [row.case for row in in_order([*rows, Row("f", FAILED)])] == ["d", "b", "a", "c"]


def test_pictures_get_smaller_with_their_number():
    sizes = [picture_size(count) for count in (10, 500, 2000, 10**6)]
    assert [size.edge for size in sizes] == sorted((size.edge for size in sizes), reverse=True)
    assert sizes[0] == SIZES[0]
    assert sizes[-1] == SIZES[-1]
    assert 500 * in_page(sizes[1].bytes) < PAGE_BYTES


def noisy(seed=0):
    grid = Grid((90, 100, 20), (1.0, 1.0, 3.0))
    noise = np.random.default_rng(seed).uniform(0.1, 1, grid.shape)
    return Volume(noise, grid)


@pytest.mark.parametrize("size", SIZES)
def test_a_picture_is_as_small_as_it_has_to_be(size):
    assert len(thumbnail(noisy(), noisy(1), None, size, True)) <= size.bytes


def test_the_picture_is_that_of_the_slice_with_most_uptake():
    from PIL import Image

    dark = noisy().with_array(
        np.where(np.arange(20)[:, None, None] == 4, 0.9, 0.1) * np.ones((20, 100, 90))
    )
    inside = np.zeros(dark.grid.shape)
    inside[4, 40:60, 40:60] = 1
    means = []
    for uptake in (None, dark.with_array(inside)):
        data = thumbnail(dark, None, uptake, SIZES[0], True)
        means.append(np.asarray(Image.open(io.BytesIO(data)))[40:].mean())
    assert means[1] > 3 * means[0]


def test_the_result_is_marked_and_the_mark_lies_beside_the_image():
    from PIL import Image

    data = thumbnail(noisy(), noisy(1), None, SIZES[0], True)
    strip = np.asarray(Image.open(io.BytesIO(data)))[:16]
    half = strip.shape[1] // 2
    scan, result = (strip[:, :half] > 128).sum(), (strip[:, half:] > 128).sum()
    assert result > 1.5 * scan > 0  # SYNTHETIC is a longer word than scan


def test_a_row_comes_back_as_it_was_kept():
    row = done("a", seconds=1.5, warnings=2)
    assert Row.from_dict(json.loads(json.dumps(asdict(row)))) == row


def test_a_case_far_away_does_not_squeeze_the_histogram_and_is_counted():
    rows = [done(f"c{n}", uptake_ml=20.0 + n % 5) for n in range(50)]
    rows.append(done("far", uptake_ml=900.0))
    assert within([row.uptake_ml for row in rows]) == (20.0, 24.0)
    (axes,) = histograms(rows).axes
    assert sum(bar.get_height() for bar in axes.patches) == 50
    assert axes.get_title("right") == "Not drawn: 1 above 24"


@pytest.mark.parametrize("values", [[3.0], [3.0] * 9, [0.0, 1.0], [1.0] * 8 + [50.0]])
def test_histograms_of_few_and_of_equal_values_have_all_that_is_near(values):
    rows = [done(f"c{n}", uptake_ml=value) for n, value in enumerate(values)]
    low, high = within(values)
    (axes,) = histograms(rows).axes
    drawn = sum(bar.get_height() for bar in axes.patches)
    assert drawn == sum(low <= value <= high for value in values) >= len(values) - 1


def test_a_cohort_of_failures_has_no_histogram():
    assert histograms([Row("a", FAILED, "No.")]) is None
