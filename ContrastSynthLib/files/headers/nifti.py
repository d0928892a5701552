"""The header of a NIfTI-1 or NIfTI-2 file (.nii, .nii.gz).

A file may have two positions, the qform (a rotation as a quaternion) and the sform (a matrix), each
with a code; 0 means none. Which one counts is decided as by the reader of 3D Slicer, ITK: the sform
where it has right angles and its code is 1 or the qform has none; else the qform. The length of
voxels is always that of pixdim.
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.headers.image import (
    GZIP,
    LARGEST_ENTRY,
    LONGEST_HEADER_BYTES,
    RAW,
    ROUNDED_SHEAR,
    FrameTimes,
    Geometry,
    ImageHeader,
    Matrix,
    check_sizes,
    refusal,
    shear_of,
)
from ContrastSynthLib.geometry import Grid, refuse_shear

NOTE_KEY = "ITK_FileNotes"
"""The key under which the 80 bytes of ``descrip`` are known; ITK writes it there."""

_MATRIX = [("srow_x", "4f"), ("srow_y", "4f"), ("srow_z", "4f")]
_QUATERNION = [(f"{name}", "f") for name in ("quatern_b", "quatern_c", "quatern_d")]
_OFFSET = [(f"{name}", "f") for name in ("qoffset_x", "qoffset_y", "qoffset_z")]
_NIFTI_1 = [
    *[("sizeof_hdr", "i4"), ("data_type", "S10"), ("db_name", "S18"), ("extents", "i4")],
    *[("session_error", "i2"), ("regular", "S1"), ("dim_info", "u1"), ("dim", "8i2")],
    *[("intent_p", "3f"), ("intent_code", "i2"), ("datatype", "i2"), ("bitpix", "i2")],
    *[("slice_start", "i2"), ("pixdim", "8f"), ("vox_offset", "f"), ("scl_slope", "f")],
    *[("scl_inter", "f"), ("slice_end", "i2"), ("slice_code", "u1"), ("xyzt_units", "u1")],
    *[("cal_max", "f"), ("cal_min", "f"), ("slice_duration", "f"), ("toffset", "f")],
    *[("glmax", "i4"), ("glmin", "i4"), ("descrip", "S80"), ("aux_file", "S24")],
    *[("qform_code", "i2"), ("sform_code", "i2"), *_QUATERNION, *_OFFSET, *_MATRIX],
    *[("intent_name", "S16"), ("magic", "S4")],
]
_NIFTI_2 = [
    *[("sizeof_hdr", "i4"), ("magic", "S8"), ("datatype", "i2"), ("bitpix", "i2")],
    *[("dim", "8i8"), ("intent_p", "3f8"), ("pixdim", "8f8"), ("vox_offset", "i8")],
    *[("scl_slope", "f8"), ("scl_inter", "f8"), ("cal_max", "f8"), ("cal_min", "f8")],
    *[("slice_duration", "f8"), ("toffset", "f8"), ("slice_start", "i8"), ("slice_end", "i8")],
    *[("descrip", "S80"), ("aux_file", "S24"), ("qform_code", "i4"), ("sform_code", "i4")],
    *[(name, kind + "8") for name, kind in (*_QUATERNION, *_OFFSET, *_MATRIX)],
    *[("slice_code", "i4"), ("xyzt_units", "i4"), ("intent_code", "i4")],
    *[("intent_name", "S16"), ("dim_info", "u1"), ("unused", "S15")],
]
LAYOUTS = {348: np.dtype(_NIFTI_1), 540: np.dtype(_NIFTI_2)}
"""The fields by the number of bytes that a header says it has."""
MAGIC = {348: b"n+1", 540: b"n+2\0\r\n\x1a\n"}

# The numbers' type by ``datatype``; of the others the name, for the message.
KINDS = {
    **{2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8"},
    **{256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"},
}
SEVERAL_VALUES = {32: ("f4", 2), 1792: ("f8", 2), 128: ("u1", 3), 2304: ("u1", 4)}
INTENTS_OF_VECTORS = {1005, 1007}  # a symmetric matrix, a vector: their values are the fifth axis
# What ITK does not distinguish from no scaling.
ROUNDING = 2e-16
MM_PER = {1: 1e3, 2: 1.0, 3: 1e-3}
SECONDS_PER = {8: 1.0, 16: 1e-3, 24: 1e-6}


def parse_nifti(path: Path) -> ImageHeader:
    """Return the header of the file at ``path``; RequestError where it is no whole NIfTI header."""
    start, packing = _first_bytes(path)
    fields = _fields(path, start)
    sizes, kind, value_axis = _array(path, fields)
    notes: list[str] = []
    slope, intercept = _scale(path, fields, notes)
    geometry = _geometry(path, fields, sizes, notes)
    if value_axis is not None and value_axis == 0:
        sizes = (SEVERAL_VALUES[int(fields["datatype"])][1], *sizes)
    return ImageHeader(
        path,
        sizes,
        kind,
        geometry,
        data_path=path,
        skipped=_voxel_offset(path, fields),
        packing=packing,
        value_axis=value_axis,
        slope=slope,
        intercept=intercept,
        frame_times=_frame_times(fields),
        keys={NOTE_KEY: bytes(fields["descrip"]).partition(b"\0")[0].decode("utf-8", "replace")},
        notes=tuple(notes),
    )


def _first_bytes(path: Path) -> tuple[bytes, str]:
    """Return the start of the unpacked file, and whether it is packed: by its content."""
    longest = max(LAYOUTS)
    try:
        with path.open("rb") as file:
            start = file.read(longest)
            if start[:2] != b"\x1f\x8b":
                return start, RAW
            file.seek(0)
            with gzip.GzipFile(fileobj=file) as packed:
                return packed.read(longest), GZIP
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise refusal(path, "its first bytes cannot be unpacked: truncated or damaged") from None


def _fields(path: Path, start: bytes) -> Any:
    order: Literal["<", ">"]
    for order in ("<", ">"):
        for length, layout in LAYOUTS.items():
            if len(start) < length or int(np.frombuffer(start, order + "i4", 1)[0]) != length:
                continue
            fields = np.frombuffer(start, layout.newbyteorder(order), count=1)[0]
            magic = bytes(fields["magic"])
            if magic == MAGIC[length].rstrip(b"\0"):
                return fields
            if length == 348 and magic == b"":
                raise refusal(
                    path,
                    "the field magic is empty: an Analyze 7.5 file, which does not say where the "
                    "voxels lie. Convert it to NIfTI with the program that made it",
                )
            if magic in (b"ni1", b"ni2"):
                raise refusal(
                    path, "its voxels are in a second file (.img); convert the pair to one .nii"
                )
            raise refusal(path, f"the field magic holds {magic!r}, which no NIfTI file has")
    raise refusal(path, "it does not begin with the 348 or 540 bytes of a NIfTI header")


def _array(path: Path, fields: Any) -> tuple[tuple[int, ...], np.dtype[np.generic], int | None]:
    """Return the sizes, the type of numbers, and the axis of several values in one voxel.

    Axes of one voxel above the third do not count, unless they are the axis of values.
    """
    count = int(fields["dim"][0])
    if not 1 <= count <= 7:
        raise refusal(path, f"dim[0] is {count}; expected 3 axes, or 4 in a series")
    sizes = [int(n) for n in fields["dim"][1 : count + 1]]
    sizes[3:] = [n or 1 for n in sizes[3:]]  # some writers leave 0 where there is no axis
    check_sizes(path, sizes, lambda axis: f"dim[{axis + 1}]")
    code, order = int(fields["datatype"]), fields.dtype["datatype"].byteorder
    if code in SEVERAL_VALUES:
        value_axis: int | None = 0
        kind = SEVERAL_VALUES[code][0]
    elif code in KINDS:
        vector = int(fields["intent_code"]) in INTENTS_OF_VECTORS and count >= 5
        value_axis, kind = (4 if vector else None), KINDS[code]
    else:
        raise refusal(path, f"datatype is {code}; expected whole numbers or floats of 1 to 8 bytes")
    while len(sizes) > (5 if value_axis == 4 else 3) and sizes[-1] == 1:
        sizes.pop()
    return tuple(sizes), np.dtype(kind).newbyteorder(order), value_axis


def _voxel_offset(path: Path, fields: Any) -> int:
    offset, least = float(fields["vox_offset"]), fields.dtype.itemsize + 4
    if not (least <= offset <= least + LONGEST_HEADER_BYTES and offset == int(offset)):
        raise refusal(
            path, f"vox_offset is {offset:g}; the voxels begin at byte {least} or behind it"
        )
    return int(offset)


def _scale(path: Path, fields: Any, notes: list[str]) -> tuple[float, float]:
    """Return slope and intercept. A slope of 0, or that is no number, means unscaled."""
    slope, intercept = float(fields["scl_slope"]), float(fields["scl_inter"])
    if slope == 0 or math.isnan(slope):
        if intercept and not math.isnan(intercept):
            notes.append(
                f"scl_slope is {slope:g}, which means that the stored numbers are the voxels; "
                f"scl_inter {intercept:g} does not count then."
            )
        return 1.0, 0.0
    if abs(slope - 1) < ROUNDING and abs(intercept) < ROUNDING:
        return 1.0, 0.0
    for name, value in (("scl_slope", slope), ("scl_inter", intercept)):
        if not math.isfinite(value):
            raise refusal(path, f"{name} is {value}; expected a finite number")
    return slope, intercept


def _frame_times(fields: Any) -> FrameTimes | None:
    interval, start = float(fields["pixdim"][4]), float(fields["toffset"])
    unit = SECONDS_PER.get(int(fields["xyzt_units"]) & 0x38)
    start = start if math.isfinite(start) else 0.0
    return FrameTimes(start * (unit or 1), interval * (unit or 1), unit is not None, "pixdim[4]")


# Where the voxels lie


def _geometry(path: Path, fields: Any, sizes: tuple[int, ...], notes: list[str]) -> Geometry | None:
    if len(sizes) < 3:
        return None
    unit = MM_PER.get(int(fields["xyzt_units"]) & 7, 1.0)
    spacing = _spacing(path, fields, unit, notes)
    qform, sform = _qform(path, fields), _sform(path, fields)
    if qform is None and sform is None:
        notes.append(
            "The file does not say how the patient lies: qform_code and sform_code are 0. Axes i, "
            "j and k were taken to point to the left, the back and the head, as 3D Slicer does."
        )
        return Geometry(spacing, (0.0, 0.0, 0.0), np.eye(3))
    chosen, name, why = _choose(path, fields, qform, sform)
    made = _lps(chosen, spacing, unit)
    other = qform if name == "sform" else sform
    if other is not None:
        _compare(made, _lps(other, spacing, unit), sizes, (name, why), notes)
    if name == "sform" and chosen is not None:
        lengths = np.linalg.norm(chosen[:, :3], axis=0) * unit
        by_sform = Geometry((lengths[0], lengths[1], lengths[2]), made.origin_mm, made.direction)
        if _corner_distance(made, by_sform, sizes) > min(spacing):
            notes.append(
                f"The voxels measure {_shown(spacing)} mm by pixdim and {_shown(lengths)} mm by "
                "the sform. pixdim was used, as 3D Slicer does; check distances."
            )
    return made


def _spacing(path: Path, fields: Any, unit: float, notes: list[str]) -> tuple[float, float, float]:
    found = []
    for axis in (1, 2, 3):
        value = float(fields["pixdim"][axis])
        if not abs(value) < LARGEST_ENTRY:
            raise refusal(path, f"pixdim[{axis}] is {value:g}; expected millimetres")
        if value < 0:
            notes.append(
                f"pixdim[{axis}] is negative, {value:g}; a length has no sign, so {-value:g} was "
                "taken. The position is that of the file's matrix."
            )
        if value == 0:
            notes.append(f"pixdim[{axis}] is 0; 1 was taken, as 3D Slicer does.")
        found.append((abs(value) or 1.0) * unit)
    return (found[0], found[1], found[2])


def _sform(path: Path, fields: Any) -> Matrix | None:
    """Return the sform as 3x4, in the file's unit and RAS; None where its code is 0."""
    if int(fields["sform_code"]) <= 0:
        return None
    rows = np.array([fields[f"srow_{axis}"] for axis in "xyz"], dtype=np.float64)
    if not (np.abs(rows) < LARGEST_ENTRY).all():
        raise refusal(path, "srow_x, srow_y or srow_z is no position; correct the sform")
    # Of a matrix without lengths nothing can be used.
    return rows if (np.linalg.norm(rows[:, :3], axis=0) > 0).all() else None


