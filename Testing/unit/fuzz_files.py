"""Good files of every kind with something changed: seeded mutations for ``test_fuzz.py``."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

Rng = np.random.Generator
Files = dict[str, bytes]
"""The content of a folder, by name."""

SIZE = (12, 10, 8)
NUMBERS = np.random.default_rng(0).integers(0, 900, SIZE[::-1]).astype("<i2")
VOXELS = NUMBERS.tobytes()
# 4 GB of zeros are 4 MB of these; 16 MB in one stream.
ZEROS = gzip.compress(bytes(1 << 24))

WORDS = (
    *(
        b"",
        b" ",
        b"0",
        b"-1",
        b"1",
        b"7",
        b"nan",
        b"-inf",
        b"1e400",
        b"1e-45",
        b"1e9",
        b"1.5",
        b"abc",
    ),
    *(
        b"99999999999999999999",
        b"-9223372036854775808",
        b"2147483647",
        b"65536",
        b"\0",
        b"\xff\xfe",
    ),
    *(
        b"\xc3\x28",
        b"x" * 5000,
        b"9" * 5000,
        b"1_0",
        b"0x10",
        b"%s%n",
        b"../../etc/passwd",
        b"/dev/zero",
    ),
    *(b"LIST", b"a%03d.raw 1 9 1", b"none", b"True", b"gzip", b"raw", b"ascii", b"hex", b"bzip2"),
    *(b"(1,0,0)", b"(nan,nan,nan)", b"double", b"uint8", b"MET_DOUBLE", b"big", b"list", b"time"),
)
NUMBERS_AT_THE_EDGE = (0.0, -0.0, -1.0, 1e-45, 1e-9, 1e9, 3e38, np.nan, np.inf, -np.inf)
WHOLE_NUMBERS_AT_THE_EDGE = (0, 1, -1, 2, 7, 8, 127, 255, 256, 1024, 1536, 2304, 32767, -32768)


@dataclass(frozen=True)
class Case:
    """What to do with the file ``target`` of a folder; ``what`` was done to it.

    With ``same`` only the right voxels or a refusal will do: a checksum guards what was changed.
    """

    kind: str
    what: str
    files: Files
    target: str
    same: bool = False


@dataclass(frozen=True)
class Base:
    """A good file of a kind. ``texts`` are names whose lines are fields, ``packed`` of streams."""

    kind: str
    target: str
    files: Files
    texts: tuple[str, ...] = ()
    packed: tuple[str, ...] = ()
    head: dict[str, int] = field(default_factory=dict)


def nifti_bytes(layout: int = 1) -> bytes:
    """Return a NIfTI-1 or NIfTI-2 file of NUMBERS."""
    import nibabel

    kind = nibabel.Nifti1Image if layout == 1 else nibabel.Nifti2Image
    image = kind(NUMBERS.T, np.diag([1.0, 1.25, 2.0, 1.0]), dtype=NUMBERS.dtype)
    image.header.set_xyzt_units("mm", "sec")
    return bytes(image.to_bytes())


def nrrd_head(encoding: str, *more: str) -> bytes:
    """Return the header of a NRRD file of NUMBERS."""
    lines = [
        *("NRRD0005", "type: short", "dimension: 3", "space: left-posterior-superior"),
        *("sizes: 12 10 8", "space directions: (1,0,0) (0,1.25,0) (0,0,2)", "endian: little"),
        *("kinds: domain domain domain", f"encoding: {encoding}", "space origin: (1,2,3)"),
        *("ContrastSynth.echo_time_s:=0.003", *more),
    ]
    return "\n".join([*lines, "", ""]).encode()


def sequence_head() -> bytes:
    """Return the header of a `.seq.nrrd` of two volumes."""
    lines = [
        *("NRRD0005", "type: short", "dimension: 4", "space: left-posterior-superior"),
        *("sizes: 2 12 10 4", "space directions: none (1,0,0) (0,1.25,0) (0,0,2)"),
        *("kinds: list domain domain domain", 'labels: "time" "" "" ""', 'units: "s" "" "" ""'),
        *("endian: little", "encoding: gzip", "space origin: (1,2,3)", "axis 0 index values:=0 85"),
    ]
    return "\n".join([*lines, "", ""]).encode()


def meta_head(packed: bool, data: str = "LOCAL") -> bytes:
    """Return the header of a MetaImage of NUMBERS."""
    lines = [
        *("ObjectType = Image", "NDims = 3", "BinaryData = True", "BinaryDataByteOrderMSB = False"),
        *(f"CompressedData = {packed}", "TransformMatrix = 1 0 0 0 1 0 0 0 1", "Offset = 1 2 3"),
        *("ElementSpacing = 1 1.25 2", "DimSize = 12 10 8", "ElementType = MET_SHORT"),
        f"ElementDataFile = {data}",
    ]
    return "\n".join([*lines, ""]).encode()


def weights_files() -> Files:
    """Return a bundle of weights that ships, under another name."""
    shipped = Path(__file__).resolve().parents[2] / "Resources" / "weights" / "h2l"
    card = json.loads((shipped / "metadata.json").read_text("utf-8")) | {"name": "fuzz"}
    return {
        "metadata.json": json.dumps(card, indent=1).encode(),
        "model.safetensors": (shipped / "model.safetensors").read_bytes(),
        "LICENSE": b"none\n",
    }


def zipped(files: Files) -> bytes:
    """Return files as one .zip."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(f"bundle/{name}"), data)
    return made.getvalue()


