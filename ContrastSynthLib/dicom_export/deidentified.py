"""Objects without the patient: the basic profile of DICOM PS3.15, Annex E, by dicom-anonymizer."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from ContrastSynthLib import __version__
from ContrastSynthLib.dicom_export.faces import shows_a_face
from ContrastSynthLib.dicom_export.marks import NAME, RESEARCH, SCHEME, Made, code
from ContrastSynthLib.dicom_export.pseudonyms import Pseudonyms
from ContrastSynthLib.dicom_export.template import Template
from ContrastSynthLib.dicom_export.traces import CODED, TEXTS, Traces
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.dicom.header import DICOM_ROOT
from ContrastSynthLib.running.stored_result import StoredResult

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    Rule = Callable[[Dataset, tuple[int, int]], None]

LIBRARY, TABLE = "dicom-anonymizer", "dicomfields_2026c"
"""The package, and the edition of the standard's table E.1-1 in it."""
OPTIONS = (
    ("113100", "Basic Application Confidentiality Profile"),
    ("113104", "Clean Structured Content Option"),
    ("113105", "Clean Descriptors Option"),
    ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
)
OURS = (
    *("SeriesDescription", "ImageComments", "DerivationDescription", "ContributionDescription"),
    *("ContentSequence", "SourceImageSequence", "ReferencedImageSequence"),
)
"""What the profile takes away, but the export has written without looking at the patient. What is
inside of sequences is cleaned by itself."""
BESIDE_THE_TABLE = ("IssuerOfAccessionNumberSequence",)
"""Names a place, and is not in the standard's table."""
NEEDED_SEQUENCES = ("AcquisitionContextSequence", "ReferencedPerformedProcedureStepSequence")
"""Have to be there in some objects, if need be without items; others may not be so."""
UNKNOWN = {"Manufacturer": "unknown", "TextValue": "unknown"}
"""May not be empty."""
FREE_TEXTS = ("PositionReferenceIndicator",)
"""Has to be there, and may hold anything."""
WORDS_OF_OBJECTS = (
    *(NAME, RESEARCH, SCHEME, "SYNTHETIC at s mask region regions smaller uptake contrast only"),
    *("Signal intensity arbitrary units", "segmentation segment number stack position frame"),
    "brain head map volume image item plane dimension index unit spatial location",
    "derived primary secondary original other none magnitude identity monochrome2 binary",
    "unknown yes no complete completed unverified partial modified t1 automatic linear exact",
    "container contains separate has concept mod code num text uidref anonymized",
)
"""The export's own texts and the values of the standard in its objects."""


@dataclass(frozen=True)
class Privacy:
    """What is asked for: the ``secret`` behind the pseudonyms, and whether faces may be seen."""

    secret: bytes
    keep_faces: bool = False


