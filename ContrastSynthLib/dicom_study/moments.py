"""When a series and its phases were acquired, as seconds on one clock for the whole study."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from ContrastSynthLib.dicom_study.tags import agent_by_tags
from ContrastSynthLib.files.dicom.acquisition import HALF_DAY_S, seconds_of_day
from ContrastSynthLib.files.dicom.header import Frame

DAY_S = 2 * HALF_DAY_S
WITH_DATE = ("FrameAcquisitionDateTime", "FrameReferenceDateTime", "AcquisitionDateTime")
# Of a derived series the time of the series is when it was computed, that of its acquisition not.
PAIRS = (
    ("AcquisitionDate", "AcquisitionTime"),
    ("SeriesDate", "SeriesTime"),
    ("ContentDate", "ContentTime"),
)
DATES = ("AcquisitionDate", "SeriesDate")


def acquired_s(frames: Iterable[Frame]) -> float | None:
    """Return when the first of the frames was acquired, in seconds; None where none says it."""
    known = [moment for moment in map(_moment, frames) if moment is not None]
    return min(known, default=None)


def is_dated(frame: Frame) -> bool:
    """Return whether a frame has a date of its own, beside that on which the study began."""
    return any(frame.value(keyword) for keyword in (*WITH_DATE, *DATES))


def injected_s(frame: Frame) -> float | None:
    """Return when the agent was given, on the same clock; None where the frame does not say it."""
    bolus = frame.value("ContrastBolusStartTime")
    seconds = seconds_of_day(bolus)
    moment = _moment(frame)
    if seconds is None or moment is None:
        return seconds
    # The tag has no date: less than half a day from the image.
    return moment + (seconds - moment + HALF_DAY_S) % DAY_S - HALF_DAY_S


def _moment(frame: Frame) -> float | None:
    for keyword in WITH_DATE:
        if (seconds := seconds_of_day(frame.value(keyword))) is not None:
            return _days_s(frame, keyword) + seconds
    for day, time in PAIRS:
        if (seconds := seconds_of_day(frame.value(time))) is not None:
            return _days_s(frame, day, *DATES, "StudyDate") + seconds
    return None


def _days_s(frame: Frame, *keywords: str) -> float:
    """Return the seconds before the day of the first attribute that has one; 0 for none."""
    for keyword in keywords:
        match = re.match(r"(\d{4})[.-]?(\d\d)[.-]?(\d\d)", str(frame.value(keyword) or ""))
        try:
            if match:
                return date(*map(int, match.groups())).toordinal() * DAY_S
        except ValueError:  # a date that no calendar has
            continue
    return 0.0


def shown(moment_s: float | None) -> str:
    """Return the time of day as hours, minutes and seconds; "" for an unknown one."""
    if moment_s is None:
        return ""
    seconds = int(moment_s % DAY_S)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


@dataclass(frozen=True)
class Phase:
    """The start of a phase in seconds on the clock of the study, and what its tags say."""

    start_s: float
    agent: bool | None


def phases_of(frames: Sequence[Frame], count: int) -> tuple[Phase, ...]:
    """Return the ``count`` phases of a series of one contrast by time; () where it is unknown.

    The images of one place are the phases in the order of their times.
    """
    places: dict[str, list[tuple[float, int]]] = {}
    for n, frame in enumerate(frames):
        time = acquired_s([frame])
        if time is None:
            return ()
        places.setdefault(str(frame.value("ImagePositionPatient")), []).append((time, n))
    if any(len({time for time, _ in place}) != count for place in places.values()):
        return ()
    ordered = [sorted(place) for place in places.values()]
    found = []
    for n in range(count):
        own = [place[n] for place in ordered]
        agent = agent_by_tags([frames[index] for _, index in own])
        found.append(Phase(min(time for time, _ in own), agent.given))
    return tuple(found)


def last_before_agent(phases: Sequence[Phase], injected_s: float | None) -> int | None:
    """Return the number of the last phase before the agent, 0 for none; None where it is unknown.

    It is known where the injection has a time, or where only the later phases bear the agent.
    """
    if not phases:
        return None
    if injected_s is not None:
        return sum(phase.start_s < injected_s for phase in phases)
    with_agent = [bool(phase.agent) for phase in phases]
    first = with_agent.index(True) if True in with_agent else 0
    known = first > 0 and all(with_agent[first:])
    return first if known else None
