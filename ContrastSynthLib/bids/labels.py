"""What the labels of ``ce-`` and ``acq-`` say of the dose of contrast agent.

BIDS leaves them to who names the files: ``ce-gadolinium``, ``ce-lowDose``, ``acq-10percent``. A
label is split into words that are known here; one that is not of such words says nothing.
"""

from __future__ import annotations

import re
from itertools import combinations

from ContrastSynthLib.agents import AGENT_NAMES

WITHOUT, LOW, FULL, UNCLEAR = "without agent", "low dose", "full dose", "unclear"
AGENT, AFTER, MORE, PERCENT, NUMBER = "agent", "after", "more", "percent", "number"

WORDS = {
    AGENT: {
        *("agent", "ce", "contrast", "dose", "enhanced", "enhancement", "enhancing", "injection"),
        *("gad", "gado", "gadolinium", "gd", *AGENT_NAMES),
        *(name for names in AGENT_NAMES.values() for name in names),
    },
    WITHOUT: {
        *("before", "native", "no", "non", "none", "nonenhanced", "nonenhancing", "plain", "pre"),
        *("un", "without", "zero"),
    },
    LOW: {
        *("fifth", "half", "low", "lower", "lowest", "quarter", "reduced", "tenth", "third"),
        "ultralow",
    },
    AFTER: {"after", "post", "with"},
    FULL: {"full", "single", "standard"},
    # More than the dose of a full scan, or an amount of which nobody says whether it is.
    MORE: {"double", "high", "mmol", "triple"},
}
MEANING = {word: meaning for meaning, words in WORDS.items() for word in words}
# The longest word first: "without" is not "with".
WORD = re.compile(
    r"(?P<percent>\d+)(?:percent|perc|pct|pc)|(?P<number>\d+)|(?P<word>"
    + "|".join(sorted(MEANING, key=len, reverse=True))
    + ")"
)
ALONE = {"after", "before", "low", "lower", "lowest", "native", "plain", "post", "pre", "ultralow"}
"""Words at the end of an ``acq-`` that mean a dose by themselves; half may be half Fourier."""
LOW_AT_AN_END = re.compile(r"^low|lowdose|(?<![sfbl])low$")
MOST_CUTS = 12
"""A label of more words is searched at its ends only."""


def dose_of_ce(label: str) -> str:
    """Return what the label of ``ce-`` says.

    It names the agent that was given, so that any other word is a full dose.
    """
    if (said := _meaning(label)) is not None:
        return said
    for part in _parts(label):
        if _meaning(part) in (WITHOUT, LOW):
            return str(_meaning(part))
    if LOW_AT_AN_END.search(label.lower()):
        return LOW
    return UNCLEAR if re.match(r"pre|non|\d", label.lower()) else FULL


def dose_of_acq(label: str) -> str | None:
    """Return what the label of ``acq-`` says of the dose, None where it tells of other things."""
    for part in (label, *_parts(label)):
        words = _words(part) or []
        of_agent = any(kind in (AGENT, PERCENT) for kind, _ in words)
        at_the_end = label.endswith(part) and any(text in ALONE for _, text in words)
        if of_agent or at_the_end:
            return _meaning(part)
    return None


def _meaning(label: str) -> str | None:
    """Return what a label says that is of known words alone, else None."""
    words = _words(label)
    if words is None:
        return None
    kinds = {kind for kind, _ in words}
    shares = {int(text) for kind, text in words if kind == PERCENT}
    for share in shares:
        kinds.add(WITHOUT if share == 0 else LOW if share < 100 else FULL if share == 100 else MORE)
    doses = kinds & {WITHOUT, LOW, FULL}
    amount = NUMBER in kinds and (kinds == {NUMBER} or "dose" in {text for _, text in words})
    contradicts = len(doses) > 1 or (WITHOUT in kinds and AFTER in kinds)
    if MORE in kinds or amount or contradicts:
        return UNCLEAR
    return doses.pop() if doses else FULL


def _words(label: str) -> list[tuple[str, str]] | None:
    """Return the words of a label, each with its kind; None where a part is no known word."""
    lower, found, at = label.lower(), [], 0
    while at < len(lower):
        match = WORD.match(lower, at)
        if match is None:
            return None
        if match["word"]:
            found.append((MEANING[match["word"]], match["word"]))
        else:
            found.append((PERCENT if match["percent"] else NUMBER, match["percent"] or match[0]))
        at = match.end()
    return found


def _parts(label: str) -> list[str]:
    """Return the parts of a label between changes of case and of kind, the longest first."""
    cuts = {0, len(label)}
    for at in range(1, len(label)):
        before, here = (_kind(sign) for sign in label[at - 1 : at + 1])
        if before != here:
            cuts |= {at, at - 1} if (before, here) == ("A", "a") else {at}
    places = sorted(cuts)
    if len(places) > MOST_CUTS:
        places = [*places[: MOST_CUTS // 2], *places[-MOST_CUTS // 2 :]]
    parts = [label[start:end] for start, end in combinations(places, 2)]
    return sorted(parts, key=len, reverse=True)


def _kind(sign: str) -> str:
    return "0" if sign.isdigit() else "A" if sign.isupper() else "a"
