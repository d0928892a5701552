"""Measures as a Structured Report (TID 1500): of the regions of a segmentation, and of others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ContrastSynthLib.analysis.regions import Region
from ContrastSynthLib.dicom_export.marks import LONGEST_NAME, NAME, RESEARCH, SCHEME, Made, mark
from ContrastSynthLib.dicom_export.template import Template

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def measurement_report(
    groups: Iterable[Any],
    evidence: Sequence[Dataset],
    template: Template,
    made: Made,
    title: str,
    number: int,
) -> Dataset:
    """Return a Comprehensive 3D SR of groups of measurements, made from the ``evidence``."""
    import highdicom as hd
    from pydicom.uid import generate_uid

    device = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=generate_uid(prefix=None),
        name=NAME,
        manufacturer_name=NAME,
        model_name=made.title[:LONGEST_NAME],
        serial_number=made.version,
    )
    kind = hd.sr.CodedConcept("121007", "DCM", "Device")
    context = hd.sr.ObservationContext(observer_device_context=hd.sr.ObserverContext(kind, device))
    content = hd.sr.MeasurementReport(
        observation_context=context,
        procedure_reported=hd.sr.CodedConcept("113091000", "SCT", "Magnetic resonance imaging"),
        imaging_measurements=list(groups),
        title=hd.sr.CodedConcept("126000", "DCM", "Imaging Measurement Report"),
    )
    report = hd.sr.Comprehensive3DSR(
        evidence=list(evidence),
        content=content,
        series_instance_uid=generate_uid(prefix=None),
        series_number=number,
        sop_instance_uid=generate_uid(prefix=None),
        instance_number=1,
        manufacturer=NAME,
    )
    mark(report, template, made)
    report.SeriesDescription = f"{title}. {RESEARCH}"[:LONGEST_NAME]
    return report


def region_groups(
    regions: Sequence[Region], segmentation: Dataset, template: Template, made: Made
) -> Iterator[Any]:
    """Yield a group for each region: the volume in millilitres, and the mean of the map.

    The nth region is the nth segment of the segmentation.
    """
    for place, region in enumerate(regions, start=1):
        yield _group(region, place, segmentation, template, made)


def _group(
    region: Region, place: int, segmentation: Dataset, template: Template, made: Made
) -> Any:
    """Return the measurements of the region that is the segment at a place."""
    import highdicom as hd
    from pydicom.uid import generate_uid

    millilitre = hd.sr.CodedConcept("mL", "UCUM", "milliliter")
    nothing = hd.sr.CodedConcept("1", "UCUM", "no units")
    volume = hd.sr.Measurement(
        hd.sr.CodedConcept("118565006", "SCT", "Volume"), region.volume_ml, millilitre
    )
    mean = hd.sr.Measurement(
        hd.sr.CodedConcept("MEAN_OF_MAP", SCHEME, "Mean of the map"), region.mean, nothing
    )
    series = hd.sr.SourceSeriesForSegmentation(template.header.header.SeriesInstanceUID)
    segment = hd.sr.ReferencedSegment(
        segmentation.SOPClassUID, segmentation.SOPInstanceUID, place, source_series=series
    )
    return hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(
            uid=generate_uid(prefix=None), identifier=f"region {place}"
        ),
        referenced_segment=segment,
        finding_type=hd.sr.CodedConcept("UPTAKE", SCHEME, "Contrast uptake"),
        measurements=[volume, mean],
        algorithm_id=hd.sr.AlgorithmIdentification(name=f"{NAME} {made.key}", version=made.version),
    )
