"""DICOM written here with pydicom, read back, and compared with the standard's own formula."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from making_dicom import (
    COLUMN_MM,
    FIRST_MM,
    MARKER,
    ROTATION,
    ROW_MM,
    SHAPE,
    SLICE_MM,
    ds,
    enhanced,
    frame_groups,
    image_dataset,
    item,
    ras_of,
    save,
    set_plane,
    slices,
    voxels,
)
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import (
    BasicTextSRStorage,
    RLELossless,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from ContrastSynthLib.acquisition import Acquisition
from ContrastSynthLib.agents import generic_agent_name
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.dicom.reader import read_dicom
from ContrastSynthLib.files.images import read_volume


def refused(path, *parts):
    with pytest.raises(RequestError) as caught:
        read_volume(path)
    # pytest names folders after the tests, and so with the words that are looked for.
    assert str(path) in str(caught.value)
    message = str(caught.value).replace(str(path), "")
    for part in parts:
        assert part in message
    assert "Tester" not in message
    assert "4711" not in message
    return message


# What works


@pytest.mark.parametrize("flip", [(1, 1, 1), (-1, -1, 1), (1, -1, -1), (-1, 1, -1)])
def test_marker_lies_at_its_ras_point_whatever_names_and_numbers_say(tmp_path, flip):
    rotation = ROTATION * flip
    datasets = slices(rotation=rotation)
    expected = ras_of(datasets[MARKER[0]], *MARKER[1:])
    shuffled = [4, 0, 6, 2, 5, 1, 3]
    for n, dataset in zip(shuffled, datasets, strict=True):
        dataset.InstanceNumber = n
    folder = tmp_path / "série à lire (1)"
    save(folder, datasets, [f"{(3 * n) % 7} é.IMA" for n in shuffled])
    (folder / "notes.txt").write_text("not an image")
    (folder / "empty").touch()
    save(folder / "other", slices(voxels(1)))

    volume = read_volume(folder)

    found = np.unravel_index(volume.array.argmax(), volume.array.shape)
    assert found == MARKER
    np.testing.assert_allclose(volume.grid.ras_from_index(found), expected, atol=1e-9)
    np.testing.assert_array_equal(volume.array, voxels())
    np.testing.assert_allclose(volume.grid.origin_mm, FIRST_MM, atol=0)
    assert volume.grid.spacing_mm == pytest.approx((COLUMN_MM, ROW_MM, SLICE_MM), abs=1e-12)


def test_reports_and_directories_in_the_folder_are_skipped(tmp_path):
    folder = save(tmp_path / "s", slices())
    report = image_dataset(voxels()[0], BasicTextSRStorage)
    for keyword in ("Rows", "Columns", "BitsAllocated", "PixelData"):
        del report[keyword]
    report.SeriesInstanceUID = "1.2.3.99"
    save(folder, [report], ["REPORT"])
    directory = copy.deepcopy(report)
    directory.SOPClassUID = "1.2.840.10008.1.3.10"
    directory.FileSetID = "DISC"
    del directory.SeriesInstanceUID
    save(folder, [directory], ["DICOMDIR"])
    assert read_volume(folder).array.shape == SHAPE


def test_agrees_with_itk_on_grid_and_voxels(tmp_path):
    folder = save(tmp_path / "s", slices())
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    other = reader.Execute()
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.array, sitk.GetArrayFromImage(other))
    np.testing.assert_allclose(volume.grid.origin_mm, other.GetOrigin(), atol=1e-9)
    np.testing.assert_allclose(volume.grid.spacing_mm, other.GetSpacing(), atol=1e-6)
    np.testing.assert_allclose(volume.grid.direction, other.GetDirection(), atol=1e-6)


@pytest.mark.parametrize("with_suffix", [True, False])
def test_one_file_is_a_volume_of_one_slice(tmp_path, with_suffix):
    (dataset,) = slices(voxels()[:1])
    dataset.SliceThickness = "5.5"
    name = "localizer.dcm" if with_suffix else "IM_0001"
    volume = read_volume(save(tmp_path, [dataset], [name]) / name)
    assert volume.grid.size == (9, 6, 1)
    np.testing.assert_allclose(volume.grid.spacing_mm, (COLUMN_MM, ROW_MM, 5.5), atol=1e-12)
    normal = np.reshape(volume.grid.direction, (3, 3))[:, 2]
    np.testing.assert_allclose(normal, ROTATION[:, 2], atol=1e-12)


@pytest.mark.parametrize("as_folder", [True, False])
def test_multi_frame_with_shuffled_frames(tmp_path, as_folder):
    order = [3, 6, 0, 5, 2, 1, 4]
    dataset = enhanced(voxels(), order)
    # Private groups of some vendors repeat the attributes, in other units.
    private = Dataset()
    private.PixelSpacing = ["77", "77"]
    private.EchoTime = "77"
    for groups in dataset.PerFrameFunctionalGroupsSequence:
        block = groups.private_block(0x2005, "VENDOR", create=True)
        block.add_new(0x0F, "SQ", [private])
    save(tmp_path, [dataset], ["enhanced.dcm"])
    volume = read_volume(tmp_path if as_folder else tmp_path / "enhanced.dcm")
    np.testing.assert_array_equal(volume.array, voxels())
    np.testing.assert_allclose(volume.grid.origin_mm, FIRST_MM, atol=0)
    np.testing.assert_allclose(volume.grid.spacing_mm, (COLUMN_MM, ROW_MM, SLICE_MM), atol=1e-9)
    assert volume.acquisition.echo_time_s is None


def test_coarsely_rounded_headers_are_read(tmp_path):
    datasets = slices()
    for dataset in datasets:
        position = np.array(dataset.ImagePositionPatient, float)
        dataset.ImagePositionPatient = ds(np.round(position, 2))
        orientation = np.array(dataset.ImageOrientationPatient, float)
        dataset.ImageOrientationPatient = ds(np.round(orientation, 4))
    volume = read_volume(save(tmp_path / "s", datasets))
    np.testing.assert_array_equal(volume.array, voxels())
    np.testing.assert_allclose(volume.grid.spacing_mm[2], SLICE_MM, atol=0.01)
    axes = np.reshape(volume.grid.direction, (3, 3))
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=2e-4)


# Voxel values


def test_each_slice_has_its_own_rescaling_and_sign(tmp_path):
    stored = voxels().astype(np.int16) - 500
    datasets = slices(stored)
    for k, dataset in enumerate(datasets):
        dataset.RescaleSlope, dataset.RescaleIntercept = ds([0.5 + k, 10 * k])
    k = np.arange(SHAPE[0])[:, None, None]
    volume = read_volume(save(tmp_path / "s", datasets))
    np.testing.assert_array_equal(volume.array, (stored * (0.5 + k) + 10 * k).astype(np.float32))


def test_each_frame_has_its_own_rescaling(tmp_path):
    order = [3, 6, 0, 5, 2, 1, 4]
    dataset = enhanced(voxels(), order)
    for k, groups in zip(order, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        item = Dataset()
        item.RescaleSlope, item.RescaleIntercept = ds([0.25 * (k + 1), -k])
        groups.PixelValueTransformationSequence = [item]
    k = np.arange(SHAPE[0])[:, None, None]
    volume = read_volume(save(tmp_path, [dataset], ["e.dcm"]) / "e.dcm")
    np.testing.assert_array_equal(volume.array, voxels() * 0.25 * (k + 1) - k)


def itk_compressed(stored, compressor, file):
    """The pixels of ``stored`` in a syntax that ITK writes."""
    writer = sitk.ImageFileWriter()
    writer.SetFileName(str(file))
    writer.UseCompressionOn()
    writer.SetCompressor(compressor)
    writer.Execute(sitk.GetImageFromArray(stored))
    return pydicom.dcmread(file)


@pytest.mark.parametrize("codec", ["JPEG", "JPEG2000", "RLE"])
@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
def test_compressed_slices_are_rescaled_once(tmp_path, codec, dtype):
    stored = voxels(shape=(3, 32, 48)).astype(dtype) - (100 if dtype == np.int16 else 0)
    datasets = slices(stored)
    for k, dataset in enumerate(datasets):
        dataset.RescaleSlope, dataset.RescaleIntercept = "2.5", "-3"
        if codec == "RLE":
            dataset.compress(RLELossless)
        else:
            packed = itk_compressed(stored[k : k + 1], codec, tmp_path / "packed.dcm")
            dataset.file_meta.TransferSyntaxUID = packed.file_meta.TransferSyntaxUID
            dataset.PixelData = packed.PixelData
        assert dataset.file_meta.TransferSyntaxUID.is_encapsulated
    volume = read_volume(save(tmp_path / "s", datasets))
    np.testing.assert_array_equal(volume.array, stored * 2.5 - 3)


def test_compressed_frames_are_rescaled_each(tmp_path):
    order = [3, 6, 0, 5, 2, 1, 4]
    dataset = enhanced(voxels(), order)
    for k, groups in zip(order, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        item = Dataset()
        item.RescaleSlope, item.RescaleIntercept = ds([k + 1, 0])
        groups.PixelValueTransformationSequence = [item]
    dataset.compress(RLELossless)
    volume = read_volume(save(tmp_path, [dataset], ["e.dcm"]) / "e.dcm")
    k = np.arange(SHAPE[0])[:, None, None]
    np.testing.assert_array_equal(volume.array, voxels() * (k + 1.0))


@pytest.mark.parametrize("variant", ["RLE", "jp2klossless", "jpeg_ls_lossless", "bigendian"])
def test_a_real_slice_is_the_same_in_every_encoding(variant):
    """MR_small comes with pydicom; JPEG-LS is a codec that pydicom has not on its own."""
    plain, other = (
        read_volume(get_testdata_file(f"MR_small{suffix}.dcm", download=False))
        for suffix in ("", f"_{variant}")
    )
    np.testing.assert_array_equal(plain.array, other.array)
    assert plain.grid == other.grid
    assert plain.acquisition == other.acquisition == Acquisition(4.0, 0.24, flip_angle_deg=90.0)


# What is refused


def test_a_missing_slice(tmp_path):
    datasets = slices()
    del datasets[3]
    along = FIRST_MM @ ROTATION[:, 2] + SLICE_MM * np.array([2, 4])
    refused(
        save(tmp_path / "s", datasets),
        "not evenly spaced",
        f"6.6 mm between {along[0]:.2f}, {along[1]:.2f}",
    )


@pytest.mark.parametrize(("shift_share", "fine"), [(0.005, True), (0.05, False)])
def test_uneven_spacing(tmp_path, shift_share, fine):
    datasets = slices()
    shift = (3 + shift_share) * SLICE_MM * ROTATION[:, 2]
    datasets[3].ImagePositionPatient = ds(FIRST_MM + shift)
    folder = save(tmp_path / "s", datasets)
    if fine:
        assert read_volume(folder).grid.size[2] == SHAPE[0]
    else:
        refused(folder, "not evenly spaced", "3.3 mm is usual")


def test_a_slice_that_is_shifted_sideways(tmp_path):
    datasets = slices()
    aside = FIRST_MM + ROTATION @ (0.4, 0, 3 * SLICE_MM)
    datasets[3].ImagePositionPatient = ds(aside)
    refused(save(tmp_path / "s", datasets), "not a regular stack", "0.4 mm")


@pytest.mark.parametrize(("tilt_deg", "fine"), [(0.002, True), (0.2, False), (12.0, False)])
def test_gantry_tilt(tmp_path, tilt_deg, fine):
    tilt = np.deg2rad(tilt_deg)
    step = ROTATION @ (0, np.sin(tilt) * SLICE_MM, np.cos(tilt) * SLICE_MM)
    folder = save(tmp_path / "s", slices(step=step))
    if fine:
        last = read_volume(folder).grid.ras_from_index((SHAPE[0] - 1, 0, 0)) * (-1, -1, 1)
        np.testing.assert_allclose(last, FIRST_MM + (SHAPE[0] - 1) * step, atol=1e-9)
    else:
        refused(folder, "sheared", "gantry tilt")


def test_duplicated_slices(tmp_path):
    datasets = slices()
    twin = copy.deepcopy(datasets[2])
    twin.SOPInstanceUID = generate_uid()
    along = FIRST_MM @ ROTATION[:, 2] + 2 * SLICE_MM
    message = refused(
        save(tmp_path / "s", [*datasets, twin]), "duplicated slices", f"at {along:.2f} mm"
    )
    assert "dynamic" not in message


@pytest.mark.parametrize(
    ("keyword", "values"),
    [
        ("TemporalPositionIdentifier", ["1", "2", "3"]),
        ("TriggerTime", ["0", "800", "1600"]),
        ("AcquisitionTime", ["101500", "101516.43", "101532.86"]),
        ("AcquisitionNumber", ["1", "2", "3"]),
    ],
)
def test_a_dynamic_series(tmp_path, keyword, values):
    folder = tmp_path / "s"
    for n, value in enumerate(values):
        phase = slices(voxels(n))
        for dataset in phase:
            setattr(dataset, keyword, value)
        save(folder, phase, [f"{n}-{k}" for k in range(SHAPE[0])])
    refused(folder, "dynamic series", "3 images at one position", keyword)


def test_a_dynamic_multi_frame_file(tmp_path):
    dataset = enhanced(np.concatenate([voxels(0), voxels(1)]))
    per_frame = []
    for n in range(2 * SHAPE[0]):
        groups = frame_groups(n % SHAPE[0])
        content = Dataset()
        content.TemporalPositionIndex = 1 + n // SHAPE[0]
        groups.FrameContentSequence = [content]
        per_frame.append(groups)
    dataset.PerFrameFunctionalGroupsSequence = per_frame
    save(tmp_path, [dataset], ["e.dcm"])
    refused(tmp_path / "e.dcm", "dynamic series", "2 images", "TemporalPositionIndex")


def test_several_echoes_are_not_called_dynamic(tmp_path):
    folder = tmp_path / "s"
    for echo_ms in ("2.3", "4.6"):
        datasets = slices()
        for dataset in datasets:
            dataset.EchoTime = echo_ms
            dataset.AcquisitionTime = f"10150{echo_ms[0]}"
        save(folder, datasets, [f"{echo_ms}-{k}" for k in range(SHAPE[0])])
    assert "dynamic" not in refused(folder, "differ in EchoTime")


def test_two_series_are_listed_without_the_patient(tmp_path):
    other = slices(voxels(1)[:2])
    for dataset in other:
        dataset.SeriesInstanceUID = "1.2.3.5"
        dataset.SeriesNumber = 6
        dataset.SeriesDescription = "t2\ntse"
    folder = save(tmp_path / "s", slices())
    save(folder, other, ["a", "b"])
    refused(
        folder, "2 series", "series 5, MR, 't1 post', 7 images", "series 6, MR, 't2 tse', 2 images"
    )


@pytest.mark.parametrize(
    ("keyword", "value", "part"),
    [
        ("ImageOrientationPatient", ["1", "0", "0", "0", "1", "0"], "orientation"),
        ("PixelSpacing", ["0.75", "1.25"], "pixel spacing"),
        ("ImagePositionPatient", None, "ImagePositionPatient"),
        ("ImageOrientationPatient", ["0", "0", "0", "0", "0", "0"], "orientation"),
    ],
)
def test_one_slice_unlike_the_others(tmp_path, keyword, value, part):
    datasets = slices()
    setattr(datasets[4], keyword, value)
    refused(save(tmp_path / "s", datasets), part)


def test_slices_of_two_sizes(tmp_path):
    datasets = slices()
    datasets[4] = slices(voxels(shape=(7, 6, 8)))[4]
    refused(save(tmp_path / "s", datasets), "image size", "6 8", "6 9")


@pytest.mark.parametrize(
    "cosines",
    [
        ["0", "0", "0", "0", "0", "0"],
        ["1", "0", "0", "0.1", "0.995", "0"],
        ["2", "0", "0", "0", "1", "0"],
    ],
)
def test_an_orientation_that_is_none(tmp_path, cosines):
    datasets = slices()
    for dataset in datasets:
        dataset.ImageOrientationPatient = cosines
    refused(save(tmp_path / "s", datasets), "not a pair of unit vectors")


@pytest.mark.parametrize(("samples", "interpretation"), [(3, "RGB"), (3, ""), (1, "PALETTE COLOR")])
def test_colour(tmp_path, samples, interpretation):
    dataset = image_dataset(np.zeros((6, 9), np.uint8))
    set_plane(dataset, 0)
    dataset.SamplesPerPixel, dataset.PlanarConfiguration = samples, 0
    dataset.PhotometricInterpretation = interpretation
    dataset.PixelData = bytes(samples * 6 * 9)
    refused(save(tmp_path / "s", [dataset]), "colour")


@pytest.mark.parametrize("spacing", [["0", "1"], ["1", "-1"]])
def test_pixels_without_extent(tmp_path, spacing):
    dataset = image_dataset(voxels()[0])
    set_plane(dataset, 0)
    dataset.PixelSpacing = spacing
    refused(save(tmp_path / "s", [dataset]), "PixelSpacing", "not positive")


def test_a_screenshot_without_geometry(tmp_path):
    dataset = image_dataset(voxels()[0], SecondaryCaptureImageStorage)
    save(tmp_path, [dataset], ["shot.dcm"])
    refused(tmp_path / "shot.dcm", "no usable ImageOrientationPatient", "screenshot")


def test_a_capture_with_geometry_is_read(tmp_path):
    dataset = image_dataset(voxels()[0], SecondaryCaptureImageStorage)
    set_plane(dataset, 0)
    save(tmp_path, [dataset], ["capture.dcm"])
    assert read_volume(tmp_path / "capture.dcm").array.shape == (1, 6, 9)


def test_frames_without_places_of_their_own(tmp_path):
    dataset = image_dataset(voxels())
    dataset.NumberOfFrames = SHAPE[0]
    set_plane(dataset, 0)
    save(tmp_path, [dataset], ["cine.dcm"])
    refused(tmp_path / "cine.dcm", "not where each lies")


def test_a_mosaic(tmp_path):
    datasets = slices(voxels()[:1])
    datasets[0].ImageType = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
    refused(save(tmp_path / "s", datasets), "mosaic")


def test_a_table_of_values(tmp_path):
    datasets = slices(voxels()[:1])
    table = Dataset()
    table.LUTDescriptor, table.ModalityLUTType, table.LUTData = [2, 0, 16], "US", b"\0\0\1\0"
    datasets[0].ModalityLUTSequence = [table]
    refused(save(tmp_path / "s", datasets), "modality LUT")


def test_a_slice_without_thickness(tmp_path):
    datasets = slices(voxels()[:1])
    datasets[0].SliceThickness = ""
    refused(save(tmp_path / "s", datasets), "SliceThickness")


def test_a_folder_without_dicom(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing to see")
    refused(tmp_path, "DICOM", "not searched")


def test_text_called_dcm(tmp_path):
    (tmp_path / "a.dcm").write_text("nothing to see")
    refused(tmp_path / "a.dcm", "not a DICOM image")


@pytest.mark.parametrize("cut", [1, 40, 200, 500, 600])
def test_a_truncated_slice(tmp_path, cut):
    """Also when the header is cut, and also the last slice, which leaves no gap behind."""
    folder = save(tmp_path / "s", slices())
    file = folder / "IM0006.dcm"
    data = file.read_bytes()
    assert len(data) > 850
    file.write_bytes(data[: len(data) - cut])
    refused(folder, "IM0006.dcm", "truncated")


def test_a_multi_frame_file_that_describes_fewer_frames(tmp_path):
    dataset = enhanced(voxels())
    del dataset.PerFrameFunctionalGroupsSequence[-1]
    refused(save(tmp_path, [dataset], ["e.dcm"]) / "e.dcm", "7 frames, 6 of them described")


@pytest.mark.parametrize("keep", [0.4, 0.9])
def test_a_truncated_compressed_slice(tmp_path, keep):
    datasets = slices()
    for dataset in datasets:
        dataset.compress(RLELossless)
    folder = save(tmp_path / "s", datasets)
    file = folder / "IM0003.dcm"
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * keep)])
    refused(folder, "IM0003.dcm")


# Acquisition parameters


def read_acquisition(tmp_path, attributes, count=1) -> Acquisition:
    datasets = slices(voxels()[:count])
    for dataset in datasets:
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)
    return read_dicom(save(tmp_path / "s", datasets)).acquisition


def test_milliseconds_become_seconds(tmp_path):
    acquisition = read_acquisition(
        tmp_path,
        {
            "RepetitionTime": "7.25",
            "EchoTime": "3.5",
            "InversionTime": "900",
            "FlipAngle": "12",
            "MagneticFieldStrength": "1.5",
        },
    )
    assert acquisition == Acquisition(
        repetition_time_s=0.00725,
        echo_time_s=0.0035,
        inversion_time_s=0.9,
        flip_angle_deg=12.0,
        field_strength_t=1.5,
    )


def test_zero_and_empty_are_unknown(tmp_path):
    acquisition = read_acquisition(
        tmp_path, {"InversionTime": "0", "FlipAngle": "0", "RepetitionTime": "", "EchoTime": None}
    )
    assert acquisition == Acquisition()


@pytest.mark.parametrize(
    ("written", "tesla"),
    [
        ("3", 3.0),
        ("2.8936", 2.8936),
        ("0.55", 0.55),
        ("15000", 1.5),
        ("30000", 3.0),
        ("1500", 1.5),
        ("2893.6", 2.8936),
        ("70000", 7.0),
        ("5000", None),
        ("99", None),
    ],
)
def test_field_strength_in_gauss_or_millitesla(tmp_path, written, tesla):
    field = read_acquisition(tmp_path, {"MagneticFieldStrength": written}).field_strength_t
    assert field == (None if tesla is None else pytest.approx(tesla))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Gadavist", "gadobutrol"),
        ("Gadovist 1.0", "gadobutrol"),
        ("GADOVIST", "gadobutrol"),
        ("gadobutrol 1mmol/ml", "gadobutrol"),
        ("10ml_Dotarem", "gadoterate"),
        ("Clariscan", "gadoterate"),
        ("Gadoteric acid", "gadoterate"),
        ("ProHance", "gadoteridol"),
        ("MULTIHANCE", "gadobenate"),
        ("Magnevist", "gadopentetate"),
        ("Omniscan", "gadodiamide"),
        ("Eovist", "gadoxetate"),
        ("Primovist", "gadoxetate"),
        ("OptiMARK", "gadoversetamide"),
        ("Elucirem", "gadopiclenol"),
        ("Vueway", "gadopiclenol"),
        ("Gd", None),
        ("contrast", None),
        ("Omnipaque", None),
        ("Dotarem or Gadovist", None),
        ("Gadovist 7 ml, no reaction", "gadobutrol"),
        ("Gadovist, Lot No 12", "gadobutrol"),
        ("no Gadovist", None),
        ("ohne Dotarem", None),
        ("Gadovist not given", None),
        ("Eovist: none", None),
        ("Gd i.v., not Eovist", None),
        ("Gadobutrol1mmol", "gadobutrol"),
    ],
)
def test_agents(tmp_path, text, name):
    assert read_acquisition(tmp_path, {"ContrastBolusAgent": text}).agent == name
    assert name is None or generic_agent_name(name) == name


@pytest.mark.parametrize(
    ("agent", "attributes", "dose"),
    [
        ("Gadovist", {"ContrastBolusVolume": "7.5", "PatientWeight": "75"}, 0.1),
        ("Dotarem", {"ContrastBolusVolume": "15", "PatientWeight": "75"}, 0.1),
        ("Primovist", {"ContrastBolusVolume": "7.5", "PatientWeight": "75"}, 0.025),
        (
            "Dotarem",
            {
                "ContrastBolusTotalDose": "7.5",
                "ContrastBolusVolume": "30",
                "PatientWeight": "75",
            },
            0.05,
        ),
        ("Dotarem", {"ContrastBolusVolume": "15"}, None),
        ("Dotarem", {"ContrastBolusVolume": "15", "PatientWeight": "0"}, None),
        ("Dotarem", {"PatientWeight": "75"}, None),
        ("Gd", {"ContrastBolusVolume": "15", "PatientWeight": "75"}, None),
        ("Dotarem", {"ContrastBolusVolume": "1500", "PatientWeight": "75"}, None),
    ],
)
def test_dose(tmp_path, agent, attributes, dose):
    found = read_acquisition(tmp_path, {"ContrastBolusAgent": agent, **attributes})
    assert found.dose_mmol_per_kg == (None if dose is None else pytest.approx(dose))


@pytest.mark.filterwarnings("ignore:Invalid value for VR TM")
@pytest.mark.parametrize(
    ("start", "acquired", "seconds"),
    [
        ("101500", "101616.430000", 76.43),
        ("235930", "000100.5", 90.5),
        ("101500", "101400", -60.0),
        ("000010", "235950", -20.0),
        ("10:15:00", "1017", 120.0),
        ("", "101500", None),
        ("101500", "", None),
    ],
)
def test_time_after_the_injection(tmp_path, start, acquired, seconds):
    times = {"ContrastBolusStartTime": start, "AcquisitionTime": acquired}
    found = read_acquisition(tmp_path, times).time_s
    assert found == (None if seconds is None else pytest.approx(seconds))


def test_time_is_that_of_the_earliest_slice(tmp_path):
    datasets = slices()
    for dataset, second in zip(datasets, (15, 8, 16, 9, 17, 10, 18), strict=True):
        dataset.ContrastBolusStartTime = "101500"
        dataset.AcquisitionTime = f"1015{second:02d}"
    assert read_dicom(save(tmp_path / "s", datasets)).acquisition.time_s == pytest.approx(8)


def with_bolus(dataset):
    """Everything about the acquisition, where an enhanced file keeps it."""
    shared = dataset.SharedFunctionalGroupsSequence[0]
    shared.MRTimingAndRelatedParametersSequence = [item(RepetitionTime=7.25, FlipAngle="12")]
    shared.MRModifierSequence = [item(InversionTimes=900.0)]
    shared.ContrastBolusUsageSequence = [
        item(ContrastBolusAgentNumber=2, ContrastBolusAgentAdministered="YES")
    ]
    for n, groups in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        groups.MREchoSequence = [item(EffectiveEchoTime=3.5)]
        groups.FrameContentSequence = [item(FrameAcquisitionDateTime=f"202602010000{30 + n}.5")]
    dataset.MagneticFieldStrength = "3"
    dataset.PatientWeight = "75"
    first, second = item(), item()
    first.ContrastBolusAgentNumber, first.CodeMeaning = 1, "Magnevist"
    second.ContrastBolusAgentNumber, second.CodeMeaning = 2, "Gadobutrol"
    profile = item(ContrastBolusVolume="7.5", ContrastBolusStartTime="235930")
    second.ContrastAdministrationProfileSequence = [profile]
    dataset.ContrastBolusAgentSequence = [first, second]
    return dataset


def test_functional_groups_hold_the_same_parameters(tmp_path):
    dataset = with_bolus(enhanced(voxels()))
    acquisition = read_dicom(save(tmp_path, [dataset], ["e.dcm"]) / "e.dcm").acquisition
    assert acquisition == Acquisition(
        repetition_time_s=pytest.approx(0.00725),
        echo_time_s=pytest.approx(0.0035),
        inversion_time_s=pytest.approx(0.9),
        flip_angle_deg=12.0,
        field_strength_t=3.0,
        agent="gadobutrol",
        dose_mmol_per_kg=pytest.approx(0.1),
        time_s=pytest.approx(60.5),
    )


def test_an_agent_that_is_not_yet_given_does_not_count(tmp_path):
    dataset = with_bolus(enhanced(voxels()))
    usage = dataset.SharedFunctionalGroupsSequence[0].ContrastBolusUsageSequence[0]
    usage.ContrastBolusAgentAdministered = "NO"
    acquisition = read_dicom(save(tmp_path, [dataset], ["e.dcm"]) / "e.dcm").acquisition
    assert acquisition.agent is acquisition.dose_mmol_per_kg is acquisition.time_s is None
    assert acquisition.flip_angle_deg == 12.0


def test_malformed_numbers_are_unknown(tmp_path):
    folder = save(tmp_path / "s", slices(voxels()[:1]))
    file = folder / "IM0000.dcm"
    dataset = pydicom.dcmread(file)
    dataset.EchoTime = "12.34"
    dataset.save_as(file)
    file.write_bytes(file.read_bytes().replace(b"12.34", b"12,34"))
    assert read_dicom(Path(folder)).acquisition.echo_time_s is None
