"""The voxels of a file, from exactly the bytes that its header promises.

They are unpacked in pieces into the volume that they become: whatever the file holds, little more
memory is used than the header promises, and none before it is clear that the file can hold so much.
Missing bytes, damaged ones (by the checksum of packed voxels) and too many are errors.
"""

from __future__ import annotations

import math
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, NoReturn

import numpy as np
from numpy.typing import NDArray

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.headers.image import RAW, TEXT, ZLIB, ImageHeader
from ContrastSynthLib.files.unpacking import MOST_EXCESS_BYTES, MOST_PER_PACKED_BYTE, Unpacked

TEXT_PIECE_BYTES = 1 << 16
# A number as text: sign, digits, point, exponent.
LONGEST_NUMBER = 64
# Fewer steps than this between the darkest and the brightest voxel are no image.
FEWEST_STEPS = 256
# Scaled voxels that are all smaller have lost their digits, too.
LEAST_VALUE = 1e-30

FloatVoxels = NDArray[np.float32]


def read_voxels(header: ImageHeader) -> tuple[FloatVoxels, tuple[str, ...]]:
    """Return all voxels as float32 in the order of the file's axes, the last one first; and notes.

    Numbers that a float32 cannot hold become infinite. Raises RequestError when bytes are missing
    or damaged, when a layer of voxels or more follows behind those that the header promises, and
    when they need more memory than the computer has.
    """
    with _opened(header) as file:
        voxels = np.empty(math.prod(header.sizes), dtype=np.float32)
        fill = _fill_from_text if header.packing == TEXT else _fill
        notes = fill(header, file, voxels)
    _refuse_lost_steps(header, voxels)
    return voxels.reshape(header.sizes[::-1]), notes


def check_whole(header: ImageHeader) -> None:
    """Raise RequestError unless all bytes that the header promises are there, by their checksum."""
    with _opened(header) as file:
        for _ in _stream(header, file).pieces(header.skipped + header.promised_bytes):
            pass


@contextmanager
def _opened(header: ImageHeader) -> Iterator[BinaryIO]:
    path = header.data_path
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise RequestError(f"{path}: not a plain file; its voxels cannot be read.")
        with path.open("rb") as file:
            _refuse_too_little(header, file)
            file.seek(header.start)
            yield file
    except (zlib.error, EOFError):
        _damaged(header)
    except MemoryError:
        _too_large(header)
    except OSError as error:
        raise RequestError(f"{path}: cannot be read ({error.strerror}).") from None


def _damaged(header: ImageHeader) -> NoReturn:
    raise RequestError(
        f"{header.data_path}: truncated or damaged, its {header.promised_bytes} bytes of voxels "
        "cannot be read whole. Copy or export it again."
    ) from None


def _too_large(header: ImageHeader) -> NoReturn:
    gigabytes = math.prod(header.sizes) * 4 / 2**30
    raise RequestError(
        f"{header.path}: by its header a volume of {gigabytes:.1f} GB, more than the memory of "
        "this computer. Are the sizes in the header right?"
    ) from None


def _refuse_too_little(header: ImageHeader, file: BinaryIO) -> None:
    """Raise RequestError when the file cannot hold what the header promises, before any work."""
    stored = max(0, os.fstat(file.fileno()).st_size - header.start)
    if header.packing == TEXT:
        most = (stored + 1) // 2 * header.kind.itemsize  # a digit and a space for each number
    else:
        most = stored * (1 if header.packing == RAW else MOST_PER_PACKED_BYTE) - header.skipped
    if header.promised_bytes > most:
        _damaged(header)
    if math.prod(header.sizes) * 4 > _memory_bytes():
        _too_large(header)


def _memory_bytes() -> float:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows
        return math.inf


def _stream(header: ImageHeader, file: BinaryIO) -> Unpacked:
    return Unpacked(file, packed=header.packing != RAW, members=header.packing != ZLIB)


def _fill(header: ImageHeader, file: BinaryIO, voxels: FloatVoxels) -> tuple[str, ...]:
    """Write the numbers of the file into ``voxels``, and return notes on what lies behind them."""
    stream = _stream(header, file)
    itemsize, skip, done, rest = header.kind.itemsize, header.skipped, 0, b""
    for piece in stream.pieces(header.skipped + header.promised_bytes):
        rest += piece[skip:]
        skip = max(0, skip - len(piece))
        count = len(rest) // itemsize
        voxels[done : done + count] = _scaled(header, np.frombuffer(rest, header.kind, count))
        rest, done = rest[count * itemsize :], done + count
    return _judge_excess(header, stream)


