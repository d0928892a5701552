"""Files as people, programs and broken disks leave them: right voxels and place, or a refusal.

Every file is made here, byte by byte where the writers would not write it, and what is right comes
from nibabel, SimpleITK or the bytes themselves.
"""

from __future__ import annotations

import gzip
import json
import os
import struct
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from ContrastSynthLib.acquisition import Acquisition
from ContrastSynthLib.cli import main
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.images import read_any_volume, read_volume, write_volume
from ContrastSynthLib.files.series import holds_series, read_series, write_series
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.volumes import Volume, times_of

sitk.ProcessObject.SetGlobalWarningDisplay(False)

SIZE = (9, 8, 7)
SPACING = (1.0, 1.25, 2.0)
ARRAY = np.random.default_rng(2).normal(100, 20, SIZE[::-1]).astype(np.float32)
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
# Fields of a NIfTI-1 header: where they are, and how they are packed.
FIELDS = {
    **{
        "sizeof_hdr": (0, "i"),
        "datatype": (70, "h"),
        "bitpix": (72, "h"),
        "vox_offset": (108, "f"),
    },
    **{"scl_slope": (112, "f"), "scl_inter": (116, "f"), "units": (123, "B"), "magic": (344, "4s")},
    **{"qform_code": (252, "h"), "sform_code": (254, "h"), "quatern_b": (256, "f")},
    **{"qoffset_x": (268, "f"), "srow_x0": (280, "f"), "intent_code": (68, "h")},
    **{f"dim{n}": (40 + 2 * n, "h") for n in range(8)},
    **{f"pixdim{n}": (76 + 4 * n, "f") for n in range(8)},
}


def affine(angles=(10, -20, 30), offset=(-10, -20, 30), shear=0.0):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * SPACING
    matrix[:3, 1] += shear * matrix[:3, 0] * SPACING[1] / SPACING[0]
    matrix[:3, 3] = offset
    return matrix


OBLIQUE, STRAIGHT = affine(), affine((0, 0, 0), (-20, -15, 25))


def nifti(path, array=ARRAY, *, sform=OBLIQUE, qform=OBLIQUE, codes=(1, 1), kind=None, **fields):
    """Write a NIfTI with the codes (sform, qform), then change fields by name."""
    image = (kind or nibabel.Nifti1Image)(array.T, np.eye(4), dtype=array.dtype)
    image.set_qform(qform, codes[1])
    image.set_sform(sform, codes[0])
    plain = path.with_name("plain.nii")
    nibabel.save(image, plain)
    data = bytearray(plain.read_bytes())
    plain.unlink()
    for name, value in fields.items():
        place, form = FIELDS[name]
        struct.pack_into("<" + form, data, place, value)
    path.write_bytes(gzip.compress(bytes(data)) if path.name.endswith(".gz") else bytes(data))
    return path


