"""DICOM files for the tests, made with pydicom: slices, frames, segmentations."""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    SegmentationStorage,
    generate_uid,
)
from pydicom.valuerep import format_number_as_ds
from scipy.spatial.transform import Rotation

PATIENT = "Tester^Theodora"
ROTATION = Rotation.from_euler("xyz", (17, -31, 52), degrees=True).as_matrix()
ROW_MM, COLUMN_MM, SLICE_MM = 1.25, 0.75, 3.3
FIRST_MM = np.array([-41.5, 12.25, -7.125])
SHAPE = (7, 6, 9)
MARKER = (5, 1, 7)


def ds(values):
    return [format_number_as_ds(float(value)) for value in np.ravel(values)]


def voxels(seed=0, shape=SHAPE):
    """Random values with one voxel above all others, nowhere near a centre."""
    array = np.random.default_rng(seed).integers(0, 1000, shape, dtype=np.uint16)
    array[tuple(np.minimum(MARKER, np.array(shape) - 1))] = 4000
    return array


def image_dataset(pixels, sop_class=MRImageStorage):
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = generate_uid()
    dataset.Modality = "MR"
    dataset.PatientName = PATIENT
    dataset.PatientID = "4711"
    dataset.SeriesInstanceUID = "1.2.3.4"
    dataset.SeriesNumber = 5
    dataset.SeriesDescription = "t1 post"
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = pixels.dtype.itemsize * 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = pixels.tobytes()
    return dataset


def set_plane(dataset, k, rotation=ROTATION, step=None):
    step = rotation[:, 2] * SLICE_MM if step is None else step
    dataset.ImageOrientationPatient = ds([rotation[:, 0], rotation[:, 1]])
    dataset.ImagePositionPatient = ds(FIRST_MM + k * step)
    dataset.PixelSpacing = ds([ROW_MM, COLUMN_MM])
    dataset.SliceThickness = "9.9"


def slices(array=None, **geometry):
    """Datasets of one series, slice k at the k-th place along the normal."""
    array = voxels() if array is None else array
    datasets = []
    for k, pixels in enumerate(array):
        dataset = image_dataset(pixels)
        set_plane(dataset, k, **geometry)
        dataset.InstanceNumber = k + 1
        datasets.append(dataset)
    return datasets


def save(folder, datasets, names=None):
    folder.mkdir(parents=True, exist_ok=True)
    for n, dataset in enumerate(datasets):
        name = names[n] if names else f"IM{n:04d}.dcm"
        dataset.save_as(folder / name, enforce_file_format=True)
    return folder


def ras_of(dataset, row, column):
    """Where a pixel lies: DICOM PS3.3, C.7.6.2.1.1, then from LPS to RAS."""
    along_row, along_column = np.array(dataset.ImageOrientationPatient, float).reshape(2, 3)
    between_rows, between_columns = (float(n) for n in dataset.PixelSpacing)
    origin = np.array(dataset.ImagePositionPatient, float)
    lps = origin + along_row * between_columns * column + along_column * between_rows * row
    return lps * (-1, -1, 1)


def frame_groups(k, **geometry):
    """The functional groups of one frame of an enhanced file."""
    plane = Dataset()
    set_plane(plane, k, **geometry)
    groups = Dataset()
    for name, keywords in (
        ("PlanePositionSequence", ["ImagePositionPatient"]),
        ("PlaneOrientationSequence", ["ImageOrientationPatient"]),
        ("PixelMeasuresSequence", ["PixelSpacing", "SliceThickness"]),
    ):
        item = Dataset()
        for keyword in keywords:
            item[keyword] = plane[keyword]
        setattr(groups, name, [item])
    return groups


def enhanced(array, order=None):
    """An enhanced MR file whose n-th frame is slice ``order[n]``."""
    order = range(len(array)) if order is None else order
    dataset = image_dataset(array[list(order)], EnhancedMRImageStorage)
    dataset.NumberOfFrames = len(array)
    dataset.SharedFunctionalGroupsSequence = [Dataset()]
    dataset.PerFrameFunctionalGroupsSequence = [frame_groups(k) for k in order]
    return dataset


def item(**attributes):
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def segmentation(segments, frames, kind="BINARY", labels=("Tumour", "Oedema")):
    """A SEG whose frames are (segment number, slice) pairs of ``segments``, number to array."""
    pixels = np.array([segments[number][k] for number, k in frames]).astype(np.uint8)
    dataset = image_dataset(pixels, SegmentationStorage)
    dataset.Modality, dataset.SegmentationType = "SEG", kind
    dataset.NumberOfFrames = len(frames)
    data = pixels.tobytes()
    if kind == "BINARY":
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 1, 1, 0
        data = np.packbits(pixels.ravel(), bitorder="little").tobytes()
    else:
        dataset.MaximumFractionalValue = 200
    dataset.PixelData = data + bytes(len(data) % 2)
    dataset.SegmentSequence = [
        item(SegmentNumber=n, SegmentLabel=label) for n, label in enumerate(labels, start=1)
    ]
    dataset.SharedFunctionalGroupsSequence = [Dataset()]
    groups = []
    for number, k in frames:
        group = frame_groups(k)
        group.SegmentIdentificationSequence = [item(ReferencedSegmentNumber=number)]
        group.PixelMeasuresSequence[0].SpacingBetweenSlices = str(SLICE_MM)
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = groups
    return dataset
