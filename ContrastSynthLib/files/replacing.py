"""Which files an output may replace: earlier outputs of the same kind, and never an input.

Every image that this program writes is marked in its header, every plot in its PNG. A file without
that mark is somebody's scan, mask or picture, whatever its name is.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from ContrastSynthLib.errors import RequestError

HEADER_BYTES = 65536
"""As much of a file as its mark lies in."""
NIFTI_DESCRIPTION = slice(148, 228)
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_MARK = {"Software": "ContrastSynth"}
"""What a plot's PNG says of its maker."""


def refuse_to_replace(
    places: Iterable[Path], wanted: str, inputs: Mapping[str, Iterable[str | Path]] | None = None
) -> None:
    """Raise RequestError where an output would replace an input, or a file of another maker.

    ``wanted`` is a regular expression of the mark that files have which may be replaced.
    ``inputs`` are the files that this command reads, by what they are.
    """
    for place in places:
        if not place.exists():
            continue
        for role, paths in (inputs or {}).items():
            if any(_is_same(place, Path(path)) for path in paths):
                raise RequestError(
                    f"{place}: is the input '{role}'; an output never replaces an input. Choose "
                    "another place for the output (--out)."
                )
        if not place.is_file() or not re.search(wanted, mark_of(place)):
            raise RequestError(
                f"{place}: is there already, and is no such output of ContrastSynth. Choose "
                "another place for the output (--out), or move that file away."
            )


def mark_of(path: Path) -> str:
    """Return what an image, a plot or a JSON file says of its maker; "" where it says nothing."""
    try:
        with path.open("rb") as file:
            start = file.read(HEADER_BYTES)
    except OSError:
        return ""
    if start.startswith(PNG_SIGNATURE):
        found = re.search(rb"tEXtSoftware\0([ -~]*)", start)
        return found[1].decode() if found else ""
    if start[:2] == b"\x1f\x8b":
        start = _unpacked_start(start)
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        return start[NIFTI_DESCRIPTION].split(b"\0")[0].decode("latin-1")
    if name.endswith(".json"):
        return " ".join(
            re.findall(r'"(?:schema_version|method|synthetic)"', start.decode("latin-1"))
        )
    found = re.search(rb"\nSYNTHETIC *:?= *([^\r\n]*)", start)
    return found[1].decode("latin-1") if found else ""


def _unpacked_start(packed: bytes) -> bytes:
    try:
        return zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(packed, HEADER_BYTES)
    except zlib.error:
        return b""


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
