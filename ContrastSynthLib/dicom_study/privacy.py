"""What names the patient, and texts without it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ContrastSynthLib.files.dicom.header import Frame
from ContrastSynthLib.texts import plain

NAMES = (
    *("PatientName", "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName"),
    *("ReferringPhysicianName", "ResponsiblePerson"),
)
NUMBERS = ("PatientID", "OtherPatientIDs", "AccessionNumber", "PatientBirthDate")
SHORTEST_NAME, SHORTEST_NUMBER = 2, 3
SHORTEST_INSIDE = 4
"""From this length on a name is also looked for inside of words, as in "t1_TesterTheodora"."""
HIDDEN = "..."
LONGEST = 64


def private_words(frames: Iterable[Frame]) -> frozenset[str]:
    """Return the words that stand for a person in the headers, in small letters without accents."""
    found = set()
    for frame in frames:
        for keywords, shortest in ((NAMES, SHORTEST_NAME), (NUMBERS, SHORTEST_NUMBER)):
            text = " ".join(_text(frame.value(keyword)) for keyword in keywords)
            found |= {w for w in re.findall(r"[^\W_]+", plain(text)) if len(w) >= shortest}
    return frozenset(found)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    several = not hasattr(value, "family_name") and isinstance(value, Iterable)
    return " ".join(map(str, value)) if several and isinstance(value, Iterable) else str(value)


def without_names(value: object, private: frozenset[str]) -> str:
    """Return a text of a header in one printable line, with dots for words that name a person."""
    text = "".join(c if c.isprintable() else " " for c in str(value or ""))

    def hidden(match: re.Match[str]) -> str:
        return HIDDEN if _names_someone(plain(match[0]), private) else match[0]

    return " ".join(re.sub(r"[^\W_]+", hidden, text).split())[:LONGEST]


def _names_someone(word: str, private: frozenset[str]) -> bool:
    if word in private:
        return True
    # Of scripts without spaces two signs are a name.
    return any(
        name in word for name in private if len(name) >= SHORTEST_INSIDE or not name.isascii()
    )
