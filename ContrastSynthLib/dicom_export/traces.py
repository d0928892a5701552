"""What in a file would tell of the patient: looked for in files that must not tell."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ContrastSynthLib.dicom_export.pseudonyms import digits_of_day
from ContrastSynthLib.dicom_export.template import Template
from ContrastSynthLib.files.dicom.header import DICOM_ROOT
from ContrastSynthLib.texts import plain

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset

IDENTIFYING = frozenset(
    {
        *("PatientID", "OtherPatientIDs", "AccessionNumber", "AdmissionID", "StudyID"),
        *("IssuerOfPatientID", "PatientAddress", "PatientTelephoneNumbers", "StationName"),
        *("InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName"),
        *("DeviceSerialNumber", "LocalNamespaceEntityID", "UniversalEntityID"),
        *("RequestedProcedureID", "ScheduledProcedureStepID", "PerformedProcedureStepID"),
        *("FillerOrderNumberImagingServiceRequest", "PlacerOrderNumberImagingServiceRequest"),
    }
)
"""Texts that tell who or where; names, dates, times and UIDs are known by their kind."""
TEXTS = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
CODED = frozenset({"CodeValue", "CodeMeaning", "LongCodeValue", "CodingSchemeDesignator"})
"""Words of vocabularies, which a patient called Brain or a Mr has not brought there."""
SHORTEST_WORD, SHORTEST_WHOLE = {"PN": 2}, 4
SHORTEST = 3
SHORTEST_IN_CODE, SHORTEST_INSIDE = 4, 6
"""From these lengths on a word is also looked for in CS, and inside of other words: "Anne" is in
every scanner."""
SHORTEST_IN_BYTES, SHORTEST_NUMBER_IN_BYTES = 8, 10
"""Shorter ones stand by chance in pixels, and numbers in UIDs."""
MIDNIGHT = "000000"
ENCODINGS = ("utf-8", "latin-1", "utf-16-le")


@dataclass(frozen=True)
class Traces:
    """What must not be found: in small letters without accents, except UIDs, dates and times."""

    words: frozenset[str]
    wholes: frozenset[str]
    uids: frozenset[str]
    days: frozenset[str]
    times: frozenset[str]
    ours: frozenset[str]

    @classmethod
    def of(cls, template: Template, ours: Iterable[str]) -> Traces:
        """Return the traces of a template, at any depth of its headers, and of its path.

        ``ours`` are texts that stand in the objects whoever the patient is: their words accuse
        nobody.
        """
        known = frozenset(word for text in ours for word in words_of(text))
        words, wholes = set(), {plain(text) for text in _paths(template)}
        uids, days, times = set(), set(), set()
        for element in _elements(template):
            for text in _values(element):
                if element.VR == "UI" and not text.startswith(DICOM_ROOT):
                    uids.add(text)
                elif element.VR in ("DA", "DT"):
                    days.add(digits_of_day(text))
                elif element.VR == "TM" and text[:6].strip("0"):
                    times.add(text)
                elif element.VR == "PN" or element.keyword in IDENTIFYING:
                    wholes.add(plain(text))
                    if element.VR == "PN" or " " not in text:
                        least = SHORTEST_WORD.get(element.VR, SHORTEST)
                        words |= {word for word in words_of(text) if len(word) >= least}
        wholes = {text for text in wholes if not set(words_of(text)) <= known}
        return cls(
            frozenset(words) - known,
            frozenset(text for text in wholes if len(text) >= SHORTEST_WHOLE),
            frozenset(uids - {""}),
            frozenset(day for day in days if len(day) == len("20240131")),
            frozenset(times),
            known,
        )

    def in_text(self, text: str, *, is_code: bool = False) -> bool:
        """Return whether a text names the patient, the place, a date or a path."""
        folded = plain(text)
        foreign = set(words_of(text)) - self.ours
        least = SHORTEST_IN_CODE if is_code else 0
        short = {word for word in foreign & self.words if len(word) >= least}
        inside = [word for word in self.words if len(word) >= SHORTEST_INSIDE]
        return bool(
            short
            or any(one in word for word in foreign for one in inside)
            or any(_stands_in(whole, folded) for whole in self.wholes)
            or any(day in re.sub(r"[-./]", "", folded) for day in self._days_in_words)
            or any(uid in text for uid in self.uids)
        )

    def in_element(self, element: DataElement, shifted: frozenset[str]) -> bool:
        """Return whether an element tells of the patient; ``shifted`` are days that may stand."""
        if element.keyword in CODED:
            return False
        values = list(_values(element))
        if element.VR == "UI":
            return any(uid in self.uids for uid in values)
        if element.VR in ("DA", "DT"):
            return any(day not in shifted for day in values)
        if element.VR == "TM":
            return any(time in self.times for time in values)
        is_code = element.VR == "CS"
        return element.VR in TEXTS and any(self.in_text(one, is_code=is_code) for one in values)

    def in_file(self, path: Path, shifted: frozenset[str]) -> str | None:
        """Return where a DICOM file tells of the patient, None where it does not."""
        from pydicom import dcmread

        dataset = dcmread(path)
        for element in (*dataset.file_meta, *dataset.iterall()):
            if element.tag.is_private or self.in_element(element, shifted):
                return str(element.name)
        content = path.read_bytes()
        for pixels in ("PixelData", "FloatPixelData"):
            if pixels in dataset:
                content = content.replace(bytes(dataset[pixels].value), b"")
        return "its bytes" if self._in_bytes(content) else None

    def _in_bytes(self, content: bytes) -> bool:
        small = content.lower()
        long = {one for one in (*self.wholes, *self.words) if _is_long(one)} | self.uids
        return any(text.encode(code) in small for text in long for code in _codes(text))

    @property
    def _days_in_words(self) -> Iterator[str]:
        for day in self.days:
            yield day
            yield day[6:] + day[4:6] + day[:4]


def words_of(text: str) -> list[str]:
    """Return the words of a text in small letters without accents."""
    return re.findall(r"[^\W_]+", plain(text))


def _stands_in(whole: str, text: str) -> bool:
    """Return whether a text has another in it; a short one as words of their own."""
    if whole not in text or _is_long(whole):
        return whole in text
    return bool(re.search(rf"(?<![^\W_]){re.escape(whole)}(?![^\W_])", text))


def _is_long(text: str) -> bool:
    return len(text) >= (SHORTEST_NUMBER_IN_BYTES if text.isdigit() else SHORTEST_IN_BYTES)


def _codes(text: str) -> Iterable[str]:
    return ENCODINGS if text.isascii() else ("utf-8",)


def _paths(template: Template) -> Iterator[str]:
    for path in {template.path, *(frame.path.parent for frame in template.frames)}:
        yield from (str(path.absolute()), str(path.resolve()))


def _elements(template: Template) -> Iterator[DataElement]:
    """Yield the elements of all files of a template, each header once."""
    headers: dict[Path, Dataset] = {frame.path: frame.header for frame in template.frames}
    for header in headers.values():
        yield from header.iterall()


def _values(element: DataElement) -> Iterator[str]:
    value: Any = element.value
    if value is None or element.VR == "SQ" or isinstance(value, bytes):
        return
    several = element.VM > 1 and not isinstance(value, str)
    for one in value if several else [value]:
        if text := str(one).strip(" \0"):
            yield text
