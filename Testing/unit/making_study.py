"""A DICOM study with several series, made of volumes."""

from __future__ import annotations

import numpy as np
from making_dicom import ds, image_dataset, save
from pydicom.uid import generate_uid


def study(folder, volumes):
    """Write each volume as a series into a folder of its name; all are of one study and place."""
    shared = {
        "StudyInstanceUID": generate_uid(prefix=None),
        "FrameOfReferenceUID": generate_uid(prefix=None),
        **{"StudyDate": "20240105", "StudyTime": "101500", "StudyID": "1"},
        **{"Manufacturer": "Scanner works", "ScanningSequence": "GR", "SequenceVariant": "SP"},
        **{"RepetitionTime": "9", "EchoTime": "3", "FlipAngle": "12", "MRAcquisitionType": "3D"},
    }
    for number, (name, volume) in enumerate(volumes.items(), start=2):
        series = {"SeriesInstanceUID": generate_uid(prefix=None), "SeriesNumber": number}
        save(folder / name, series_of(volume, {**shared, **series, "SeriesDescription": name}))
    return folder


def series_of(volume, attributes):
    """Return an image for each slice of a volume, whole numbers from 0 on."""
    matrix, found = volume.grid.index_to_lps, []
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    axes = matrix[:3, :3] / spacing
    for k, pixels in enumerate(volume.array):
        dataset = image_dataset(np.clip(pixels, 0, 65535).astype(np.uint16))
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)
        dataset.InstanceNumber = k + 1
        dataset.ImageOrientationPatient = ds([axes[:, 0], axes[:, 1]])
        dataset.ImagePositionPatient = ds(matrix[:3, 2] * k + matrix[:3, 3])
        dataset.PixelSpacing = ds([spacing[1], spacing[0]])
        dataset.SliceThickness = ds([spacing[2]])[0]
        found.append(dataset)
    return found