def images() -> list[Base]:
    """Return a good image of every format, packed and not, with its data inside and beside it."""
    packed, text = gzip.compress(VOXELS), " ".join(map(str, NUMBERS.ravel())).encode()
    one, two = nifti_bytes(), nifti_bytes(2)
    frames = np.moveaxis(NUMBERS.reshape(2, 4, 10, 12), 0, -1).tobytes()
    return [
        Base("image", "a.nii", {"a.nii": one}, head={"a.nii": 348}),
        Base("image", "b.nii", {"b.nii": two}, head={"b.nii": 540}),
        Base("image", "a.nii.gz", {"a.nii.gz": gzip.compress(one)}, packed=("a.nii.gz",)),
        Base("image", "a.nrrd", {"a.nrrd": nrrd_head("raw") + VOXELS}, ("a.nrrd",)),
        Base("image", "b.nrrd", {"b.nrrd": nrrd_head("gzip") + packed}, ("b.nrrd",), ("b.nrrd",)),
        Base("image", "c.nrrd", {"c.nrrd": nrrd_head("ascii") + text}, ("c.nrrd",)),
        Base(
            "image",
            "a.nhdr",
            {"a.nhdr": nrrd_head("raw", "data file: a.raw"), "a.raw": VOXELS},
            ("a.nhdr",),
        ),
        Base(
            "image",
            "b.nhdr",
            {"b.nhdr": nrrd_head("gzip", "data file: b.raw.gz"), "b.raw.gz": packed},
            ("b.nhdr",),
            ("b.raw.gz",),
        ),
        Base("image", "a.mha", {"a.mha": meta_head(False) + VOXELS}, ("a.mha",)),
        Base(
            "image",
            "b.mha",
            {"b.mha": meta_head(True) + zlib.compress(VOXELS)},
            ("b.mha",),
            ("b.mha",),
        ),
        Base(
            "image",
            "a.mhd",
            {"a.mhd": meta_head(True, "a.zraw"), "a.zraw": zlib.compress(VOXELS)},
            ("a.mhd",),
            ("a.zraw",),
        ),
        Base(
            "series",
            "a.seq.nrrd",
            {"a.seq.nrrd": sequence_head() + gzip.compress(frames)},
            ("a.seq.nrrd",),
        ),
    ]


def bases() -> list[Base]:
    """Return a good file of every kind; images more than once, they are most of what is read."""
    sidecar = {"RepetitionTime": 2.3, "RepetitionTimeExcitation": 0.005, "FlipAngle": 12}
    sidecar |= {"ContrastBolusIngredient": "Gadovist", "MagneticFieldStrength": 3}
    columns = ("iteration", "evaluations", "objective", "fidelity", "regulariser", "change")
    provenance = {
        "record": {"alpha_mm": 0.1, "history": {name: [2.0, 1.0] for name in columns}},
        "method": {"key": "lip_car"},
    }
    cases = b"case;pre;post;dose\nA;a.nrrd;b.nrrd;0,5\nB;a.nrrd;b.nrrd;0,1\n"
    return [
        *images(),
        Base(
            "image",
            "s.nii",
            {"s.nii": nifti_bytes(), "s.json": json.dumps(sidecar).encode()},
            ("s.json",),
        ),
        *images(),
        Base("table", "cases.csv", {"cases.csv": cases}, ("cases.csv",)),
        Base(
            "provenance",
            ".",
            {"provenance.json": json.dumps(provenance).encode()},
            ("provenance.json",),
        ),
        Base("weights", ".", weights_files(), ("metadata.json",)),
        Base("weights", "w.zip", {"w.zip": zipped(weights_files())}),
    ]


def cases(rng: Rng) -> Iterator[Case]:
    """Yield changed files without end."""
    good = bases()
    while True:
        base = good[rng.integers(len(good))]
        files = dict(base.files)
        ways: list[Callable[[Rng, Base, Files], str]] = [_bits, _bytes, _cut, _longer, _copied]
        ways += [_words] * 6 if base.texts else []
        ways += [_fields] * 8 if base.head or base.target == "a.nii.gz" else []
        ways += [_in_the_stream] * 2 if base.packed else []
        way = ways[rng.integers(len(ways))]
        what = way(rng, base, files)
        yield Case(base.kind, what, files, base.target, what.startswith("stream"))


def _one(rng: Rng, names: dict[str, bytes] | tuple[str, ...]) -> str:
    return sorted(names)[rng.integers(len(names))]


def _place(rng: Rng, data: bytes) -> int:
    """Return a place, most often near the start, where the header is."""
    most = min(len(data), 600) if rng.random() < 0.7 else len(data)
    return int(rng.integers(max(1, most)))


