"""From a file to pydicom's dataset, whatever the file promises and however it begins."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset
    from pydicom.uid import UID

PREAMBLE_BYTES = 128
DEFLATED = b"1.2.840.10008.1.2.1.99"
# The header of a deflated file may take this much; one of a few megabytes is a large one.
LARGEST_HEADER_BYTES = 2**24


class _File(io.BufferedReader):
    """An open file of which nobody reads more than there is.

    An element may promise gigabytes, and Python would ask for the memory before it looks.
    """

    def __init__(self, path: Path):
        super().__init__(io.FileIO(path))
        self.bytes = os.fstat(self.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(self.bytes - self.tell(), 0)
        return super().read(left if size is None or size < 0 else min(size, left))


def parse(path: Path, pixel_bytes: int | None = None) -> FileDataset | None:
    """Return the dataset of a file; None when it is not DICOM.

    Files without preamble, as old ones are, are read too. The pixels come along when
    ``pixel_bytes``, how many there are once inflated, is given. Raises what pydicom raises on a
    damaged file, and ValueError for an unknown encoding and for a deflated file that goes on
    beyond its pixels.
    """
    import pydicom

    with _File(path) as file:
        head = file.read(PREAMBLE_BYTES + 2**10)
        file.seek(0)
        if not _begins_like_dicom(head):
            return None
        source = _inflated(file, head, pixel_bytes) if DEFLATED in head else file
        dataset = pydicom.dcmread(source, stop_before_pixels=pixel_bytes is None, force=True)
    if not (_has_prefix(head) or "SOPClassUID" in dataset or "Rows" in dataset):
        return None
    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta.TransferSyntaxUID = _guessed_syntax(*dataset.original_encoding)
    if not dataset.file_meta.TransferSyntaxUID.is_transfer_syntax:
        raise ValueError("its TransferSyntaxUID is none that is known")
    return dataset


def _guessed_syntax(implicit: bool | None, little_endian: bool | None) -> UID:
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little_endian else ExplicitVRBigEndian


def _has_prefix(head: bytes) -> bool:
    return head[PREAMBLE_BYTES : PREAMBLE_BYTES + 4] == b"DICM"


def _begins_like_dicom(head: bytes) -> bool:
    """Return whether a file has DICOM's prefix, or begins with an element of group 2 or 8."""
    if _has_prefix(head):
        return True
    if len(head) < 8:
        return False
    little, big = struct.unpack("<H", head[:2])[0], struct.unpack(">H", head[:2])[0]
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    short = struct.unpack("<I", head[4:8])[0] <= len(head)
    return (little in (2, 8) and (explicit or short)) or (big in (2, 8) and explicit)


def _inflated(file: _File, head: bytes, pixel_bytes: int | None) -> io.BytesIO:
    """Return a deflated file as a plain one, no longer than a header and the pixels may be."""
    start = PREAMBLE_BYTES + 4 if _has_prefix(head) else 0
    # The first element holds how many bytes the rest of the group takes.
    meta_bytes = start + 12 + int(struct.unpack("<I", head[start + 8 : start + 12])[0])
    file.seek(0)
    meta = file.read(meta_bytes).replace(DEFLATED, DEFLATED[:-3] + bytes(3))
    limit = LARGEST_HEADER_BYTES + (pixel_bytes or 0)
    inflating = zlib.decompressobj(-zlib.MAX_WBITS)
    data = inflating.decompress(file.read(), limit)
    if pixel_bytes is not None and not inflating.eof:
        more = len(data) >= limit
        raise ValueError("longer than its pixels" if more else "its deflated data end early")
    return io.BytesIO(meta + data)
