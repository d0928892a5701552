"""Maps as Parametric Maps and masks as Segmentations, by highdicom, with our marks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ContrastSynthLib.dicom_export.marks import LONGEST_NAME, NAME, RESEARCH, SCHEME, Made, mark
from ContrastSynthLib.dicom_export.template import Template
from ContrastSynthLib.volumes import FloatArray

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

LONGEST_LABEL = 16


def parametric_map(
    values: FloatArray,
    template: Template,
    made: Made,
    title: str,
    name: str,
    number: int,
    unit: str,
) -> Dataset:
    """Return a map (k, j, i) of a quantity as a Parametric Map of 32-bit floating point numbers."""
    import highdicom as hd

    low, high = float(values.min()), float(values.max())
    mapping = hd.pm.RealWorldValueMapping(
        lut_label=_label(name),
        lut_explanation=f"{name}, {unit or 'no unit'}"[:LONGEST_NAME],
        unit=hd.sr.CodedConcept("1", "UCUM", "no units"),
        value_range=(low, high),
        slope=1.0,
        intercept=0.0,
        quantity_definition=hd.sr.CodedConcept(_label(name), SCHEME, name[:LONGEST_NAME]),
    )
    window = hd.VOILUTTransformation(
        window_center=(low + high) / 2,
        window_width=max(high - low, 1e-6),
        voi_lut_function=hd.VOILUTFunctionValues.LINEAR_EXACT,  # others are at least 1 wide
    )
    dataset = hd.pm.ParametricMap(
        template.datasets,
        _placed(values.astype(np.float32), template),
        **_names(number, made),
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[mapping],
        voi_lut_transformations=[window],
        content_label=_label(name),
        content_description=title[:LONGEST_NAME],
    )
    dataset.Modality = "MR"
    template.set_laterality(dataset)
    return _marked(dataset, template, made, title)


def segmentation(
    labels: NDArray[np.integer[Any]],
    names: Mapping[int, str],
    template: Template,
    made: Made,
    title: str,
    number: int,
) -> Dataset:
    """Return labels (k, j, i), each of which is a segment with a name, as a binary SEG."""
    import highdicom as hd

    family = hd.sr.CodedConcept("123110", "DCM", "Artificial Intelligence")
    algorithm = hd.AlgorithmIdentificationSequence(
        name=f"{NAME} {made.key}"[:LONGEST_NAME], family=family, version=made.version
    )
    abnormal = hd.sr.CodedConcept("49755003", "SCT", "Morphologically Abnormal Structure")
    segments = [
        hd.seg.SegmentDescription(
            segment_number=place,
            segment_label=name[:LONGEST_NAME],
            segmented_property_category=abnormal,
            segmented_property_type=hd.sr.CodedConcept(_label(name), SCHEME, name[:LONGEST_NAME]),
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=algorithm,
        )
        for place, name in enumerate(names.values(), start=1)
    ]
    ordered = np.zeros(labels.shape, np.uint8)
    for place, label in enumerate(names, start=1):
        ordered[labels == label] = place
    dataset = hd.seg.Segmentation(
        template.datasets,
        _placed(ordered, template),
        hd.seg.SegmentationTypeValues.BINARY,
        segments,
        **_names(number, made),
        content_label="SEGMENTATION",
        content_description=title[:LONGEST_NAME],
    )
    return _marked(dataset, template, made, title)


def _placed(array: NDArray[Any], template: Template) -> Any:
    """Return an array (k, j, i) that knows where it lies."""
    import highdicom as hd

    # Columns of the matrix belong to i, j, k, and highdicom's to the axes of the array.
    affine = template.grid.index_to_lps[:, [2, 1, 0, 3]]
    frame = template.header.value("FrameOfReferenceUID")
    return hd.Volume(array, affine, coordinate_system="PATIENT", frame_of_reference_uid=frame)


def _names(number: int, made: Made) -> dict[str, Any]:
    from pydicom.uid import generate_uid

    return {
        "series_instance_uid": generate_uid(prefix=None),
        "series_number": number,
        "sop_instance_uid": generate_uid(prefix=None),
        "instance_number": 1,
        "manufacturer": NAME,
        "manufacturer_model_name": made.title[:LONGEST_NAME],
        "software_versions": made.version,
        "device_serial_number": made.version,
    }


def _marked(dataset: Dataset, template: Template, made: Made, title: str) -> Dataset:
    mark(dataset, template, made)
    dataset.SeriesDescription = title[:LONGEST_NAME]
    dataset.ImageComments = RESEARCH
    return dataset


def _label(name: str) -> str:
    """Return a name as the short code that DICOM wants."""
    letters = [c if c.isascii() and c.isalnum() else "_" for c in name.upper()]
    return "".join(letters)[:LONGEST_LABEL]
