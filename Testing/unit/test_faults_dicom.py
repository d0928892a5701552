"""DICOM as people have it and as a broken disk leaves it: the right values, or a refusal.

Values are compared with pydicom's pixels, rescaled and sorted here. Where the environment
variable CONTRASTSYNTH_FAULTS names a folder of faulty files, these are read as well.
"""

from __future__ import annotations

import copy
import json
import os
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from fuzz_dicom import mutations, write
from making_dicom import (
    FIRST_MM,
    ROTATION,
    SHAPE,
    SLICE_MM,
    ds,
    enhanced,
    frame_groups,
    item,
    save,
    segmentation,
    slices,
    voxels,
)
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless, generate_uid

from ContrastSynthLib.cli import main
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.dicom.segmentation import fitted
from ContrastSynthLib.files.images import read_mask, read_volume, write_volume
from ContrastSynthLib.files.series import holds_series, read_series

MUTATIONS = 250


def by_pydicom(folder, files=None):
    """The rescaled pixels of single-slice files, sorted along their normal, (k, j, i)."""
    datasets = [pydicom.dcmread(path, force=True) for path in files or sorted(folder.iterdir())]
    for dataset in datasets:
        if "TransferSyntaxUID" not in dataset.file_meta:
            dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
    cosines = np.array(datasets[0].ImageOrientationPatient, float).reshape(2, 3)
    normal = np.cross(*cosines)
    datasets.sort(key=lambda d: np.array(d.ImagePositionPatient, float) @ normal)
    return np.array(
        [
            d.pixel_array * float(d.get("RescaleSlope", 1)) + float(d.get("RescaleIntercept", 0))
            for d in datasets
        ],
        np.float32,
    )


def refused(path, *parts, read=read_volume):
    with pytest.raises(RequestError) as caught:
        read(path)
    message = str(caught.value)
    for part in parts:
        assert part in message.replace(str(path), ""), message
    assert "Tester" not in message
    assert "4711" not in message
    return message


def noted(volume, *parts):
    text = " ".join(volume.notes)
    for part in parts:
        assert part in text, text


# Files of the folder


def without_preamble(path):
    path.write_bytes(path.read_bytes()[132:])


@pytest.mark.parametrize("count", [1, 3, 7])
@pytest.mark.parametrize("meta", [True, False])
def test_files_without_preamble_are_slices_like_the_others(tmp_path, count, meta):
    folder = save(tmp_path / "s", slices())
    for path in sorted(folder.iterdir())[-count:]:
        if meta:
            without_preamble(path)
        else:
            dataset = pydicom.dcmread(path)
            del dataset.file_meta
            dataset.save_as(path, implicit_vr=True, little_endian=True)
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.array, voxels())
    assert volume.notes == ()


@pytest.mark.parametrize(
    "content", [b"", b"not a slice any more", bytes(3000), b"\x00" * 128 + b"DICX" + bytes(50)]
)
@pytest.mark.parametrize("names", ["IM{}.dcm", "IM{}", "1.2.840.{}", "IM{}.IMA"])
def test_a_slice_that_cannot_be_read_is_named(tmp_path, content, names):
    all_names = [names.format(n) for n in range(SHAPE[0])]
    folder = save(tmp_path / "s", slices(), all_names)
    (folder / all_names[-1]).write_bytes(content)
    refused(folder, all_names[-1])


@pytest.mark.parametrize("cut", [1, 100, 131, 135, 150, 300, 330, 400, 600])
def test_a_slice_that_ends_in_its_header_is_named(tmp_path, cut):
    folder = save(tmp_path / "s", slices())
    path = folder / "IM0006.dcm"
    path.write_bytes(path.read_bytes()[:cut])
    refused(folder, "IM0006.dcm")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_is_not_waited_for(tmp_path):
    folder = save(tmp_path / "s", slices())
    os.mkfifo(folder / "IM0007.dcm")
    np.testing.assert_array_equal(read_volume(folder).array, voxels())
    refused(folder / "IM0007.dcm", "not a plain file")
    refused(folder / "IM0007.dcm", "not a plain file", read=read_series)


def test_a_link_to_a_slice_that_is_gone(tmp_path):
    folder = save(tmp_path / "s", slices())
    (folder / "IM0007.dcm").symlink_to(tmp_path / "gone")
    refused(folder, "IM0007.dcm")


@pytest.mark.parametrize(
    ("name", "content", "note"),
    [
        ("notes.txt", b"seen by two readers", None),
        ("notes.txt", b"", "notes.txt"),
        ("._IM0003.dcm", b"\x00\x05\x16\x07", None),
        ("DICOMDIR", b"", None),
        ("raw.dat", b"\x01\x02" * 300, "raw.dat"),
    ],
)
def test_neighbours_that_never_were_slices(tmp_path, name, content, note):
    folder = save(tmp_path / "s", slices())
    (folder / name).write_bytes(content)
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.array, voxels())
    if note and content == b"":
        noted(volume, note)
    elif note is None and content:
        assert volume.notes == ()


