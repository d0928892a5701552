"""The header of a MetaImage, with its voxels behind it (.mha) or in a file beside it (.mhd)."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ContrastSynthLib.files.headers.image import (
    RAW,
    TEXT,
    ZLIB,
    FrameTimes,
    Geometry,
    ImageHeader,
    check_sizes,
    header_lines,
    neighbour,
    number,
    refusal,
    refuse_data_file,
    whole,
)

DETACHED = ".mhd"
KINDS = {
    **{"MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2"},
    **{"MET_INT": "i4", "MET_UINT": "u4", "MET_LONG": "i4", "MET_ULONG": "u4"},
    **{"MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4", "MET_DOUBLE": "f8"},
}
"""Types of numbers. A MET_LONG has four bytes on every computer."""
LAST = "ElementDataFile"
MATRIX = ("TransformMatrix", "Rotation", "Orientation")
ORIGIN = ("Offset", "Position", "Origin")

Fields = dict[str, str]


def parse_meta(path: Path) -> ImageHeader:
    """Return the header of the file at ``path``; RequestError where it is no whole one."""
    fields, end = _read_text(path)
    sizes = _sizes(path, fields)
    channels = whole(path, "ElementNumberOfChannels", fields.get("ElementNumberOfChannels", "1"))
    if channels < 1:
        raise refusal(path, f"'ElementNumberOfChannels' is {channels}")
    notes: list[str] = []
    kind = _kind(path, fields)
    geometry, times = _geometry(path, fields, len(sizes), notes)
    promised = int(np.prod([channels, *sizes], dtype=object)) * kind.itemsize
    data_path, start = _data(path, fields, end, promised)
    packed = _truth(path, fields, "CompressedData", False)
    plain = RAW if _truth(path, fields, "BinaryData", True) else TEXT
    return ImageHeader(
        path,
        (channels, *sizes) if channels > 1 else sizes,
        kind,
        geometry,
        data_path,
        start,
        packing=ZLIB if packed else plain,
        value_axis=0 if channels > 1 else None,
        frame_times=times,
        keys=fields,
        notes=tuple(notes),
    )


def _read_text(path: Path) -> tuple[Fields, int]:
    """Return the fields up to ElementDataFile, and where that line ends."""
    fields: Fields = {}
    with path.open("rb") as file:
        for line in header_lines(path, file):
            if not line.strip():
                continue
            key, equals, value = line.partition(b"=")
            name = key.strip()
            if not equals or not re.fullmatch(rb"[!-~][ -~]*", name):
                raise refusal(
                    path, f"a line of its header is not of the form Name = value: {line[:40]!r}"
                )
            if name.decode() in fields:
                raise refusal(path, f"'{name.decode()}' is in the header twice")
            fields[name.decode()] = value.decode("utf-8", "replace").strip()
            if name.decode() == LAST:
                return fields, file.tell()
    raise refusal(path, f"the line '{LAST}' that ends its header is missing")


def _first(fields: Fields, names: tuple[str, ...]) -> tuple[str, str | None]:
    for name in names:
        if name in fields:
            return name, fields[name]
    return names[0], None


def _truth(path: Path, fields: Fields, name: str, otherwise: bool) -> bool:
    text = fields.get(name)
    if text is None:
        return otherwise
    if text.lower() not in ("true", "false", "t", "f", "1", "0"):
        raise refusal(path, f"'{name}' is '{text[:40]}'; expected True or False")
    return text.lower() in ("true", "t", "1")


def _sizes(path: Path, fields: Fields) -> tuple[int, ...]:
    if fields.get("ObjectType", "Image") != "Image":
        raise refusal(path, f"'ObjectType' is '{fields['ObjectType'][:40]}'; expected Image")
    for name in ("NDims", "DimSize"):
        if name not in fields:
            raise refusal(path, f"the line '{name}' is missing in its header")
    count = whole(path, "NDims", fields["NDims"])
    sizes = tuple(whole(path, "DimSize", text) for text in fields["DimSize"].split())
    if len(sizes) != count:
        raise refusal(path, f"'DimSize' has {len(sizes)} numbers, 'NDims' is {count}")
    check_sizes(path, sizes, lambda axis: f"number {axis + 1} of 'DimSize'")
    return sizes


def _kind(path: Path, fields: Fields) -> np.dtype[np.generic]:
    name = fields.get("ElementType", "")
    if name not in KINDS:
        raise refusal(path, f"'ElementType' is '{name[:40]}'; expected {' '.join(KINDS)}")
    by_old_name = _truth(path, fields, "ElementByteOrderMSB", False)
    big = _truth(path, fields, "BinaryDataByteOrderMSB", by_old_name)
    return np.dtype(KINDS[name]).newbyteorder(">" if big else "<")


def _numbers(path: Path, name: str, text: str, count: int) -> list[float]:
    found = [number(path, name, part) for part in text.split()]
    if len(found) != count:
        raise refusal(path, f"'{name}' has {len(found)} numbers; expected {count}")
    return found


def _geometry(
    path: Path, fields: Fields, count: int, notes: list[str]
) -> tuple[Geometry | None, FrameTimes | None]:
    """Return where the voxels lie, and the times of the fourth axis where there is one."""
    name, text = _first(fields, ("ElementSpacing", "ElementSize"))
    if text is None:
        raise refusal(path, "'ElementSpacing' is missing, so nobody knows how large the voxels are")
    spacing = _numbers(path, name, text, count)
    name, text = _first(fields, MATRIX)
    if text is None:
        notes.append(
            "The file does not say how the patient lies: TransformMatrix is missing. Axes i, j and "
            "k were taken to point to the left, the back and the head, as 3D Slicer does."
        )
    axes = _numbers(path, name, text, count * count) if text else np.eye(count).ravel().tolist()
    name, text = _first(fields, ORIGIN)
    if text is None:
        notes.append("The file does not say where the first voxel lies; 0, 0, 0 was taken.")
    origin = _numbers(path, name, text, count) if text else [0.0] * count
    if count < 3:
        return None, None
    direction = np.array(axes, dtype=np.float64).reshape(count, count)[:3, :3].T
    place = Geometry(
        (spacing[0], spacing[1], spacing[2]), (origin[0], origin[1], origin[2]), direction
    )
    times = FrameTimes(origin[3], spacing[3], False, "ElementSpacing") if count > 3 else None
    return place, times


def _data(path: Path, fields: Fields, end: int, promised: int) -> tuple[Path, int]:
    """Return the file that holds the voxels, and where they begin in it."""
    name = fields[LAST]
    skipped = whole(path, "HeaderSize", fields.get("HeaderSize", "0"))
    if skipped < -1:
        raise refusal(path, f"'HeaderSize' is {skipped}")
    if name.lower() == "local":
        return path, end
    refuse_data_file(path, name, DETACHED)
    if re.match("LIST", name) or re.search("%[0-9.]*d", name):
        raise refusal(path, "its voxels are in several files; join them into one volume first")
    data_path = neighbour(path, name)
    if skipped == -1:
        return data_path, max(0, data_path.stat().st_size - promised)
    return data_path, skipped
