"""Artefacts by what they do to known images."""

from __future__ import annotations

import numpy as np
import pytest

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.phantom.corruption import corrupt

KINDS = {
    "motion": {"type": "motion", "motion_mm": 4.0},
    "aliasing": {"type": "aliasing", "aliased_share": 0.3},
    "zipper": {"type": "zipper", "zipper_height": 1.5},
    "ringing": {"type": "ringing", "kept_share": 0.3},
    "streaks": {"type": "streaks", "spokes_share": 0.15},
}


def disc(rows: int = 64, columns: int = 48) -> np.ndarray:
    y, x = np.ogrid[:rows, :columns]
    image = ((y - 30) ** 2 / 15**2 + (x - 22) ** 2 / 10**2 < 1).astype(np.float32)
    return np.stack([image, 2 * image, 0.5 * image])


@pytest.mark.parametrize("kind", KINDS)
def test_images_change_reproducibly_and_inputs_do_not(kind):
    image = disc()
    image.flags.writeable = False
    first, again, other = (
        corrupt(image, KINDS[kind], np.random.default_rng(seed), pixel_mm=1.0) for seed in (1, 1, 2)
    )
    assert first.dtype == np.float32
    assert first.shape == image.shape
    assert np.isfinite(first).all()
    assert (first >= 0).all()
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - image).max() > 0.1
    # Undersampling alone is not random.
    assert (kind in ("aliasing", "ringing")) == np.array_equal(first, other)


def test_the_ghost_of_aliasing_is_half_a_field_of_view_away():
    image = disc()
    ghosted = corrupt(image, KINDS["aliasing"], np.random.default_rng(0), pixel_mm=1.0)
    expected = np.abs(image + 0.3 * np.roll(image, 32, axis=1))
    np.testing.assert_allclose(ghosted, expected, atol=1e-5)


def test_the_zipper_is_one_column_and_has_the_height_asked_for():
    image = np.ones((40, 64, 48), np.float32)
    zipped = corrupt(image, KINDS["zipper"], np.random.default_rng(3), pixel_mm=1.0)
    added = (zipped - image).std(axis=(0, 1))
    column = int(np.argmax(added))
    assert 12 <= column <= 36
    assert added[column] > 5 * np.median(added)
    # There: complex noise of that deviation beside a signal of 1.
    there = zipped[:, :, column]
    assert np.sqrt((there**2).mean()) == pytest.approx(np.sqrt(1 + 1.5**2), rel=0.25)
    taller = corrupt(
        image, {"type": "zipper", "zipper_height": 3.0}, np.random.default_rng(3), pixel_mm=1
    )
    assert (taller - image).std() > 1.5 * (zipped - image).std()


def test_the_ripples_of_ringing_are_as_far_apart_as_the_lines_that_are_left_out_say():
    """Gibbs: an edge overshoots by 9 %; ripples are 2 / (kept share) pixels apart."""
    image = np.zeros((1, 128, 32), np.float32)
    image[:, 40:88] = 1
    share = 0.25
    given = {"type": "ringing", "kept_share": share}
    rung = corrupt(image, given, np.random.default_rng(0), pixel_mm=1.0)[0, :, 16]
    assert rung.max() == pytest.approx(1.09, abs=0.03)
    crossings = np.count_nonzero(np.diff(np.sign(rung[46:82] - 1)))
    assert crossings == pytest.approx(36 * share, abs=1)  # two in each period
    np.testing.assert_allclose(
        corrupt(image, given | {"kept_share": 1.0}, np.random.default_rng(0), pixel_mm=1.0),
        image,
        atol=1e-5,
    )


def test_streaks_keep_the_signal_and_more_spokes_leave_fewer():
    image = disc(96, 96)
    errors = []
    for share in (0.1, 0.25, 1.0, 2.0):
        given = {"type": "streaks", "spokes_share": share}
        streaked = corrupt(image, given, np.random.default_rng(5), pixel_mm=1.0)
        outside = streaked[0][image[0] == 0]
        errors.append(float(outside.mean()))
        assert streaked[0][24:36, 18:26].mean() == pytest.approx(1, abs=0.15)
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 5 * errors[-1]


def test_no_motion_leaves_the_image_and_more_motion_spoils_more():
    image = disc()
    errors = [
        np.abs(
            corrupt(
                image,
                {"type": "motion", "motion_mm": size},
                np.random.default_rng(4),
                pixel_mm=1.0,
            )
            - image
        ).mean()
        for size in (0.0, 1.0, 5.0)
    ]
    assert errors[0] < 1e-5
    assert errors[0] < errors[1] < errors[2]
    # The same millimetres are fewer pixels when those are larger.
    coarse = corrupt(image, KINDS["motion"], np.random.default_rng(4), pixel_mm=8.0)
    fine = corrupt(image, KINDS["motion"], np.random.default_rng(4), pixel_mm=1.0)
    assert np.abs(coarse - image).mean() < np.abs(fine - image).mean()


def test_the_head_that_moves_stays_where_the_middle_of_k_space_saw_it():
    image = disc()[:1]
    rows = np.arange(image.shape[1])[:, None]
    centre = (image[0] * rows).sum() / image[0].sum()
    for seed in range(6):
        rng = np.random.default_rng(seed)
        moved = corrupt(image, {"type": "motion", "motion_mm": 6.0}, rng, pixel_mm=1.0)[0]
        inside = moved * (moved > 0.5)
        assert (inside * rows).sum() / inside.sum() == pytest.approx(centre, abs=1.5)


def test_wrong_requests_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(RequestError, match="zipper"):
        corrupt(disc(), {"type": "ziper"}, rng, pixel_mm=1.0)
    with pytest.raises(RequestError, match="three dimensions"):
        corrupt(disc()[0], KINDS["motion"], rng, pixel_mm=1.0)
