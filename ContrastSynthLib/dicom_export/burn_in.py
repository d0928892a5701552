"""The word SYNTHETIC in the pixels themselves, for those who ask for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ContrastSynthLib.dicom_export.stored import Stored

WORD = "SYNTHETIC"
SHARE = 0.4
"""Of the width of the image, that the word takes."""


def burnt_in(stored: Stored) -> Stored:
    """Return an image with the word at its lower edge in every slice, as bright as its window."""
    _, rows, columns = stored.numbers.shape
    letters = _letters(max(int(SHARE * columns), 40), rows, columns)
    bright = (stored.centre + stored.width / 2 - stored.intercept) / stored.slope
    numbers = np.where(letters, np.int32(min(bright, np.iinfo(np.int16).max)), stored.numbers)
    return replace(stored, numbers=numbers.astype(np.int32))


def _letters(width: int, rows: int, columns: int) -> NDArray[np.bool_]:
    """Return where the word is in a slice (rows, columns)."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size=max(width // 6, 8))
    image = Image.new("L", (columns, rows))
    draw = ImageDraw.Draw(image)
    left, top, right, bottom = draw.textbbox((0, 0), WORD, font=font)
    place = ((columns - (right - left)) // 2 - left, rows - (bottom - top) - 4 - top)
    draw.text(place, WORD, fill=255, font=font)
    return np.asarray(image) > 127