def by_itk(path):
    """Return index to RAS as SimpleITK reads it, lengths without a sign."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    matrix = np.eye(4)
    direction = np.reshape(reader.GetDirection(), (3, 3))
    matrix[:3, :3] = direction * np.abs(reader.GetSpacing())
    matrix[:3, 3] = reader.GetOrigin()
    return LPS_TO_RAS @ matrix


def refused(path, *parts, read=read_volume):
    with pytest.raises(RequestError) as caught:
        read(path)
    message = str(caught.value)
    assert path.parent.name in message
    for part in parts:
        assert part in message, message
    return message


def noted(path, *parts):
    """Read a volume; each part is in one of its notes, and without parts there are none."""
    volume = read_volume(path)
    if not parts:
        assert volume.notes == ()
    for part in parts:
        assert any(part in note for note in volume.notes), volume.notes
    return volume


# NIfTI: where the voxels lie


@pytest.mark.parametrize("sform_code", range(5))
@pytest.mark.parametrize("qform_code", range(5))
def test_of_two_positions_the_one_counts_that_slicers_reader_takes(
    tmp_path, sform_code, qform_code
):
    path = nifti(tmp_path / "a.nii", qform=STRAIGHT, codes=(sform_code, qform_code))
    volume = read_volume(path)
    np.testing.assert_allclose(volume.grid.index_to_ras, by_itk(path), atol=1e-5)
    two = any("two positions" in note for note in volume.notes)
    assert two == (sform_code > 0 and qform_code > 0)
    assert any("how the patient lies" in n for n in volume.notes) == (sform_code == qform_code == 0)


def test_the_note_on_two_positions_says_which_counts_and_why(tmp_path):
    by_code_2 = noted(nifti(tmp_path / "a.nii", qform=STRAIGHT, codes=(2, 1)), "The qform was used")
    np.testing.assert_allclose(by_code_2.grid.index_to_ras, STRAIGHT, atol=1e-4)
    (note,) = by_code_2.notes
    assert "as 3D Slicer does: the code of the sform is 2" in note
    corners = np.array(
        [[i, j, k, 1] for i in (-0.5, 8.5) for j in (-0.5, 7.5) for k in (-0.5, 6.5)]
    )
    apart = np.linalg.norm((corners @ (OBLIQUE - STRAIGHT).T)[:, :3], axis=1).max()
    assert f"{apart:.1f} mm apart" in note
    by_code_1 = noted(nifti(tmp_path / "b.nii", qform=STRAIGHT), "The sform was used")
    np.testing.assert_allclose(by_code_1.grid.index_to_ras, OBLIQUE, atol=1e-4)
    near = affine(offset=(-10.3, -20, 30))  # a third of a voxel
    noted(nifti(tmp_path / "c.nii", qform=near))
    noted(nifti(tmp_path / "d.nii", qform=affine(offset=(-11.5, -20, 30))), "1.5 mm apart")


@pytest.mark.parametrize("axis", [1, 2, 3])
@pytest.mark.parametrize("codes", [(1, 1), (1, 0), (0, 1), (2, 0), (2, 1)])
def test_a_length_has_no_sign(tmp_path, axis, codes):
    path = nifti(tmp_path / "a.nii", codes=codes, **{f"pixdim{axis}": -SPACING[axis - 1]})
    volume = noted(path, f"pixdim[{axis}] is negative")
    np.testing.assert_allclose(volume.grid.index_to_ras, OBLIQUE, atol=1e-4)


@pytest.mark.parametrize("codes", [(1, 1), (1, 0), (0, 1)])
@pytest.mark.parametrize("first", [0.0, 1.0, -1.0, 7.0])
def test_the_first_pixdim_mirrors_only_a_qform(tmp_path, codes, first):
    path = nifti(tmp_path / "a.nii", codes=codes, pixdim0=first)
    volume = read_volume(path)
    np.testing.assert_allclose(volume.grid.index_to_ras, by_itk(path), atol=1e-5)
    assert bool(volume.notes) == (first < 0 and codes == (1, 1))


def test_a_length_of_zero_is_one_as_in_slicer(tmp_path):
    path = nifti(tmp_path / "a.nii", pixdim3=0.0)
    np.testing.assert_allclose(noted(path, "pixdim[3] is 0").grid.index_to_ras, by_itk(path))


def test_lengths_that_the_sform_has_otherwise_are_noted(tmp_path):
    path = nifti(tmp_path / "a.nii", codes=(1, 0), pixdim3=4.0)
    volume = noted(path, "1 x 1.25 x 4 mm by pixdim and 1 x 1.25 x 2 mm by the sform")
    np.testing.assert_allclose(volume.grid.index_to_ras, by_itk(path), atol=1e-5)


@pytest.mark.parametrize(("unit", "factor"), [(0, 1), (1, 1e3), (2, 1), (3, 1e-3), (10, 1)])
def test_units_of_length(tmp_path, unit, factor):
    lengths = {f"pixdim{n}": SPACING[n - 1] / factor for n in (1, 2, 3)}
    matrix = OBLIQUE.copy()
    matrix[:3] /= factor
    path = nifti(tmp_path / "a.nii", sform=matrix, qform=matrix, units=unit, **lengths)
    np.testing.assert_allclose(noted(path).grid.index_to_ras, OBLIQUE, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("codes", [(1, 0), (2, 0), (1, 1)])
@pytest.mark.parametrize(("shear", "outcome"), [(5e-5, ""), (2e-4, "snapped"), (2e-3, "refused")])
def test_shear_of_rounding_goes_and_of_a_tilted_gantry_is_refused(tmp_path, codes, shear, outcome):
    path = nifti(tmp_path / "a.nii", sform=affine(shear=shear), codes=codes)
    if outcome == "refused":
        refused(path, "The grid is sheared", "Harden transform")
        return
    volume = read_volume(path)
    assert volume.notes == () or ((codes == (1, 0) or codes == (2, 0)) and outcome == "snapped")
    if outcome and codes != (1, 1):  # Slicer takes the qform where the sform has no right angles
        assert "0.01 degrees" in volume.notes[0].replace("0.011", "0.01")
    axes = np.reshape(volume.grid.direction, (3, 3))
    assert np.abs(axes.T @ axes - np.eye(3)).max() < (1e-4 if not outcome else 1e-6)
    np.testing.assert_allclose(volume.grid.index_to_ras, affine(shear=shear), atol=1e-3)


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"pixdim1": np.nan}, "pixdim[1] is nan"),
        ({"pixdim3": np.inf}, "pixdim[3] is inf"),
        ({"pixdim1": 1e-45, "qform_code": 0}, "the voxel spacing along i is 1.4"),
        ({"pixdim1": 1e-45, "sform_code": 0}, "e-45"),
        ({"pixdim1": 1e-45, "sform_code": 2}, "e-45"),
        ({"pixdim2": 0.009}, "along j is 0.009 mm. Expected 0.01 to 100 mm"),
        ({"pixdim3": 101.0}, "along k is 101 mm"),
        ({"pixdim3": 1e9}, "along k is 1e+09 mm"),
        ({"srow_x0": np.nan}, "srow_x"),
        ({"qoffset_x": np.inf}, "quatern_b"),
        ({"quatern_b": 3.0}, "quatern_b"),
        ({"quatern_b": np.nan}, "quatern_b"),
        ({"dim0": 0}, "dim[0] is 0"),
        ({"dim0": 8}, "dim[0] is 8"),
        ({"dim0": -1}, "dim[0] is -1"),
        ({"dim2": 0}, "dim[2] is 0"),
        ({"dim1": -9}, "dim[1] is -9"),
        ({"datatype": 0}, "datatype is 0"),
        ({"datatype": 1536}, "datatype is 1536"),
        ({"datatype": 128}, "3 values in each voxel"),
        ({"vox_offset": 0.0}, "vox_offset is 0"),
        ({"vox_offset": 348.0}, "vox_offset is 348"),
        ({"vox_offset": -1e30}, "vox_offset is -1e+30"),
        ({"vox_offset": np.nan}, "vox_offset is nan"),
        ({"vox_offset": 352.5}, "vox_offset is 352.5"),
        ({"vox_offset": 400.0}, "truncated"),
        ({"magic": b"\0\0\0\0"}, "Analyze 7.5"),
        ({"magic": b"ni1\0"}, "second file (.img)"),
        ({"magic": b"n+7\0"}, "the field magic"),
        ({"sizeof_hdr": 349}, "does not begin with"),
        ({"scl_slope": np.inf}, "scl_slope is inf"),
        ({"scl_slope": 2.0, "scl_inter": -np.inf}, "scl_inter is -inf"),
        ({"scl_slope": 1.0, "scl_inter": 2e9}, "lost in single precision"),
        ({"scl_slope": 1e38}, "not finite"),
        ({"scl_slope": 1e-45}, "lost in single precision"),
    ],
)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_header_of_nifti_that_cannot_be(tmp_path, fields, part, suffix):
    path = nifti(tmp_path / f"a{suffix}", **fields)
    refused(path, "a.nii", part)


@pytest.mark.parametrize("origin", [(0, 0, 1e5), (np.inf, 0, 0)])
def test_no_scanner_is_ten_metres_long(tmp_path, origin):
    matrix = affine(offset=origin)
    path = tmp_path / "a.nii"
    refused(nifti(path, sform=matrix, qform=STRAIGHT), "srow" if np.inf in origin else "100000 mm")


# NIfTI: the numbers


KINDS = ("u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("slope", "inter"), [(1.0, 0.0), (0.37, -12.5), (2.0, 0.0)])
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_type_of_number_as_itk_reads_it_to_the_bit(tmp_path, kind, slope, inter, order):
    numbers = np.random.default_rng(1).normal(0 if kind[0] != "u" else 60, 20, SIZE[::-1])
    array = (numbers * (1 if kind[1] == "1" else 300)).clip(-120, None).astype(kind)
    image = nibabel.Nifti1Image(array.T, OBLIQUE, dtype=array.dtype)
    header = image.header.as_byteswapped(order)
    header["scl_slope"], header["scl_inter"], header["vox_offset"] = slope, inter, 352
    path = tmp_path / "a.nii"
    stored = array.astype(np.dtype(kind).newbyteorder(order))
    path.write_bytes(header.binaryblock + bytes(4) + stored.tobytes())
    volume = read_volume(path)
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(path), sitk.sitkFloat32))
    np.testing.assert_array_equal(volume.array, expected)
    by_nibabel = nibabel.load(path).get_fdata().T
    np.testing.assert_allclose(volume.array, by_nibabel, rtol=1e-6, atol=1e-4)


def test_a_slope_of_zero_means_unscaled(tmp_path):
    for slope in (0.0, np.nan):
        path = nifti(tmp_path / "a.nii", scl_slope=slope, scl_inter=5.0)
        np.testing.assert_array_equal(noted(path, "scl_inter 5 does not count").array, ARRAY)
        path = nifti(tmp_path / "b.nii", scl_slope=slope, scl_inter=np.nan)
        np.testing.assert_array_equal(noted(path).array, ARRAY)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_nifti_2_is_read(tmp_path, suffix, order):
    header = nibabel.Nifti2Header(endianness=order)
    header.set_data_dtype(order + "f4")
    image = nibabel.Nifti2Image(ARRAY.T, None, header)
    image.set_sform(OBLIQUE, 1)
    image.set_qform(OBLIQUE, 1)
    path = tmp_path / f"a{suffix}"
    nibabel.save(image, path)
    volume = noted(path)
    np.testing.assert_array_equal(volume.array, ARRAY)
    np.testing.assert_allclose(volume.grid.index_to_ras, OBLIQUE, atol=1e-6)
    path.write_bytes(path.read_bytes()[:300])
    refused(path, "cannot be")


def test_bytes_between_header_and_voxels_are_no_voxels(tmp_path):
    for suffix in (".nii", ".nii.gz"):
        image = nibabel.Nifti1Image(ARRAY.T, OBLIQUE)
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension(6, b"a comment" * 1000))
        nibabel.save(image, tmp_path / f"a{suffix}")
        np.testing.assert_array_equal(noted(tmp_path / f"a{suffix}").array, ARRAY)


# All formats: stored bytes against promised ones


def written(path, compress=True):
    write_volume(Volume(ARRAY, Grid(SIZE, SPACING)), path, compress=compress)
    return path


@pytest.mark.parametrize("axis", [1, 2, 3])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_nifti_that_promises_other_sizes_than_are_stored(tmp_path, axis, suffix):
    size = SIZE[axis - 1]
    fewer = nifti(tmp_path / f"a{suffix}", **{f"dim{axis}": size - 1})
    refused(fewer, "its header promises", "more follow")
    refused(nifti(tmp_path / f"b{suffix}", **{f"dim{axis}": size + 1}), "truncated")
    refused(nifti(tmp_path / f"c{suffix}", **{f"dim{axis}": 32767}), "truncated")
    refused(nifti(tmp_path / f"d{suffix}", datatype=4, bitpix=16), "the type of numbers")


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
@pytest.mark.parametrize("compress", [True, False])
def test_a_nrrd_or_mha_that_promises_other_sizes_than_are_stored(tmp_path, suffix, compress):
    path = written(tmp_path / f"a{suffix}", compress)
    data = path.read_bytes()
    for sizes, part in ((b"9 8 6", "more follow"), (b"9 8 8", "truncated"), (b"9 8 0", "is 0")):
        path.write_bytes(data.replace(b"9 8 7", sizes, 1))
        refused(path, part)
    for wrong in (b"9 8", b"9 8 -7", b"9 8 7.5", b"9 8 99999999999999999999", b"9 8 abc", b""):
        path.write_bytes(data.replace(b"9 8 7", wrong, 1))
        refused(path)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_bytes_behind_the_packed_voxels_are_a_warning(tmp_path, suffix):
    path = written(tmp_path / f"a{suffix}")
    whole = path.read_bytes()
    for behind in (b"garbage" * 20, b"\x1f\x8bnot packed at all", b"x"):
        path.write_bytes(whole + behind)
        np.testing.assert_array_equal(noted(path, "belong to no packed voxels").array, ARRAY)
    path.write_bytes(whole + bytes(5000))  # as on tapes
    np.testing.assert_array_equal(noted(path).array, ARRAY)


def test_a_few_bytes_behind_plain_voxels_are_a_warning_and_a_layer_an_error(tmp_path):
    for suffix in (".nii", ".nrrd", ".mha"):
        path = written(tmp_path / f"a{suffix}", compress=False)
        whole = path.read_bytes()
        path.write_bytes(whole + b"\n\n")
        np.testing.assert_array_equal(noted(path, "2 bytes behind the voxels").array, ARRAY)
        path.write_bytes(whole + bytes(9 * 8 * 4))
        refused(path, "288 more follow")


def test_voxels_in_several_packed_pieces_are_one_volume(tmp_path):
    path = nifti(tmp_path / "a.nii")
    data = path.read_bytes()
    packed = tmp_path / "b.nii.gz"
    packed.write_bytes(b"".join(gzip.compress(data[n : n + 500]) for n in range(0, len(data), 500)))
    np.testing.assert_array_equal(noted(packed).array, ARRAY)
    packed.write_bytes(gzip.compress(data[:-4]))
    refused(packed, "truncated")
    packed.write_bytes(gzip.compress(data) + gzip.compress(bytes(4000)))
    refused(packed, "4000 more follow")


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_gigabytes_of_packed_zeros_take_no_memory(tmp_path, suffix):
    path = written(tmp_path / f"a{suffix}")
    whole = path.read_bytes()
    if suffix == ".mha":  # one stream: voxels and then zeros
        start = whole.index(b"LOCAL\n") + 6
        stream = zlib.compressobj(1)
        packed = [
            stream.compress(ARRAY.tobytes()),
            *(stream.compress(bytes(1 << 24)) for _ in "1234567"),
        ]
        path.write_bytes(whole[:start] + b"".join(packed) + stream.flush())
    else:
        path.write_bytes(whole + gzip.compress(bytes(1 << 24)) * 256)
    tracemalloc.start()
    refused(path, "at least", "more follow")
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_the_memory_of_a_good_file_is_hardly_more_than_its_volume(tmp_path, suffix):
    array = np.random.default_rng(0).normal(100, 20, (64, 128, 128)).astype(np.float32)
    path = tmp_path / f"a{suffix}"
    write_volume(Volume(array, Grid((128, 128, 64))), path)
    tracemalloc.start()
    volume = read_volume(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.6 * array.nbytes + (4 << 20)
    np.testing.assert_array_equal(volume.array, array)


def test_a_file_that_promises_more_than_the_computer_has_is_refused(tmp_path):
    path = written(tmp_path / "a.nrrd", compress=False)
    head = path.read_bytes().split(b"\n\n")[0] + b"\n\n"
    head = head.replace(b"9 8 7", b"60000 60000 600")
    path.write_bytes(head)
    os.truncate(path, len(head) + 60000 * 60000 * 600 * 4)  # a hole: takes no disk
    refused(path, "more than the memory of this computer")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_what_is_no_plain_file_does_not_hang(tmp_path):
    for name in ("a.nii", "a.nrrd", "a.dcm", "a"):
        os.mkfifo(tmp_path / name)
        refused(tmp_path / name, "not a plain file")
        assert not holds_series(tmp_path / name)


# NRRD


def nrrd(path, data, **fields):
    """Write a NRRD of ARRAY's kind with changed fields; None leaves one out."""
    given = {
        "type": "float",
        "dimension": "3",
        "space": "left-posterior-superior",
        "sizes": "9 8 7",
        "space_directions": "(1,0,0) (0,1.25,0) (0,0,2)",
        "kinds": "domain domain domain",
        "endian": "little",
        "encoding": "raw",
        "space_origin": "(1,2,3)",
    } | fields
    lines = [f"{n.replace('_', ' ')}: {v}" for n, v in given.items() if v is not None]
    path.write_bytes("\n".join(["NRRD0005", *lines, "", ""]).encode() + data)
    return path


