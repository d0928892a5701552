"""A synthetic volume as a classic MR series, one file for each slice of the template."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ContrastSynthLib.dicom_export.marks import Made, code, common, derived
from ContrastSynthLib.dicom_export.stored import Stored
from ContrastSynthLib.dicom_export.template import Template
from ContrastSynthLib.files.dicom.header import Frame

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

PLANE: tuple[str, ...] = (
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"),
)
"""Where a slice lies: the template's own numbers, to the last digit."""
ACQUIRED = (
    *(
        "SpacingBetweenSlices",
        "PatientPosition",
        "AcquisitionDate",
        "AcquisitionTime",
    ),
    *("ScanningSequence", "SequenceVariant", "ScanOptions", "MRAcquisitionType"),
    *("RepetitionTime", "EchoTime", "EchoTrainLength", "InversionTime", "FlipAngle"),
    *("MagneticFieldStrength", "ImagingFrequency", "ImagedNucleus"),
)
NEEDED: Mapping[str, str | None] = {
    **{"ScanningSequence": "RM", "SequenceVariant": "NONE", "ScanOptions": ""},
    **{"MRAcquisitionType": "", "EchoTime": None, "EchoTrainLength": None, "SliceThickness": None},
    **{"PatientPosition": "", "RepetitionTime": None},
}
"""What an MR image has to have, and what stands there where the template says nothing."""


def classic_series(
    stored: Stored, template: Template, made: Made, title: str, number: int
) -> Iterator[Dataset]:
    """Yield the images of a derived MR series (MR Image Storage), in the order of k.

    Each has the place, patient and acquisition of the template's slice, and refers to it as its
    source. Of the agent nothing is said: the synthetic image shows another dose.
    """
    from pydicom.uid import MRImageStorage, generate_uid

    series = generate_uid(prefix=None)
    for k, frame in enumerate(template.frames):
        dataset = common(template, made, title, number)
        dataset.SOPClassUID, dataset.SeriesInstanceUID = MRImageStorage, series
        dataset.InstanceNumber, dataset.AcquisitionNumber = k + 1, None
        dataset.ImageType = ["DERIVED", "SECONDARY", "OTHER", "SYNTHETIC"]
        for keyword in (*PLANE, *ACQUIRED):
            _take(frame, dataset, keyword)
        for keyword, otherwise in NEEDED.items():
            if keyword not in dataset:
                setattr(dataset, keyword, otherwise)
        template.set_laterality(dataset)
        derived(dataset, made)
        dataset.SourceImageSequence = [source_of(frame)]
        stored.describe(dataset)
        _scale(stored, dataset)
        dataset.BurnedInAnnotation = "NO"
        dataset.PixelData = stored.words(k)
        yield dataset


def source_of(frame: Frame) -> Dataset:
    """Return the reference to an image that this one was made from."""
    from pydicom.dataset import Dataset

    item, header = Dataset(), frame.header
    item.ReferencedSOPClassUID = header.SOPClassUID
    item.ReferencedSOPInstanceUID = header.SOPInstanceUID
    if "NumberOfFrames" in header:
        item.ReferencedFrameNumber = frame.index + 1
    item.PurposeOfReferenceCodeSequence = [
        code("121322", "DCM", "Source image for image processing operation")
    ]
    return item


def _take(frame: Frame, dataset: Dataset, keyword: str) -> None:
    value = frame.value(keyword)
    if value not in (None, ""):
        setattr(dataset, keyword, value)


def _scale(stored: Stored, dataset: Dataset) -> None:
    if stored.is_scaled:
        dataset.RescaleSlope, dataset.RescaleIntercept = stored.slope, stored.intercept
        dataset.RescaleType = "US"
    dataset.RealWorldValueMappingSequence = [stored.real_world()]
    dataset.WindowCenter, dataset.WindowWidth = stored.centre, stored.width
