"""Files to volumes and back: what works, what is refused and how it is told, what a disk does."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from ContrastSynthLib.acquisition import Acquisition
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.images import (
    SYNTHETIC_KEY,
    WRITABLE,
    read_mask,
    read_volume,
    write_volume,
)
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.volumes import Volume

LIBRARY_PARENT = Path(sys.modules["ContrastSynthLib"].__file__).parent.parent
GRID = Grid((9, 8, 7), (0.9, 1.1, 2.5), (-10.0, 20.0, 30.0))
ACQUISITION = Acquisition(
    repetition_time_s=0.0072,
    echo_time_s=0.0031,
    inversion_time_s=0.9,
    flip_angle_deg=12.0,
    field_strength_t=2.8936,
    agent="gadobutrol",
    dose_mmol_per_kg=0.1,
    time_s=-60.5,
)


def noise(shape=GRID.shape, seed=0):
    return np.random.default_rng(seed).normal(100, 20, shape).astype(np.float32)


def scan(**options):
    return Volume(noise(), GRID, **options)


def save(array, path, **options):
    sitk.WriteImage(sitk.GetImageFromArray(array, **options), str(path))
    return path


def refused(path, *parts, read=read_volume):
    with pytest.raises(RequestError) as caught:
        read(path)
    # pytest names folders after the tests, and so with the words that are looked for.
    assert str(path) in str(caught.value)
    message = str(caught.value).replace(str(path), "")
    for part in parts:
        assert part in message
    assert "itk" not in message.replace("sitk", "").lower().split()
    return message


# What is refused


def test_a_missing_file(tmp_path):
    refused(tmp_path / "absent.nrrd", "no such file", "Expected a 3D image as .nrrd")
    refused(tmp_path / "absent folder", "no such file", "a folder with one DICOM series")


@pytest.mark.parametrize("content", ["this is a letter, not a scan\n" * 200, ""])
@pytest.mark.parametrize("suffix", [".nrrd", ".nhdr", ".nii", ".nii.gz", ".mha", ".mhd", ".dcm"])
def test_text_and_nothing_under_the_name_of_a_scan(tmp_path, suffix, content):
    path = tmp_path / f"scan{suffix}"
    path.write_text(content)
    refused(path, "Expected")


@pytest.mark.parametrize("name", ["scan.txt", "scan", "scan.gz", "scan.png", "scan.nrrd.zip"])
def test_an_unknown_suffix(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"\0" * 500)
    refused(path, "not a format of images", ".nii.gz")


@pytest.mark.parametrize("cut", [3, 10, 0.5])
@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("suffix", WRITABLE)
def test_a_truncated_file(tmp_path, suffix, compress, cut):
    path = tmp_path / f"scan{suffix}"
    write_volume(scan(), path, compress=compress)
    data = path.read_bytes()
    path.write_bytes(data[: -cut if cut >= 1 else int(len(data) * cut)])
    message = refused(path)
    assert any(word in message for word in ("truncated", "cannot be read"))


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("cut", [0, 10, 1000])
def test_big_endian_nifti_whole_and_truncated(tmp_path, suffix, cut):
    path = tmp_path / f"scan{suffix}"
    whole = tmp_path / "whole.nii"
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(">f4")
    nibabel.save(nibabel.Nifti1Image(noise().transpose(2, 1, 0), np.eye(4), header), whole)
    assert whole.read_bytes()[:4] == (348).to_bytes(4, "big")
    data = whole.read_bytes()[: -cut or None]
    path.write_bytes(gzip.compress(data) if suffix == ".nii.gz" else data)
    if cut:
        refused(path, "truncated")
    else:
        np.testing.assert_array_equal(read_volume(path).array, noise())


@pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz", ".mha"])
def test_a_bit_that_flipped_never_passes_unnoticed(tmp_path, suffix):
    path = tmp_path / f"scan{suffix}"
    write_volume(scan(), path)
    data = path.read_bytes()
    rng = np.random.default_rng(5)
    refusals = 0
    for place in rng.integers(len(data) // 3, len(data), 40):
        spoilt = bytearray(data)
        spoilt[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(spoilt)
        try:
            np.testing.assert_array_equal(read_volume(path).array, noise())
        except RequestError:
            refusals += 1
    assert refusals > 30


def test_a_picture(tmp_path):
    picture = save(np.arange(80, dtype=np.uint8).reshape(8, 10), tmp_path / "picture.png")
    refused(picture, "not a format of images")
    refused(picture.rename(tmp_path / "picture.nrrd"), "cannot be read as an image")
    flat = save(noise((8, 9)), tmp_path / "flat.nrrd")
    refused(flat, "a 2D picture of 9 x 8", "one voxel thick")


@pytest.mark.parametrize("suffix", [".nrrd", ".nii", ".mha"])
def test_a_vector_volume(tmp_path, suffix):
    path = save(noise((*GRID.shape, 3)), tmp_path / f"vector{suffix}", isVector=True)
    refused(path, "3 values in each voxel")


def test_a_complex_volume(tmp_path):
    image = sitk.Cast(sitk.GetImageFromArray(noise()), sitk.sitkComplexFloat32)
    path = tmp_path / "complex.nrrd"
    sitk.WriteImage(image, str(path))
    refused(path, "2 values in each voxel")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz"])
@pytest.mark.parametrize("read", [read_volume, read_mask])
def test_values_that_are_no_numbers(tmp_path, value, suffix, read):
    array = noise()
    array[2, 3, 4] = array[0, 0, 0] = value
    path = save(array, tmp_path / f"scan{suffix}")
    refused(path, "2 voxels are not finite numbers", read=read)


def test_values_beyond_single_precision(tmp_path):
    array = noise().astype(np.float64)
    array[2, 3, 4] = 1e300
    refused(save(array, tmp_path / "scan.nrrd"), "1 voxels are not finite numbers")


@pytest.mark.parametrize("value", [0, 7])
def test_a_constant_volume(tmp_path, value):
    path = save(np.full(GRID.shape, value, np.int16), tmp_path / "scan.nrrd")
    refused(path, f"every voxel is {value}.")


def test_masks(tmp_path):
    array = np.zeros(GRID.shape, np.uint8)
    refused(save(array, tmp_path / "empty.nrrd"), "the mask is empty", read=read_mask)
    array[1:3, 2, 2] = (1, 4)
    mask = read_mask(save(array, tmp_path / "mask.nrrd"))
    np.testing.assert_array_equal(mask.array, array > 0)
    full = read_mask(save(np.ones(GRID.shape, np.uint8), tmp_path / "full.nrrd"))
    assert full.array.all()
    refused(save(-noise(), tmp_path / "negative.nrrd"), "the mask is empty", read=read_mask)


@pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz", ".mha"])
def test_a_series_of_time_points(tmp_path, suffix):
    series = sitk.JoinSeries([sitk.GetImageFromArray(noise(seed=n)) for n in range(3)])
    path = tmp_path / f"series{suffix}"
    sitk.WriteImage(series, str(path))
    refused(path, "9 x 8 x 7 x 3", "more than one time point")


# What works


@pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz", ".mha"])
def test_a_series_of_one_time_point(tmp_path, suffix):
    series = sitk.JoinSeries([sitk.GetImageFromArray(noise())])
    path = tmp_path / f"series{suffix}"
    sitk.WriteImage(series, str(path))
    volume = read_volume(path)
    assert volume.grid.size == GRID.size
    np.testing.assert_array_equal(volume.array, noise())


@pytest.mark.parametrize("suffix", WRITABLE)
def test_paths_with_spaces_and_accents(tmp_path, suffix):
    path = tmp_path / "Prüfung à l'hôpital" / "série 1 – µ" / f"après Gd{suffix.upper()}"
    write_volume(scan(), path)
    np.testing.assert_array_equal(read_volume(str(path)).array, noise())
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", WRITABLE)
def test_one_slice_is_a_volume(tmp_path, suffix):
    array = noise((1, 192, 192))
    grid = Grid((192, 192, 1), (1.0, 1.0, 5.0))
    path = tmp_path / f"slice{suffix}"
    write_volume(Volume(array, grid), path)
    volume = read_volume(path)
    assert volume.grid == grid
    np.testing.assert_array_equal(volume.array, array)


@pytest.mark.parametrize(
    "dtype", [np.uint8, np.int8, np.int16, np.uint16, np.int32, np.float64, np.int64]
)
@pytest.mark.parametrize("suffix", [".nrrd", ".nii", ".mha"])
def test_any_type_of_number_becomes_single_precision(tmp_path, dtype, suffix):
    array = np.random.default_rng(1).integers(0, 120, GRID.shape).astype(dtype)
    volume = read_volume(save(array, tmp_path / f"scan{suffix}"))
    assert volume.array.dtype == np.float32
    np.testing.assert_array_equal(volume.array, array)


def test_scaled_integers_of_nifti(tmp_path):
    stored = np.random.default_rng(1).integers(-2000, 2000, GRID.shape).astype(np.int16)
    image = nibabel.Nifti1Image(stored.transpose(2, 1, 0), np.eye(4))
    image.header.set_slope_inter(0.37, -12.5)
    path = tmp_path / "scan.nii.gz"
    nibabel.save(image, path)
    expected = nibabel.load(path).get_fdata().transpose(2, 1, 0)
    assert abs(expected - (stored * 0.37 - 12.5)).max() < 1e-3
    np.testing.assert_allclose(read_volume(path).array, expected, rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("encoding", ["raw", "gzip"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_big_endian_nrrd(tmp_path, encoding, newline):
    header = (
        "NRRD0004|# by hand|type: short|dimension: 3|space: left-posterior-superior|"
        f"sizes: 9 8 7|space directions: (1,0,0) (0,1,0) (0,0,1)|encoding: {encoding}|"
        "endian: big|space origin: (0,0,0)||"
    )
    array = np.arange(9 * 8 * 7, dtype=">i2").reshape(GRID.shape)
    data = gzip.compress(array.tobytes()) if encoding == "gzip" else array.tobytes()
    path = tmp_path / "scan.nrrd"
    path.write_bytes(header.replace("|", newline).encode() + data)
    np.testing.assert_array_equal(read_volume(path).array, array)


def test_a_nifti_called_gz_that_is_not_compressed(tmp_path):
    write_volume(scan(), tmp_path / "scan.nii")
    path = (tmp_path / "scan.nii").rename(tmp_path / "scan.nii.gz")
    np.testing.assert_array_equal(read_volume(path).array, noise())


# What travels with the voxels


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
@pytest.mark.parametrize("compress", [True, False])
def test_a_header_says_that_the_volume_is_synthetic(tmp_path, suffix, compress):
    path = tmp_path / f"result{suffix}"
    write_volume(scan(synthetic="physics_dose 0.1.0"), path, compress=compress)
    head = path.read_bytes()[:2000]
    written = b"SYNTHETIC:=physics_dose 0.1.0\n"
    assert (written if suffix == ".nrrd" else written.replace(b":=", b" = ")) in head
    assert read_volume(path).synthetic == "physics_dose 0.1.0"
    write_volume(scan(), path)
    assert SYNTHETIC_KEY.encode() not in path.read_bytes()[:2000]
    assert read_volume(path).synthetic is None


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("length", [10, 200])
def test_nifti_says_in_descrip_that_the_volume_is_synthetic(tmp_path, suffix, length):
    path = tmp_path / f"result{suffix}"
    made_by = "x" * length
    write_volume(scan(synthetic=made_by), path)
    note = nibabel.load(path).header["descrip"].item().decode()
    assert note == f"SYNTHETIC {made_by}"[:79]
    assert read_volume(path).synthetic == made_by[:69]
    write_volume(scan(), path)
    assert "SYNTHETIC" not in nibabel.load(path).header["descrip"].item().decode()
    assert read_volume(path).synthetic is None


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_acquisition_parameters_come_back(tmp_path, suffix):
    path = tmp_path / f"scan{suffix}"
    write_volume(scan(acquisition=ACQUISITION), path)
    assert read_volume(path).acquisition == ACQUISITION
    partly = Acquisition(flip_angle_deg=8.0)
    write_volume(scan(acquisition=partly), path)
    assert read_volume(path).acquisition == partly


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_bids_file_beside_a_nifti(tmp_path, suffix):
    path = tmp_path / f"sub-01.T1w{suffix}"
    write_volume(scan(), path)
    sidecar = tmp_path / "sub-01.T1w.json"
    content = {
        "RepetitionTime": 0.0072,
        "EchoTime": "0.0031",
        "InversionTime": 0,
        "FlipAngle": 12,
        "MagneticFieldStrength": None,
        "ContrastBolusIngredient": "Gadavist",
        "PatientName": "nobody",
    }
    sidecar.write_text(json.dumps(content))
    expected = Acquisition(0.0072, 0.0031, flip_angle_deg=12.0, agent="gadobutrol")
    assert read_volume(path).acquisition == expected
    # What BIDS allows there is the chemical element, and that is no agent.
    none = {"ContrastBolusIngredient": "GADOLINIUM", "EchoTime": "NaN", "FlipAngle": np.inf}
    sidecar.write_text(json.dumps(none))
    assert read_volume(path).acquisition == Acquisition()
    for wrong in ("{", "[1, 2]", "", b"\xff\xfe\x00"):
        sidecar.write_bytes(wrong if isinstance(wrong, bytes) else wrong.encode())
        assert read_volume(path).acquisition == Acquisition()


def test_a_volume_cannot_be_written_into():
    array = noise()
    volume = Volume(array, GRID)
    for read_only in (volume.array, volume.with_array(array).array):
        with pytest.raises(ValueError, match="read-only"):
            read_only[0, 0, 0] = 1
    array[0, 0, 0] = 1  # the caller's own array is still the caller's
    with pytest.raises(ValueError, match="does not fit"):
        Volume(array[1:], GRID)


def test_the_hash_tells_scans_apart_but_not_formats(tmp_path):
    # Zeros of both signs: formats do not agree on which they keep.
    grid = Grid(
        GRID.size,
        GRID.spacing_mm,
        (-0.0, 0.0, 5.0),
        (-1.0, 0.0, 0.0, -0.0, -1.0, 0.0, 0.0, -0.0, 1),
    )
    volume = Volume(noise(), grid, ACQUISITION)
    hashes = {volume.sha256()}
    for suffix in (".nrrd", ".mha"):
        for compress in (True, False):
            write_volume(volume, tmp_path / f"scan{suffix}", compress=compress)
            hashes.add(read_volume(tmp_path / f"scan{suffix}").sha256())
    assert len(hashes) == 1
    array = noise()
    array[3, 3, 3] = np.nextafter(array[3, 3, 3], np.float32(np.inf))
    hashes.add(volume.with_array(array).sha256())
    hashes.add(Volume(noise(), GRID).sha256())
    hashes.add(Volume(noise()[::-1], grid).sha256())
    assert len(hashes) == 4


# What a disk may do

FULL_DISK = """
import json, resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import numpy as np
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.files.images import WRITABLE, read_volume, write_volume
from ContrastSynthLib.volumes import Volume