@pytest.mark.parametrize("encoding", ["raw", "gzip", "gz", "ascii", "text", "txt", "RAW"])
@pytest.mark.parametrize(("name", "kind"), [("float", "<f4"), ("short", ">i2"), ("uint8", "u1")])
def test_encodings_of_nrrd(tmp_path, encoding, name, kind):
    array = np.arange(504).reshape(SIZE[::-1]) % 200
    plain = array.astype(kind).tobytes()
    data = {"g": gzip.compress(plain), "r": plain}.get(encoding[0].lower())
    data = " ".join(map(str, array.ravel())).encode() if data is None else data
    order = "big" if kind[0] == ">" else "little"
    path = nrrd(tmp_path / "a.nrrd", data, type=name, encoding=encoding, endian=order)
    np.testing.assert_array_equal(noted(path).array, array)


@pytest.mark.parametrize(
    ("numbers", "part"),
    [
        (["1", "2", "3"], "truncated"),
        (["1"] * 505, "more numbers follow"),
        (["1"] * 503 + ["x"], "is no number"),
        (["1"] * 503 + ["1" * 5000], "is no number"),
        (["1"] * 503 + ["70000"], "is no number of the type int16"),
        (["1"] * 503 + ["1.5"], "is no number of the type int16"),
        (["1"] * 503 + ["nan"], "is no number of the type int16"),
    ],
)
def test_text_that_is_no_voxels(tmp_path, numbers, part):
    text = " ".join(numbers).encode()
    refused(nrrd(tmp_path / "a.nrrd", text, type="short", encoding="ascii"), part)


