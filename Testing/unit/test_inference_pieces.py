"""Pieces of a volume: each voxel is seen, and a network that changes nothing gives it back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ContrastSynthLib.inference.pieces import Slices, Tiles, starts

RNG = np.random.default_rng(4)


def volume(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def answers(pieces, batch=3, change=lambda values: values):
    """What a network that returns its input, ``change``d, answers, as batches."""
    for first in range(0, pieces.count, batch):
        which = slice(first, min(first + batch, pieces.count))
        yield which, {"image": change(pieces.piece(which))}


@settings(deadline=None, max_examples=60)
@given(length=st.integers(1, 200), box=st.integers(1, 64), overlap=st.integers(0, 63))
def test_boxes_cover_a_side_and_overlap_as_much_as_is_wanted(length, box, overlap):
    overlap = min(overlap, box - 1)
    length = max(length, box)
    first = starts(length, box, overlap)
    assert first[0] == 0
    assert first[-1] == length - box
    steps = np.diff(first)
    assert (steps <= box - overlap).all()
    assert (steps > 0).all()


@pytest.mark.parametrize("blending", ["gaussian", "constant"])
@pytest.mark.parametrize(
    ("shape", "size", "overlap"),
    [
        ((1, 7, 20, 30), (3, None, None), (2, 0, 0)),  # slabs of three slices
        ((2, 50, 70, 40), (24, 32, 16), (8, 8, 4)),
        ((1, 2, 20, 30), (3, 16, 16), (2, 4, 4)),  # thinner than a tile
        ((1, 1, 5, 5), (8, 8, 8), (4, 4, 4)),  # smaller than a tile in all directions
        ((1, 24, 32, 16), (24, 32, 16), (0, 0, 0)),  # one tile
    ],
)
def test_what_is_not_changed_comes_back_as_it_was(shape, size, overlap, blending):
    image = volume(*shape)
    pieces = Tiles(image, size, overlap, blending)
    seen = pieces.piece(slice(0, 2))
    assert seen.shape[1:] == (shape[0], *pieces.box)
    (found,) = pieces.restore(answers(pieces)).values()
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, image[0] if shape[0] == 1 else image, atol=1e-5)


def test_sides_that_are_taken_whole_are_filled_up_to_a_multiple():
    pieces = Tiles(volume(1, 5, 20, 33), (3, None, None), (2, 0, 0), multiple=16)
    assert pieces.box == (3, 32, 48)
    assert pieces.count == 3


def test_overlapping_answers_are_averaged_with_their_weights():
    """A network that answers with the number of its piece: the weights can be read off."""
    pieces = Tiles(np.zeros((1, 4, 1, 1), np.float32), (3, 1, 1), (2, 0, 0), "constant")
    numbers = np.arange(pieces.count, dtype=np.float32)
    made = [(slice(n, n + 1), {"n": np.full((1, 1, 3, 1, 1), numbers[n])}) for n in (0, 1)]
    np.testing.assert_allclose(pieces.restore(made)["n"].ravel(), [0, 0.5, 0.5, 1])
    soft = Tiles(pieces.volume, (3, 1, 1), (2, 0, 0), "gaussian").restore(made)["n"].ravel()
    # The weight of a tile's middle is 1, of its outer slices exp(-(1 / (0.125 x 3))^2 / 2).
    outer = np.exp(-0.5 * (1 / 0.375) ** 2)
    np.testing.assert_allclose(soft[1:3], [outer / (1 + outer), 1 / (1 + outer)], rtol=1e-5)


def test_the_middle_of_a_tile_counts_more_than_its_faces():
    """Errors near the faces, as a network makes them there, hardly show."""

    def spoil(tiles):
        spoilt = tiles.copy()
        spoilt[:, :, [0, -1]] += 10
        return spoilt

    image = np.zeros((1, 32, 8, 8), np.float32)
    errors = {}
    for blending in ("gaussian", "constant"):
        pieces = Tiles(image, (16, 8, 8), (8, 0, 0), blending)
        found = pieces.restore(answers(pieces, change=spoil))["image"]
        errors[blending] = np.abs(found[1:-1]).max()
    assert errors["gaussian"] < 0.1 * errors["constant"]


def test_several_channels_come_first():
    pieces = Tiles(volume(1, 6, 16, 16), (3, None, None), (2, 0, 0))
    doubled = pieces.restore(
        answers(pieces, change=lambda values: np.concatenate([values, 2 * values], axis=1))
    )["image"]
    assert doubled.shape == (2, 6, 16, 16)
    np.testing.assert_allclose(doubled[1], 2 * doubled[0], rtol=1e-5)
    stack = volume(5, 8, 8)
    slices = Slices.of(stack, 3 * stack)
    np.testing.assert_array_equal(slices.restore(answers(slices))["image"][1], 3 * stack)


def test_slices_keep_their_bits():
    stack = volume(7, 8, 8)
    slices = Slices.of(stack)
    np.testing.assert_array_equal(slices.restore(answers(slices))["image"], stack)
    assert slices.smaller() is None


def test_tiles_shrink_as_far_as_the_network_lets_them():
    pieces = Tiles(volume(1, 40, 64, 64), (16, 64, 64), (8, 16, 16), least=(16, 32, 16))
    boxes = []
    while pieces is not None:
        boxes.append(pieces.box)
        pieces = pieces.smaller()
    assert boxes == [(16, 64, 64), (16, 64, 32), (16, 32, 32), (16, 32, 16)]
    assert Tiles(volume(1, 4, 8, 8), (4, 8, 8)).smaller() is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"overlap": (3, 0, 0)}, "does not fit boxes of"),
        ({"overlap": (-1, 0, 0)}, "does not fit boxes of"),
        ({"blending": "soft"}, "Unknown blending 'soft'; known: gaussian, constant"),
    ],
)
def test_tiles_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Tiles(volume(1, 4, 8, 8), **{"size": (3, 8, 8), **changes})
