"""Which of several scans of a role a person wants, by what their names say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ContrastSynthLib.bids.dataset import Scan
from ContrastSynthLib.bids.roles import SCANS
from ContrastSynthLib.errors import RequestError, unknown_name

NOTHING = "none"
"""The label of a scan whose name does not have the entity."""
OF_PLACE = ("sub", "ses")
Filters = Mapping[str, str]
"""Labels by entity, such as acq: mprage."""


def checked_filters(given: Sequence[tuple[str, str]], scans: Iterable[Scan]) -> Filters:
    """Return the labels that are wanted, by entity.

    Raises RequestError for what is no entity of a scan, for one that is given twice, and for a
    label that no scan of the data set has.
    """
    filters: dict[str, str] = {}
    entities = sorted(SCANS - {*OF_PLACE})
    names = [scan.name.entities for scan in scans]
    for entity, label in given:
        if entity not in entities:
            raise unknown_name("entity of a scan", entity, entities)
        if entity in filters:
            raise RequestError(f"'{entity}' is given twice; expected one label (--filter).")
        known = sorted({name[entity] for name in names if entity in name})
        if label not in (*known, NOTHING):
            raise RequestError(
                f"No scan has '{entity}-{label}' in its name. Expected one of these labels: "
                f"{', '.join((*known, NOTHING))}."
            )
        filters[entity] = label
    return filters


def kept(scans: Sequence[Scan], filters: Filters) -> list[Scan]:
    """Return the scans of a role that are wanted.

    Those with another label are out. Where none has the entity at all, as T2w often has no acq-,
    it says nothing of them, and they stay.
    """
    for entity, label in filters.items():
        if any(entity in scan.name.entities for scan in scans):
            scans = [s for s in scans if s.name.entities.get(entity, NOTHING) == label]
    return list(scans)


def how_to_choose(scans: Sequence[Scan]) -> str:
    """Return the options that would choose one of several scans; "" where no one does."""
    names = [scan.name.entities for scan in scans]
    for entity in sorted(SCANS - {*OF_PLACE}):
        labels = [name.get(entity, NOTHING) for name in names]
        if len(set(labels)) == len(labels):
            options = " or ".join(f"--filter {entity}={label}" for label in labels)
            return f" (choose one with {options})"
    return ""