def test_raw_voxels_that_are_said_to_be_text(tmp_path):
    refused(nrrd(tmp_path / "a.nrrd", ARRAY.tobytes(), encoding="text"), "is no number")
    path = nrrd(tmp_path / "b.nrrd", b"1 2 3", encoding="ascii", sizes="1000 1000 1000")
    tracemalloc.start()
    refused(path, "truncated")
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"space_directions": None}, "'space directions' is missing"),
        ({"space_directions": None, "space": None}, "'space directions' is missing"),
        ({"space_directions": "(1,0,0) (0,1,0)"}, "does not hold 3 vectors"),
        ({"space_directions": "(1,0,0) (0,1,0) (0,0,x)"}, "'x', which is no number"),
        ({"space_directions": "(1,0,0) (0,1,0) (0,0,nan)"}, "'nan', which is no number"),
        ({"space_directions": "(1,0,0) (0,1,0) (0,0)"}, "3 numbers for each axis"),
        ({"space_directions": "(1,0,0) (0,1,0) (0,0,0)"}, "an axis of the length 0"),
        ({"space_directions": "(1,0,0) (0,1,0) (0,0,1e-9)"}, "spacing along k is 1e-09 mm"),
        ({"space_directions": "(1e9,0,0) (0,1e9,0) (0,0,1e9)"}, "spacing along i is 1e+09 mm"),
        ({"space_directions": "(1,0,0) (1,0,0) (0,0,1)"}, "sheared"),
        ({"space_origin": "(0,0)"}, "'space origin' has 2 numbers"),
        ({"space_origin": "(0,0,inf)"}, "no number"),
        ({"space_origin": "(0,0,1e7)"}, "the first voxel lies at 0 0 1e+07 mm"),
        ({"space": "outer-space"}, "'space' is 'outer-space'"),
        ({"space": None}, "'space' is missing"),
        ({"space": ""}, "'space' is missing"),
        ({"encoding": "bzip2"}, "'encoding' is 'bzip2'"),
        ({"encoding": "hex"}, "'encoding' is 'hex'"),
        ({"encoding": None}, "'encoding' is ''"),
        ({"endian": None}, "'endian' is ''"),
        ({"endian": "middle"}, "'endian' is 'middle'"),
        ({"type": "block"}, "'type' is 'block'"),
        ({"type": None}, "'type' is missing"),
        ({"dimension": "4"}, "'sizes' has 3 numbers"),
        ({"dimension": "99"}, "'sizes' has 3 numbers"),
        ({"sizes": None}, "'sizes' is missing"),
        ({"kinds": "domain domain"}, "'kinds' has 2 entries"),
        ({"sorcery": "1"}, "no field of NRRD: b'sorcery"),
        ({"line_skip": "5000"}, "no 5000 lines"),
        ({"byte_skip": "-2"}, "not possible"),
    ],
)
def test_a_header_of_nrrd_that_cannot_be(tmp_path, fields, part):
    refused(nrrd(tmp_path / "a.nrrd", ARRAY.tobytes(), **fields), "a.nrrd", part)


