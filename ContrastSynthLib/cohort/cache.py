"""What was read of each case, kept, so that the page can be made anew while a batch still runs."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

from ContrastSynthLib.cohort.budget import PictureSize
from ContrastSynthLib.cohort.reading import Files, Seen
from ContrastSynthLib.cohort.row import Row
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.writing import write_text

CACHE = "cohort-cache.jsonl"
VERSION = 1
"""Of what is measured and drawn: what another version kept is read again."""
JPEG = b"\xff\xd8\xff"


def key_of(provenance: bytes, files: Files, size: PictureSize) -> str:
    """Return what changes when a case has to be read again: its result, its scans, the size."""
    digest = sha256(provenance)
    told = [
        VERSION,
        size.edge,
        size.bytes,
        sorted((r, [_state(f) for f in fs]) for r, fs in files.items()),
    ]
    digest.update(json.dumps(told).encode())
    return digest.hexdigest()


def _state(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size)


class Cache:
    """The cases that were read, by a key; each is on the disk as soon as it was added."""

    def __init__(self, folder: Path):
        """Read what an earlier call left; lines that cannot be understood are left out."""
        self._path = folder / CACHE
        self._kept: dict[str, tuple[str, Seen]] = {}
        if not self._path.exists():
            return
        try:
            with self._path.open(encoding="utf-8", errors="replace") as lines:
                for line in lines:
                    self._take(line)
        except OSError as error:
            raise RequestError(f"{self._path}: could not be read ({error.strerror}).") from error

    def _take(self, line: str) -> None:
        try:
            told = json.loads(line)
            picture = base64.b64decode(told["picture"], validate=True)
            seen = Seen(Row.from_dict(told["row"]), picture)
            if picture and not picture.startswith(JPEG):
                return
            self._kept[seen.row.case] = (str(told["key"]), seen)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return  # half a line, of a process that was killed

    def get(self, case: str, key: str) -> Seen | None:
        """Return a case as it was read, None where that was another result of it."""
        kept = self._kept.get(case)
        return kept[1] if kept is not None and kept[0] == key else None

    def add(self, key: str, seen: Seen) -> None:
        """Keep a case, at the end of the file; raises RequestError where that is impossible."""
        self._kept[seen.row.case] = (key, seen)
        try:
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write("\n" * (stream.tell() > 0 and self._ends_within()) + _line(key, seen))
        except OSError as error:
            raise RequestError(f"{self._path}: could not be written ({error.strerror}).") from error

    def _ends_within(self) -> bool:
        """Return whether the file ends in the middle of a line."""
        with self._path.open("rb") as stream:
            stream.seek(-1, 2)
            return stream.read(1) != b"\n"

    def tidy(self, cases: Mapping[str, str]) -> None:
        """Write the file anew with these cases, by their keys: what is older goes."""
        found = ((key, self.get(case, key)) for case, key in cases.items())
        lines = [_line(key, seen) for key, seen in found if seen is not None]
        write_text(self._path, "".join(lines))


def _line(key: str, seen: Seen) -> str:
    picture = base64.b64encode(seen.picture).decode("ascii")
    told = {"key": key, "row": asdict(seen.row), "picture": picture}
    return json.dumps(told, allow_nan=False) + "\n"
