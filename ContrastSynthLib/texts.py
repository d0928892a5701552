"""Texts of people: one form for all spellings, and lists of words."""

from __future__ import annotations

import unicodedata


def plain(text: str) -> str:
    """Return a text in small letters without accents, a narrow or wide form as the usual one."""
    apart = unicodedata.normalize("NFKD", text)
    whole = "".join(c for c in apart if not unicodedata.combining(c))
    return unicodedata.normalize("NFC", whole).casefold()


def one_of(words: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(words.split())