def test_a_header_of_nrrd_that_is_no_text_or_has_no_end(tmp_path):
    path = tmp_path / "a.nrrd"
    for line in (b"sizes: 9 8 7\n", b"s\xffzes: 1\n", b"\0\0\0: 1\n", b"no colon at all\n"):
        nrrd(path, b"")
        path.write_bytes(path.read_bytes().rstrip(b"\n") + b"\n" + line + b"\n" + ARRAY.tobytes())
        refused(path, "header")
    path.write_bytes(b"NRRD0005\n" + b"x" * (17 << 20))
    refused(path, "its header has no end")
    path.write_bytes(b"NRRD0009\n\n")
    refused(path, "does not begin")


def test_a_text_of_latin_1_in_the_header_costs_nobody_the_scan(tmp_path):
    path = nrrd(tmp_path / "a.nrrd", b"")
    head = path.read_bytes().rstrip(b"\n")
    path.write_bytes(head + b"\ncontent: M\xfcller\nPatient:=M\xfcller\n\n" + ARRAY.tobytes())
    np.testing.assert_array_equal(noted(path).array, ARRAY)


@pytest.mark.parametrize(
    "space",
    [
        *("left-posterior-superior", "LPS", "right-anterior-superior", "RAS"),
        *("left-anterior-superior", "LAS", "scanner-xyz", "3D-right-handed"),
    ],
)
def test_spaces_of_nrrd_as_itk_reads_them(tmp_path, space):
    columns = (affine() @ np.diag([1, 1, 1, 0]))[:3, :3].T
    directions = " ".join("(" + ",".join(map(repr, map(float, c))) + ")" for c in columns)
    data = ARRAY.tobytes()
    path = nrrd(tmp_path / "a.nrrd", data, space=space, space_directions=directions)
    volume = noted(path, *(["anatomical space"] if space[0] in "s3" else []))
    np.testing.assert_allclose(volume.grid.index_to_ras, by_itk(path), atol=1e-12)


def test_spacings_without_directions_as_itk_reads_them_with_a_note(tmp_path):
    data = ARRAY.tobytes()
    none = {"space": None, "space_directions": None, "space_origin": None}
    path = nrrd(tmp_path / "a.nrrd", data, spacings="1 1.25 2", **none)
    volume = noted(path, "how the patient lies")
    np.testing.assert_array_equal(volume.grid.index_to_ras, by_itk(path))
    refused(nrrd(tmp_path / "b.nrrd", data, spacings="1 1.25 nan", **none), "no number")
    refused(nrrd(tmp_path / "c.nrrd", data, spacings="1 1.25 -2", **none), "spacing along k is -2")


# Data beside a header


def detached(tmp_path, data, name="a.raw", header="a.nhdr", **fields):
    (tmp_path / "a.raw").write_bytes(data)
    return nrrd(tmp_path / header, b"", **fields, data_file=name)


def test_data_beside_a_nrrd_header(tmp_path):
    plain = ARRAY.tobytes()
    for name in ("a.raw", "./a.raw"):
        np.testing.assert_array_equal(noted(detached(tmp_path, plain, name)).array, ARRAY)
    skips = [(b"12345", {"byte_skip": "5"}), (b"two\nlines\n", {"line_skip": "2"})]
    for before, fields in [*skips, (b"anything", {"byte_skip": "-1"})]:
        path = detached(tmp_path, before + plain, **fields)
        np.testing.assert_array_equal(noted(path).array, ARRAY)
    packed = detached(tmp_path, gzip.compress(b"12345" + plain), encoding="gzip", byte_skip="5")
    np.testing.assert_array_equal(noted(packed).array, ARRAY)
    refused(detached(tmp_path, plain[:-1]), "a.raw: truncated")
    refused(detached(tmp_path, plain + bytes(288)), "288 more follow in 'a.raw'")