@dataclass
class Deidentifier:
    """Takes the patient of one template out of objects, and looks whether it is gone."""

    names: Pseudonyms
    traces: Traces
    has_face: bool
    _days: set[str] = field(default_factory=set)

    @classmethod
    def of(
        cls, privacy: Privacy, result: StoredResult, made: Made, template: Template
    ) -> Deidentifier:
        """Return that of a result. Raises RequestError where a face can be seen but may not."""
        has_face = shows_a_face(result.outputs, template)
        if has_face and not privacy.keep_faces:
            raise RequestError(
                "The result shows more than a skull-stripped brain: a face may be recognised in "
                "it, whatever the headers say. Run the method on skull-stripped scans, or accept "
                "it with --keep-faces (no face is in a scan of the breast)."
            )
        traces = Traces.of(template, _our_texts(result, made))
        return cls(Pseudonyms(privacy.secret, _patient(template)), traces, has_face)

    def cleaned(self, dataset: Dataset) -> Dataset:
        """Return a copy of an object without the patient, which says that and how it was done."""
        copy = deepcopy(dataset)
        self._clean(copy)
        copy.PatientName = copy.PatientID = self.names.name
        copy.PatientIdentityRemoved = "YES"
        copy.LongitudinalTemporalInformationModified = "MODIFIED"
        copy.DeidentificationMethod = _method()
        copy.DeidentificationMethodCodeSequence = [
            code(value, "DCM", meaning) for value, meaning in OPTIONS
        ]
        if "Rows" in copy:
            copy.RecognizableVisualFeatures = "YES" if self.has_face else "NO"
        return copy

    def check(self, folder: Path) -> None:
        """Raise RequestError if a file below a folder still tells of the patient."""
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            where = self.traces.in_file(path, frozenset(self._days))
            if where is not None:
                raise RequestError(
                    f"{path.relative_to(folder)}: the patient, a place, a date or a path of the "
                    f"template is still there, in {where}. Nothing was written. Is a name of the "
                    "patient the name of an output or a method? Please report it."
                )

    def _clean(self, dataset: Dataset) -> None:
        """Apply the profile to a dataset, then to the items of the sequences that are left."""
        from dicomanonymizer import simpledicomanonymizer as library

        rules = self._rules(dataset)
        library.anonymize_dataset(dataset, base_rules_gen=lambda: rules)
        for element in dataset:
            if element.VR == "SQ":
                for item in element.value:
                    self._clean(item)
            elif element.VR in TEXTS and element.keyword not in (*OURS, *CODED):
                self._without_traces(dataset, element.tag)

    def _without_traces(self, dataset: Dataset, tag: int) -> None:
        """Empty a text that the profile leaves, such as the scanner's model, if it tells."""
        if self.traces.in_element(dataset[tag], frozenset()):
            dataset[tag].value = UNKNOWN.get(dataset[tag].keyword, "")

    def _rules(self, dataset: Dataset) -> dict[tuple[int, ...], Rule]:
        """Return the profile's rules for what is in a dataset, with our own above them."""
        from dicomanonymizer import simpledicomanonymizer as library
        from pydicom.datadict import tag_for_keyword

        beside = {tag_for_keyword(keyword) for keyword in BESIDE_THE_TABLE}
        rules = {tag: rule for tag, rule in self._table.items() if len(tag) > 2}
        for element in dataset:
            tag = (element.tag.group, element.tag.element)
            rule = self._own_rule(element.keyword, element.VR, dataset) or self._table.get(tag)
            if rule is None and element.VR in ("PN", "TM"):
                rule = library.empty
            if element.tag in beside:
                rule = library.delete
            if element.VR == "SQ" and rule not in (None, _keep):
                # The library would leave items with empty values, which no object may have.
                rule = _without_items if element.keyword in NEEDED_SEQUENCES else library.delete
            if rule is not None:
                rules[tag] = rule
        return rules

    @cached_property
    def _table(self) -> dict[tuple[int, ...], Rule]:
        from dicomanonymizer.simpledicomanonymizer import initialize_actions

        rules: dict[tuple[int, ...], Rule] = initialize_actions(TABLE)
        return rules

    def _own_rule(self, keyword: str, kind: str, dataset: Dataset) -> Rule | None:
        is_ours = keyword == "DeviceSerialNumber" and dataset.get("Manufacturer") == NAME
        if keyword in OURS or is_ours:
            return _keep
        if keyword == "PatientBirthDate" or keyword in FREE_TEXTS:
            return _emptied
        return {"UI": self._renamed, "DA": self._shifted, "DT": self._shifted}.get(kind)

    def _renamed(self, dataset: Dataset, tag: tuple[int, int]) -> None:
        def other(uid: str) -> str:
            return uid if uid.startswith(DICOM_ROOT) or not uid else self.names.uid(uid)

        _each(dataset, tag, other)

    def _shifted(self, dataset: Dataset, tag: tuple[int, int]) -> None:
        def other(day: str) -> str:
            shifted = self.names.day(day)
            self._days.add(shifted)
            return shifted

        _each(dataset, tag, other)


@contextmanager
def silence() -> Iterator[None]:
    """Let no library warn: highdicom does so with the patient's name, which logs would keep."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _method() -> list[str]:
    return [f"PS3.15 Basic Profile by {LIBRARY} {version(LIBRARY)}", f"{NAME} {__version__}"]


def _our_texts(result: StoredResult, made: Made) -> Iterator[str]:
    """Yield the texts that the export writes whoever the patient is."""
    yield from (*WORDS_OF_OBJECTS, *_method())
    yield from (made.description, made.title, made.intended_use, *made.weights)
    for output in result.outputs:
        yield from (output.name, str(output.described.get("unit", "")))
        yield from map(str, (output.described.get("labels") or {}).values())
        yield from (f"{volume.acquisition.time_s or 0:g}" for volume in output.volumes)


def _patient(template: Template) -> str:
    """Return what tells the template's patient from others: the ID, or what there is instead."""
    for keywords in (("PatientID", "IssuerOfPatientID"), ("PatientName", "PatientBirthDate")):
        texts = [str(template.header.value(keyword) or "").strip() for keyword in keywords]
        if texts[0]:
            return "\0".join((keywords[0], *texts))
    return f"StudyInstanceUID\0{template.header.value('StudyInstanceUID')}"


def _each(dataset: Dataset, tag: tuple[int, int], other: Callable[[str], str]) -> None:
    """Replace each value of an element."""
    value = dataset[tag].value
    several: Iterable[str] = value if dataset[tag].VM > 1 else [value or ""]
    made = [other(str(one)) for one in several]
    dataset[tag].value = made if len(made) > 1 else made[0]


def _keep(dataset: Dataset, tag: tuple[int, int]) -> None:
    """Leave an element as it is."""


def _without_items(dataset: Dataset, tag: tuple[int, int]) -> None:
    dataset[tag].value = []


def _emptied(dataset: Dataset, tag: tuple[int, int]) -> None:
    dataset[tag].value = ""
