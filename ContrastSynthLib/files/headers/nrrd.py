"""The header of a NRRD file, with its voxels behind it (.nrrd) or in a file beside it (.nhdr).

Raw, gzip and text voxels are read, which is what ITK and 3D Slicer read and write.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ContrastSynthLib.files.headers.image import (
    GZIP,
    LONGEST_LINE_BYTES,
    RAW,
    TEXT,
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

DETACHED = ".nhdr"

_NAMES = {
    "i1": "signed char|int8|int8_t",
    "u1": "uchar|unsigned char|uint8|uint8_t",
    "i2": "short|short int|signed short|signed short int|int16|int16_t",
    "u2": "ushort|unsigned short|unsigned short int|uint16|uint16_t",
    "i4": "int|signed int|int32|int32_t",
    "u4": "uint|unsigned int|uint32|uint32_t",
    "i8": "longlong|long long|long long int|signed long long|signed long long int|int64|int64_t",
    "u8": "ulonglong|unsigned long long|unsigned long long int|uint64|uint64_t",
    "f4": "float",
    "f8": "double",
}
KINDS = {name: kind for kind, names in _NAMES.items() for name in names.split("|")}
PACKINGS = {"raw": RAW, "gzip": GZIP, "gz": GZIP, "ascii": TEXT, "text": TEXT, "txt": TEXT}
SPACES = {
    "left-posterior-superior": (1, 1),
    "lps": (1, 1),
    "right-anterior-superior": (-1, -1),
    "ras": (-1, -1),
    "left-anterior-superior": (1, -1),
    "las": (1, -1),
}
"""The signs that turn the first two coordinates of a space into LPS."""
OTHER_SPACES = {"scanner-xyz", "3d-right-handed", "3d-left-handed"}

# Of other kinds of axes, the entries are not places but the values of one voxel.
PLACES = {"domain", "space", "time", "???", "none", ""}

FIELDS = {
    *("dimension", "type", "blocksize", "encoding", "endian", "content", "min", "max", "oldmin"),
    *("oldmax", "datafile", "lineskip", "byteskip", "number", "sampleunits", "sizes", "spacings"),
    *("thicknesses", "axismins", "axismaxs", "centers", "centerings", "labels", "units", "kinds"),
    *("space", "spacedimension", "spaceunits", "spaceorigin", "spacedirections"),
    "measurementframe",
}


class _Text(NamedTuple):
    """The fields and the free keys of a header, and where it ends in the file."""

    fields: dict[str, str]
    keys: dict[str, str]
    end: int


def parse_nrrd(path: Path) -> ImageHeader:
    """Return the header of the file at ``path``; RequestError where it is no whole NRRD header."""
    text = _read_text(path)
    fields = text.fields
    sizes = _sizes(path, fields)
    kind = _kind(path, fields)
    notes: list[str] = []
    kinds = _kinds(path, fields, len(sizes))
    vectors = _vectors(path, fields, len(sizes))
    value_axis = _value_axis(path, kinds, vectors)
    places = [axis for axis in range(len(sizes)) if axis != value_axis]
    data_path, start = path, text.end
    if "datafile" in fields:
        refuse_data_file(path, fields["datafile"], DETACHED)
        data_path, start = neighbour(path, fields["datafile"]), 0
    packing = PACKINGS.get(fields.get("encoding", "").lower())
    if packing is None:
        raise refusal(
            path,
            f"'encoding' is '{fields.get('encoding', '')[:40]}'; raw, gzip or text can be read",
        )
    start, skipped = _skips(
        path, fields, data_path, start, packing, math.prod(sizes) * kind.itemsize
    )
    keys = text.keys | _axis_keys(fields, value_axis)
    return ImageHeader(
        path,
        sizes,
        kind,
        _geometry(path, fields, vectors, places, notes),
        data_path,
        start,
        skipped,
        packing,
        value_axis,
        kinds[value_axis] if value_axis is not None else "",
        frame_times=_frame_times(path, fields, vectors, places),
        keys=keys,
        notes=tuple(notes),
    )


def _read_text(path: Path) -> _Text:
    """Return the lines up to the first empty one, split into fields and keys."""
    fields: dict[str, str] = {}
    keys: dict[str, str] = {}
    with path.open("rb") as file:
        if not re.fullmatch(rb"NRRD000[1-5]\r?\n", file.readline(12)):
            raise refusal(path, "it does not begin with the line NRRD0001 to NRRD0005")
        for line in header_lines(path, file):
            if not line.strip():
                break
            if not line.endswith(b"\n"):
                raise refusal(path, "its header has no end; an empty line closes it")
            _add_line(path, line.rstrip(b"\r\n"), fields, keys)
        return _Text(fields, keys, file.tell())


def _add_line(path: Path, line: bytes, fields: dict[str, str], keys: dict[str, str]) -> None:
    if line.startswith(b"#"):
        return
    key, is_key, value = line.partition(b":=")
    name, is_field, content = line.partition(b": ")
    if not is_field and line.endswith(b":"):
        name, is_field, content = line[:-1], b":", b""
    try:
        if is_key and (not is_field or len(key) < len(name)):
            keys[key.decode()] = value.decode("utf-8", "replace").replace("\\n", "\n")
            return
        plain = re.sub("[ \t]", "", name.decode("ascii")).lower()
    except UnicodeDecodeError:
        raise refusal(path, f"a line of its header is no text: {line[:40]!r}") from None
    if not is_field or plain not in FIELDS:
        raise refusal(path, f"a line of its header is no field of NRRD: {line[:40]!r}")
    if plain in fields:
        raise refusal(path, f"'{name.decode()}' is in the header twice")
    fields[plain] = content.decode("utf-8", "replace").strip()
    if plain == "datafile" and re.match("LIST|.*%[0-9]*d", fields[plain]):
        raise refusal(path, "its voxels are in several files; join them into one volume first")


def _needed(path: Path, fields: dict[str, str], name: str) -> str:
    if not fields.get(name):
        raise refusal(path, f"the field '{name}' is missing in its header")
    return fields[name]


def _sizes(path: Path, fields: dict[str, str]) -> tuple[int, ...]:
    count = whole(path, "dimension", _needed(path, fields, "dimension"))
    sizes = tuple(whole(path, "sizes", n) for n in _needed(path, fields, "sizes").split())
    if len(sizes) != count:
        raise refusal(path, f"'sizes' has {len(sizes)} numbers, 'dimension' is {count}")
    check_sizes(path, sizes, lambda axis: f"number {axis + 1} of 'sizes'")
    return sizes


def _kind(path: Path, fields: dict[str, str]) -> np.dtype[np.generic]:
    name = _needed(path, fields, "type").lower()
    if name not in KINDS:
        raise refusal(path, f"'type' is '{name[:40]}'; expected whole numbers, float or double")
    order = fields.get("endian", "").lower()
    kind = np.dtype(KINDS[name])
    text = PACKINGS.get(fields.get("encoding", "").lower()) == TEXT
    if order not in ("little", "big") and not (order == "" and (kind.itemsize == 1 or text)):
        raise refusal(path, f"'endian' is '{order[:40]}'; expected little or big")
    return kind.newbyteorder(">" if order == "big" else "<")


def _kinds(path: Path, fields: dict[str, str], count: int) -> list[str]:
    kinds = fields.get("kinds", "").lower().split()
    if kinds and len(kinds) != count:
        raise refusal(path, f"'kinds' has {len(kinds)} entries for {count} axes")
    return kinds or [""] * count


def _vectors(path: Path, fields: dict[str, str], count: int) -> list[tuple[float, ...] | None]:
    """Return the vector of each axis, None where it is 'none' or there are none at all."""
    text = fields.get("spacedirections", "")
    if not text:
        return [None] * count
    entries = re.findall(r"none|\([^()]*\)", text)
    if len(entries) != count or re.sub(r"none|\([^()]*\)|\s", "", text):
        raise refusal(path, f"'space directions' does not hold {count} vectors: '{text[:60]}'")
    return [None if e == "none" else _vector(path, "space directions", e) for e in entries]


def _vector(path: Path, name: str, text: str) -> tuple[float, ...]:
    numbers = re.fullmatch(r"\(([^()]*)\)", text.strip())
    if not numbers:
        raise refusal(path, f"'{name}' holds '{text[:40]}', which is no vector")
    return tuple(number(path, name, part.strip()) for part in numbers[1].split(","))


def _value_axis(
    path: Path, kinds: list[str], vectors: list[tuple[float, ...] | None]
) -> int | None:
    """Return the one axis that does not lie in space, None where there is none."""
    directed = any(vector is not None for vector in vectors)
    axes = [
        axis
        for axis, (kind, vector) in enumerate(zip(kinds, vectors, strict=True))
        if kind not in PLACES or (directed and vector is None)
    ]
    if len(axes) > 1:
        raise refusal(path, f"{len(axes)} of its axes do not lie in space; one is expected at most")
    return axes[0] if axes else None


def _skips(
    path: Path, fields: dict[str, str], data_path: Path, start: int, packing: str, promised: int
) -> tuple[int, int]:
    """Return where the packed voxels begin, and how many unpacked bytes lie before them."""
    lines = whole(path, "line skip", fields.get("lineskip") or "0")
    skipped = whole(path, "byte skip", fields.get("byteskip") or "0")
    if lines < 0 or lines > 1_000_000 or skipped < -1 or (skipped and packing == TEXT):
        raise refusal(path, "'line skip' or 'byte skip' is not possible")
    if lines:
        with data_path.open("rb") as file:
            file.seek(start)
            for _ in range(lines):
                if not file.readline(LONGEST_LINE_BYTES).endswith(b"\n"):
                    raise refusal(path, f"its data file has no {lines} lines to skip")
            start = file.tell()
    if skipped == -1:  # raw voxels at the very end of the file
        if packing != RAW:
            raise refusal(path, "'byte skip' is -1, which is for raw voxels only")
        return max(start, data_path.stat().st_size - promised), 0
    return start, skipped


# Where the voxels lie


def _geometry(
    path: Path,
    fields: dict[str, str],
    vectors: list[tuple[float, ...] | None],
    places: list[int],
    notes: list[str],
) -> Geometry | None:
    """Return the geometry of the first three places; None where there are fewer."""
    if len(places) < 3:
        return None
    chosen = [vectors[axis] for axis in places[:3]]
    if all(vector is None for vector in chosen):
        return _without_directions(path, fields, places, notes)
    space = fields.get("space", "").lower().removesuffix("-time").removesuffix("t")
    if space and space not in SPACES and space not in OTHER_SPACES:
        raise refusal(path, f"'space' is '{space[:40]}', which is no space of NRRD")
    if not space and "spacedimension" not in fields:
        raise refusal(path, "'space' is missing, so nobody knows what its directions mean")
    signs = SPACES.get(space, (1, 1))
    if space in OTHER_SPACES or not (space or len(places) > 3):
        notes.append(
            "The file does not say in which anatomical space its directions are; left-posterior-"
            "superior was taken, as 3D Slicer does."
        )
    units = set(re.findall(r'"([^"]*)"', fields.get("spaceunits", ""))) - {"mm", "", "s", "ms"}
    if units:
        notes.append(f"Its space units are '{min(units)[:20]}'; mm was taken, as 3D Slicer does.")
    length = len(places) if len(places) > 3 and len(chosen[0] or ()) > 3 else 3
    if any(vector is None or len(vector) != length for vector in chosen):
        raise refusal(path, f"'space directions' needs {length} numbers for each axis in space")
    zeros = "(" + ",".join("0" * length) + ")"
    origin = _vector(path, "space origin", fields.get("spaceorigin", zeros))
    if len(origin) != length:
        raise refusal(path, f"'space origin' has {len(origin)} numbers; expected {length}")
    if "spaceorigin" not in fields:
        notes.append("The file does not say where the first voxel lies; 0, 0, 0 was taken.")
    return _from_vectors(path, [vector for vector in chosen if vector], origin, signs)


def _from_vectors(
    path: Path, vectors: list[tuple[float, ...]], origin: tuple[float, ...], signs: tuple[int, int]
) -> Geometry:
    flips = np.array([*signs, 1.0])
    direction, lengths = np.empty((3, 3)), []
    for axis, vector in enumerate(vectors):
        length = math.sqrt(sum(n * n for n in vector))
        if not 0 < length < math.inf:
            raise refusal(path, f"'space directions' has an axis of the length {length:g}")
        lengths.append(length)
        direction[:, axis] = np.array([n * (1.0 / length) for n in vector[:3]]) * flips
    x, y, z = (float(n) for n in np.array(origin[:3]) * flips)
    return Geometry((lengths[0], lengths[1], lengths[2]), (x, y, z), direction)


def _without_directions(
    path: Path, fields: dict[str, str], places: list[int], notes: list[str]
) -> Geometry:
    """Take the field ``spacings`` where there are no directions, as ITK does."""
    texts = fields.get("spacings", "").split()
    if fields.get("space") or fields.get("spacedimension") or len(texts) <= max(places[:3]):
        raise refusal(
            path,
            "'space directions' is missing, so nobody knows how large the voxels are and how the "
            "patient lies. Add the field, or export the scan again",
        )
    x, y, z = (number(path, "spacings", texts[axis]) for axis in places[:3])
    notes.append(
        "The file does not say how the patient lies: it has spacings and no space directions. Axes "
        "i, j and k were taken to point to the left, the back and the head, as 3D Slicer does."
    )
    return Geometry((x, y, z), (0.0, 0.0, 0.0), np.eye(3))


def _frame_times(
    path: Path,
    fields: dict[str, str],
    vectors: list[tuple[float, ...] | None],
    places: list[int],
) -> FrameTimes | None:
    """Return the times of the fourth axis in space, None where there is none."""
    if len(places) < 4:
        return None
    vector, start = vectors[places[3]], 0.0
    if vector is not None:
        interval = math.sqrt(sum(n * n for n in vector))
        origin = fields.get("spaceorigin")
        numbers = _vector(path, "space origin", origin) if origin else ()
        start = numbers[3] if len(numbers) > 3 else 0.0
        return FrameTimes(start, interval, False, "space directions")
    texts = fields.get("spacings", "").split()
    interval = number(path, "spacings", texts[places[3]]) if len(texts) > places[3] else 1.0
    return FrameTimes(start, interval, False, "spacings")


def _axis_keys(fields: dict[str, str], value_axis: int | None) -> dict[str, str]:
    """Return label and unit of the axis that holds several values, under the names of ITK."""
    found = {}
    if value_axis is not None:
        for name in ("labels", "units"):
            quoted = re.findall(r'"([^"]*)"', fields.get(name, ""))
            if len(quoted) > value_axis and quoted[value_axis]:
                found[f"NRRD_{name}[pixel]"] = quoted[value_axis]
    return found