def test_bytes_behind_the_pixels(tmp_path):
    """As where bytes were inserted: the pixels are shifted, and their end lies behind them."""
    folder = save(tmp_path / "s", slices())
    path = folder / "IM0002.dcm"
    data = path.read_bytes()
    path.write_bytes(data[:-50] + b"abcd" + data[-50:])
    refused(folder, "IM0002.dcm", "PixelData")
    path.write_bytes(data + bytes(64))  # a sector that was filled up
    np.testing.assert_array_equal(read_volume(folder).array, voxels())


# Copies and phases


def twin_of(dataset, *, uid=False, pixels=False):
    twin = copy.deepcopy(dataset)
    if uid:
        twin.SOPInstanceUID = generate_uid()
    if pixels:
        twin.PixelData = bytes(len(twin.PixelData))
    return twin


def test_a_copy_is_left_out_and_named(tmp_path):
    datasets = slices()
    names = [f"IM{n}.dcm" for n in range(7)]
    folder = save(tmp_path / "s", [*datasets, twin_of(datasets[3])], [*names, "IM3 (1).dcm"])
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.array, voxels())
    noted(volume, "'IM3 (1).dcm'")


def test_a_copy_of_a_multi_frame_file(tmp_path):
    dataset = enhanced(voxels())
    folder = save(tmp_path / "s", [dataset, dataset], ["a.dcm", "a copy.dcm"])
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.array, voxels())
    noted(volume, "a copy.dcm")


def test_one_identity_with_two_contents(tmp_path):
    datasets = slices()
    folder = save(tmp_path / "s", [*datasets, twin_of(datasets[2], pixels=True)])
    refused(folder, "IM0002.dcm", "IM0007.dcm", "SOPInstanceUID")


def test_one_identifier_for_all_images_of_a_series(tmp_path):
    """As of an anonymiser: nobody is asked to delete a phase."""
    datasets, arrays = phases(2, TELLING["trigger"])
    for dataset in datasets:
        dataset.SOPInstanceUID = "1.2.3.77"
    folder = save(tmp_path / "s", datasets)
    np.testing.assert_array_equal(read_volume(f"{folder}@2").array, arrays[1])


def test_only_equal_pixels_are_called_copies(tmp_path):
    datasets = slices()
    same = twin_of(datasets[2], uid=True)
    refused(save(tmp_path / "a", [*datasets, same]), "duplicated slices", "IM0007.dcm")
    other = twin_of(datasets[2], uid=True, pixels=True)
    message = refused(save(tmp_path / "b", [*datasets, other]), "IM0007.dcm", "different pixels")
    assert "duplicate" not in message
    assert "Remove the copies" not in message


def phases(count, attributes=lambda phase, k: {}, seed=0):
    """Datasets of a series, phase after phase, and their voxels, (t, k, j, i)."""
    arrays = np.array([voxels(seed + n) for n in range(count)])
    datasets = []
    for phase, array in enumerate(arrays):
        for k, dataset in enumerate(slices(array)):
            for keyword, value in attributes(phase, k).items():
                setattr(dataset, keyword, value)
            datasets.append(dataset)
    return datasets, arrays


def save_phases(tmp_path, count, attributes, **keywords):
    datasets, arrays = phases(count, attributes)
    order = np.random.default_rng(3).permutation(len(datasets))
    names = [f"{n:03d}.dcm" for n in range(len(datasets))]
    return save(tmp_path / "s", [datasets[n] for n in order], names), arrays


TELLING = {
    "position": lambda p, k: {"TemporalPositionIdentifier": str(p + 1)},
    "acquisition": lambda p, k: {"AcquisitionNumber": str(p + 1)},
    "trigger": lambda p, k: {"TriggerTime": str(6500.5 * p)},
    "slice by slice": lambda p, k: {"AcquisitionTime": f"1015{4 * p + k / 2:04.1f}"},
    "midnight": lambda p, k: {"AcquisitionTime": ("235950", "000010", "000030")[p]},
    "agent": lambda p, k: {"ContrastBolusStartTime": ("", "101500", "102000")[p]},
    "numbers, phase after phase": lambda p, k: {"InstanceNumber": str(7 * p + k + 1)},
    "numbers, slice after slice": lambda p, k: {"InstanceNumber": str(3 * k + p + 1)},
    "content": lambda p, k: {"ContentTime": f"10150{p}"},
}


@pytest.mark.parametrize("name", TELLING)
def test_each_phase_can_be_chosen(tmp_path, name):
    folder, arrays = save_phases(tmp_path, 3, TELLING[name])
    message = refused(folder, "3 images at one position", "  1: ", "  3: ", "s@2", "--in")
    assert "copies" not in message
    for n, array in enumerate(arrays, start=1):
        np.testing.assert_array_equal(read_volume(f"{folder}@{n}").array, array)
    for wrong in ("0", "4", "-1", "x", "1.5", "٢"):
        refused(f"{folder}@{wrong}", f"'{wrong}'", "1 to 3")


