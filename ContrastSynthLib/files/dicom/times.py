"""When the phases of a dynamic series were taken, in seconds.

DICOM has many times in several units. RepetitionTime is none of them: it is how often the
scanner pulses, thousands of times in one volume.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ContrastSynthLib.files.dicom.acquisition import HALF_DAY_S, seconds_of_day
from ContrastSynthLib.files.dicom.header import Frame

DAY_S = 2 * HALF_DAY_S
# A pulse repeats faster than this; a volume in less than that is no scan with an agent.
LONGEST_TR_S = 0.5
SHORTEST_STEP_S = 0.1


def _clock(*keywords: str) -> Callable[[Frame], float | None]:
    def seconds(frame: Frame) -> float | None:
        moments = (seconds_of_day(frame.value(keyword)) for keyword in keywords)
        return next((moment for moment in moments if moment is not None), None)

    return seconds


def _number(keyword: str, unit_s: float) -> Callable[[Frame], float | None]:
    def seconds(frame: Frame) -> float | None:
        number = frame.number(keyword)
        return None if number is None else number * unit_s

    return seconds


# The first one that increases from phase to phase counts. What is a time of day may pass midnight.
SOURCES: tuple[tuple[bool, Callable[[Frame], float | None]], ...] = (
    (True, _clock("FrameAcquisitionDateTime", "FrameReferenceDateTime")),
    (True, _clock("AcquisitionTime", "AcquisitionDateTime")),
    (False, _number("TemporalPositionTimeOffset", 1.0)),
    (False, _number("TriggerTime", 1e-3)),
    (False, _number("NominalCardiacTriggerDelayTime", 1e-3)),
    (False, _number("FrameReferenceTime", 1e-3)),
    (True, _clock("ContentTime")),
)


def phase_times(phases: Sequence[Sequence[Frame]]) -> list[float] | None:
    """Return the start of each phase in seconds; None where the files do not say.

    From the injection where its time is known, else from the start of the first phase.
    """
    if len(phases) < 2:
        return None
    for clock, seconds in SOURCES:
        times = _starts(phases, seconds, clock)
        if times is None or _is_repetition_time(phases, times):
            continue
        injection = _injection_s(phases) if clock else None
        zero = times[0] if injection is None else injection
        first = times[0] - zero
        if injection is not None:  # less than half a day apart
            first = (first + HALF_DAY_S) % DAY_S - HALF_DAY_S
        # Six digits of a second are all that DICOM has.
        return [round(first + time - times[0], 6) for time in times]
    return None


def _starts(
    phases: Sequence[Sequence[Frame]], seconds: Callable[[Frame], float | None], clock: bool
) -> list[float] | None:
    """Return the earliest time of each phase when all are known and increase."""
    table = [[seconds(frame) for frame in phase] for phase in phases]
    known = [[time for time in row if time is not None] for row in table]
    if not all(known):
        return None
    everything = [time for row in known for time in row]
    if clock and max(everything) - min(everything) > HALF_DAY_S:
        known = [[time + DAY_S if time < HALF_DAY_S else time for time in row] for row in known]
    starts = [min(row) for row in known]
    return starts if (np.diff(starts) >= SHORTEST_STEP_S).all() else None


def _is_repetition_time(phases: Sequence[Sequence[Frame]], times: list[float]) -> bool:
    repetition_ms = phases[0][0].number("RepetitionTime")
    if repetition_ms is None or not 0 < repetition_ms / 1000 < LONGEST_TR_S:
        return False
    return bool(np.allclose(np.diff(times), repetition_ms / 1000, rtol=0.01, atol=0))


def _injection_s(phases: Sequence[Sequence[Frame]]) -> float | None:
    for phase in reversed(phases):
        moment = seconds_of_day(phase[0].value("ContrastBolusStartTime"))
        if moment is not None:
            return moment
    return None


def starts_at_injection(phases: Sequence[Sequence[Frame]]) -> bool:
    """Return whether the times of the phases count from the injection."""
    return _injection_s(phases) is not None
