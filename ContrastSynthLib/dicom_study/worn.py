"""Tags that are the same on all series of a study, and so tell nothing.

Scanners put the agent on every series once it is registered, and converters write the settings of
one series into the headers of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ContrastSynthLib.dicom_study.series import Series
from ContrastSynthLib.dicom_study.tags import Agent


def without_worn_settings(series: Sequence[Series]) -> list[Series]:
    """Return the series with the weighting of their names where their settings tell nothing.

    That is so where series of two or more other weightings, by their names, bear the same TR, TE
    and TI: no scan of T2 is one of FLAIR and of T1 as well.
    """
    denied = [one for one in series if one.named]
    found = []
    for one in series:
        alike = [other for other in denied if other.settings_ms == one.settings_ms]
        if one in denied and len({other.named for other in alike}) > 1:
            shown = ", ".join(f"{name} {value:g} ms" for name, value in one.settings_ms.items())
            warning = (
                f"its tags say {one.weighting}, but {shown} stands in series of several weightings "
                "and tells nothing. The name was believed."
            )
            reason = f"the word '{one.said.weighting_word}' in its name"
            others = [text for text in one.warnings if "its name says " + one.named not in text]
            one = replace(
                one,
                weighting=one.named,
                named="",
                reason=reason,
                warnings=(*others, warning),
            )
        found.append(one)
    return found


def without_worn_agents(series: Sequence[Series]) -> list[Series]:
    """Return the series without a tag of an agent that stands on all T1 series.

    Those that are called pre, and were acquired before the others, are taken for pre.
    """
    t1 = [one for one in series if one.is_t1]
    early = [one for one in t1 if one.said.agent is False]
    late = [one for one in t1 if one.said.agent is not False]
    timed = any(one.injected_s is not None for one in t1)
    tagged = all(one.agent.given and one.agent.by_tag for one in t1)
    if timed or not tagged or not _are_before(early, late):
        return list(series)
    return [_believed(one) if one in early else one for one in series]


def _believed(one: Series) -> Series:
    word = one.said.agent_word
    warning = (
        "its tags name an agent, as those of all T1 series do, but it is called "
        f"'{word}' and was acquired before the others. The name was believed."
    )
    reason = f"the word '{word}' in its name, and its time"
    return replace(one, agent=Agent(False, reason), warnings=(warning,))


def _are_before(early: Sequence[Series], late: Sequence[Series]) -> bool:
    """Return whether all of the first were acquired before all of the second; False for none."""
    first = [one.acquired_s for one in early if one.acquired_s is not None]
    second = [one.acquired_s for one in late if one.acquired_s is not None]
    known = len(first) == len(early) > 0 and len(second) == len(late) > 0
    return known and max(first) < min(second)