@pytest.mark.parametrize(
    ("name", "times_s"),
    [
        ("trigger", [0, 6.5005, 13.001]),
        ("slice by slice", [0, 4, 8]),
        ("midnight", [0, 20, 40]),
        ("content", [0, 1, 2]),
        ("position", None),
        ("numbers, slice after slice", None),
    ],
)
def test_a_folder_of_phases_is_a_series(tmp_path, name, times_s):
    folder, arrays = save_phases(tmp_path, 3, TELLING[name])
    assert holds_series(folder)
    assert not holds_series(f"{folder}@2")
    if times_s is None:
        refused(folder, "--times", read=read_series)
        volumes = read_series(folder, [0, 60, 120])
        times_s = [0, 60, 120]
    else:
        volumes = read_series(folder)
        noted(volumes[0], "when the agent was given")
    np.testing.assert_array_equal([volume.array for volume in volumes], arrays)
    assert [volume.acquisition.time_s for volume in volumes] == pytest.approx(times_s)


def test_times_count_from_the_injection(tmp_path):
    def attributes(p, k):
        bolus = {"ContrastBolusStartTime": "101530"} if p else {}
        return {"AcquisitionTime": f"10{15 + p}00", **bolus}

    folder, _ = save_phases(tmp_path, 3, attributes)
    times = [volume.acquisition.time_s for volume in read_series(folder)]
    assert times == pytest.approx([-30, 30, 90])
    assert [v.acquisition.time_s for v in read_series(f"{folder}@1,3")] == pytest.approx([-30, 90])


@pytest.mark.parametrize("repetition_ms", ["6.5", "100"])
def test_the_repetition_time_is_no_time_of_a_phase(tmp_path, repetition_ms):
    folder, _ = save_phases(
        tmp_path,
        3,
        lambda p, k: {
            "TriggerTime": str(float(repetition_ms) * p),
            "RepetitionTime": repetition_ms,
        },
    )
    refused(folder, "--times", read=read_series)


def test_a_repetition_time_in_seconds_is_unknown(tmp_path):
    datasets = slices()
    for dataset in datasets:
        dataset.RepetitionTime = "0.0055"
    volume = read_volume(save(tmp_path / "s", datasets))
    assert volume.acquisition.repetition_time_s is None
    noted(volume, "RepetitionTime")


def test_a_series_that_was_stopped(tmp_path):
    datasets, arrays = phases(3, TELLING["trigger"])
    folder = save(tmp_path / "s", datasets[:-2])
    refused(folder, "3: ", "5 of 7 images")
    refused(f"{folder}@3", "part 3 has 5 images at 7 positions")
    refused(folder, "part 3", read=read_series)
    np.testing.assert_array_equal(read_volume(f"{folder}@2").array, arrays[1])
    assert len(read_series(f"{folder}@1-2")) == 2


def test_one_wrong_time_does_not_mix_the_phases(tmp_path):
    datasets, _ = phases(2, TELLING["slice by slice"])
    datasets[8].AcquisitionTime = "001500"
    refused(f"{save(tmp_path / 's', datasets)}@2")


def test_echoes_are_parts_but_no_phases(tmp_path):
    folder, arrays = save_phases(tmp_path, 2, lambda p, k: {"EchoTime": ("2.3", "4.6")[p]})
    message = refused(folder, "EchoTime 2.3", "EchoTime 4.6", "s@2")
    assert "dynamic" not in message
    np.testing.assert_array_equal(read_volume(f"{folder}@2").array, arrays[1])
    refused(folder, "EchoTime", read=read_series)


