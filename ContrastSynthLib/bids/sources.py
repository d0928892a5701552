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

    A series was read from several scans. ``missing`` are roles of which a file is not in the data
    set, such as a mask.
    """

    scans: Mapping[str, tuple[Scan, ...]]
    reference: Scan
    skull_stripped: bool
    missing: tuple[str, ...]

    @property
    def places(self) -> list[str]:
        """The paths of all scans in their data set."""
        return sorted({scan.place for scans in self.scans.values() for scan in scans})


def find_sources(session: Session, provenance: Mapping[str, Any]) -> Sources:
    """Return the scans of a session whose hashes stand in a provenance.

    Raises RequestError for a provenance that is not of a run, and where the reference, on whose
    grid the results lie, is not in the session.
    """
    try:
        role = str(provenance["alignment"]["reference"])
        hashes = {
            str(name): [str(one["sha256"]) for one in several]
            for name, several in provenance["inputs"].items()
        }
        wanted = hashes[role]
    except (KeyError, TypeError, AttributeError) as error:
        raise RequestError(
            f"{session.case}: the provenance is not that of a run of ContrastSynth ({error})."
        ) from error
    known, stripped = _by_hash(session, set(wanted))
    scans = {
        name: tuple(known[one] for one in several if one in known)
        for name, several in hashes.items()
    }
    if not scans[role]:
        raise RequestError(
            f"{session.case}: the scan '{role}' that the result was made from is none of this "
            "session. Is it the data set that the table of cases was made from, and unchanged "
            "since?"
        )
    missing = tuple(name for name in hashes if len(scans[name]) < len(hashes[name]))
    return Sources(scans, scans[role][0], stripped, missing)


def _by_hash(session: Session, references: set[str]) -> tuple[dict[str, Scan], bool]:
    """Return the scans by hash, and whether the first reference among them is a brain alone."""
    known: dict[str, Scan] = {}
    stripped = None
    for scan in session.scans:
        try:
            volume = read_any_volume(scan.path)
        except RequestError:  # a series, or damaged: not what was read
            continue
        one = volume.sha256()
        known.setdefault(one, scan)
        if one in references and stripped is None:
            stripped = foreground([volume]).source == STRIPPED
    return known, bool(stripped)
