"""A series in, a series out, for a method that takes single volumes: one run for each phase.

A method that makes a series from single volumes runs once, with one phase of the series.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.series import holds_phases
from ContrastSynthLib.registry import MASK_ROLE, Method
from ContrastSynthLib.running.inputs import Inputs, are_same_series, read_inputs
from ContrastSynthLib.running.once import Made
from ContrastSynthLib.running.request import Request, sources_of
from ContrastSynthLib.volumes import Series, Volume, times_of

BEFORE_AGENT = ("pre", "corrupted")
"""Roles of scans before the agent: of the series that gives another role, too, its first phase."""
AFTER_AGENT = ("post", "low", "phase", "guess")
# As for the kinetics: two series are of the same phases when their times differ by at most this.
SAME_TIME_S = 1.0


@dataclass(frozen=True)
class Phase:
    """One run: the number of its phase from 1, its time, and the volume of each role.

    ``numbers`` are those of the phases that the roles with a series have in this run.
    """

    number: int
    time_s: float
    inputs: Inputs
    numbers: Mapping[str, int]


def roles_by_phase(method: Method, request: Request) -> list[str]:
    """Return the roles that are given a series where the method takes one volume.

    Only headers are read. Raises RequestError for a method that has series itself, for several
    scans before the agent and one after it, and for phases that are chosen where there is no
    series.
    """
    found = [
        role
        for role, given in request.inputs.items()
        if role != MASK_ROLE and not method.inputs[role].series and _is_series(sources_of(given))
    ]
    if found and any(taken.series for taken in method.inputs.values()):
        raise RequestError(
            f"{method.key} takes one volume as '{found[0]}', and has a series of its own. Choose a "
            f"phase by its number, as in {found[0]}=FILE#1."
        )
    later = [role for role in request.inputs if role in AFTER_AGENT]
    if found and later and set(found) <= set(BEFORE_AGENT):
        raise RequestError(
            f"'{found[0]}' is a series, with several phases before the agent, and '{later[0]}' one "
            f"volume. Choose one phase, as in {found[0]}=FILE#1, or give '{later[0]}' as a series."
        )
    if request.phases and not found:
        raise RequestError(
            f"Phases were chosen (--phases), but {method.key} was given no series for a role that "
            "takes one volume. Give one, such as a .seq.nrrd, or leave the choice out."
        )
    return found


def _is_series(sources: Sequence[Any]) -> bool:
    if len(sources) != 1:
        return False
    (source,) = sources
    if isinstance(source, (str, Path)):
        return holds_phases(source)
    return isinstance(source, Series)


def read_used(method: Method, request: Request) -> tuple[Inputs, list[Phase]]:
    """Return the volumes that a run uses, and its phases: none where it is a single run.

    A method that makes a series is given one phase: the first after the agent, or that of
    ``--phases``. Raises RequestError as :func:`read_inputs` does, for phases that there are not,
    and for series of different times.
    """
    by_phase = roles_by_phase(method, request)
    inputs = read_inputs(method, request, by_phase)
    if not by_phase:
        return inputs, []
    first = _roles_at_first(request, by_phase)
    stepping = [role for role in by_phase if role not in first]
    leader = method.reference if method.reference in stepping else stepping[0]
    times_s = _common_times(inputs, stepping, leader)
    wanted = _wanted(request, len(times_s), first)
    if makes_series(method):
        wanted = [_only(method, request, wanted, times_s)]
    phases = [
        Phase(
            number,
            times_s[number - 1],
            {role: _of_phase(volumes, role, number, stepping) for role, volumes in inputs.items()},
            {role: 1 if role in first else number for role in by_phase},
        )
        for number in wanted
    ]
    if makes_series(method):
        return phases[0].inputs, []
    used = {
        role: [volumes[n - 1] for n in wanted] if role in stepping else volumes[:1]
        for role, volumes in inputs.items()
    }
    return used, phases


def _of_phase(
    volumes: list[Volume], role: str, number: int, stepping: Sequence[str]
) -> list[Volume]:
    return [volumes[number - 1 if role in stepping else 0]]


def _roles_at_first(request: Request, by_phase: Sequence[str]) -> list[str]:
    """Return the roles that take the first phase of a series which another role has as well."""
    others = [role for role in by_phase if role not in BEFORE_AGENT]
    return [
        role
        for role in by_phase
        if role in BEFORE_AGENT and any(are_same_series(request, role, other) for other in others)
    ]


def _common_times(inputs: Inputs, stepping: Sequence[str], leader: str) -> list[float]:
    """Return the times of the series; RequestError where they do not have the same."""
    wanted = times_of(inputs[leader])
    for role in stepping:
        times = times_of(inputs[role])
        if len(times) != len(wanted) or (abs(times - wanted) > SAME_TIME_S).any():
            fixed = next((one for one in (role, leader) if one in BEFORE_AGENT), role)
            raise RequestError(
                f"'{role}' has phases at {_listed(times)} s, '{leader}' at {_listed(wanted)} s. "
                "Series of two roles must have the same times. If one of them is the same for "
                f"every phase, choose it by its number, as in {fixed}=FILE#1."
            )
    return [float(time) for time in wanted]


def _wanted(request: Request, count: int, first: Sequence[str]) -> list[int]:
    """Return the numbers of the phases to compute, which increase."""
    lowest = 2 if first else 1
    if count < lowest:
        raise RequestError(
            f"The series has one phase, which is '{first[0]}'. Expected at least one more, after "
            "the agent."
        )
    wrong = [n for n in request.phases if not lowest <= n <= count]
    if wrong:
        why = f" Phase 1 is '{first[0]}', for every other phase." if first else ""
        raise RequestError(
            f"There is no phase {wrong[0]} to compute (--phases): expected numbers from {lowest} "
            f"to {count}.{why}"
        )
    return sorted(set(request.phases)) or list(range(lowest, count + 1))


def makes_series(method: Method) -> bool:
    """Return whether an output of a method is a series, so that it runs with one phase."""
    return any(made.series for made in method.outputs.values())


def _only(method: Method, request: Request, wanted: Sequence[int], times_s: Sequence[float]) -> int:
    """Return the phase that was chosen, or the first after the agent."""
    if len(set(request.phases)) > 1:
        raise RequestError(
            f"{method.key} makes a series from one phase: choose one, as in --phases "
            f"{request.phases[0]}."
        )
    if request.phases:
        return wanted[0]
    return next((n for n in wanted if times_s[n - 1] > 0), wanted[0])


def _listed(times: Any) -> str:
    return ", ".join(f"{time:g}" for time in times)


def joined(phases: Sequence[Phase], made: Sequence[Made]) -> Made:
    """Return what all phases made as one: each output a series with the times of the phases.

    What differs from phase to phase is told for each of them.
    """
    return Made(
        {name: _as_series(phases, [one.outputs[name] for one in made]) for name in made[0].outputs},
        made[0].resolved,
        _joined_alignment(phases, made),
        {name: _same_or_each([one.mask[name] for one in made]) for name in made[0].mask},
        {"phases": [_described(*pair, made[0]) for pair in zip(phases, made, strict=True)]},
        [*_said(phases), *_common_warnings(phases, [one.warnings for one in made])],
    )


def _as_series(phases: Sequence[Phase], outputs: Sequence[Volume | Series]) -> Series:
    return Series(
        tuple(
            replace(volume, acquisition=replace(volume.acquisition, time_s=phase.time_s))
            for phase, volume in zip(phases, outputs, strict=True)
            if isinstance(volume, Volume)
        )
    )


def _described(phase: Phase, made: Made, first: Made) -> dict[str, Any]:
    """Return what the record tells of one phase; its parameters where they are others."""
    described: dict[str, Any] = {
        "phase": phase.number,
        "time_s": phase.time_s,
        "inputs": dict(phase.numbers),
        "record": made.record,
    }
    if made.resolved.values != first.resolved.values:
        described["parameters"] = asdict(made.resolved.values)
    return described


def _joined_alignment(phases: Sequence[Phase], made: Sequence[Made]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for role, done in made[0].alignment.items():
        if all(one.alignment[role] == done for one in made):
            found[role] = done
            continue
        for phase, one in zip(phases, made, strict=True):
            found[f"{role}, phase {phase.number}"] = one.alignment[role]
    return found


def _same_or_each(values: Sequence[Any]) -> Any:
    return values[0] if all(value == values[0] for value in values) else list(values)


def _said(phases: Sequence[Phase]) -> list[str]:
    """Return what a user must know of how the phases were put together, a sentence each."""
    first = phases[0]
    return [
        f"'{role}' is phase 1 of the series, before the agent, for every phase that was computed."
        for role, number in first.numbers.items()
        if number != first.number
    ]


def _common_warnings(phases: Sequence[Phase], warnings: Sequence[Sequence[str]]) -> list[str]:
    """Return the warnings of all phases once each; those of some phases name them."""
    found: dict[str, list[int]] = {}
    for phase, said in zip(phases, warnings, strict=True):
        for sentence in dict.fromkeys(said):
            found.setdefault(sentence, []).append(phase.number)
    return [
        sentence
        if len(numbers) == len(phases)
        else f"Phase {', '.join(map(str, numbers))}: {sentence}"
        for sentence, numbers in found.items()
    ]