def test_echoes_of_several_times(tmp_path):
    folder, arrays = save_phases(
        tmp_path,
        4,
        lambda p, k: {"EchoTime": ("2.3", "4.6")[p % 2], "TriggerTime": str(5000 * (p // 2))},
    )
    for part, phase in enumerate((0, 2, 1, 3), start=1):
        np.testing.assert_array_equal(read_volume(f"{folder}@{part}").array, arrays[phase])
    times = [volume.acquisition.time_s for volume in read_series(f"{folder}@3-4")]
    assert times == pytest.approx([0, 5])


def test_phases_of_a_multi_frame_file(tmp_path):
    dataset = enhanced(np.concatenate([voxels(0), voxels(1)]))
    dataset.PerFrameFunctionalGroupsSequence = []
    for n in range(2 * SHAPE[0]):
        groups = frame_groups(n % SHAPE[0])
        when = f"202602011015{30 * (n // SHAPE[0]):02d}"
        content = item(FrameAcquisitionDateTime=when, TemporalPositionIndex=1 + n // SHAPE[0])
        groups.FrameContentSequence = [content]
        dataset.PerFrameFunctionalGroupsSequence.append(groups)
    file = save(tmp_path, [dataset], ["e.dcm"]) / "e.dcm"
    np.testing.assert_array_equal(read_volume(f"{file}@2").array, voxels(1))
    assert [v.acquisition.time_s for v in read_series(file)] == pytest.approx([0, 30])


def test_a_path_that_exists_wins_over_a_part(tmp_path):
    save(tmp_path / "s@2", slices(voxels(5)))
    save(tmp_path / "s", slices(voxels(6)))
    np.testing.assert_array_equal(read_volume(tmp_path / "s@2").array, voxels(5))
    np.testing.assert_array_equal(read_volume(f"{tmp_path}/s@2@1").array, voxels(5))
    refused(f"{tmp_path}/s@3", "no part '3'")
    refused(f"{tmp_path}/none@2", "no such file")


def test_a_part_of_a_file_of_another_format(tmp_path):
    file = tmp_path / "t1.nrrd"
    write_volume(read_volume(save(tmp_path / "s", slices())), file)
    refused(f"{file}@2", "'@2'")


# One slice unlike the others


def change(dataset, keyword, value):
    if value is None:
        del dataset[keyword]
    else:
        setattr(dataset, keyword, value)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("RescaleSlope", None),
        ("RescaleSlope", "0"),
        ("RescaleIntercept", None),
        ("EchoTime", "99"),
        ("RepetitionTime", "999"),
        ("FlipAngle", "70"),
        ("ImageType", ["ORIGINAL", "PRIMARY", "P"]),
        ("PatientID", "4711-2"),
        ("PatientName", "Other^Person"),
        ("FrameOfReferenceUID", "1.2.3.9"),
        ("PhotometricInterpretation", "MONOCHROME1"),
        ("Modality", "CT"),
        ("PixelRepresentation", 1),
        ("BitsStored", 11),
        ("HighBit", 11),
        ("PixelRepresentation", 2),
        ("PixelPaddingValue", None),
        ("Columns", 8),
        ("Rows", 65535),
        ("BitsAllocated", 8),
        ("SamplesPerPixel", 3),
        ("NumberOfFrames", 2),
    ],
)
@pytest.mark.parametrize("which", [0, 4, 6])
def test_one_slice_unlike_the_others_is_refused(tmp_path, keyword, value, which):
    stored = voxels()
    stored[:, 2, 2] = 40000
    stored[:, 0] = 63536
    datasets = slices(stored)
    for dataset in datasets:
        dataset.RescaleSlope, dataset.RescaleIntercept = "0.25", "3"
        dataset.EchoTime, dataset.RepetitionTime, dataset.FlipAngle = "3", "8", "12"
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "M"]
        dataset.FrameOfReferenceUID = "1.2.3.8"
        dataset.add_new("PixelPaddingValue", "US", 63536)
    change(datasets[which], keyword, value)
    message = refused(save(tmp_path / "s", datasets))
    assert f"IM000{which}.dcm" in message or keyword in message or "image size" in message


def test_settings_may_jitter_a_little(tmp_path):
    datasets = slices()
    for n, dataset in enumerate(datasets):
        dataset.EchoTime, dataset.RepetitionTime = f"{3 + n / 1000}", f"{800 + 9 * n}"
        dataset.PatientName = ("Tester^Theodora", "TESTER^THEODORA^^")[n % 2]
    np.testing.assert_array_equal(read_volume(save(tmp_path / "s", datasets)).array, voxels())


# Values


def test_a_slope_of_zero_is_taken_for_one(tmp_path):
    datasets = slices()
    for dataset in datasets:
        dataset.RescaleSlope, dataset.RescaleIntercept = "0", "5"
    volume = read_volume(save(tmp_path / "s", datasets))
    np.testing.assert_array_equal(volume.array, voxels() + 5.0)
    noted(volume, "RescaleSlope is 0")


@pytest.mark.parametrize("text", [b"x ", b"1,5 ", b"nan ", b"1e999 ", b"1\\2 "])
@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
def test_a_scale_that_is_no_number(tmp_path, text, keyword):
    datasets = slices()
    setattr(datasets[3], keyword, "98.7654")
    folder = save(tmp_path / "s", datasets)
    path = folder / "IM0003.dcm"
    stored = pydicom.dcmread(path).get_item(keyword).value
    path.write_bytes(path.read_bytes().replace(stored, text.ljust(len(stored))))
    refused(folder, "IM0003.dcm", keyword)


def test_padding_is_background(tmp_path):
    stored = voxels()
    stored[:, :2] = 63536
    datasets = slices(stored)
    for dataset in datasets:
        dataset.PixelPaddingValue = 63536
        dataset.RescaleSlope, dataset.RescaleIntercept = "2", "-7"
    volume = read_volume(save(tmp_path / "s", datasets))
    assert (volume.array[:, :2] == 0).all()
    np.testing.assert_array_equal(volume.array[:, 2:], stored[:, 2:] * 2.0 - 7)
    noted(volume, "33.3%", "PixelPaddingValue")


def test_a_range_of_padding_also_as_unsigned_of_signed_pixels(tmp_path):
    stored = voxels().astype(np.int16)
    stored[:, 0], stored[:, 1], stored[:, 2] = -2000, -1990, -1989
    datasets = slices(stored)
    for dataset in datasets:
        dataset.add_new("PixelPaddingValue", "US", 65536 - 2000)
        dataset.add_new("PixelPaddingRangeLimit", "SS", -1990)
    array = read_volume(save(tmp_path / "s", datasets)).array
    assert (array[:, :2] == 0).all()
    np.testing.assert_array_equal(array[:, 2:], stored[:, 2:])


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
def test_bits_of_an_overlay_are_no_values(tmp_path, declared, dtype):
    stored = voxels().astype(dtype) - (3000 if dtype == np.int16 else 0)
    stored = np.clip(stored, -2048, 2047) if dtype == np.int16 else stored
    with_overlay = (stored & 0x0FFF).astype(dtype)
    with_overlay[:, 1] |= np.array(0x4000, dtype)
    datasets = slices(with_overlay)
    for dataset in datasets:
        dataset.BitsStored, dataset.HighBit = 12, 11
        if declared:
            dataset.add_new(0x60000102, "US", 14)
    volume = read_volume(save(tmp_path / "s", datasets))
    np.testing.assert_array_equal(volume.array, stored)
    assert bool(volume.notes) != declared


def test_unsigned_pixels_that_are_called_signed(tmp_path):
    k, j, i = np.indices((7, 24, 20))
    stored = 60000 * np.exp(-((j - 12) ** 2 + (i - 10) ** 2 + k) / 60)
    datasets = slices(stored.astype(np.uint16))
    for dataset in datasets:
        dataset.PixelRepresentation = 1
    refused(save(tmp_path / "s", datasets), "PixelRepresentation")


def test_monochrome1_keeps_its_numbers_with_a_note(tmp_path):
    datasets = slices()
    for dataset in datasets:
        dataset.PhotometricInterpretation = "MONOCHROME1"
    volume = read_volume(save(tmp_path / "s", datasets))
    np.testing.assert_array_equal(volume.array, voxels())
    noted(volume, "MONOCHROME1")


# Places


def jittered(array_of, size):
    rng = np.random.default_rng(5)
    datasets = slices()
    for dataset in datasets:
        keyword = array_of
        exact = np.array(dataset[keyword].value, float)
        setattr(dataset, keyword, ds(exact + rng.uniform(-size, size, exact.shape)))
    return datasets


@pytest.mark.parametrize("size", [5e-5, 3e-4])
def test_orientations_that_jitter(tmp_path, size):
    volume = read_volume(save(tmp_path / "s", jittered("ImageOrientationPatient", size)))
    np.testing.assert_array_equal(volume.array, voxels())
    axes = np.reshape(volume.grid.direction, (3, 3))
    np.testing.assert_allclose(axes, ROTATION, atol=2 * size)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-4)
    if size > 1e-4:
        noted(volume, "ImageOrientationPatient", "0.001")


