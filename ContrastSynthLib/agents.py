"""Contrast agents in words: their names, and whether a text says that one was given.

What people write beside a scan reads "Gadovist 7 ml, no reaction", "no gadolinium" or "n/a", in the
languages of hospitals.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from ContrastSynthLib.texts import one_of, plain

AGENT_NAMES = {
    "gadobenate": ("gadobenic", "multihance"),
    "gadobutrol": ("gadavist", "gadovist"),
    "gadodiamide": ("omniscan",),
    "gadopentetate": ("gadopentetic", "magnevist"),
    "gadopiclenol": ("elucirem", "vueway"),
    "gadoterate": ("gadoteric", "clariscan", "dotarem"),
    "gadoteridol": ("prohance",),
    "gadoversetamide": ("optimark",),
    "gadoxetate": ("gadoxetic", "eovist", "primovist"),
}
"""Generic names of gadolinium agents, each with the names of its acid and its brands."""

AGENT = one_of(
    "gd gad gado gadolinium gadolinio km ce mdc mdk civ contrast contrasted contraste "
    "contrasto kontrast kontrastem kontrastmittel kontrasti kontraste kontrascie inj "
    "injection injecte injectee gadovist gadavist gadobutrol dotarem clariscan "
    "gadoterate magnevist multihance prohance omniscan vueway elucirem контраст "
    "контрастом контрастирование"
)
WITHOUT = one_of("without wo no non not ohne sans sin senza sem zonder bez utan uden o без")
UNKNOWN_AGENT = one_of(
    "unknown unspecified unbekannt inconnu desconocido other na available specified recorded"
)
DENIES = WITHOUT | one_of("none nil kein keine keines aucun ninguno nessuno nein nie")
MERE_WORDS = one_of("agent contrast kontrast kontrastmittel contraste given")
NO_AGENT = DENIES | MERE_WORDS | one_of("n 0 nativ native administered used false")
"""A value of ContrastBolusAgent that has only these words, but not only MERE_WORDS, names none."""
GIVEN = one_of("given administered used injected applied iv")
HARMLESS = one_of(
    "reaction reactions allergy allergies allergic adverse side complication complications "
    "incident incidents extravasation problem problems reaktion reaktionen komplikation "
    "komplikationen incidencias complicaciones reazioni reacciones"
)
"""What a patient did not have from an agent that was given."""


def generic_agent_name(text: str) -> str | None:
    """Return the generic name of the agent in ``text``: gadobutrol for "Gadovist 1.0".

    None if the text contains no known agent, or more than one, or denies the one that it names.
    """
    found = re.findall(r"[^\W\d_]+", plain(text))
    words = {word for before, word in pairwise(["", *found]) if before not in DENIES}
    named = [name for name, others in AGENT_NAMES.items() if words & {name, *others}]
    return named[0] if len(named) == 1 and not _denied(_words(text)) else None


def names_agent(text: str) -> bool | None:
    """Return whether a text names an agent; None where it is empty or says that it is unknown."""
    found = _words(text)
    if not found or set(found) & UNKNOWN_AGENT:
        return None
    if set(found) <= MERE_WORDS:
        return True
    return not (set(found) <= NO_AGENT or _denied(found))


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", re.sub(r"\bn\W{0,2}a\b", "na", plain(text)))


def _denied(found: Sequence[str]) -> bool:
    """Return whether words deny the agent that they name, as in "no gadolinium" or "not given".

    "Gadovist 7 ml, no reaction" and "Lot No 12" do not.
    """
    return any(
        word in DENIES
        and after not in HARMLESS
        and (number == 0 or not after or after in AGENT | MERE_WORDS | GIVEN)
        for number, (word, after) in enumerate(zip(found, [*found[1:], ""], strict=True))
    )