def test_one_flipped_bit_beside_a_header_is_noticed(tmp_path):
    packed = bytearray(gzip.compress(ARRAY.tobytes(), 0))
    for place in (len(packed) // 2, len(packed) - 6):  # in the voxels, in the checksum
        packed[place] ^= 4
        refused(detached(tmp_path, bytes(packed), encoding="gzip"), "a.raw: truncated or damaged")
        packed[place] ^= 4


@pytest.mark.parametrize(
    "name",
    [
        *(
            "/dev/zero",
            "/dev/stdin",
            "../a.raw",
            "sub/a.raw",
            ".//a.raw",
            "..",
            ".",
            "sub",
            "sub\\a",
        ),
        *("C:\\a.raw", "absent.raw", "link.raw", "a%03d.raw 1 10 1", "LIST", "LIST 2", "a.raw\0"),
    ],
)
@pytest.mark.parametrize("kind", ["nhdr", "mhd"])
def test_data_anywhere_else_is_refused(tmp_path, name, kind):
    home = tmp_path / "home"
    (home / "sub").mkdir(parents=True)
    for place in (tmp_path / "a.raw", home / "a.raw", home / "sub" / "a.raw"):
        place.write_bytes(ARRAY.tobytes())
    (home / "link.raw").symlink_to(tmp_path / "a.raw")
    if kind == "nhdr":
        path = nrrd(home / "a.nhdr", b"", data_file=name)
    else:
        path = mha(home / "a.mhd", b"", ElementDataFile=name)
    refused(path, "several files" if "%" in name or "LIST" in name else "data file")


@pytest.mark.parametrize("name", ["a.raw", "/dev/zero", "/etc/passwd"])
def test_a_file_of_its_own_names_no_other(tmp_path, name):
    (tmp_path / "a.raw").write_bytes(ARRAY.tobytes())
    refused(nrrd(tmp_path / "a.nrrd", b"", data_file=name), "Only a header that ends in .nhdr")
    path = mha(tmp_path / "a.mha", b"", ElementDataFile=name)
    refused(path, "Only a header that ends in .mhd")


# MetaImage


def mha(path, data, **fields):
    given = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "TransformMatrix": "1 0 0 0 1 0 0 0 1",
        "Offset": "1 2 3",
        "ElementSpacing": "1 1.25 2",
        "DimSize": "9 8 7",
        "ElementType": "MET_FLOAT",
        "ElementDataFile": "LOCAL",
    } | fields
    last = given.pop("ElementDataFile")
    lines = [f"{name} = {value}" for name, value in given.items() if value is not None]
    lines += [f"ElementDataFile = {last}"] if last else []
    path.write_bytes("\n".join([*lines, ""]).encode() + data)
    return path


@pytest.mark.parametrize("angles", [(0, 0, 0), (10, -20, 30)])
def test_a_mha_by_hand_as_itk_reads_it(tmp_path, angles):
    turned = " ".join(map(repr, map(float, (affine(angles)[:3, :3] / SPACING).T.ravel())))
    path = mha(tmp_path / "a.mha", ARRAY.tobytes(), TransformMatrix=turned)
    volume = noted(path)
    np.testing.assert_array_equal(volume.array, ARRAY)
    np.testing.assert_allclose(volume.grid.index_to_ras, by_itk(path), atol=1e-12)


def test_the_ways_of_a_mha_to_store_voxels(tmp_path):
    plain = ARRAY.tobytes()
    big = mha(tmp_path / "a.mha", ARRAY.astype(">f4").tobytes(), BinaryDataByteOrderMSB="True")
    packed = mha(tmp_path / "b.mha", zlib.compress(plain), CompressedData="True")
    text = " ".join(map(repr, map(float, ARRAY.ravel()))).encode()
    as_text = mha(tmp_path / "c.mha", text, BinaryData="False")
    (tmp_path / "d.raw").write_bytes(b"1234" + plain)
    beside = mha(tmp_path / "d.mhd", b"", ElementDataFile="d.raw", HeaderSize="4")
    at_end = mha(tmp_path / "e.mhd", b"", ElementDataFile="d.raw", HeaderSize="-1")
    (tmp_path / "f.zraw").write_bytes(zlib.compress(plain))
    packed_beside = mha(tmp_path / "f.mhd", b"", ElementDataFile="f.zraw", CompressedData="True")
    for path in (big, packed, as_text, beside, at_end, packed_beside):
        np.testing.assert_array_equal(noted(path).array, ARRAY)
    (tmp_path / "f.zraw").write_bytes(zlib.compress(plain)[:-2])
    refused(packed_beside, "f.zraw: truncated")


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"Offset": "abc"}, "'Offset' holds 'abc'"),
        ({"Offset": "1 2"}, "'Offset' has 2 numbers"),
        ({"Offset": "1 2 nan"}, "no number"),
        ({"ElementSpacing": None}, "'ElementSpacing' is missing"),
        ({"ElementSpacing": "1 1 0"}, "spacing along k is 0 mm"),
        ({"ElementSpacing": "1 -1 1"}, "spacing along j is -1 mm"),
        ({"TransformMatrix": "1 0 0 0 1 0 0 0"}, "has 8 numbers"),
        ({"TransformMatrix": "0 0 0 0 0 0 0 0 0"}, "their lengths are 0 0 0"),
        ({"TransformMatrix": "1 0 0 0 1e300 0 0 0 1"}, "are no numbers"),
        ({"TransformMatrix": "1 0 0 0.6 0.8 0 0 0 1"}, "sheared"),
        ({"TransformMatrix": "1 0 0 0 1e9 0 0 0 1"}, "their lengths are 1 1e+09 1"),
        ({"NDims": None}, "'NDims' is missing"),
        ({"NDims": "1000000"}, "'DimSize' has 3 numbers"),
        ({"DimSize": None}, "'DimSize' is missing"),
        ({"ElementType": None}, "'ElementType' is ''"),
        ({"ElementType": "MET_STRING"}, "'ElementType' is 'MET_STRING'"),
        ({"ElementNumberOfChannels": "0"}, "'ElementNumberOfChannels' is 0"),
        ({"ElementNumberOfChannels": "3"}, "3 values in each voxel"),
        ({"CompressedData": "maybe"}, "'CompressedData' is 'maybe'"),
        ({"CompressedData": "True"}, "truncated or damaged"),
        ({"ObjectType": "Tube"}, "'ObjectType' is 'Tube'"),
        ({"HeaderSize": "-9"}, "'HeaderSize' is -9"),
        ({"ElementDataFile": ""}, "'ElementDataFile' that ends its header is missing"),
    ],
)
def test_a_header_of_mha_that_cannot_be(tmp_path, fields, part):
    refused(
        mha(tmp_path / "a.mha", b"" if "" in fields.values() else ARRAY.tobytes(), **fields), part
    )


def test_names_in_a_mha_are_text(tmp_path):
    path = mha(tmp_path / "a.mha", ARRAY.tobytes())
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"NDims", b"Na\xefve = 1\nNDims"))
    refused(path, "not of the form Name = value")
    path.write_bytes(whole.replace(b"NDims", b"Comment = M\xfcller\nNDims"))
    np.testing.assert_array_equal(noted(path).array, ARRAY)


def test_a_mha_without_a_place_says_so(tmp_path):
    path = mha(tmp_path / "a.mha", ARRAY.tobytes(), TransformMatrix=None, Offset=None)
    noted(path, "TransformMatrix is missing", "where the first voxel lies")