def _scaled(header: ImageHeader, numbers: NDArray[np.generic]) -> FloatVoxels:
    """Return numbers of the file as float32, in the arithmetic of ITK: its voxels to the bit."""
    with np.errstate(over="ignore", invalid="ignore"):
        if header.slope == 1 and header.intercept == 0:
            return numbers.astype(np.float32)
        if numbers.dtype.kind != "f":
            numbers = numbers.astype(np.float32)
        scaled = numbers.astype(np.float64) * header.slope + header.intercept
        return np.asarray(scaled, dtype=np.float32)


def _refuse_lost_steps(header: ImageHeader, voxels: FloatVoxels) -> None:
    """Raise RequestError where slope and intercept leave hardly any steps in single precision."""
    if header.slope == 1 and header.intercept == 0:
        return
    low, high = float(voxels.min()), float(voxels.max())
    most = max(abs(low), abs(high))
    lost = (high - low) < FEWEST_STEPS * float(np.spacing(np.float32(most))) or most < LEAST_VALUE
    if math.isfinite(high - low) and high > low and lost:
        raise RequestError(
            f"{header.path}: scl_slope {header.slope:g} and scl_inter {header.intercept:g} make "
            f"values of {low:.7g} to {high:.7g}, whose differences are lost in single precision. "
            "Correct the two fields in the header."
        )


def _judge_excess(header: ImageHeader, stream: Unpacked) -> tuple[str, ...]:
    """Refuse a layer of voxels or more behind those that the header promises; note what is less."""
    name = header.data_path.name
    if stream.excess >= header.promised_bytes // max(header.sizes):
        least = "at least " if stream.packed and stream.excess > MOST_EXCESS_BYTES else ""
        raise RequestError(
            f"{header.path}: its header promises {header.promised_bytes} bytes of voxels "
            f"({' x '.join(str(n) for n in header.sizes)}), but {least}{stream.excess} more "
            f"follow in '{name}'. Correct the sizes or the type of numbers in the header, or "
            "export it again."
        )
    if stream.excess:
        return (f"{stream.excess} bytes behind the voxels were left out.",)
    if stream.trailing:
        return (
            "Bytes that belong to no packed voxels follow in the file; they were left out. All "
            "voxels are there, by their checksum.",
        )
    return ()


# Voxels as text


def _fill_from_text(header: ImageHeader, file: BinaryIO, voxels: FloatVoxels) -> tuple[str, ...]:
    done = 0
    for words in _words(header, file):
        if done + len(words) > voxels.size:
            raise RequestError(
                f"{header.path}: its header promises {voxels.size} voxels, but more numbers "
                "follow. Correct the sizes in the header, or export it again."
            )
        voxels[done : done + len(words)] = _numbers(header, words)
        done += len(words)
    if done < voxels.size:
        raise EOFError
    return ()


def _words(header: ImageHeader, file: BinaryIO) -> Iterator[list[bytes]]:
    """Yield the words of a text in lists, none longer than a number."""
    rest = b""
    while piece := file.read(TEXT_PIECE_BYTES):
        piece = piece.replace(b",", b" ")
        words = (rest + piece).split()
        rest = b"" if piece[-1:].isspace() else words.pop()
        if max(map(len, [rest, *words])) > LONGEST_NUMBER:
            _no_numbers(header, max([rest, *words], key=len))
        yield words
    if rest:
        yield [rest]


def _numbers(header: ImageHeader, words: list[bytes]) -> NDArray[np.generic]:
    """Return words as numbers of the file's type; RequestError for what it cannot be."""
    try:
        numbers = np.array(words, dtype=f"S{LONGEST_NUMBER}").astype(np.float64)
    except ValueError:
        _no_numbers(header, words[0])
    if header.kind.kind != "f" and numbers.size:
        limits = np.iinfo(header.kind.str)
        inside = (numbers >= limits.min) & (numbers <= limits.max) & (numbers == np.rint(numbers))
        if not inside.all():
            _no_numbers(header, words[int(np.argmin(inside))])
    return numbers.astype(header.kind)


def _no_numbers(header: ImageHeader, word: bytes) -> NoReturn:
    raise RequestError(
        f"{header.path}: its voxels are text by its header, but {word[:40]!r} is no number of the "
        f"type {header.kind.name}. Is the encoding in the header right?"
    )
