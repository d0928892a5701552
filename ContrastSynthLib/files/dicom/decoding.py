"""The pixels of one file as they are stored, or the reason why they cannot be right."""

from __future__ import annotations

import re
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.dicom.header import promised_bytes

if TYPE_CHECKING:
    from pydicom.dataset import Dataset, FileDataset

FLOATS = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}
MOST_TAIL = 1024
PIECE = b"\xfe\xff\x00\xe0"
# Padding and signatures, in either byte order.
ALLOWED_BEHIND = (b"\xfc\xff" * 2, b"\xfa\xff" * 2, b"\xff\xfc" * 2, b"\xff\xfa" * 2)


def decoded(path: Path, dataset: FileDataset) -> NDArray[Any]:
    """Return all pixels of a file as stored; raises RequestError where there are not as many."""
    from pydicom.pixels.decoders.base import get_decoder

    keyword = next((key for key in ("PixelData", *FLOATS) if key in dataset), None)
    if keyword is None:
        raise EOFError("it has no pixels")
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated:
        _refuse_broken_pieces(dataset[keyword].value)
        if get_decoder(syntax).is_available:
            return _decompressed_by_pydicom(dataset)
        return _decompressed_by_itk(dataset)
    _refuse_garbage_behind(path, dataset, keyword)
    data, bits = dataset[keyword].value, FLOATS.get(keyword, int(dataset.BitsAllocated))
    _refuse_other_length(path, dataset, len(data))
    if bits == 1:
        count = promised_bytes(dataset) * 8
        return np.unpackbits(np.frombuffer(data, np.uint8)[: count // 8], bitorder="little")[
            : int(dataset.get("NumberOfFrames") or 1) * int(dataset.Rows) * int(dataset.Columns)
        ]
    if bits not in (8, 16, 32, 64):
        raise ValueError(f"BitsAllocated {bits}")
    little = syntax.is_little_endian
    if bits == 8 and not little and dataset[keyword].VR == "OW":
        return np.asarray(dataset.pixel_array)
    kind = "f" if keyword in FLOATS else _sign(dataset)
    number = np.dtype(f"{'<' if little else '>'}{kind}{bits // 8}")
    return np.frombuffer(data, number, count=promised_bytes(dataset) * 8 // bits)


def _sign(dataset: Dataset) -> str:
    """Return the kind of the stored numbers: "u" unsigned, "i" signed."""
    signed = dataset.get("PixelRepresentation")
    if signed not in (0, 1):
        raise ValueError(f"PixelRepresentation is {signed}, expected 0 or 1")
    return "i" if signed else "u"


def _refuse_other_length(path: Path, dataset: Dataset, there: int) -> None:
    """Refuse pixels that are fewer than Rows x Columns, or by a row or a column more."""
    promised = promised_bytes(dataset)
    row = min(int(dataset.Rows), int(dataset.Columns)) * int(dataset.BitsAllocated) // 8
    if promised <= there <= promised + 1 or promised < there < promised + row:
        return
    what = "truncated: its pixels are fewer" if there < promised else "its pixels are more"
    raise RequestError(
        f"{path}: {what} than the header promises. PixelData holds {there} bytes; Rows "
        f"{dataset.Rows}, Columns {dataset.Columns}, BitsAllocated {dataset.BitsAllocated} and "
        f"NumberOfFrames {dataset.get('NumberOfFrames') or 1} make {promised}. Copy or export it "
        "again."
    )


def _refuse_garbage_behind(path: Path, dataset: FileDataset, keyword: str) -> None:
    """Refuse a file that goes on behind its pixels with what is no DICOM: they may be shifted."""
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    element = dataset.get_item(keyword)
    if dataset.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian:
        return
    end = int(getattr(element, "value_tell", 0) or 0) + len(element.value)
    with path.open("rb") as file:
        file.seek(end)
        tail = file.read(4 * MOST_TAIL)
    if tail.strip(b"\0") and tail[:4] not in ALLOWED_BEHIND:
        raise RequestError(
            f"{path}: behind PixelData follow bytes that are no DICOM, so that the pixels may be "
            "shifted. Copy or export it again."
        )


def _refuse_broken_pieces(data: bytes) -> None:
    """Raise ValueError unless the pieces of compressed pixels are as long as they say."""
    at = 0
    while at + 8 <= len(data) and data[at : at + 4] == PIECE:
        at += 8 + int.from_bytes(data[at + 4 : at + 8], "little")
    if at != len(data):
        raise ValueError("the pieces of its compressed pixels do not fit together")


def _decompressed_by_pydicom(dataset: FileDataset) -> NDArray[Any]:
    """Return the stored values; raises ValueError where more were packed than fit the image."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        array = np.asarray(dataset.pixel_array)
    for warning in caught:
        sizes = re.search(r"(\d+) vs\. (\d+) bytes expected", str(warning.message))
        if sizes and int(sizes[1]) > int(sizes[2]) + 1:  # one more makes the number even
            raise ValueError(f"{sizes[0]} in its compressed pixels")
    return array


def _decompressed_by_itk(dataset: Dataset) -> NDArray[Any]:
    """Return the stored values of compressed pixels, (frames, rows, columns).

    For codecs that pydicom needs further packages for. ITK has them all, but applies the
    rescaling of some kinds of image and not of others: it gets nothing but the pixels.
    """
    import pydicom
    from pydicom.uid import MultiFrameGrayscaleWordSecondaryCaptureImageStorage

    copy = pydicom.Dataset()
    copy.file_meta = pydicom.dataset.FileMetaDataset()
    copy.file_meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    copy.SOPClassUID = MultiFrameGrayscaleWordSecondaryCaptureImageStorage
    copy.SOPInstanceUID = dataset.SOPInstanceUID
    for keyword in (
        *("Rows", "Columns", "SamplesPerPixel", "NumberOfFrames", "BitsAllocated"),
        *("BitsStored", "HighBit", "PixelRepresentation", "PixelData"),
    ):
        if keyword in dataset:
            copy[keyword] = dataset[keyword]
    copy.PhotometricInterpretation = "MONOCHROME2"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pixels.dcm"
        copy.save_as(file, enforce_file_format=True)
        return np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(str(file))))
