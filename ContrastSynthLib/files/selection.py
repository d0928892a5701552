"""A part of a source, written behind it: ``FOLDER@2``, ``segmentation.dcm@Tumour``.

Some sources hold more than one image: the phases of a dynamic DICOM series, the segments of a
DICOM segmentation. What stands behind the last ``@`` chooses one of them.
"""

from __future__ import annotations

from pathlib import Path

from ContrastSynthLib.errors import RequestError

SIGN = "@"


def split_selection(source: str | Path) -> tuple[Path, str | None]:
    """Return the path of a source, and the part of it that was chosen; None for no choice.

    A path that exists as it is typed wins, because names of files may hold an ``@``. Where
    nothing exists, the whole is the path, so that messages repeat what was typed.
    """
    text = str(source)
    if _exists(Path(text)):
        return Path(text), None
    end = len(text)
    while (end := text.rfind(SIGN, 0, end)) > 0:
        path, chosen = Path(text[:end]), text[end + 1 :].strip()
        if chosen and _exists(path):
            return path, chosen
    return Path(text), None


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that is too long, or holds a NUL
        return False


def refuse_selection(path: Path, selection: str | None) -> None:
    """Raise RequestError for a part of a file that has none: only DICOM has."""
    if selection is not None:
        raise RequestError(
            f"{path}: '{SIGN}{selection}' chooses a phase or a segment of DICOM; this file is "
            "another format. Give a file of its own for each volume."
        )
