"""Which series of a study plays which role: the pair first, then what lies like it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ContrastSynthLib.dicom_study.series import Series
from ContrastSynthLib.dicom_study.words import ADC, FLAIR, T1, T2
from ContrastSynthLib.errors import RequestError, unknown_name

ROLES = ("pre", "post", "low", "t2", "flair", "adc", "phase")
OF_OTHERS = {"t2": T2, "flair": FLAIR, "adc": ADC}
NOTHING = "none"
FAR = 99.0
"""Unlikeness of a series whose place is unknown."""


@dataclass(frozen=True)
class Part:
    """A series in a role; ``phase`` is the one of several that is meant, from 1; None for all."""

    series: Series
    reason: str
    phase: int | None = None
    sure: bool = True


@dataclass(frozen=True)
class Proposal:
    """The parts by role, and what is missing and why."""

    parts: Mapping[str, Part]
    missing: tuple[str, ...]

    def role_of(self, series: Series) -> str:
        """Return the roles of a series, with commas; "" for none."""
        return ", ".join(role for role, part in self.parts.items() if part.series is series)


def propose(series: Sequence[Series], chosen: Sequence[tuple[str, str]] = ()) -> Proposal:
    """Return who plays which role; ``chosen`` are roles with numbers of series, which count first.

    Raises RequestError for an unknown role, one that is given twice, and an unknown series.
    """
    given = _given(series, chosen)
    taken = [part.series for part in given.values() if part is not None]
    free = [one for one in series if one not in taken]
    parts: dict[str, Part] = {}
    parts |= _pair(free, given)
    if "low" not in given:
        parts |= _low(free)
    anchor = next((parts[role].series for role in ("post", "pre") if role in parts), None)
    if "phase" not in given:
        parts |= _phase(free, anchor)
    for role, weighting in OF_OTHERS.items():
        if role not in given:
            parts |= _other(role, weighting, free, anchor)
    parts |= {role: part for role, part in given.items() if part is not None}
    parts |= _from_dynamic(parts, given)
    ordered = {role: parts[role] for role in ROLES if role in parts}
    return Proposal(ordered, tuple(_missing(series, ordered)))


def _given(series: Sequence[Series], chosen: Sequence[tuple[str, str]]) -> dict[str, Part | None]:
    found: dict[str, Part | None] = {}
    for role, value in chosen:
        if role not in ROLES:
            raise unknown_name("role", role, ROLES)
        if role in found:
            raise RequestError(f"The role '{role}' is given twice; expected one series (--role).")
        if value.casefold() == NOTHING:
            found[role] = None
            continue
        name, at, phase = value.partition("@")
        one = find(series, name)
        number = int(phase) if phase.isascii() and phase.isdigit() else 0
        if at and not 1 <= number <= one.phases:
            raise RequestError(
                f"'{phase}' is no phase of {one.label}; expected a number from 1 to {one.phases}."
            )
        found[role] = Part(one, "chosen", number or None)
    return found


def find(series: Sequence[Series], name: str) -> Series:
    """Return the series of a number or UID; raises RequestError that lists those there are."""
    found = [one for one in series if name in (one.uid, str(one.number))]
    if len(found) == 1:
        return found[0]
    several = "several series have the number" if found else "there is no series"
    rows = [f"  {one.number}: {one.description}, {one.kind} ({one.uid})" for one in series]
    raise RequestError(
        f"{several} '{name}'. Expected the number or UID of one of these, or none:\n"
        + "\n".join(rows)
    )


def _pair(free: Sequence[Series], given: Mapping[str, Part | None]) -> dict[str, Part]:
    """Return the pre and the post series that fit each other best, or the one that there is."""
    scans = [one for one in free if one.is_t1 and not one.said.low]
    sides: dict[str, list[Series]] = {}
    for role, agent in (("pre", False), ("post", True)):
        part = given.get(role)
        sides[role] = [one for one in scans if one.agent.given is agent]
        if role in given:
            sides[role] = [] if part is None else [part.series]
    if sides["pre"] and sides["post"]:
        pairs = [(pre, post) for pre in sides["pre"] for post in sides["post"]]
        pre, post = min(pairs, key=lambda pair: _misfit(*pair))
        return {
            "pre": _part(pre, _fit(pre, post), pre.agent.reason),
            "post": _part(post, _fit(post, pre), post.agent.reason),
        }
    return {
        role: _part(min(found, key=_alone), "", min(found, key=_alone).agent.reason)
        for role, found in sides.items()
        if found
    }


def _part(one: Series, fit: str, reason: str) -> Part:
    words = [text for text in (reason, fit) if text]
    return Part(one, "; ".join(words), sure=not (one.agent.guessed or one.warnings))


def _fit(one: Series, other: Series) -> str:
    if one.layout is None or other.layout is None:
        return ""
    if not one.layout.is_parallel(other.layout):
        return f"another plane than {other.label}: register them (--align)"
    if one.layout.unlikeness(other.layout) < 0.05:
        return f"plane and voxels as {other.label}"
    return f"plane as {other.label}, other voxels"


def _misfit(pre: Series, post: Series) -> tuple[float, ...]:
    """Return how badly two series make a pair; what stands first counts most."""
    plane, voxels = _apart(pre, post)
    times = [one.acquired_s if one.acquired_s is not None else np.inf for one in (pre, post)]
    return (
        plane,
        round(voxels, 1),
        float(pre.derived) + float(post.derived),
        float(sum(one.agent.guessed for one in (pre, post)) + bool(pre.warnings or post.warnings)),
        +float(post.agent.guessed) + float(bool(pre.warnings or post.warnings)),
        round(_settings_apart(pre, post), 1),
        round(_volume(pre) + _volume(post), 1),
        times[1],
        -times[0] if np.isfinite(times[0]) else 0.0,
        float(post.number or 0),
    )


def _alone(one: Series) -> tuple[float, ...]:
    """Return how badly a series without a partner serves."""
    time = one.acquired_s if one.acquired_s is not None else np.inf
    return (float(one.derived), float(one.agent.guessed), round(_volume(one), 1), time)


def _apart(one: Series, other: Series) -> tuple[float, float]:
    """Return 1 for another plane, and the unlikeness of the voxels."""
    if one.layout is None or other.layout is None:
        return 1.0, FAR
    return float(not one.layout.is_parallel(other.layout)), one.layout.unlikeness(other.layout)


def _volume(one: Series) -> float:
    return FAR if one.layout is None else one.layout.volume_mm3


def _settings_apart(one: Series, other: Series) -> float:
    common = set(one.settings_ms) & set(other.settings_ms)
    ratios = [one.settings_ms[name] / other.settings_ms[name] for name in common]
    return float(np.abs(np.log(ratios)).sum()) if ratios else 0.0


def _low(free: Sequence[Series]) -> dict[str, Part]:
    found = [one for one in free if one.is_t1 and one.said.low]
    return {"low": Part(found[0], "its name says a low dose")} if found else {}


def _phase(free: Sequence[Series], anchor: Series | None) -> dict[str, Part]:
    found = [one for one in free if one.is_dynamic and not one.named]
    if not found:
        return {}
    best = min(found, key=lambda one: (float(one.derived), -one.phases, _near(one, anchor)))
    return {"phase": Part(best, f"a dynamic series of {best.phases} phases")}


def _near(one: Series, anchor: Series | None) -> tuple[float, float]:
    return (0.0, _volume(one)) if anchor is None else _apart(one, anchor)


def _other(
    role: str, weighting: str, free: Sequence[Series], anchor: Series | None
) -> dict[str, Part]:
    """Return the series of a weighting that lies most like the pair, the earliest of several.

    Where there is none, one that bears the name against its tags, which has to be looked at.
    """
    found = [one for one in free if one.weighting == weighting and not one.named]
    sure = bool(found)
    if not found:
        found = [one for one in free if one.named == weighting]
    if not found:
        return {}

    def order(one: Series) -> tuple[float, ...]:
        time = one.acquired_s if one.acquired_s is not None else np.inf
        derived = one.derived and weighting != ADC
        return (
            float(derived),
            len(one.warnings),
            *_near(one, anchor),
            float(bool(one.agent.given)),
            time,
        )

    best = min(found, key=order)
    reason = best.reason if sure else f"only its name says it: {best.warnings[0]}"
    return {role: Part(best, reason, sure=sure and not best.warnings)}


def _from_dynamic(parts: Mapping[str, Part], given: Mapping[str, Part | None]) -> dict[str, Part]:
    """Return single phases of a dynamic series for the scans that there are not without it."""
    dynamic = parts.get("phase")
    if dynamic is None or dynamic.phase is not None or not dynamic.series.is_dynamic:
        return {}
    one = dynamic.series
    if one.layout is None or one.layout.contrasts > 1:  # each contrast counts its own phases
        return {}
    known = one.phases_before
    before = known if known is not None else int("pre" not in parts)
    found = {}
    if "pre" not in parts and "pre" not in given and before:
        reason = "the last before the agent" if known else "was it before the agent?"
        found["pre"] = Part(one, reason, before, sure=bool(known))
    if "post" not in parts and "post" not in given and before < one.phases:
        reason = "the first after the agent; a later one may show more"
        found["post"] = Part(one, reason, before + 1, sure=False)
    return found


def _missing(series: Sequence[Series], parts: Mapping[str, Part]) -> list[str]:
    """Return a sentence for each half of the pair that is missing, and what could be it."""
    told = []
    for role, what in (("pre", "before"), ("post", "after")):
        if role in parts:
            continue
        taken = [part.series for part in parts.values()]
        possible = [one for one in series if one.weighting == T1 and one not in taken]
        hint = "there is no other T1 series"
        if possible:
            names = " or ".join(f"{one.number} ({one.kind})" for one in possible)
            hint = f"if it is {names}, say so (--role {role}={possible[0].number})"
        told.append(f"{role}: no T1 series {what} the agent was found; {hint}.")
    return told