# Times of a series


FRAMES = np.stack([ARRAY * n for n in range(1, 6)])


def dynamic(path, interval, unit=8 | 2, **fields):
    return nifti(path, FRAMES, units=unit, pixdim4=interval, **fields)


@pytest.mark.parametrize(
    ("interval", "unit", "part"),
    [
        (0.0055, 8, "0.0055 s between volumes, which cannot be (a repetition time"),
        (5.5, 16, "0.0055 s between volumes"),
        (5500, 24, "0.0055 s between volumes"),
        (0.5, 8, "0.5 s between"),
        (0.0, 8, "0 s between"),
        (-85.0, 8, "-85 s between"),
        (np.nan, 8, "does not say when"),
        (np.inf, 8, "does not say when"),
        (1.0, 8, "pixdim[4] is 1, as where nothing is known"),
        (1.0, 0, "pixdim[4] is 1"),
        (1.5, 0, "1.5 without a unit (seconds, minutes?)"),
        (85000.0, 8, "85000 s between"),
        (85000.0, 0, "85000 s between"),
    ],
)
def test_what_is_no_time_between_volumes_is_a_question(tmp_path, interval, unit, part):
    path = dynamic(tmp_path / "a.nii.gz", interval, unit | 2)
    refused(path, part, "Give one time in seconds", "--times 0,85,155", read=read_series)
    given = read_series(path, [0, 85, 155, 225, 295])
    assert times_of(given).tolist() == [0, 85, 155, 225, 295]


@pytest.mark.parametrize(
    ("interval", "unit", "seconds"),
    [(73.75, 8, 73.75), (73750, 16, 73.75), (7.375e7, 24, 73.75), (2.5, 8, 2.5), (85, 0, 85)],
)
def test_what_can_be_a_time_is_taken_in_its_unit(tmp_path, interval, unit, seconds):
    back = read_series(dynamic(tmp_path / "a.nii.gz", interval, unit))
    np.testing.assert_allclose(times_of(back), seconds * np.arange(5), rtol=1e-6)
    np.testing.assert_array_equal([v.array for v in back], FRAMES)
    assert any("has no unit" in note for note in back[0].notes) == (unit == 0)


def test_an_interval_that_is_the_repetition_time_is_a_question(tmp_path):
    path = dynamic(tmp_path / "a.nii.gz", 2.5)
    (tmp_path / "a.json").write_text(json.dumps({"RepetitionTime": 2.5}))
    refused(path, "the repetition time of the pulses", "--times", read=read_series)


@pytest.mark.parametrize(
    ("units", "values", "part"),
    [
        ("", "0 1.5 2.9 4.4 6", "without a unit (minutes?)"),
        ("s", "0 0.0055 0.011 0.0165 0.022", "steps of 0.0055 s, which cannot be"),
        ("min", "0 1.5 2.9 4.4 6", None),
        ("s", "0 1.5 2.9 4.4 6", None),
        ("", "0 85 155 225 295", None),
    ],
)
def test_times_that_a_sequence_lists(tmp_path, units, values, part):
    axis = f'labels: "time" "" "" ""\nunits: "{units}" "" "" ""\naxis 0 index values:={values}'
    path = nrrd(
        tmp_path / "a.seq.nrrd",
        np.ascontiguousarray(np.moveaxis(FRAMES, 0, -1)).tobytes(),
        dimension="4",
        sizes="5 9 8 7",
        space_directions="none (1,0,0) (0,1.25,0) (0,0,2)",
        kinds=f"list domain domain domain\n{axis}",
    )
    if part:
        refused(path, part, "--times", read=read_series)
    else:
        factor = 60 if units == "min" else 1
        expected = [float(value) * factor for value in values.split()]
        assert times_of(read_series(path)).tolist() == expected
    assert times_of(read_series(path, [0, 1, 2, 3, 4])).tolist() == [0, 1, 2, 3, 4]


# What stands beside a NIfTI


