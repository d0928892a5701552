"""Before or after the agent: what the series of a study say of one another by their times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ContrastSynthLib.dicom_study.moments import DAY_S, shown
from ContrastSynthLib.dicom_study.series import Series
from ContrastSynthLib.dicom_study.tags import Agent
from ContrastSynthLib.dicom_study.worn import without_worn_agents, without_worn_settings

NIGHT_S = DAY_S / 2
SAME_VOXELS = 0.05
FEWEST_OF_DYNAMIC = 3
"""As many phases of T1 are taken for the sake of an agent only."""


def with_agents(series: Sequence[Series]) -> list[Series]:
    """Return the series with what time tells of those that do not say it themselves.

    What was acquired before the injection, or before the first series that has the agent, is
    without it.
    """
    found = _over_midnight(without_worn_settings(series))
    found = without_worn_agents([_by_injection(one) for one in found])
    first = min(
        (one for one in found if _shows_agent(one) and one.acquired_s is not None),
        key=lambda one: one.acquired_s or 0.0,
        default=None,
    )
    found = [_by_first(one, first) for one in found]
    return _by_elimination(_against_names(found))


def _shows_agent(one: Series) -> bool:
    """Return whether the agent had come when a series ended; that shows in T1 and perfusion."""
    if one.is_dynamic:
        return bool(one.agent.given) or one.said.dynamic or one.phases >= FEWEST_OF_DYNAMIC
    return bool(one.agent.given) and (one.is_t1 or one.phases > 1)


def _over_midnight(series: list[Series]) -> list[Series]:
    """Return times that go on at midnight, where the series have no dates of their own."""
    times = [one.acquired_s for one in series if one.acquired_s is not None]
    last = max(times, default=0.0)
    if last - min(times, default=0.0) >= DAY_S:
        return series
    return [
        replace(one, acquired_s=one.acquired_s + DAY_S)
        if one.acquired_s is not None and not one.dated and last - one.acquired_s > NIGHT_S
        else one
        for one in series
    ]


def _guess(one: Series, agent: bool, reason: str) -> Series:
    return replace(one, agent=Agent(agent, reason, guessed=True))


def _by_injection(one: Series) -> Series:
    """Return a series with what the time of the injection, which it names itself, tells."""
    if one.acquired_s is None or one.injected_s is None or one.phases > 1:
        return one
    after = one.acquired_s >= one.injected_s
    reason = f"ContrastBolusStartTime {shown(one.injected_s)}, acquired {one.time}"
    told = replace(one, agent=Agent(after, reason, by_tag=True))
    if one.agent.given in (None, after) or one.said.agent in (None, after):
        return told
    warning = f"its name says '{one.said.agent_word}', but {reason}. The times were believed."
    return replace(told, warnings=tuple(dict.fromkeys((*one.warnings, warning))))


def _by_first(one: Series, first: Series | None) -> Series:
    """Return a series with what the first series that has the agent tells of it by its time."""
    if first is None or one.acquired_s is None or first.acquired_s is None or one is first:
        return one
    if one.agent.given is None and one.acquired_s != first.acquired_s:
        after = one.acquired_s > first.acquired_s
        when = "after" if after else "before"
        reason = f"acquired {one.time}, {when} {first.label} ({first.time}), which has the agent"
        return replace(one, agent=Agent(after, reason))
    if one.agent.given is False and one.is_t1 and one.acquired_s > first.acquired_s:
        warning = (
            f"{one.agent.reason} says before the agent, but it was acquired {one.time}, after "
            f"{first.label} ({first.time}), which has it."
        )
        return replace(one, warnings=(*one.warnings, warning))
    return one


def _against_names(series: list[Series]) -> list[Series]:
    """Return the series with a pre scan where only a name denies it.

    Without any pre scan, what is called post and came before all that bear the agent in their tags
    was without it.
    """
    t1 = [one for one in series if one.is_t1]
    tagged = [one.acquired_s for one in t1 if one.agent.given and one.agent.by_tag]
    if not tagged or None in tagged or any(one.agent.given is not True for one in t1):
        return series
    first = min(time for time in tagged if time is not None)
    found = []
    for one in series:
        named = one in t1 and not one.agent.by_tag and not one.said.low
        if named and one.acquired_s is not None and one.acquired_s < first:
            warning = (
                f"its name says after the agent ({one.said.agent_word}), but its tags name "
                "none and all scans that have it came later. The times were believed."
            )
            one = _guess(one, False, f"acquired {one.time}, before all scans with the agent")
            one = replace(one, warnings=(*one.warnings, warning))
        found.append(one)
    return found


def _by_elimination(series: list[Series]) -> list[Series]:
    """Return the series with a guess for T1 series of which nothing tells."""
    t1 = [one for one in series if one.is_t1]
    unknown = [one for one in t1 if one.agent.given is None]
    if not unknown:
        return series
    if any(one.agent.given for one in t1):
        reason = "neither tag nor word of an agent, unlike others of the study"
        return [_guess(one, False, reason) if one in unknown else one for one in series]
    guesses: dict[str, Series] = {}
    for one in unknown:
        earlier = [other for other in t1 if other is not one and _is_earlier_alike(other, one)]
        later = [other for other in t1 if other is not one and _is_earlier_alike(one, other)]
        if earlier:
            reason = f"acquired {one.time}, the later of T1 series with equal voxels"
            guesses[one.uid] = _guess(one, True, reason)
        elif later:
            reason = f"acquired {one.time}, the first of T1 series with equal voxels"
            guesses[one.uid] = _guess(one, False, reason)
    return [guesses.get(one.uid, one) for one in series]


def _is_earlier_alike(one: Series, other: Series) -> bool:
    if one.acquired_s is None or other.acquired_s is None:
        return False
    if one.agent.given or other.agent.given is False:
        return False
    if one.layout is None or other.layout is None or one.acquired_s >= other.acquired_s:
        return False
    alike = one.layout.unlikeness(other.layout) < SAME_VOXELS
    return alike and one.layout.is_parallel(other.layout)
