"""What every object says of itself: whose it is, that it is synthetic, and what made it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ContrastSynthLib import __version__
from ContrastSynthLib.dicom_export.template import NEVER_ABSENT, Template
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.dicom.datasets import dataset_of

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

NAME = "ContrastSynth"
SCHEME = "99CONTRASTSYNTH"
"""Our coding scheme: no standard code says that an image was synthesised by a network."""
RESEARCH = "RESEARCH USE ONLY. Not a medical device. Not for diagnosis."
PATIENT = (
    *("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex"),
    *("PatientAge", "PatientSize", "PatientWeight", "PatientIdentityRemoved"),
    *("DeidentificationMethod", "DeidentificationMethodCodeSequence"),
)
STUDY = (
    *("StudyInstanceUID", "StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID"),
    *("AccessionNumber", "IssuerOfAccessionNumberSequence", "StudyDescription"),
)
PLACE = ("FrameOfReferenceUID", "PositionReferenceIndicator", "BodyPartExamined")
SCANNER = ("Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions")
LONGEST_TEXT, LONGEST_NAME = 1024, 64


@dataclass(frozen=True)
class Made:
    """What made a result, of its provenance: method, weights, versions, when."""

    key: str
    title: str
    weights: tuple[str, ...]
    version: str
    when: datetime
    intended_use: str

    @classmethod
    def of(cls, provenance: Mapping[str, Any]) -> Made:
        """Return it. Raises RequestError for the provenance of what is no synthetic result."""
        try:
            if provenance["synthetic"] is not True:
                raise ValueError("it is not marked as synthetic")
            return cls(
                str(provenance["method"]["key"]),
                str(provenance["method"]["title"]),
                tuple(str(entry["id"]) for entry in provenance["weights"]),
                str(provenance["software"]["contrastsynth"]),
                datetime.fromisoformat(provenance["created_utc"]),
                str(provenance["intended_use"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RequestError(
                f"The provenance is not that of a run of ContrastSynth ({error})."
            ) from error

    @property
    def description(self) -> str:
        """One sentence: method, weights, version."""
        weights = f" with the weights {', '.join(self.weights)}" if self.weights else ""
        return f"SYNTHETIC: made by {NAME} {self.version}, method {self.key}{weights}."


def common(template: Template, made: Made, series_description: str, number: int) -> Dataset:
    """Return a dataset with patient, study, place, a new series' names, and all marks."""
    from pydicom.dataset import Dataset
    from pydicom.uid import generate_uid

    dataset = Dataset()
    for keyword in ("SpecificCharacterSet", *PATIENT, *STUDY, *PLACE):
        _copy(template, dataset, keyword)
    for keyword in NEVER_ABSENT:
        if keyword not in dataset:
            setattr(dataset, keyword, "")
    now = datetime.now(UTC)
    dataset.Modality = "MR"
    dataset.SeriesDescription = series_description[:LONGEST_NAME]
    dataset.SeriesNumber = number
    dataset.SOPInstanceUID = generate_uid(prefix=None)
    dataset.InstanceCreationDate, dataset.InstanceCreationTime = _date(now), _time(now)
    dataset.ContentDate, dataset.ContentTime = _date(made.when), _time(made.when)
    dataset.SeriesDate, dataset.SeriesTime = _date(made.when), _time(made.when)
    mark(dataset, template, made)
    return dataset


def mark(dataset: Dataset, template: Template, made: Made) -> None:
    """Say in an object that it is synthetic, what made it, and of which scanner the source was."""
    dataset.SyntheticData = "YES"
    dataset.Manufacturer, dataset.ManufacturerModelName = NAME, made.title[:LONGEST_NAME]
    dataset.DeviceSerialNumber, dataset.SoftwareVersions = made.version, made.version
    dataset.ContributingEquipmentSequence = [*_scanner(template), _synthesiser(made)]


def derived(dataset: Dataset, made: Made) -> None:
    """Say in an image that it was derived, and how."""
    dataset.DerivationDescription = f"{made.description} {RESEARCH}"[:LONGEST_TEXT]
    dataset.DerivationCodeSequence = [code("SYNTHESIS", SCHEME, "Synthesised from other images")]
    dataset.ImageComments = f"{RESEARCH} {made.intended_use}"[:LONGEST_TEXT]


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """Return a coded concept."""
    return dataset_of(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def save(dataset: Dataset, path: Path) -> Path:
    """Write an object, Explicit VR Little Endian.

    Raises RequestError for one without the marks: nothing leaves that does not say what it is.
    """
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    named = [
        item.PurposeOfReferenceCodeSequence[0].CodeValue
        for item in dataset.get("ContributingEquipmentSequence", [])
    ]
    if dataset.get("SyntheticData") != "YES" or "109100" not in named:
        raise RequestError(f"{path.name}: it is not marked as synthetic, so it is not written.")
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.ImplementationVersionName = f"CONTRASTSYNTH{__version__}"[:16]
    dataset.save_as(path, enforce_file_format=True)
    return path


def _copy(template: Template, dataset: Dataset, keyword: str) -> None:
    header = template.header.header
    if keyword in header:
        dataset[keyword] = header[keyword]


def _scanner(template: Template) -> Iterable[Dataset]:
    from pydicom.dataset import Dataset

    item = Dataset()
    for keyword in SCANNER:
        _copy(template, item, keyword)
    if "Manufacturer" not in item:
        item.Manufacturer = "unknown"
    item.PurposeOfReferenceCodeSequence = [code("109101", "DCM", "Acquisition Equipment")]
    return [item]


def _synthesiser(made: Made) -> Dataset:
    return dataset_of(
        PurposeOfReferenceCodeSequence=[code("109100", "DCM", "Synthesizing Equipment")],
        Manufacturer=NAME,
        ManufacturerModelName=made.title[:LONGEST_NAME],
        SoftwareVersions=[made.version, *(one[:LONGEST_NAME] for one in made.weights)],
        ContributionDateTime=f"{made.when:%Y%m%d%H%M%S}",
        ContributionDescription=f"{made.description} {RESEARCH}"[:LONGEST_TEXT],
    )


def _date(when: datetime) -> str:
    return f"{when:%Y%m%d}"


def _time(when: datetime) -> str:
    return f"{when:%H%M%S}"