def _bits(rng: Rng, base: Base, files: Files) -> str:
    name = _one(rng, files)
    data = bytearray(files[name])
    places = [_place(rng, data) for _ in range(rng.integers(1, 9))]
    for place in places:
        data[place] ^= 1 << int(rng.integers(8))
    files[name] = bytes(data)
    return f"bits of {name} at {places}"


def _bytes(rng: Rng, base: Base, files: Files) -> str:
    name = _one(rng, files)
    data = bytearray(files[name])
    place, count = _place(rng, data), int(rng.integers(1, 9))
    filling = [bytes(count), b"\xff" * count, rng.bytes(count)][rng.integers(3)]
    data[place : place + count] = filling
    files[name] = bytes(data)
    return f"{count} bytes of {name} at {place}"


def _cut(rng: Rng, base: Base, files: Files) -> str:
    name = _one(rng, files)
    end = int(rng.integers(len(files[name])))
    files[name] = files[name][:end]
    return f"{name} cut to {end} bytes"


def _longer(rng: Rng, base: Base, files: Files) -> str:
    name = _one(rng, files)
    more = [rng.bytes(5), rng.bytes(3000), bytes(50), bytes(5000), ZEROS, ZEROS * 256]
    choice = int(rng.choice(len(more), p=[0.25, 0.25, 0.2, 0.2, 0.08, 0.02]))
    files[name] += more[choice]
    return f"{name} with {len(more[choice])} bytes more"


def _copied(rng: Rng, base: Base, files: Files) -> str:
    name = _one(rng, files)
    data = files[name]
    start, to = _place(rng, data), _place(rng, data)
    piece = data[start : start + int(rng.integers(1, 200))]
    files[name] = data[:to] + piece + data[to:]
    return f"{len(piece)} bytes of {name} from {start} once more at {to}"


def _words(rng: Rng, base: Base, files: Files) -> str:
    """Change one line of a text, or a word of it."""
    name = _one(rng, base.texts)
    head, end, rest = files[name].partition(b"\n\n")
    lines = head.split(b"\n")
    n = int(rng.integers(len(lines)))
    way = int(rng.integers(6))
    word = WORDS[rng.integers(len(WORDS))]
    parts = lines[n].replace(b",", b" ,").replace(b";", b" ;").split(b" ")
    if way == 0:
        done = f"line {n} of {name} is gone"
        del lines[n]
    elif way == 1:
        done = f"line {n} of {name} twice"
        lines.insert(n, lines[n])
    elif way == 2:
        done = f"a line {word[:20]!r} in {name}"
        lines.insert(n, word)
    else:
        at = int(rng.integers(len(parts)))
        done = f"word {at} of line {n} of {name} is {word[:20]!r}"
        parts[at] = word
        lines[n] = b" ".join(parts)
    files[name] = b"\n".join(lines) + end + rest
    return done


def _fields(rng: Rng, base: Base, files: Files) -> str:
    """Give a field of a NIfTI header a number at the edge of what it can hold."""
    from ContrastSynthLib.files.headers.nifti import LAYOUTS

    packed = base.target.endswith(".gz")
    name = base.target
    data = bytearray(gzip.decompress(files[name]) if packed else files[name])
    layout = LAYOUTS[base.head.get(name, 348)]
    fields = np.frombuffer(data, layout.newbyteorder("<"), count=1)
    names = [n for n in layout.names or () if layout[n].base.kind != "S"]
    chosen = names[rng.integers(len(names))]
    flat = fields[chosen].reshape(-1)
    at = int(rng.integers(flat.size))
    edges = NUMBERS_AT_THE_EDGE if flat.dtype.kind == "f" else WHOLE_NUMBERS_AT_THE_EDGE
    value = edges[rng.integers(len(edges))]
    with np.errstate(over="ignore"):
        flat[at] = np.array(value).astype(flat.dtype)
    files[name] = gzip.compress(bytes(data)) if packed else bytes(data)
    return f"{chosen}[{at}] of {name} is {value}"


def _in_the_stream(rng: Rng, base: Base, files: Files) -> str:
    """Flip a bit of a packed stream, or pack other voxels than are promised."""
    name = _one(rng, base.packed)
    data = files[name]
    start = data.index(b"\n\n") + 2 if name.endswith(".nrrd") else 0
    start = data.index(b"LOCAL\n") + 6 if name.endswith(".mha") else start
    stream = data[start:]
    if rng.random() < 0.6:
        place = int(rng.integers(len(stream)))
        spoilt = bytearray(stream)
        spoilt[place] ^= 1 << int(rng.integers(8))
        files[name] = data[:start] + bytes(spoilt)
        return f"stream of {name}: a bit at {place}"
    plain = zlib.decompress(stream, 47)
    pieces = [plain[: int(rng.integers(len(plain)))], plain + bytes(int(rng.integers(1, 4000)))]
    other = pieces[rng.integers(2)]
    pack = zlib.compress if stream[:1] == b"\x78" else gzip.compress
    files[name] = data[:start] + pack(other)
    return f"stream of {name}: {len(other)} bytes for {len(plain)}"
