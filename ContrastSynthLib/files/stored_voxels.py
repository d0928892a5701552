"""What ITK does not tell about a file: bytes that are missing, damaged or no numbers.

The NIfTI reader takes zeros for what is missing, and for NaN and infinity. The readers of
NRRD and MHA pass over the checksum of compressed voxels. The writers of NIfTI and NRRD do
not notice a full disk, or not its last bytes.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import SimpleITK as sitk

NIFTI_FLOATS = {"16": "f4", "64": "f8"}
"""The codes of NIfTI's ``datatype`` whose numbers may not be finite."""


@dataclass(frozen=True)
class StoredVoxels:
    """How many bytes of voxels can be read, how many there should be, and bad numbers.

    ``not_finite`` counts only where ITK hides them, in NIfTI.
    """

    readable_bytes: int
    expected_bytes: int
    not_finite: int = 0

    @property
    def whole(self) -> bool:
        """Tell whether nothing is missing."""
        return self.readable_bytes >= self.expected_bytes


def stored_voxels(path: Path, reader: sitk.ImageFileReader) -> StoredVoxels:
    """Look into the file at ``path`` whose header the ``reader`` has read.

    Voxels in another file than the header, and rare encodings, are left to ITK: 0 of 0 bytes.
    """
    pixel = sitk.Image([1] * reader.GetDimension(), reader.GetPixelID())
    voxel_bytes = pixel.GetSizeOfPixelComponent() * reader.GetNumberOfComponents()
    nifti = reader.GetImageIO() == "NiftiImageIO"
    if nifti:  # what is scaled is of another type in memory than in the file
        voxel_bytes = int(reader.GetMetaData("bitpix")) // 8
    expected = math.prod(reader.GetSize()) * voxel_bytes
    with path.open("rb") as file:
        packing = _PACKINGS[reader.GetImageIO()](file)
        if packing is None:
            return StoredVoxels(0, 0)
        try:
            data = _UNPACK[packing](file.read())
        except (OSError, EOFError, zlib.error):
            return StoredVoxels(0, expected)
    if not nifti:
        return StoredVoxels(len(data), expected)
    start = int(float(reader.GetMetaData("vox_offset")))
    found = len(data) - start
    code = reader.GetMetaData("datatype")
    if found < expected or code not in NIFTI_FLOATS:
        return StoredVoxels(found, expected)
    order = "<" if int.from_bytes(data[:4], "little") in (348, 540) else ">"
    kind = np.dtype(order + NIFTI_FLOATS[code])
    values = np.frombuffer(data, kind, count=expected // kind.itemsize, offset=start)
    return StoredVoxels(found, expected, int((~np.isfinite(values)).sum()))


def _nifti_packing(file: BinaryIO) -> str | None:
    """Go by the content: a plain file called .nii.gz is read as well."""
    packed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    return "gzip" if packed else "raw"


def _nrrd_packing(file: BinaryIO) -> str | None:
    """Move to the voxels, behind the first empty line, and return how they are packed."""
    fields = {}
    while line := file.readline().strip().lower():
        key, _, value = line.partition(b":")
        fields[key] = value.strip()
    if b"data file" in fields:
        return None
    return {b"raw": "raw", b"gzip": "gzip", b"gz": "gzip"}.get(fields.get(b"encoding", b""))


def _meta_packing(file: BinaryIO) -> str | None:
    """Move to the voxels, behind the line ElementDataFile, and return how they are packed."""
    fields = {}
    for line in iter(file.readline, b""):
        key, _, value = line.partition(b"=")
        fields[key.strip().lower()] = value.strip().lower()
        if key.strip().lower() == b"elementdatafile":
            break
    if fields.get(b"elementdatafile") != b"local":
        return None
    return "zlib" if fields.get(b"compresseddata") == b"true" else "raw"


_PACKINGS: dict[str, Callable[[BinaryIO], str | None]] = {
    "NiftiImageIO": _nifti_packing,
    "NrrdImageIO": _nrrd_packing,
    "MetaImageIO": _meta_packing,
}
_UNPACK: dict[str, Callable[[bytes], bytes]] = {
    "raw": bytes,
    "gzip": gzip.decompress,
    "zlib": zlib.decompress,
}
