"""What the header of a DICOM image tells, wherever its kind of file keeps it.

A frame looks for an attribute in its own functional groups, in those that all frames of
the file share, and in the file itself, so that old and enhanced files read alike.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ContrastSynthLib.acquisition import Acquisition, generic_agent_name
from ContrastSynthLib.errors import RequestError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset, FileDataset

# What pydicom raises on a damaged file, beside its own InvalidDicomError.
DAMAGED = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    EOFError,
    OSError,
    RuntimeError,
    struct.error,
)
# What a whole-body magnet of today does not exceed, and those that are common.
LARGEST_FIELD_T = 30.0
COMMON_FIELDS_T = (1.0, 1.5, 3.0, 7.0)

MOLARITY_MOL_PER_L = {"gadobutrol": 1.0, "gadoxetate": 0.25}
USUAL_MOLARITY_MOL_PER_L = 0.5
# Beyond this a volume was in other units than the millilitres that DICOM asks for.
LARGEST_DOSE_MMOL_PER_KG = 0.5

ACQUISITION_TIMES = (
    *("FrameAcquisitionDateTime", "FrameReferenceDateTime"),
    *("AcquisitionTime", "AcquisitionDateTime"),
)
HALF_DAY_S = 43200.0


@dataclass(frozen=True)
class Frame:
    """One image: the ``index``-th of the file ``path``.

    ``places`` are the datasets that may describe it, the most particular first.
    """

    path: Path
    index: int
    places: tuple[Dataset, ...]

    def value(self, keyword: str) -> Any:
        """Return the value of an attribute, None where it is absent, empty or malformed."""
        for place in self.places:
            try:
                value = place.get(keyword)
            except DAMAGED:
                continue
            if value is not None and value != "":
                return value
        return None

    def numbers(self, keyword: str, count: int) -> NDArray[np.float64] | None:
        """Return the ``count`` finite numbers of an attribute, None when it has no such."""
        try:
            numbers = np.atleast_1d(np.asarray(self.value(keyword), dtype=np.float64))
        except DAMAGED:
            return None
        return numbers if numbers.shape == (count,) and np.isfinite(numbers).all() else None

    def number(self, keyword: str) -> float | None:
        """Return the finite number that an attribute holds, None when it has no such."""
        numbers = self.numbers(keyword, 1)
        return None if numbers is None else float(numbers[0])


def frames_of(path: Path) -> list[Frame]:
    """Return the images of a file: none when it is not DICOM or holds no image.

    Raises RequestError for a damaged file and for frames without places of their own.
    """
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
        if not ("Rows" in dataset and "BitsAllocated" in dataset):
            if "Image Storage" in _kind_of_object(dataset):
                raise EOFError("the header of an image ends early")
            return []
        count = int(dataset.get("NumberOfFrames") or 1)
        if "PerFrameFunctionalGroupsSequence" not in dataset:
            if count > 1:
                raise RequestError(
                    f"{path}: holds several images, but not where each lies in the patient. "
                    "Expected enhanced multi-frame DICOM; export the original series."
                )
            return [Frame(path, 0, (dataset,))]
        per_frame = dataset.PerFrameFunctionalGroupsSequence
        if len(per_frame) != count:
            raise ValueError(f"{count} frames, {len(per_frame)} of them described")
        shared = dataset.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()]
        common = (*_functional_groups(shared[0]), dataset)
        return [
            Frame(path, index, (*_functional_groups(own), *common))
            for index, own in enumerate(per_frame)
        ]
    except InvalidDicomError:
        return []
    except DAMAGED as error:
        refuse_damaged(path, error)


def _kind_of_object(dataset: FileDataset) -> str:
    """Return the name of the SOP class, for example "MR Image Storage"."""
    from pydicom.uid import UID

    kind = dataset.file_meta.get("MediaStorageSOPClassUID") or dataset.get("SOPClassUID")
    return UID(str(kind)).name


def _functional_groups(item: Dataset) -> list[Dataset]:
    """Return the datasets of the public groups; private ones repeat attributes in other units."""
    groups = (e.value for e in item if e.VR == "SQ" and not e.tag.is_private)
    return [group[0] for group in groups if group]


def refuse_damaged(path: Path, error: Exception) -> NoReturn:
    """Raise the RequestError that tells of a file which pydicom could not read."""
    raise RequestError(
        f"{path}: a damaged or truncated DICOM file ({error}). Copy or export it again."
    ) from error


def acquisition_of(frames: Sequence[Frame]) -> Acquisition:
    """Return how the frames of one series were acquired, in SI units.

    Times are in milliseconds in DICOM. The time of the series is that of its earliest frame.
    """
    frame = frames[0]
    bolus = _bolus(frame)
    agent = generic_agent_name(_agent_text(bolus))
    return Acquisition.from_values(
        {
            "repetition_time_s": _seconds(frame, "RepetitionTime"),
            "echo_time_s": _seconds(frame, "EffectiveEchoTime", "EchoTime"),
            "inversion_time_s": _seconds(frame, "InversionTimes", "InversionTime"),
            "flip_angle_deg": frame.number("FlipAngle"),
            "field_strength_t": _field_strength_t(frame.number("MagneticFieldStrength")),
            "agent": agent,
            "dose_mmol_per_kg": _dose_mmol_per_kg(bolus, agent),
            "time_s": _time_after_injection_s(frames, bolus.value("ContrastBolusStartTime")),
        }
    )


def _seconds(frame: Frame, *keywords: str) -> float | None:
    """Return the first of the attributes, which are in milliseconds."""
    found = [number for number in map(frame.number, keywords) if number is not None]
    return found[0] / 1000.0 if found else None


def _field_strength_t(nominal: float | None) -> float | None:
    """Return the field in tesla, also where the file has gauss or millitesla.

    A number that could be either and would be an uncommon magnet both ways is unknown.
    """
    if nominal is None or nominal <= LARGEST_FIELD_T:
        return nominal
    for tesla in (nominal / 1e4, nominal / 1e3):
        if min(abs(tesla - common) / common for common in COMMON_FIELDS_T) < 0.05:
            return tesla
    return None


def _bolus(frame: Frame) -> Frame:
    """Return a view of the frame that looks into the description of the agent first.

    Old files hold it beside everything else, enhanced ones in a sequence of agents, of which
    the frame names the one that counts; the volume and the time are one sequence deeper.
    """
    if frame.value("ContrastBolusAgentAdministered") == "NO":
        return Frame(frame.path, frame.index, ())
    agents = list(frame.value("ContrastBolusAgentSequence") or ())
    number = frame.value("ContrastBolusAgentNumber")
    if len(agents) > 1:
        agents = [item for item in agents if item.get("ContrastBolusAgentNumber") == number]
    profiles = [
        profile
        for item in agents
        for profile in (item.get("ContrastAdministrationProfileSequence") or ())
    ]
    return Frame(frame.path, frame.index, (*agents, *profiles[:1], *frame.places))


def _agent_text(bolus: Frame) -> str:
    texts = [bolus.value("ContrastBolusAgent"), bolus.value("CodeMeaning")]
    for item in bolus.value("ContrastBolusIngredientCodeSequence") or ():
        texts.append(item.get("CodeMeaning"))
    return " ".join(str(text) for text in texts if text)


def _dose_mmol_per_kg(bolus: Frame, agent: str | None) -> float | None:
    millilitres = bolus.number("ContrastBolusTotalDose") or bolus.number("ContrastBolusVolume")
    weight_kg = bolus.number("PatientWeight")
    if agent is None or not millilitres or not weight_kg:
        return None
    dose = millilitres * MOLARITY_MOL_PER_L.get(agent, USUAL_MOLARITY_MOL_PER_L) / weight_kg
    return dose if 0 < dose <= LARGEST_DOSE_MMOL_PER_KG else None


def _time_after_injection_s(frames: Sequence[Frame], injection: Any) -> float | None:
    start = _seconds_of_day(injection)
    if start is None:
        return None
    times = []
    for frame in frames:
        moments = (_seconds_of_day(frame.value(keyword)) for keyword in ACQUISITION_TIMES)
        moment = next((m for m in moments if m is not None), None)
        if moment is not None:
            # Less than half a day apart, whatever the clock did in between.
            times.append((moment - start + HALF_DAY_S) % (2 * HALF_DAY_S) - HALF_DAY_S)
    return min(times, default=None)


def _seconds_of_day(moment: Any) -> float | None:
    """Return the seconds since midnight of a DICOM time, with or without a date before it."""
    match = re.fullmatch(
        r"(?:\d{8}(?=\d{4}))?(\d\d):?(\d\d):?(\d\d(?:\.\d*)?)?(?:[+-]\d{4})?", str(moment).strip()
    )
    if match is None:
        return None
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds
