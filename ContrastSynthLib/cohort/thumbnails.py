"""The picture of a case: one axial slice of the result, beside the scan where there is one."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ContrastSynthLib.cohort.budget import PictureSize
from ContrastSynthLib.errors import MissingError, RequestError
from ContrastSynthLib.plots.figures import WINDOW_PERCENTILE, choose_slice, display_slice
from ContrastSynthLib.volumes import Volume

if TYPE_CHECKING:
    from PIL.Image import Image

WORD = "SYNTHETIC"
LEAST_LETTERS, LETTERS_SHARE = 8, 0.09
"""The height of the words: pixels, and as a share of an image. They never lie on tissue."""
GAP = 2
DARK = 0.05
"""Share of the window below which the borders of a slice are cut off."""
MARGIN = 0.04
"""Share of a side that is left around what is bright."""
QUALITIES = (85, 75, 65, 55, 45, 35, 25, 15, 8)

Picture = NDArray[np.float32]


def thumbnail(
    result: Volume, scan: Volume | None, uptake: Volume | None, size: PictureSize, same_units: bool
) -> bytes:
    """Return a JPEG of the result in the axial slice with most of the uptake, else in the middle.

    ``scan`` stands left of the result, on the same grid; with ``same_units`` both have one window.
    The result is marked as synthetic. The picture is smaller than ``size`` says. Raises
    MissingError without Pillow.
    """
    at = None if uptake is None else choose_slice(uptake)
    volumes = [result] if scan is None else [scan, result]
    slices = [display_slice(volume, "axial", at) for volume in volumes]
    extent = slices[0][1]
    pictures = [picture for picture, _ in slices]
    tops = [_top(volume) for volume in volumes]
    if same_units:
        tops = [max(tops)] * len(tops)
    grey = [np.clip(each / top, 0, 1) for each, top in zip(pictures, tops, strict=True)]
    rows, columns = _bright(grey)
    pixel_mm = (
        abs(extent[0] - extent[1]) / grey[0].shape[1],
        abs(extent[3] - extent[2]) / grey[0].shape[0],
    )
    return _jpeg([each[rows, columns] for each in grey], pixel_mm, size)


def _top(volume: Volume) -> float:
    signal = volume.array[volume.array > 0]
    return float(np.percentile(signal, WINDOW_PERCENTILE)) if signal.size else 1.0


def _bright(grey: list[Picture]) -> tuple[slice, slice]:
    """Return the rows and columns that hold something in any of the pictures."""
    found = np.any([each > DARK for each in grey], axis=0)
    if not found.any():
        return slice(None), slice(None)
    return _span(found.any(axis=1)), _span(found.any(axis=0))


def _span(found: NDArray[np.bool_]) -> slice:
    places = np.flatnonzero(found)
    margin = 1 + round(MARGIN * found.size)
    return slice(max(0, int(places[0]) - margin), int(places[-1]) + 1 + margin)


def _jpeg(grey: list[Picture], pixel_mm: tuple[float, float], size: PictureSize) -> bytes:
    """Return the pictures side by side, in the best quality that is small enough."""
    image_module = _pillow()
    rows, columns = grey[0].shape
    width_mm, height_mm = columns * pixel_mm[0], rows * pixel_mm[1]
    scale = size.edge / max(width_mm, height_mm)
    one = (max(1, round(width_mm * scale)), max(1, round(height_mm * scale)))
    words = [WORD] if len(grey) == 1 else ["scan", WORD]
    wide = len(grey) * size.edge + (len(grey) - 1) * GAP
    letters = max(LEAST_LETTERS, round(LETTERS_SHARE * size.edge))
    strip = round(1.4 * letters)
    whole = image_module.new("L", (wide, size.edge + strip), 0)
    for number, (each, word) in enumerate(zip(grey, words, strict=True)):
        tile = image_module.fromarray(np.rint(each * 255).astype(np.uint8))
        tile = tile.resize(one, image_module.Resampling.BICUBIC)
        left = number * (size.edge + GAP)
        place = (left + (size.edge - one[0]) // 2, strip + (size.edge - one[1]) // 2)
        whole.paste(tile, place)
        _write(whole, word, left + 2, letters)
    return _small_enough(whole, size.bytes)


def _write(image: Image, word: str, left: int, letters: int) -> None:
    from PIL import ImageDraw, ImageFont

    font = ImageFont.load_default(size=letters)
    ImageDraw.Draw(image).text((left, 0), word, fill=220, font=font)


def _small_enough(image: Image, most: int) -> bytes:
    for quality in QUALITIES:
        stream = io.BytesIO()
        image.save(stream, format="JPEG", quality=quality, optimize=True)
        if stream.tell() <= most:
            return stream.getvalue()
    raise RequestError(f"The picture of a case does not fit into {most} bytes.")


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingError('Pictures need Pillow. Install it with: pip install "pillow"') from error
    return Image
