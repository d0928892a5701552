"""Which scan of a session is which role of a method, by its name alone."""

from __future__ import annotations

from collections.abc import Iterable

from ContrastSynthLib.bids.dataset import Scan
from ContrastSynthLib.bids.labels import FULL, LOW, UNCLEAR, WITHOUT, dose_of_acq, dose_of_ce
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.bids_names import BidsName

T1_ROLES = {WITHOUT: "pre", LOW: "low", FULL: "post"}
"""Roles of T1-weighted scans by the dose that they show."""
OTHER_ROLES = {"T2w": "t2", "FLAIR": "flair", "ADC": "adc"}
"""Roles of scans before the agent by their suffix."""
T1W = "T1w"
ROLES = (*T1_ROLES.values(), *OTHER_ROLES.values())
"""All roles that names of BIDS can tell."""
SCANS = {"sub", "ses", "sample", "task", "acq", "ce", "rec", "run", "echo", "part"}
"""Entities of a scan that is a whole image of its own."""
MAGNITUDE = "mag"


def by_role(scans: Iterable[Scan]) -> tuple[dict[str, list[Scan]], list[str]]:
    """Return the scans of each role, and a note on each that could be one and is unclear."""
    found: dict[str, list[Scan]] = {}
    notes = []
    for scan in scans:
        try:
            role = role_of(scan.name)
        except RequestError as error:
            notes.append(f"{scan.place}: {error} It was left out.")
            continue
        if role is not None:
            found.setdefault(role, []).append(scan)
    return found, notes


def role_of(name: BidsName) -> str | None:
    """Return the role of a scan, None for a kind of scan that is none.

    Raises RequestError, which says why, where the kind is one and the name leaves the role open.
    """
    if name.suffix != T1W and name.suffix not in OTHER_ROLES:
        return None
    if others := sorted(set(name.entities) - SCANS):
        raise RequestError(f"'{others[0]}-' is not of a plain scan.")
    if name.entities.get("part", MAGNITUDE) != MAGNITUDE:
        raise RequestError(f"'part-{name.entities['part']}' is no image of magnitudes.")
    dose = _dose(name)
    if name.suffix == T1W:
        return T1_ROLES[dose]
    if dose != WITHOUT:
        raise RequestError(
            f"a {name.suffix} with an agent is not what '{OTHER_ROLES[name.suffix]}' stands for."
        )
    return OTHER_ROLES[name.suffix]


def _dose(name: BidsName) -> str:
    """Return the dose that ``ce-`` and ``acq-`` say together."""
    ce, acq = name.entities.get("ce"), name.entities.get("acq")
    by_ce = None if ce is None else dose_of_ce(ce)
    by_acq = None if acq is None else dose_of_acq(acq)
    said = by_ce or WITHOUT
    if UNCLEAR in (by_ce, by_acq):
        unclear = f"ce-{ce}" if by_ce == UNCLEAR else f"acq-{acq}"
        raise RequestError(f"'{unclear}' leaves open which dose it is (expected ce-lowdose, ...).")
    if by_acq in (None, by_ce) or (by_acq == WITHOUT and by_ce is None):
        return said
    if by_acq == LOW and by_ce in (None, FULL):
        return LOW
    if by_ce is None:
        raise RequestError(f"'acq-{acq}' sounds like an agent, but there is no 'ce-' in its name.")
    raise RequestError(f"'ce-{ce}' says {by_ce}, and 'acq-{acq}' {by_acq}.")
