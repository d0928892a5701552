"""Series of a study as small DICOM files: only their headers matter."""

from __future__ import annotations

import numpy as np
from making_dicom import ds, enhanced, image_dataset, item, save
from pydicom.uid import generate_uid

STUDY = generate_uid(prefix=None)
AXIAL = np.eye(3)
SAGITTAL = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]], dtype=float)
CORONAL = np.array([[1, 0, 0], [0, 0, 1], [0, 1, 0]], dtype=float)
T1 = {"ScanningSequence": "GR", "RepetitionTime": "9", "EchoTime": "3", "FlipAngle": "12"}
T2 = {"ScanningSequence": "SE", "RepetitionTime": "5000", "EchoTime": "100"}
FLAIR = {"ScanningSequence": ["SE", "IR"], "RepetitionTime": "9000", "EchoTime": "110"}
FLAIR |= {"InversionTime": "2500"}
DIFFUSION = {"ScanningSequence": "EP", "RepetitionTime": "4000", "EchoTime": "80"}
AGENT = {"ContrastBolusAgent": "Gadovist", "ContrastBolusVolume": "7.5"}


def clock(minutes):
    """A time of day, some minutes after ten."""
    return f"{10 + minutes // 60:02d}{minutes % 60:02d}00"


def put(dataset, attributes):
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def common(number, name, minutes, study):
    made = {
        "StudyInstanceUID": study,
        "SeriesInstanceUID": generate_uid(prefix=None),
        "SeriesNumber": number,
        "SeriesDescription": name,
        "StudyDate": "20240105",
        "ImageType": ["ORIGINAL", "PRIMARY", "M"],
    }
    return made if minutes is None else {**made, "AcquisitionTime": clock(minutes)}


def images(
    number, name, tags, minutes=None, *, axes=AXIAL, mm=(1.0, 1.0, 3.0), count=3, study=STUDY
):
    """The slices of one series, 4 x 4 pixels."""
    shared = common(number, name, minutes, study) | tags
    found = []
    for k in range(count):
        dataset = put(image_dataset(np.zeros((4, 4), np.uint16)), shared)
        dataset.InstanceNumber = k + 1
        dataset.ImageOrientationPatient = ds([axes[:, 0], axes[:, 1]])
        dataset.ImagePositionPatient = ds(axes[:, 2] * mm[2] * k)
        dataset.PixelSpacing = ds(mm[:2])
        dataset.SliceThickness = ds([mm[2]])[0]
        found.append(dataset)
    return found


def dynamic(number, name, tags, minutes, *, phases=3, **more):
    """The slices of a dynamic series, a minute for each phase."""
    found = []
    for phase in range(phases):
        times = {"AcquisitionTime": clock(minutes + phase), "TemporalPositionIdentifier": phase + 1}
        found += images(number, name, tags | times, **more)
    for dataset in found:
        dataset.SeriesInstanceUID = found[0].SeriesInstanceUID
    return found


def frames(number, name, groups, minutes, *, attributes=None, study=STUDY):
    """One enhanced file; ``groups`` are functional groups that its frames share."""
    dataset = enhanced(np.zeros((3, 4, 4), np.uint16))
    put(dataset, common(number, name, minutes, study) | (attributes or {}))
    shared = item(
        FrameAnatomySequence=[item(FrameLaterality="U")],
        **{name: [item(**content)] for name, content in groups.items()},
    )
    dataset.SharedFunctionalGroupsSequence = [shared]
    return dataset


def write(folder, *series):
    """Save each series into a folder of its number; return the folder of the study."""
    for datasets in series:
        save(folder / f"s{datasets[0].SeriesNumber}", datasets)
    return folder