def test_orientations_that_differ_are_shown_with_the_digits_that_do(tmp_path):
    message = refused(
        save(tmp_path / "s", jittered("ImageOrientationPatient", 0.002)), "orientation"
    )
    rows = message.split("orientation: ")[1].split(". ")[0].split("; ")
    assert len(set(rows)) == len(rows) > 1


def test_every_second_slice(tmp_path):
    datasets = slices()
    for dataset in datasets:
        dataset.SpacingBetweenSlices = str(SLICE_MM)
    assert read_volume(save(tmp_path / "all", datasets)).notes == ()
    volume = read_volume(save(tmp_path / "half", datasets[::2]))
    noted(volume, "2 times", "SpacingBetweenSlices", "missing")


def test_a_frame_without_the_scale_of_the_others(tmp_path):
    dataset = enhanced(voxels())
    for k, groups in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        if k != 3:
            scale = item(RescaleSlope="2.5", RescaleIntercept="1")
            groups.PixelValueTransformationSequence = [scale]
    save(tmp_path, [dataset], ["e.dcm"])
    refused(tmp_path / "e.dcm", "frame 4", "RescaleSlope")


def test_positions_that_jitter(tmp_path):
    volume = read_volume(save(tmp_path / "s", jittered("ImagePositionPatient", 0.04)))
    np.testing.assert_array_equal(volume.array, voxels())
    assert volume.grid.spacing_mm[2] == pytest.approx(SLICE_MM, abs=0.02)
    np.testing.assert_allclose(volume.grid.origin_mm, FIRST_MM, atol=0.06)
    noted(volume, "ImagePositionPatient")


