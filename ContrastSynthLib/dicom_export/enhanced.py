"""A synthetic volume as one enhanced MR file, whose frames are the slices of the template."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ContrastSynthLib.dicom_export.classic import source_of
from ContrastSynthLib.dicom_export.marks import SCHEME, Made, code, common, derived
from ContrastSynthLib.dicom_export.stored import Stored
from ContrastSynthLib.dicom_export.template import Template
from ContrastSynthLib.files.dicom.datasets import dataset_of
from ContrastSynthLib.files.dicom.header import Frame

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

IMAGE_TYPE = ["DERIVED", "PRIMARY", "VOLUME", "NONE"]
"""Of this kind of file the second value is always PRIMARY."""
MR_DESCRIPTION = {
    "PixelPresentation": "MONOCHROME",
    "VolumetricProperties": "VOLUME",
    "VolumeBasedCalculationTechnique": "NONE",
    "ComplexImageComponent": "MAGNITUDE",
    "AcquisitionContrast": "T1",
}
STACK, POSITION = 0x00209056, 0x00209057
FRAME_CONTENT = 0x00209111


def enhanced_image(
    stored: Stored, template: Template, made: Made, title: str, number: int
) -> Dataset:
    """Return a derived Enhanced MR image with a frame for each slice, in the order of k."""
    from pydicom.uid import EnhancedMRImageStorage, generate_uid

    dataset = common(template, made, title, number)
    dataset.SOPClassUID = EnhancedMRImageStorage
    dataset.SeriesInstanceUID, dataset.InstanceNumber = generate_uid(prefix=None), 1
    dataset.ImageType = IMAGE_TYPE
    dataset.update(dataset_of(**MR_DESCRIPTION))
    derived(dataset, made)
    for keyword in ("DerivationCodeSequence", "DerivationDescription"):
        del dataset[keyword]  # they stand in the frames
    dataset.SourceImageEvidenceSequence = [_evidence(template)]
    dataset.ContentQualification, dataset.BurnedInAnnotation = "RESEARCH", "NO"
    dataset.LossyImageCompression, dataset.PresentationLUTShape = "00", "IDENTITY"
    dataset.AcquisitionContextSequence = []
    dataset.ApplicableSafetyStandardAgency = "UNKNOWN"  # nothing was scanned
    dataset.PatientPosition = template.header.value("PatientPosition") or ""
    stored.describe(dataset)
    dataset.NumberOfFrames = len(template.frames)
    _dimensions(dataset)
    dataset.SharedFunctionalGroupsSequence = [_shared(stored, template)]
    dataset.PerFrameFunctionalGroupsSequence = [
        _of_frame(template, made, k) for k in range(len(template.frames))
    ]
    dataset.PixelData = b"".join(stored.words(k) for k in range(len(template.frames)))
    return dataset


def _dimensions(dataset: Dataset) -> None:
    """Order the frames by the stack's position."""
    from pydicom.uid import generate_uid

    uid = generate_uid(prefix=None)
    dataset.DimensionOrganizationSequence = [dataset_of(DimensionOrganizationUID=uid)]
    dataset.DimensionIndexSequence = [
        dataset_of(
            DimensionOrganizationUID=uid,
            DimensionIndexPointer=pointer,
            FunctionalGroupPointer=FRAME_CONTENT,
        )
        for pointer in (STACK, POSITION)
    ]


def _shared(stored: Stored, template: Template) -> Dataset:
    frame = template.header
    measures = dataset_of(PixelSpacing=frame.value("PixelSpacing"))
    measures.SliceThickness = frame.value("SliceThickness") or template.grid.spacing_mm[2]
    scale = dataset_of(
        RescaleSlope=stored.slope, RescaleIntercept=stored.intercept, RescaleType="US"
    )
    return dataset_of(
        PixelMeasuresSequence=[measures],
        PlaneOrientationSequence=[dataset_of(ImageOrientationPatient=frame.value(ORIENTATION))],
        MRImageFrameTypeSequence=[dataset_of(FrameType=IMAGE_TYPE, **MR_DESCRIPTION)],
        PixelValueTransformationSequence=[scale],
        FrameVOILUTSequence=[dataset_of(WindowCenter=stored.centre, WindowWidth=stored.width)],
        RealWorldValueMappingSequence=[stored.real_world()],
        FrameAnatomySequence=[_anatomy()],
    )


ORIENTATION = "ImageOrientationPatient"


def _anatomy() -> Dataset:
    brain = dataset_of(CodeValue="12738006", CodingSchemeDesignator="SCT", CodeMeaning="Brain")
    return dataset_of(FrameLaterality="U", AnatomicRegionSequence=[brain])


def _of_frame(template: Template, made: Made, k: int) -> Dataset:
    frame = template.frames[k]
    content = dataset_of(StackID="1", InStackPositionNumber=k + 1, DimensionIndexValues=[1, k + 1])
    derivation = dataset_of(
        DerivationDescription=made.description,
        DerivationCodeSequence=[code("SYNTHESIS", SCHEME, "Synthesised from other images")],
        SourceImageSequence=[source_of(frame)],
    )
    return dataset_of(
        FrameContentSequence=[content],
        PlanePositionSequence=[dataset_of(ImagePositionPatient=_position(frame))],
        DerivationImageSequence=[derivation],
    )


def _evidence(template: Template) -> Dataset:
    """Return the references to all images of the template, by study and series."""
    header = template.header.header
    images = [
        dataset_of(
            ReferencedSOPClassUID=one.SOPClassUID, ReferencedSOPInstanceUID=one.SOPInstanceUID
        )
        for one in template.datasets
    ]
    series = dataset_of(SeriesInstanceUID=header.SeriesInstanceUID, ReferencedSOPSequence=images)
    return dataset_of(StudyInstanceUID=header.StudyInstanceUID, ReferencedSeriesSequence=[series])


def _position(frame: Frame) -> Any:
    return frame.value("ImagePositionPatient")
