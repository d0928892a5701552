"""DICOM folders with something wrong: seeded mutations of bytes, of elements and of files."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
from pydicom.tag import Tag
from pydicom.uid import generate_uid

Files = dict[str, bytes]
"""The content of a folder, by name."""

TEXTS = (
    b"",
    b"0",
    b"-1",
    b"1e30",
    b"1e-30",
    b"nan",
    b"65535",
    b"1,5",
    b"1\\2",
    b"\0\0",
    b"\xff\xfe",
)
# What decides of voxels and grid; other elements are drawn from all that there are.
TELLING = (
    *("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "SeriesInstanceUID"),
    *("SOPInstanceUID", "SamplesPerPixel", "PhotometricInterpretation", "SOPClassUID"),
    *("EchoTime", "PatientID", "FrameOfReferenceUID", "InstanceNumber", "AcquisitionTime"),
)
ADDED = {
    "RescaleSlope": (b"0 ", b"2 ", b"1e400 ", b"x "),
    "RescaleIntercept": (b"10", b"- "),
    "NumberOfFrames": (b"2 ", b"99999999"),
    "SpecificCharacterSet": (b"ISO 2022 IR 999 ", b"\xff\xff"),
    "ImageType": (b"A\\B\\MOSAIC", b"DERIVED\\SECONDARY\\P"),
}


def folder_content(folder: Path) -> Files:
    """Return the content of all files in a folder, by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def mutations(rng: np.random.Generator, folder: Path) -> Iterator[tuple[str, Files]]:
    """Yield without end what was done, and the content of the folder with it."""
    content = folder_content(folder)
    kinds = (_bytes, _bytes, _element, _element, _element, _added, _files)
    while True:
        kind = kinds[rng.integers(len(kinds))]
        files = dict(content)
        done = kind(rng, files)
        yield done, files


def write(files: Files, folder: Path) -> Path:
    """Write the content of a folder, which need not be there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def _one(rng: np.random.Generator, files: Files) -> str:
    return sorted(files)[rng.integers(len(files))]


def _bytes(rng: np.random.Generator, files: Files) -> str:
    """Change bytes of one file, most often in its header."""
    name = _one(rng, files)
    data = bytearray(files[name])
    at = int(rng.integers(0, min(len(data), 1200) if rng.random() < 0.7 else len(data)))
    length = int(rng.integers(1, 40))
    what = ("flip", "zero", "cut", "insert", "remove", "huge")[rng.integers(6)]
    if what == "flip":
        data[at] ^= 1 << int(rng.integers(8))
    elif what == "zero":
        data[at : at + length] = bytes(len(data[at : at + length]))
    elif what == "cut":
        del data[at:]
    elif what == "insert":
        data[at:at] = rng.bytes(length)
    elif what == "remove":
        del data[at : at + length]
    else:
        data[at : at + 4] = struct.pack("<I", 0xFFFFFFFE)[: len(data[at : at + 4])]
    files[name] = bytes(data)
    return f"{what} of {length} at {at} in {name}"


def _element(rng: np.random.Generator, files: Files) -> str:
    """Change or remove one element, in one file or in all."""
    everywhere = rng.random() < 0.3
    names = sorted(files) if everywhere else [_one(rng, files)]
    first = pydicom.dcmread(io.BytesIO(files[names[0]]))
    tags = [element.tag for element in first if element.keyword != "PixelData"]
    if rng.random() < 0.7:
        tags = [Tag(keyword) for keyword in TELLING if keyword in first]
    tag = tags[rng.integers(len(tags))]
    remove, text = rng.random() < 0.25, TEXTS[rng.integers(len(TEXTS))]
    number = int(rng.integers(0, 65536)) if rng.random() < 0.5 else int(rng.integers(0, 40))
    for name in names:
        dataset = pydicom.dcmread(io.BytesIO(files[name]))
        if tag not in dataset:
            continue
        if remove:
            del dataset[tag]
        elif dataset[tag].VR in ("US", "SS"):
            dataset[tag].value = number
        elif dataset[tag].VR == "UI":
            dataset[tag].value = "1.2.3.4" if everywhere else generate_uid()
        else:
            _set_raw(dataset, tag, text)
        files[name] = _saved(dataset)
    where = "all files" if everywhere else names[0]
    what = "removed" if remove else (text, number)
    return f"{pydicom.datadict.keyword_for_tag(tag)} {what} in {where}"


def _added(rng: np.random.Generator, files: Files) -> str:
    """Add an element with a value that need not be one."""
    keyword = sorted(ADDED)[rng.integers(len(ADDED))]
    values = ADDED[keyword]
    value = values[rng.integers(len(values))]
    everywhere = rng.random() < 0.5
    names = sorted(files) if everywhere else [_one(rng, files)]
    for name in names:
        dataset = pydicom.dcmread(io.BytesIO(files[name]))
        _set_raw(dataset, Tag(keyword), value)
        files[name] = _saved(dataset)
    return f"{keyword} {value!r} in {'all files' if everywhere else names[0]}"


def _set_raw(dataset: pydicom.Dataset, tag: pydicom.tag.BaseTag, value: bytes) -> None:
    from pydicom.dataelem import RawDataElement

    vr = pydicom.datadict.dictionary_VR(tag) if not tag.is_private else "UN"
    value += b" " * (len(value) % 2)
    dataset[tag] = RawDataElement(tag, vr, len(value), value, 0, False, True)


def _saved(dataset: pydicom.Dataset) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        buffer = io.BytesIO()
        dataset.save_as(buffer)
        return buffer.getvalue()


def _files(rng: np.random.Generator, files: Files) -> str:
    """Remove, double, empty, rename or add a file."""
    name = _one(rng, files)
    what = ("empty", "double", "lost", "renamed", "text", "no preamble", "garbage")[rng.integers(7)]
    if what == "empty":
        files[name] = b""
    elif what == "double":
        files[f"copy of {name}"] = files[name]
    elif what == "lost":
        del files[name]
    elif what == "renamed":
        files[name.split(".")[0]] = files.pop(name)
    elif what == "text":
        files["notes.txt"] = b"nothing to see\n"
    elif what == "no preamble":
        files[name] = files[name][132:]
    else:
        files[f"{name}x"] = rng.bytes(600)
    return f"{what}: {name}"