@pytest.mark.parametrize(
    ("keyword", "value", "part"),
    [
        ("PixelSpacing", ["1e-30", "1"], "PixelSpacing"),
        ("PixelSpacing", ["1e9", "1"], "PixelSpacing"),
        ("ImagePositionPatient", ["1e30", "0", "0"], "ImagePositionPatient"),
        ("Rows", 0, "Rows"),
        ("Columns", 0, "Columns"),
    ],
)
def test_values_that_are_no_geometry(tmp_path, keyword, value, part):
    datasets = slices()
    for dataset in datasets:
        setattr(dataset, keyword, value)
    refused(save(tmp_path / "s", datasets), part)


# What is promised


@pytest.mark.parametrize(("keyword", "value"), [("Columns", 8), ("Rows", 5), ("Rows", 7)])
def test_pixels_that_are_not_rows_times_columns(tmp_path, keyword, value):
    datasets = slices()
    for dataset in datasets:
        setattr(dataset, keyword, value)
    refused(save(tmp_path / "s", datasets), "IM0000.dcm", "Rows", "Columns")


@pytest.mark.parametrize("packed", [False, True])
def test_gigabytes_are_refused_before_they_are_asked_for(tmp_path, packed, monkeypatch):
    datasets = slices()
    for dataset in datasets:
        if packed:
            dataset.compress(RLELossless)
        dataset.Rows = dataset.Columns = 65535
    folder = save(tmp_path / "s", datasets)

    def room(*arguments):
        raise AssertionError("memory was asked for")

    monkeypatch.setattr("ContrastSynthLib.files.dicom.pixels._room", room)
    refused(folder, "IM0000.dcm", "65535", "promise")


def test_deflated_files_are_read_but_not_beyond_their_pixels(tmp_path):
    datasets = slices()
    for dataset in datasets:
        dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    folder = save(tmp_path / "s", datasets)
    np.testing.assert_array_equal(read_volume(folder).array, voxels())
    path = folder / "IM0003.dcm"
    data = path.read_bytes()
    start = 144 + int.from_bytes(data[140:144], "little")
    packing = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = [packing.compress(zlib.decompress(data[start:], -15))]
    packed += [packing.compress(bytes(2**20)) for _ in range(100)]
    path.write_bytes(data[:start] + b"".join(packed) + packing.flush())
    refused(folder, "IM0003.dcm", "longer than its pixels")
    path.write_bytes(data[: start + 200])
    refused(folder, "IM0003.dcm")


def test_sequences_without_end(tmp_path):
    folder = save(tmp_path / "s", slices())
    path = folder / "IM0002.dcm"
    data = path.read_bytes()
    at = data.index(b"\x10\x00\x10\x00PN")
    opened = b"\x08\x00\x40\x11SQ\0\0" + b"\xff" * 4 + b"\xfe\xff\x00\xe0" + b"\xff" * 4
    path.write_bytes(data[:at] + opened * 3000 + data[at:])
    refused(folder, "IM0002.dcm", "damaged")


def test_text_that_is_no_text(tmp_path):
    datasets = slices()
    other = slices(voxels(1))
    for dataset in other:
        dataset.SeriesInstanceUID = "1.2.3.5"
        dataset.SeriesDescription = "T1 Theodora 4711 Tester"
    folder = save(tmp_path / "s", datasets)
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes().replace(b"t1 post", b"\xff\0\xfe\x80\x1b$x"))
    np.testing.assert_array_equal(read_volume(folder).array, voxels())
    save(folder, other, [f"other {n}" for n in range(7)])
    message = refused(folder, "2 series", "'T1 ... ... ...'")
    assert "\0" not in message
    assert "Theodora" not in message


@pytest.mark.parametrize("keyword", ["Columns", "Rows"])
def test_compressed_pixels_of_another_size(tmp_path, keyword):
    datasets = slices()
    for dataset in datasets:
        dataset.compress(RLELossless)
        setattr(dataset, keyword, dataset[keyword].value - 1)
    refused(save(tmp_path / "s", datasets), "IM0000.dcm")


def test_compressed_pixels_with_bytes_missing_inside(tmp_path):
    datasets = slices()
    for dataset in datasets:
        dataset.compress(RLELossless)
    folder = save(tmp_path / "s", datasets)
    path = folder / "IM0003.dcm"
    data = path.read_bytes()
    path.write_bytes(data[:-60] + data[-48:])
    refused(folder, "IM0003.dcm")


# Segmentations


@pytest.fixture
def segments():
    rng = np.random.default_rng(2)
    return {1: rng.random(SHAPE) > 0.6, 2: rng.random(SHAPE) > 0.7}


FRAMES = [(1, 5), (1, 1), (2, 3), (2, 6), (1, 2)]


def drawn(segments, number, threshold=1):
    array = np.zeros(SHAPE)
    for own, k in FRAMES:
        if own == number:
            array[k] = segments[number][k] >= threshold
    return array


