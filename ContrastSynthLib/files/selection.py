"""A part of a source, written behind it: ``series.seq.nrrd#3``, ``segmentation.dcm@Tumour``.

Some sources hold more than one image: the phases of a dynamic series, the segments of a DICOM
segmentation. What stands behind the last ``@`` chooses some of them; numbers may also stand behind
a ``#``.
"""

from __future__ import annotations

from pathlib import Path

from ContrastSynthLib.errors import RequestError

SIGN = "@"
NUMBER_SIGN = "#"
LONGEST_NUMBER = 5


def split_selection(source: str | Path) -> tuple[Path, str | None]:
    """Return the path of a source, and the part of it that was chosen; None for no choice.

    A path that exists as it is typed wins, because names of files may hold both signs. Where
    nothing exists, the whole is the path, so that messages repeat what was typed.
    """
    text = str(source)
    if _exists(Path(text)):
        return Path(text), None
    end = len(text)
    while (end := max(text.rfind(sign, 0, end) for sign in (SIGN, NUMBER_SIGN))) > 0:
        path, chosen = Path(text[:end]), text[end + 1 :].strip()
        known = _are_numbers(chosen) if text[end] == NUMBER_SIGN else bool(chosen)
        if known and _exists(path):
            return path, chosen
    return Path(text), None


def numbers_in(text: str) -> list[int]:
    """Return the numbers in a text such as ``1,3-5``.

    Raises ValueError unless they are whole numbers from 1 that increase.
    """
    found: list[int] = []
    for piece in text.split(","):
        first, dash, last = (part.strip() for part in piece.partition("-"))
        ends = [first, last] if dash else [first, first]
        if not all(end.isascii() and end.isdigit() and len(end) <= LONGEST_NUMBER for end in ends):
            raise ValueError(f"'{text}' is not of the form 1,3-5")
        found += range(int(ends[0]), int(ends[1]) + 1) or [0]
    if found != sorted(set(found)) or found[0] < 1:
        raise ValueError(f"'{text}' is not numbers from 1 in their order")
    return found


def are_several(selection: str) -> bool:
    """Return whether a selection names several parts, as ``1,3-5`` does."""
    return any(sign in selection for sign in ",-")


def _are_numbers(text: str) -> bool:
    try:
        return bool(numbers_in(text))
    except ValueError:
        # Digits alone are still a choice, of a part that there is not: its reader says so.
        return text.isascii() and text.isdigit()


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that is too long, or holds a NUL
        return False


def refuse_selection(path: Path, selection: str | None) -> None:
    """Raise RequestError for a part of a file that has none."""
    if selection is not None:
        raise RequestError(
            f"{path}: '{SIGN}{selection}' chooses a phase of a series or a segment of a DICOM "
            "segmentation; this file is neither. Give a file of its own for each volume."
        )
