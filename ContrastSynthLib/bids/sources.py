"""Which scans of a data set a result was made from, by their voxels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ContrastSynthLib.bids.dataset import Scan, Session
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.images import read_any_volume
from ContrastSynthLib.preprocessing.foreground import foreground

STRIPPED = "skull-stripped"


@dataclass(frozen=True)
class Sources:
    """The scans that a method has read, by role; the reference; whether that one is a brain alone.

    ``missing`` are roles whose files are not in the data set, such as a mask.
    """

    scans: Mapping[str, Scan]
    reference: Scan
    skull_stripped: bool
    missing: tuple[str, ...]


def find_sources(session: Session, provenance: Mapping[str, Any]) -> Sources:
    """Return the scans of a session whose hashes stand in a provenance.

    Raises RequestError for a provenance that is not of a run, and where the reference, on whose
    grid the results lie, is not in the session.
    """
    try:
        role = str(provenance["alignment"]["reference"])
        hashes = {
            str(name): {str(one["sha256"]) for one in several}
            for name, several in provenance["inputs"].items()
        }
        wanted = hashes[role]
    except (KeyError, TypeError, AttributeError) as error:
        raise RequestError(
            f"{session.case}: the provenance is not that of a run of ContrastSynth ({error})."
        ) from error
    scans: dict[str, Scan] = {}
    stripped = False
    for scan in session.scans:
        try:
            volume = read_any_volume(scan.path)
        except RequestError:  # a series, or damaged: not what was read
            continue
        known = volume.sha256()
        if known in wanted and role not in scans:
            stripped = foreground([volume]).source == STRIPPED
        for name, several in hashes.items():
            if known in several:
                scans.setdefault(name, scan)
    if role not in scans:
        raise RequestError(
            f"{session.case}: the scan '{role}' that the result was made from is none of this "
            "session. Is it the data set that the table of cases was made from, and unchanged "
            "since?"
        )
    missing = tuple(name for name in hashes if name not in scans)
    return Sources(scans, scans[role], stripped, missing)