@pytest.mark.parametrize(("part", "number"), [("1", 1), ("2", 2), ("tumour", 1), ("Oedema", 2)])
def test_each_segment_lies_on_the_scan(tmp_path, segments, part, number):
    save(tmp_path, [segmentation(segments, FRAMES)], ["seg.dcm"])
    scan = read_volume(save(tmp_path / "scan", slices()))
    mask = fitted(read_mask(f"{tmp_path}/seg.dcm@{part}"), scan.grid)
    assert mask.grid == scan.grid
    np.testing.assert_array_equal(mask.array, drawn(segments, number))


def test_several_segments_are_listed(tmp_path, segments):
    save(tmp_path, [segmentation(segments, FRAMES)], ["seg.dcm"])
    for source in ("seg.dcm", "seg.dcm@3", "seg.dcm@Necrosis"):
        refused(f"{tmp_path}/{source}", "1: Tumour", "2: Oedema", "@1", read=read_mask)
    refused(tmp_path / "seg.dcm", "segmentation", "mask")


def test_fractions_count_from_a_half_on(tmp_path):
    rng = np.random.default_rng(2)
    shares = {n: rng.integers(0, 201, SHAPE) for n in (1, 2)}
    save(tmp_path, [segmentation(shares, FRAMES, "FRACTIONAL")], ["seg.dcm"])
    scan = read_volume(save(tmp_path / "scan", slices()))
    mask = read_mask(f"{tmp_path}/seg.dcm@2")
    np.testing.assert_array_equal(fitted(mask, scan.grid).array, drawn(shares, 2, 100))
    noted(mask, "0.5")


def test_a_segment_of_one_frame(tmp_path, segments):
    save(tmp_path, [segmentation(segments, [(1, 4)], labels=["a"])], ["seg.dcm"])
    mask = read_mask(tmp_path / "seg.dcm")
    np.testing.assert_array_equal(mask.array, segments[1][4:5])
    assert mask.grid.spacing_mm[2] == pytest.approx(SLICE_MM)


@pytest.mark.parametrize("order", [(2, 1, 0), (1, 2, 0)])
def test_a_segment_on_a_scan_with_other_axes(tmp_path, segments, order):
    """As after a conversion that mirrors or exchanges the axes of the scan."""
    save(tmp_path, [segmentation(segments, FRAMES)], ["seg.dcm"])
    scan = read_volume(save(tmp_path / "scan", slices()))
    matrix = scan.grid.index_to_lps.copy()
    matrix[:3, 3] += matrix[:3, 0] * (SHAPE[2] - 1)
    matrix[:3, 0] *= -1
    columns = [2 - axis for axis in order][::-1]
    matrix[:3, :3] = matrix[:3, columns]
    size = np.array(scan.grid.size)[columns]
    grid = type(scan.grid).from_index_to_lps(size.tolist(), matrix)
    mask = fitted(read_mask(f"{tmp_path}/seg.dcm@1"), grid)
    expected = drawn(segments, 1)[:, :, ::-1]
    kji = [2 - column for column in columns][::-1]
    np.testing.assert_array_equal(mask.array, expected.transpose(kji))


def test_a_segment_beside_the_scan_is_not_cut(tmp_path, segments):
    save(tmp_path, [segmentation(segments, FRAMES)], ["seg.dcm"])
    scan = read_volume(save(tmp_path / "scan", slices()[:4]))
    mask = read_mask(f"{tmp_path}/seg.dcm@1")
    assert fitted(mask, scan.grid) is mask


@pytest.mark.parametrize(
    ("frames", "part"),
    [([(1, 2), (1, 2)], "one position"), ([(1, 1), (3, 2)], "ReferencedSegmentNumber")],
)
def test_frames_that_contradict_each_other(tmp_path, segments, frames, part):
    segments[3] = segments[1]
    save(tmp_path, [segmentation(segments, frames)], ["seg.dcm"])
    refused(f"{tmp_path}/seg.dcm@1", part, read=read_mask)


# The command line


def test_commands_choose_parts_and_print_notes(tmp_path, capsys, segments):
    datasets, arrays = phases(4, TELLING["trigger"])
    for dataset in datasets:
        dataset.RescaleSlope = "0"
    folder = save(tmp_path / "phases", datasets)
    save(tmp_path, [segmentation(segments, FRAMES)], ["seg.dcm"])
    seg = tmp_path / "seg.dcm"
    run = ["run", "physics_dose", "--in", f"pre={folder}@1", "--in", f"post={folder}@2"]
    run += ["--in", f"mask={seg}@1", "--set", "dose=0", "--out", str(tmp_path / "out")]
    assert main([*run, "--progress", "none"]) == 0
    assert "RescaleSlope is 0" in capsys.readouterr().err
    made = tmp_path / "out"
    provenance = json.loads((made / "provenance.json").read_text())
    assert provenance["mask"]["voxels"] == drawn(segments, 1).sum()
    assert str(tmp_path) not in json.dumps(provenance)

    measured = ["kinetics", "--series", str(folder), "--mask", f"{seg}@Tumour", "--json"]
    assert main(measured) == 0
    printed = capsys.readouterr()
    assert "RescaleSlope is 0" in printed.err
    inside = drawn(segments, 1) > 0
    means = [float(array[inside].mean()) for array in arrays]
    report = json.loads(printed.out)
    assert report["curve"]["times_s"] == pytest.approx([0, 6.5005, 13.001, 19.5015])
    assert report["curve"]["values"] == pytest.approx(means)

    assert main([*run[:3], f"pre={folder}", *run[4:]]) == 2
    assert "Choose one phase, as in pre=FILE#1" in capsys.readouterr().err


