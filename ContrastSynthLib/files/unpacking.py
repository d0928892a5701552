"""Bytes of a file in pieces, unpacked where they are packed, and what lies behind them."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from typing import BinaryIO

PIECE_BYTES = 1 << 20
# Deflate, the packing of gzip and zlib, makes at most 1032 bytes of one.
MOST_PER_PACKED_BYTE = 1032
# How much more than is wanted is unpacked, to be able to say how much there is.
MOST_EXCESS_BYTES = 64 << 20
# zlib finds out itself whether a stream is gzip's or its own.
_ANY_DEFLATE = 47


class Unpacked:
    """The bytes of an open file from its present position on.

    ``excess`` counts bytes behind those that were wanted, as far as they were looked at (all of a
    file that is not packed, else 64 MB); ``trailing`` says whether bytes follow that belong to no
    packed stream. Both are known when :meth:`pieces` has ended.
    """

    def __init__(self, file: BinaryIO, *, packed: bool, members: bool = True):
        self.file, self.packed, self.members = file, packed, members
        self.excess, self.trailing = 0, False

    def pieces(self, wanted: int) -> Iterator[bytes]:
        """Yield ``wanted`` bytes in pieces, then look at what follows.

        Raises EOFError where bytes are missing, and zlib.error where the packed ones are damaged:
        by the checksum at their very end, too.
        """
        left = wanted
        for piece in self._unpacked(wanted) if self.packed else self._plain(wanted):
            if left:
                yield piece[:left]
            self.excess += max(0, len(piece) - left)
            left = max(0, left - len(piece))
            if self.excess > MOST_EXCESS_BYTES:
                return
        if left:
            raise EOFError

    def _plain(self, wanted: int) -> Iterator[bytes]:
        end = os.fstat(self.file.fileno()).st_size
        self.excess = max(0, end - self.file.tell() - wanted)
        left = wanted
        while left and (piece := self.file.read(min(left, PIECE_BYTES))):
            left -= len(piece)
            yield piece

    def _unpacked(self, wanted: int) -> Iterator[bytes]:
        """Yield the bytes of one packed stream after the other (gzip may have several)."""
        given, packed = 0, self.file.read(PIECE_BYTES)
        while packed:
            stream, before = zlib.decompressobj(_ANY_DEFLATE), given
            try:
                for piece in self._one_stream(stream, packed):
                    given += len(piece)
                    yield piece
            except (zlib.error, EOFError):
                if before < wanted:
                    raise
                self.trailing = True
                return
            packed = self._behind(stream)
            if packed and not self.members:
                self.trailing = True
                return

    def _one_stream(self, stream: zlib._Decompress, packed: bytes) -> Iterator[bytes]:
        while not stream.eof:
            piece = stream.decompress(packed, PIECE_BYTES)
            packed = stream.unconsumed_tail
            if not packed and not stream.eof:
                packed = self.file.read(PIECE_BYTES)
                if not packed and not piece:
                    raise EOFError
            if piece:
                yield piece

    def _behind(self, stream: zlib._Decompress) -> bytes:
        """Return what follows the end of a stream, without the zeros that pad it."""
        packed = stream.unused_data
        while not (packed := packed.lstrip(b"\0")):
            if not (packed := self.file.read(PIECE_BYTES)):
                return b""
        return packed
