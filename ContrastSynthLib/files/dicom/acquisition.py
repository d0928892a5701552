"""How the images of a DICOM series were acquired, in SI units."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ContrastSynthLib.acquisition import Acquisition
from ContrastSynthLib.agents import generic_agent_name
from ContrastSynthLib.files.dicom.header import Frame

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
SHORTEST_TR_S = 2e-4


def acquisition_of(frames: Sequence[Frame]) -> Acquisition:
    """Return how the frames of one series were acquired, in SI units.

    Times are in milliseconds in DICOM. The time of the series is that of its earliest frame.
    """
    frame = frames[0]
    bolus = _bolus(frame)
    agent = generic_agent_name(_agent_text(bolus))
    return Acquisition.from_values(
        {
            "repetition_time_s": _repetition_time_s(frame),
            "echo_time_s": _seconds(frame, "EffectiveEchoTime", "EchoTime"),
            "inversion_time_s": _seconds(frame, "InversionTimes", "InversionTime"),
            "flip_angle_deg": frame.number("FlipAngle"),
            "field_strength_t": _field_strength_t(frame.number("MagneticFieldStrength")),
            "agent": agent,
            "dose_mmol_per_kg": _dose_mmol_per_kg(bolus, agent),
            "time_s": _time_after_injection_s(frames, bolus.value("ContrastBolusStartTime")),
        }
    )


def _repetition_time_s(frame: Frame) -> float | None:
    """Return TR, unknown where the number can be no milliseconds: no scanner pulses that fast."""
    seconds = _seconds(frame, "RepetitionTime")
    return seconds if seconds is None or seconds >= SHORTEST_TR_S else None


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
    start = seconds_of_day(injection)
    if start is None:
        return None
    times = []
    for frame in frames:
        moments = (seconds_of_day(frame.value(keyword)) for keyword in ACQUISITION_TIMES)
        moment = next((m for m in moments if m is not None), None)
        if moment is not None:
            # Less than half a day apart, whatever the clock did in between.
            times.append((moment - start + HALF_DAY_S) % (2 * HALF_DAY_S) - HALF_DAY_S)
    return min(times, default=None)


def seconds_of_day(moment: Any) -> float | None:
    """Return the seconds since midnight of a DICOM time, with or without a date before it."""
    match = re.fullmatch(
        r"(?:\d{8}(?=\d{4}))?(\d\d):?(\d\d):?(\d\d(?:\.\d*)?)?(?:[+-]\d{4})?", str(moment).strip()
    )
    if match is None:
        return None
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds
