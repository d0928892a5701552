"""From stored pixels to values: the size that was promised, each slice's own scale, padding.

All of it is checked before memory for the volume is asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.dicom.checks import named
from ContrastSynthLib.files.dicom.decoding import decoded
from ContrastSynthLib.files.dicom.header import DAMAGED, Frame, promised_bytes, refuse_damaged
from ContrastSynthLib.files.dicom.parsing import parse
from ContrastSynthLib.volumes import FloatArray

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# More than any codec makes of a scan; what promises more is no image.
LARGEST_COMPRESSION = 1000
# Neighbouring voxels more than half of all numbers apart are rare, unless signs are wrong.
MOST_WRAPPED = 0.01


@dataclass(frozen=True)
class Words:
    """The numbers of one frame as stored, and what is odd about them, arrays (rows, columns)."""

    values: NDArray[Any]
    padding: NDArray[np.bool_] | None
    signed: bool
    unused_bits: bool
    """Whether bits are set that by the header do not belong to the image, nor to an overlay."""
    wrapped: float
    """The share of neighbours that lie more than half of all numbers apart."""

    @property
    def sign_matters(self) -> bool:
        """Whether other numbers would stand here if the sign were read the other way."""
        if self.values.dtype.kind == "u":
            return bool(self.values.max() > np.iinfo(self.values.dtype).max // 2)
        return bool(self.values.min() < 0)


def voxels(path: Path, frames: list[Frame]) -> tuple[FloatArray, list[str]]:
    """Return the rescaled values, (k, j, i), and notes on what was found.

    Padding becomes 0. Raises RequestError for pixels that do not fit the size in the header,
    for a scale that some slices lack, and for signs that cannot be right.
    """
    refuse_promises(path, frames)
    scales, notes = _scales(path, frames)
    padded = _padding_of_others(frames)
    shape = (len(frames), frames[0].whole("Rows"), frames[0].whole("Columns"))
    array = _room(path, shape)
    seen: list[Words | None] = [None] * len(frames)
    by_file = sorted(enumerate(frames), key=lambda pair: pair[1].path)
    share = 0.0
    for file, members in groupby(by_file, key=lambda pair: pair[1].path):
        places = list(members)
        for (k, frame), words in zip(
            places, stored_frames(file, [frame for _, frame in places]), strict=True
        ):
            slope, intercept = scales[k]
            _refuse_foreign_padding(path, frame, words, padded)
            values = words.values * slope
            array[k] = values + intercept
            if words.padding is not None:
                share += float((array[k][words.padding] != 0).sum()) / array.size
                array[k][words.padding] = 0.0
            seen[k] = _without_values(words)
    if share:
        notes.append(f"{share:.1%} of the voxels are padding (PixelPaddingValue) and became 0.")
    return array, notes + _oddities(path, frames, [words for words in seen if words])


def _room(path: Path, shape: tuple[int, int, int]) -> FloatArray:
    try:
        return np.empty(shape, dtype=np.float32)
    except (MemoryError, ValueError):
        raise RequestError(
            f"{path}: {' x '.join(str(n) for n in shape)} voxels need more memory than there is."
        ) from None


def _without_values(words: Words) -> Words:
    """Keep what decides of a slice only: its lowest and its highest number."""
    ends = np.array([words.values.min(), words.values.max()], dtype=words.values.dtype)
    return Words(ends, None, words.signed, words.unused_bits, words.wrapped)


def refuse_promises(path: Path, frames: list[Frame]) -> None:
    """Raise RequestError when a file is too small for the image that its header promises."""
    for file, members in groupby(frames, key=lambda frame: frame.path):
        header = next(members).header
        promised, there = promised_bytes(header), file.stat().st_size
        if promised > there * _largest_ratio(header):
            raise RequestError(
                f"{path}: '{file.name}' is truncated or its header wrong: Rows, Columns, "
                f"BitsAllocated and NumberOfFrames ({header.get('Rows')}, {header.get('Columns')}, "
                f"{header.get('BitsAllocated')}, {header.get('NumberOfFrames') or 1}) promise "
                f"{promised} bytes, the file has {there}. Copy or export it again."
            )


def _largest_ratio(header: Dataset) -> int:
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    syntax = header.file_meta.TransferSyntaxUID
    packed = syntax.is_encapsulated or syntax == DeflatedExplicitVRLittleEndian
    return LARGEST_COMPRESSION if packed else 1


def _scales(path: Path, frames: list[Frame]) -> tuple[list[tuple[float, float]], list[str]]:
    """Return slope and intercept of each frame; raises RequestError where only some have them."""
    slopes = [frame.stated_number("RescaleSlope") for frame in frames]
    intercepts = [frame.stated_number("RescaleIntercept") for frame in frames]
    notes = []
    if 0.0 in slopes:
        zeros = [frame for frame, slope in zip(frames, slopes, strict=True) if slope == 0]
        notes.append(f"RescaleSlope is 0 in {named(zeros)}, which stands for none: 1 was used.")
        slopes = [slope or None for slope in slopes]
    for keyword, found, neutral in (
        ("RescaleSlope", slopes, 1.0),
        ("RescaleIntercept", intercepts, 0.0),
    ):
        lacking = [frame for frame, number in zip(frames, found, strict=True) if number is None]
        others = {number for number in found if number is not None} - {neutral}
        if lacking and others:
            raise RequestError(
                f"{path}: {named(lacking)} without {keyword}, which is {max(others):g} in other "
                "slices; their values cannot be compared. Export the original series."
            )
    pairs = zip(slopes, intercepts, strict=True)
    return [(1.0 if slope is None else slope, offset or 0.0) for slope, offset in pairs], notes


def _padding_of_others(frames: list[Frame]) -> set[int]:
    """Return the padding values of a series of which some slices state none."""
    stated = [frame.stated_number("PixelPaddingValue") for frame in frames]
    return {int(n) for n in stated if n} if None in stated else set()


def _refuse_foreign_padding(path: Path, frame: Frame, words: Words, padded: set[int]) -> None:
    if not padded or frame.states("PixelPaddingValue") or words.values.dtype.kind == "f":
        return
    bits = frame.whole("BitsAllocated")
    for value in padded:
        if (_modulo(words.values, bits) == value % 2**bits).any():
            raise RequestError(
                f"{path}: '{frame.path.name}' has no PixelPaddingValue but holds the number "
                f"{value}, which is padding in other slices. Export the original series."
            )


def _oddities(path: Path, frames: list[Frame], seen: list[Words]) -> list[str]:
    """Return notes on bits that were cut; raises RequestError for signs that cannot be right."""
    signs = {words.signed for words in seen}
    if len(signs) > 1 and any(words.sign_matters for words in seen):
        rare = sum(words.signed for words in seen) * 2 <= len(seen)
        strange = [f for f, words in zip(frames, seen, strict=True) if words.signed is rare]
        raise RequestError(
            f"{path}: {named(strange)} with PixelRepresentation {int(rare)} "
            f"({'signed' if rare else 'unsigned'}), unlike the other slices, so that their values "
            "cannot be compared. Export the original series."
        )
    if np.mean([words.wrapped for words in seen]) > MOST_WRAPPED:
        raise RequestError(
            f"{path}: neighbouring voxels jump from the highest to the lowest numbers: "
            f"PixelRepresentation says signed, and the pixels of '{frames[0].path.name}' look "
            "unsigned. Export the original series."
        )
    odd = [frame for frame, words in zip(frames, seen, strict=True) if words.unused_bits]
    if not odd:
        return []
    if len({frame.whole("BitsStored") for frame in frames}) > 1:
        raise RequestError(
            f"{path}: {named(odd)} with numbers too large for BitsStored "
            f"{odd[0].whole('BitsStored')}, which is another in other slices. Export the original "
            "series."
        )
    return [
        f"Bits beyond BitsStored {odd[0].whole('BitsStored')} are set in {named(odd)}; they do not "
        "belong to the image and were cut."
    ]


def stored_frames(path: Path, frames: list[Frame]) -> Iterator[Words]:
    """Yield the numbers of some frames of one file, before any rescaling."""
    header = frames[0].header
    try:
        dataset = parse(path, promised_bytes(header))
        if dataset is None:
            raise EOFError("no pixels")
        whole = decoded(path, dataset)
    except RequestError:
        raise
    except DAMAGED as error:
        refuse_damaged(path, error)
    whole = _in_frames(path, frames[0], whole)
    for frame in frames:
        yield _words(frame, whole[frame.index])


def _in_frames(path: Path, frame: Frame, whole: NDArray[Any]) -> NDArray[Any]:
    """Return all pixels of a file as (frames, rows, columns), which a codec may contradict."""
    rows, columns = frame.whole("Rows"), frame.whole("Columns")
    count = frame.whole("NumberOfFrames") or 1
    other = whole.ndim > 1 and whole.shape[-2:] != (rows, columns)
    if other or whole.size != count * rows * columns:
        raise RequestError(
            f"{path}: its compressed pixels are another image than the header describes: "
            f"{' x '.join(str(n) for n in whole.shape)}, where Rows {rows}, Columns {columns} and "
            f"NumberOfFrames {count} are stated. Copy or export it again."
        )
    return whole.reshape(count, rows, columns)


def _modulo(values: NDArray[Any], bits: int) -> NDArray[Any]:
    return np.asarray(values.astype(np.int64) % 2**bits)


def _words(frame: Frame, stored: NDArray[Any]) -> Words:
    if stored.dtype.kind == "f":
        return Words(stored, None, True, False, 0.0)
    padding = _padding(frame, stored)
    allocated, used = stored.dtype.itemsize * 8, _bits_stored(frame)
    signed = stored.dtype.kind == "i"
    values, unused = stored, False
    if used < allocated and frame.whole("BitsAllocated") == allocated:
        # Shifting up and down drops the bits that are not the image's, and keeps the sign.
        values = (stored << (allocated - used)) >> (allocated - used)
        changed = values != stored
        if padding is not None:
            changed &= ~padding
        unused = bool(changed.any()) and not _has_overlay_bits(frame)
    return Words(values, padding, signed, unused, _wrapped(frame, values, used) if signed else 0.0)


def _bits_stored(frame: Frame) -> int:
    """Return how many bits of a number are the image's; raises RequestError for others than low."""
    allocated = frame.whole("BitsAllocated")
    used, high = (frame.stated_number(keyword) for keyword in ("BitsStored", "HighBit"))
    used = allocated if used is None else used
    if not 0 < used <= allocated or high not in (None, used - 1):
        raise RequestError(
            f"{frame.path}: BitsAllocated {allocated}, BitsStored {used:g} and HighBit "
            f"{'none' if high is None else f'{high:g}'} do not fit together; HighBit is one less "
            "than BitsStored. Export it again."
        )
    return int(used)


def _has_overlay_bits(frame: Frame) -> bool:
    """Return whether the file declares an overlay that lies in the unused bits of the pixels."""
    try:
        return any((group, 0x0102) in frame.header for group in range(0x6000, 0x6020, 2))
    except DAMAGED:
        return False


def _wrapped(frame: Frame, values: NDArray[Any], used: int) -> float:
    """Return the share of neighbours over half of all numbers apart that are not if unsigned."""
    half = 2 ** (used - 1)
    if values.min() >= 0 or int(values.max()) - int(values.min()) <= half or _is_phase(frame):
        return 0.0
    shares = []
    for kind in (values.astype(np.int64), values.astype(np.int64) % 2**used):
        steps = np.concatenate([np.abs(np.diff(kind, axis=axis)).ravel() for axis in (0, 1)])
        shares.append(float((steps > half).mean()) if steps.size else 0.0)
    return shares[0] if shares[0] > 3 * shares[1] else 0.0


def _is_phase(frame: Frame) -> bool:
    kind = frame.value("ImageType") or ()
    return bool({"P", "PHASE", "PHASE MAP", "R", "I", "REAL", "IMAGINARY"} & set(kind))


def _padding(frame: Frame, stored: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Return which voxels are padding: one number, or the range from it to a limit."""
    first = frame.stated_number("PixelPaddingValue")
    if first is None:
        return None
    bits, kind = stored.dtype.itemsize * 8, stored.dtype
    limit = frame.stated_number("PixelPaddingRangeLimit")
    # Written as unsigned where the pixels are signed, or the other way round.
    ends = [
        int(np.array(int(n) % 2**bits, f"u{bits // 8}").astype(kind))
        for n in (first, first if limit is None else limit)
    ]
    inside = (stored >= min(ends)) & (stored <= max(ends))
    return inside if inside.any() else None


def digests(frames: list[Frame]) -> list[str]:
    """Return a text for each frame, the same for those of the same numbers and scale."""
    found = [""] * len(frames)
    by_file = sorted(enumerate(frames), key=lambda pair: pair[1].path)
    for file, members in groupby(by_file, key=lambda pair: pair[1].path):
        places = list(members)
        read = stored_frames(file, [frame for _, frame in places])
        for (n, frame), words in zip(places, read, strict=True):
            scale = [frame.stated_number(key) for key in ("RescaleSlope", "RescaleIntercept")]
            shape = repr((words.values.shape, words.values.dtype.str, scale)).encode()
            found[n] = hashlib.sha256(shape + words.values.tobytes()).hexdigest()
    return found
