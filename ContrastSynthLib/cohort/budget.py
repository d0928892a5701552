"""How large the pictures of a page may be, so that the page stays small however many there are."""

from __future__ import annotations

from dataclasses import dataclass

PAGE_BYTES = 5_000_000
"""The page is smaller than this."""
AROUND_BYTES = 500_000
"""For everything but the pictures of cases: figures, lists of failed cases."""
CAPTION_BYTES = 700
"""For the words of a case beside its picture."""


@dataclass(frozen=True)
class PictureSize:
    """The longer side of one image, in pixels, and the bytes of the picture of a case."""

    edge: int
    bytes: int


SIZES = (
    *(PictureSize(192, 16000), PictureSize(160, 10000), PictureSize(128, 6000)),
    *(PictureSize(96, 3500), PictureSize(64, 2000), PictureSize(48, 1200)),
)
"""From the largest. Few sizes, so that pictures can be used again while a batch grows."""


def picture_size(cases: int) -> PictureSize:
    """Return the largest size at which the pictures of all cases fit, or the smallest of all."""
    room = PAGE_BYTES - AROUND_BYTES
    for size in SIZES:
        if cases * (in_page(size.bytes) + CAPTION_BYTES) <= room:
            return size
    return SIZES[-1]


def in_page(count: int) -> int:
    """Return the length of ``count`` bytes as base64."""
    return 4 * -(-count // 3)
