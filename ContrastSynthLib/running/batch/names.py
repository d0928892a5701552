"""Which names of cases can be the name of a folder, on each system that may read the results."""

from __future__ import annotations

import unicodedata

MOST_BYTES = 200
"""Of a name, so that names of files still find room behind it."""
NOT_IN_NAMES = set('/\\:*?"<>|;')
OF_WINDOWS = {
    *("CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"),
    *(f"{port}{number}" for port in ("COM", "LPT") for number in "0123456789¹²³"),
}
"""Names that Windows keeps for devices, with any ending."""
TURNING = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Signs that turn the direction of text, and so let a name look like another."""
INVISIBLE = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode's control signs, halves of signs, and separators of lines."""


def why_no_folder(name: str, taken: set[str]) -> str | None:
    """Return why a case cannot have a folder of this name; None where it can.

    ``taken`` are names of the files beside these folders.
    """
    if not name:
        return "it has no name"
    if name.startswith("."):
        return "it begins with a dot"
    if name.endswith((".", " ")):
        return "it ends with a dot or a space, which Windows leaves out"
    if bad := sorted(NOT_IN_NAMES & set(name)):
        return f"it holds {' '.join(bad)}"
    if any(unicodedata.category(sign) in INVISIBLE or sign in TURNING for sign in name):
        return "it holds signs that cannot be seen"
    if len(name.encode()) > MOST_BYTES:
        return f"it is longer than {MOST_BYTES} bytes"
    if name.partition(".")[0].rstrip().upper() in OF_WINDOWS:
        return "Windows keeps this name for a device"
    if same_folder(name) in {same_folder(one) for one in taken}:
        return "a file of the batch has this name"
    return None


def same_folder(name: str) -> str:
    """Return what two names have in common that are one folder on some system."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