# Faulty files from elsewhere, and seeded ones


@pytest.fixture(scope="module")
def faults():
    named = os.environ.get("CONTRASTSYNTH_FAULTS")
    if not named:
        pytest.skip("CONTRASTSYNTH_FAULTS is not set")
    return Path(named)


READ = {
    "D00_base": None,
    "D01_no_preamble_all": None,
    "D01_no_preamble_last3": None,
    "D03_jitter_0.0003": "ImageOrientationPatient",
    "D03_jitter_5e-05": None,
    "D03_position_jitter_0.04": "ImagePositionPatient",
    "D04_slope_per_slice": None,
}


@pytest.mark.parametrize("name", READ)
def test_faults_that_are_read(faults, name):
    folder = faults / "files/dicom" / name
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.array, by_pydicom(folder))
    noted(volume, READ[name] or "")
    assert bool(volume.notes) == bool(READ[name])


def test_faults_that_are_read_as_the_base(faults):
    base = by_pydicom(faults / "files/dicom/D00_base")
    for name in ("D04_slope_zero", "D12_copy_same_uid", "D17_padding"):
        volume = read_volume(faults / "files/dicom" / name)
        np.testing.assert_array_equal(volume.array, base)
        assert volume.notes


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("files/dicom/D02_last_cut_at_400B", "IM0015.dcm"),
        ("files/dicom/D02_last_zero_bytes", "IM0015.dcm"),
        ("files/dicom/D30_pre_post_one_uid", "@2"),
        ("hostile/dcm_columns_28", "Columns"),
        ("hostile/dcm_one_other_te", "im014.dcm"),
        ("hostile/dcm_one_slope_missing", "im014.dcm"),
        ("hostile/dcm_rows_65535", "Rows"),
        ("hostile/dcm_signed", "PixelRepresentation"),
        ("hostile/dcm_two_frames_of_reference", "FrameOfReferenceUID"),
    ],
)
def test_faults_that_are_refused(faults, name, part):
    message = refused(faults / name, part)
    assert "SECRET" not in message


def test_phases_and_segments_of_the_faults(faults):
    folder = faults / "files/dicom/D30_pre_post_one_uid"
    post = by_pydicom(folder, sorted(folder.glob("P2*")))
    np.testing.assert_array_equal(read_volume(f"{folder}@2").array, post)
    assert [v.acquisition.time_s for v in read_series(folder)] == pytest.approx([0, 300])
    scan = read_volume(faults / "files/dicom/D00_base")
    mask = fitted(read_mask(faults / "files/seg/gap.dcm"), scan.grid)
    assert mask.grid.is_same(scan.grid)
    dataset = pydicom.dcmread(faults / "files/seg/gap.dcm")
    assert mask.array.sum() == dataset.pixel_array.sum()


def read_or_refuse(source, read):
    """Return the volume, or None where it was refused; any other error is one of ours."""
    try:
        volume = read(source)
    except RequestError:
        return None
    assert volume.array.dtype == np.float32
    return volume


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["slices", "frames", "compressed", "segments", "phases"])
def test_mutated_folders_are_read_or_refused(tmp_path, kind, segments):
    """Nothing else is raised; and no file is lost in silence that was not taken away."""
    read = read_volume
    if kind == "slices":
        base = save(tmp_path / "base", slices())
    elif kind == "frames":
        base = save(tmp_path / "base", [enhanced(voxels())])
    elif kind == "compressed":
        datasets = slices()
        for dataset in datasets:
            dataset.compress(RLELossless)
        base = save(tmp_path / "base", datasets)
    elif kind == "segments":
        base = save(tmp_path / "base", [segmentation(segments, FRAMES)])
        read = read_mask
    else:
        base = save(tmp_path / "base", phases(2, TELLING["slice by slice"])[0])
    part = {"phases": "@2", "segments": "@1"}.get(kind, "")
    right = read(f"{base}{part}")
    rng = np.random.default_rng(20)
    for n, (done, files) in zip(range(MUTATIONS // 5), mutations(rng, base), strict=False):
        folder = write(files, tmp_path / f"{n}")
        volume = read_or_refuse(f"{folder}{part}", read)
        if volume is not None and not done.startswith("lost"):
            assert volume.array.shape == right.array.shape, done