def _qform(path: Path, fields: Any) -> Matrix | None:
    """Return the qform as 3x4, in the file's unit and RAS; None where its code is 0."""
    if int(fields["qform_code"]) <= 0:
        return None
    b, c, d, *offset = (float(fields[name]) for name, _ in (*_QUATERNION, *_OFFSET))
    rest = 1.0 - (b * b + c * c + d * d)
    if not (rest >= -0.01 and all(abs(n) < LARGEST_ENTRY for n in offset)):
        raise refusal(path, "quatern_b, quatern_c, quatern_d are no rotation; correct the qform")
    if rest < 1e-7:  # rounding: half a turn
        length = 1 / math.sqrt(b * b + c * c + d * d)
        a, b, c, d = 0.0, b * length, c * length, d * length
    else:
        a = math.sqrt(rest)
    lengths = [step if step > 0 else 1.0 for step in (float(n) for n in fields["pixdim"][1:4])]
    if fields["pixdim"][0] < 0:
        lengths[2] = -lengths[2]
    rotation = [
        [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
        [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
        [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
    ]
    scaled = np.array(rotation) * lengths
    # NIfTI-1 computes with single precision from here on, and so does every reader.
    exact = scaled if fields.dtype.itemsize == 540 else scaled.astype(np.float32)
    matrix = np.column_stack([exact.astype(np.float64), offset])
    if not (np.linalg.norm(matrix[:, :3], axis=0) > 0).all():
        raise refusal(path, f"pixdim[1] to [3] are {_shown(lengths)}; expected millimetres")
    return matrix


def _choose(
    path: Path, fields: Any, qform: Matrix | None, sform: Matrix | None
) -> tuple[Matrix, str, str]:
    """Return the matrix that counts, its name, and why it does."""
    code = int(fields["sform_code"])
    if sform is None:
        if qform is None:
            raise refusal(path, "the sform has an axis without length and there is no qform")
        return qform, "qform", "the sform has an axis without length"
    unit = sform[:, :3] / np.linalg.norm(sform[:, :3], axis=0)
    rows = unit.astype(np.float32)
    if shear_of(unit) > 1e-3 or (qform is None and shear_of(unit) > ROUNDED_SHEAR):
        try:
            refuse_shear(unit)
        except RequestError as error:
            raise RequestError(f"{path}: {error}") from None
    if qform is None:
        return sform, "sform", "there is no qform"
    right_angled = float(np.abs(rows @ rows.T - np.eye(3)).max()) <= 1e-4
    if not right_angled:
        return qform, "qform", "the axes of the sform are not at right angles"
    if code == 1 or _nearly_equal(qform, sform):
        return sform, "sform", "its code is 1, the scanner's own coordinates"
    return qform, "qform", f"the code of the sform is {code}, not 1, the scanner's own coordinates"


def _nearly_equal(qform: Matrix, sform: Matrix) -> bool:
    """Return whether both matrices are the same but for rounding.

    ITK decides this in single precision, where its answer depends on rounding, too; then the choice
    moves no voxel by more than 0.001 mm.
    """
    product = sform[:, :3] @ np.linalg.inv(qform[:, :3])
    same_axes = float(np.abs(product - np.eye(3)).max()) <= 1e-4
    return same_axes and float(np.abs(sform[:, 3] - qform[:, 3]).max()) <= 1e-3


def _lps(matrix: Matrix, spacing: tuple[float, float, float], unit: float) -> Geometry:
    """Return the geometry of a 3x4 matrix in RAS; lengths are those of pixdim."""
    flipped = matrix * np.array([[-1.0], [-1.0], [1.0]]) + 0.0  # which makes 0 of -0
    direction = np.empty((3, 3))
    for axis in range(3):
        column = [float(n) for n in flipped[:, axis]]
        length = math.sqrt(column[0] * column[0] + column[1] * column[1] + column[2] * column[2])
        direction[:, axis] = [n / length for n in column]
    x, y, z = (float(n) * unit for n in flipped[:, 3])
    return Geometry(spacing, (x, y, z), direction)


def _compare(
    used: Geometry,
    other: Geometry,
    sizes: tuple[int, ...],
    chosen: tuple[str, str],
    notes: list[str],
) -> None:
    """Note where the two positions of a file differ by more than a voxel at a corner."""
    distance = _corner_distance(used, other, sizes)
    if distance > min(used.spacing_mm):
        name, why = chosen
        unused = "sform" if name == "qform" else "qform"
        notes.append(
            f"The file has two positions, {distance:.1f} mm apart at a corner. The {name} was "
            f"used, as 3D Slicer does: {why}. Programs that use the {unused} show the scan "
            "elsewhere."
        )


def _corner_distance(one: Geometry, other: Geometry, sizes: tuple[int, ...]) -> float:
    grids = [
        Grid((sizes[0], sizes[1], sizes[2]), g.spacing_mm, g.origin_mm, tuple(g.direction.ravel()))
        for g in (one, other)
    ]
    return grids[0].corner_distance_mm(grids[1])


def _shown(lengths: Any) -> str:
    return " x ".join(f"{float(length):.4g}" for length in lengths)