def sidecar(tmp_path, content):
    path = nifti(tmp_path / "a.nii.gz")
    text = content if isinstance(content, (str, bytes)) else json.dumps(content)
    (tmp_path / "a.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, ARRAY)
    return volume


@pytest.mark.parametrize("turned", [False, True])
def test_the_time_between_excitations_counts(tmp_path, turned):
    content = {"RepetitionTime": 2.3, "RepetitionTimeExcitation": 0.0047, "FlipAngle": 10}
    content = dict(reversed(content.items())) if turned else content
    assert sidecar(tmp_path, content).acquisition == Acquisition(0.0047, flip_angle_deg=10.0)
    content["RepetitionTimeExcitation"] = 0
    assert sidecar(tmp_path, content).acquisition == Acquisition(2.3, flip_angle_deg=10.0)


@pytest.mark.parametrize(
    "content",
    [
        *('{"EchoTime":' + "[" * 5000 + "]" * 5000 + "}", '{"EchoTime":' + "[" * 100_000),
        *("{" * 5000, "[1, 2]", "nonsense", "", b"\xff\xfe\0", '{"EchoTime": ' + "9" * 5000 + "}"),
    ],
)
def test_a_sidecar_that_is_none_costs_nobody_the_scan(tmp_path, content):
    volume = sidecar(tmp_path, content)
    assert volume.acquisition == Acquisition()
    assert volume.notes == ("The .json beside the scan is not of BIDS; it was left out.",)


@pytest.mark.parametrize(
    "value",
    ["1e400", "-1", "1e9", "NaN", "Infinity", '"abc"', "[1]", '{"a": 1}', "true", "1" + "0" * 400],
)
def test_a_number_that_cannot_be_is_left_out_with_a_note(tmp_path, value):
    volume = sidecar(tmp_path, f'{{"EchoTime": {value}, "FlipAngle": 12}}')
    assert volume.acquisition == Acquisition(flip_angle_deg=12.0)
    assert len(volume.notes) == 1
    assert "'EchoTime' in the .json beside the scan" in volume.notes[0]
    assert len(volume.notes[0]) < 200


@pytest.mark.parametrize("value", ["0", "null"])
def test_what_a_scanner_does_not_know_is_no_fault(tmp_path, value):
    volume = sidecar(tmp_path, f'{{"EchoTime": {value}}}')
    assert (volume.acquisition, volume.notes) == (Acquisition(), ())


def test_a_sidecar_without_end_is_left_out(tmp_path):
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(1 << 33)
    volume = read_volume(nifti(tmp_path / "a.nii.gz"))
    assert "is not of BIDS" in volume.notes[0]


# The command line


def run(*arguments, **options):
    """Run in a process of its own: names, pipes and consoles are those of the system."""
    environment = os.environ | {
        "PYTHONPATH": str(Path(sys.modules["ContrastSynthLib"].__file__).parents[1])
    }
    environment |= options.pop("env", {})
    return subprocess.run(
        [sys.executable, "-m", "ContrastSynthLib", *arguments],
        env=environment,
        capture_output=True,
        check=False,
        timeout=120,
        **options,
    )


LINE = ("--from", "-10,-20,30", "--to", "-6,-20,34")


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text there")
def test_names_that_are_no_utf_8_work(tmp_path):
    folder = os.path.join(os.fsencode(tmp_path), b"caf\xe9")
    os.mkdir(folder)
    path = Path(os.fsdecode(os.path.join(folder, b"t\xeate.nii")))
    nifti(path)
    done = run("profile", "--volume", path, *LINE, env={"LC_ALL": "C", "PYTHONIOENCODING": "ascii"})
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
    for suffix in (".nrrd", ".nii.gz", ".mha"):
        out = path.with_name(path.name + suffix)
        write_volume(Volume(ARRAY, Grid(SIZE, SPACING)), out)
        np.testing.assert_array_equal(read_any_volume(out).array, ARRAY)
    write_series(read_series(dynamic(path, 85.0)), path.with_name(path.name + ".seq.nrrd"))
    assert holds_series(path.with_name(path.name + ".seq.nrrd"))


@pytest.mark.parametrize("name", ["x" * 300 + ".nii", "a\0b.nii", "absent.nii", ""])
def test_names_that_no_file_can_have(tmp_path, name, capsys):
    code = main(["profile", "--volume", str(tmp_path / name), *LINE])
    assert code == 2
    assert "Traceback" not in capsys.readouterr().err
    assert not holds_series(tmp_path / name)


def test_a_pipe_that_closes_ends_without_a_traceback(tmp_path):
    path = nifti(tmp_path / "a.nii")
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        environment = os.environ | {
            "PYTHONPATH": str(Path(sys.modules["ContrastSynthLib"].__file__).parents[1])
        }
        command = [sys.executable, "-m", "ContrastSynthLib", "profile", "--volume", path, *LINE]
        done = subprocess.run(
            command,
            stdout=closed,
            stderr=subprocess.PIPE,
            env=environment,
            timeout=120,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, b"")


def test_a_user_without_a_home(monkeypatch, capsys):
    def none():
        raise RuntimeError("Could not determine home directory.")

    for name in ("CONTRASTSYNTH_WEIGHTS", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", none)
    assert main(["methods", "sphere"]) == 0
    assert main(["weights", "verify", "h2l"]) == 0
    assert main(["weights", "import", "absent.zip"]) == 2
    assert main(["weights", "list"]) in (0, 2)
    assert "Traceback" not in capsys.readouterr().err


def test_notes_do_not_hold_the_name_of_a_file(tmp_path):
    """They go into the provenance, and a file may be called after its patient."""
    path = written(tmp_path / "Smith^John.nii.gz")
    path.write_bytes(path.read_bytes() + b"behind")
    (tmp_path / "Smith^John.json").write_text("[]")
    volume = read_volume(path)
    assert len(volume.notes) == 2
    assert "Smith" not in " ".join(volume.notes)


def test_profile_uptake_and_kinetics_align_as_a_run_does(tmp_path, capsys):
    moved = affine(offset=(-10.5, -20, 30))
    series = dynamic(tmp_path / "dce.nii.gz", 85.0)
    pre = nifti(tmp_path / "pre.nii.gz")
    other = nifti(tmp_path / "other.nii.gz", ARRAY * 3, sform=moved, qform=moved)
    mask = nifti(tmp_path / "mask.nii.gz", (ARRAY > 120).astype("u1"), sform=moved, qform=moved)
    commands = [
        ["kinetics", "--series", series, "--mask", mask],
        ["uptake", "--pre", pre, "--post", other, "--out", tmp_path / "uptake.nrrd"],
    ]
    for command in commands:
        words = [str(word) for word in command]
        assert main(words) == 2
        assert "--align resample" in capsys.readouterr().err
        assert main([*words, "--align", "resample", "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert "resample" in {done["mode"] for done in report["alignment"].values()}
    line = ["profile", "--volume", str(pre), str(other), *LINE, "--json"]
    assert main(line) == 0
    alone = json.loads(capsys.readouterr().out)
    assert main([*line, "--align", "resample"]) == 0
    aligned = json.loads(capsys.readouterr().out)
    assert aligned["alignment"]["other.nii.gz"]["mode"] == "resample"
    assert alone["profiles"]["pre.nii.gz"] == aligned["profiles"]["pre.nii.gz"]
    np.testing.assert_allclose(read_volume(tmp_path / "uptake.nrrd").grid.size, SIZE)


# A folder of files that went wrong, if one is at hand


def test_a_folder_of_faults():
    """Files of the kinds above: those that can be read are, all others are refused in words."""
    named = os.environ.get("CONTRASTSYNTH_FAULTS")
    if not named:
        pytest.skip("CONTRASTSYNTH_FAULTS is not set")
    fine = ("N", "negpix", "phase1", "bids", "K1_mask", "mask", "pre", "post")
    wrong = []
    files = (
        p for p in Path(named).rglob("*") if p.suffix in (".nii", ".gz", ".nrrd", ".nhdr", ".mha")
    )
    for path in sorted(files):
        if path.name.endswith(".raw.gz"):
            continue
        try:
            outcome = np.isfinite(read_any_volume(path).array).all()
        except RequestError as error:
            outcome = str(path.parent) not in str(error)
        if outcome != path.name.startswith(fine):
            wrong.append(path.name)
    assert wrong == []
