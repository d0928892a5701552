"""When the phases of a dynamic series were taken, and whether they say that an agent was given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ContrastSynthLib.dicom_study.moments import acquired_s
from ContrastSynthLib.dicom_study.tags import agent_by_tags
from ContrastSynthLib.files.dicom.header import Frame


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
        agent, _ = agent_by_tags([frames[index] for _, index in own])
        found.append(Phase(min(time for time, _ in own), agent))
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