folder = Path(sys.argv[2])
array = np.random.default_rng(0).normal(size=(20, 30, 40)).astype(np.float32)
volume = Volume(array, Grid((40, 30, 20)))
outcomes = []
for suffix in WRITABLE:
    path = folder / f"volume{suffix}"
    for compress in (True, False):
        write_volume(volume, path, compress=compress)
        size = path.stat().st_size
        for limit in (100, size // 2, size - 5000, size - 300, size - 1):
            for older in (b"older", None):
                path.unlink(missing_ok=True)
                if older:
                    path.write_bytes(older)
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
                try:
                    write_volume(volume, path, compress=compress)
                    message = None
                except RequestError as error:
                    message = str(error)
                resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
                left = {file.name: file.read_bytes() for file in folder.iterdir()}
                kept = left == ({path.name: older} if older else {})
                outcomes.append([suffix, compress, size - limit, message, kept])
        path.unlink(missing_ok=True)
print(json.dumps(outcomes))
"""


def test_a_full_disk_is_told_and_leaves_nothing_behind(tmp_path):
    """A limit on the size of files stands for the disk: ITK's writers notice only some of it."""
    (tmp_path / "out").mkdir()
    run = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(LIBRARY_PARENT), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=True,
    )
    outcomes = json.loads(run.stdout.splitlines()[-1])
    assert len(outcomes) == len(WRITABLE) * 2 * 5 * 2
    for suffix, compress, lacking, message, kept in outcomes:
        case = f"{suffix}, compress {compress}, {lacking} bytes lacking: {message}"
        assert message is not None, case
        assert f"volume{suffix}: could not be written whole" in message, case
        assert kept, case


def test_an_output_path_below_a_file(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RequestError, match="could not be written whole"):
        write_volume(scan(), tmp_path / "file" / "result.nrrd")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_in_the_place_of_the_file(tmp_path):
    (tmp_path / "result.nrrd").mkdir()
    with pytest.raises(RequestError, match="could not be written whole"):
        write_volume(scan(), tmp_path / "result.nrrd")
    assert [file.name for file in tmp_path.iterdir()] == ["result.nrrd"]


@pytest.mark.parametrize("name", ["result.png", "result", "result.nhdr", "result.dcm"])
def test_formats_that_we_do_not_write(tmp_path, name):
    with pytest.raises(RequestError, match=r"cannot write this format\. Use \.nrrd"):
        write_volume(scan(), tmp_path / name)
    assert not any(tmp_path.iterdir())


def test_an_older_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "result.nrrd"
    write_volume(scan(), path)
    newer = noise(seed=4)
    write_volume(scan().with_array(newer), path)
    np.testing.assert_array_equal(read_volume(path).array, newer)
    shutil.copy(path, tmp_path / "copy.nrrd")
    assert read_volume(tmp_path / "copy.nrrd").sha256() == read_volume(path).sha256()
