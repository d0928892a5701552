"""What the name of a series says: which weighting, before or after the agent, a low dose."""

from __future__ import annotations

from dataclasses import dataclass

from ContrastSynthLib.agents import AGENT, WITHOUT
from ContrastSynthLib.dicom_study import words
from ContrastSynthLib.dicom_study.words import words_of


@dataclass(frozen=True)
class Said:
    """What a name says; None and "" where it says nothing."""

    weighting: str | None = None
    weighting_word: str = ""
    agent: bool | None = None
    """True: after the agent; False: before it."""
    agent_word: str = ""
    low: bool = False
    dynamic: bool = False


def said_by(*names: str) -> Said:
    """Return what names say; a later one counts only for what the earlier ones leave open."""
    found = Said()
    for number, name in enumerate(names):
        one = _said_by(words_of(name))
        if found.weighting is None:
            found = _with(found, weighting=one.weighting, weighting_word=one.weighting_word)
        if found.agent is None:
            found = _with(found, agent=one.agent, agent_word=one.agent_word)
        # The protocol of a dynamic series often names all that was taken under it.
        if number == 0:
            found = _with(found, low=one.low, dynamic=one.dynamic)
    return found


def _with(said: Said, **changes: object) -> Said:
    return Said(**{**said.__dict__, **changes})


def _said_by(found: tuple[str, ...]) -> Said:
    weighting, word = _weighting(found)
    agent, agent_word = _agent(found)
    return Said(weighting, word, agent, agent_word, _low(found), bool(set(found) & words.DYNAMIC))


def _weighting(found: tuple[str, ...]) -> tuple[str | None, str]:
    present = set(found)
    if words.T1 in _kinds(present) and words.FLAIR in _kinds(present):
        present -= words.WEIGHTINGS[words.FLAIR]  # a T1 with an inversion pulse
    for weighting, meant in words.WEIGHTINGS.items():
        if hit := [word for word in found if word in meant and word in present]:
            return weighting, hit[0]
    for word in found:
        if word[0] == "b" and word[1:].isdigit() and 2 <= len(word[1:]) <= 4:
            return words.DWI, word
    return None, ""


def _kinds(present: set[str]) -> set[str]:
    return {weighting for weighting, meant in words.WEIGHTINGS.items() if present & meant}


def _agent(found: tuple[str, ...]) -> tuple[bool | None, str]:
    """Return whether a name says after or before the agent, and by which word."""
    if words.BOTH in found:
        return None, ""
    before: list[str] = []
    after: list[str] = []
    for n, word in enumerate(found):
        following = found[n + 1] if n + 1 < len(found) else ""
        leading = set(found[max(n - 2, 0) : n])
        if word in words.BEFORE and following not in words.NOT_OF_AGENT:
            before.append(word)
        elif word in words.AFTER and following not in words.NOT_OF_AGENT:
            denied = leading & WITHOUT
            (before if denied else after).append(word)
        elif word in AGENT and not leading & words.BEFORE:
            denied = leading & WITHOUT
            (before if denied else after).append(" ".join((*sorted(denied), word)))
        elif word in WITHOUT - {"no", "o"} and not following:
            before.append(word)
    if bool(before) == bool(after):
        return None, ""
    return bool(after), (after or before)[0]


def _low(found: tuple[str, ...]) -> bool:
    """Return whether a name says that less than the usual dose was given."""
    return any(
        word in words.LOW and (found[n + 1] if n + 1 < len(found) else "") not in words.NOT_A_DOSE
        for n, word in enumerate(found)
    )
