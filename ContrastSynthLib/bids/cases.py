"""From a BIDS data set to the table of cases that ``contrastsynth batch`` takes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import ContrastSynthLib.methods  # noqa: F401 - declares the methods
from ContrastSynthLib.bids.choice import Choice, choose
from ContrastSynthLib.bids.dataset import Dataset, Session
from ContrastSynthLib.bids.filters import checked_filters, kept
from ContrastSynthLib.bids.roles import ROLES, by_role
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.csv_rows import rows_as_csv
from ContrastSynthLib.files.writing import check_writable, write_text
from ContrastSynthLib.registry import find_method
from ContrastSynthLib.running.batch.names import same_folder, why_no_folder
from ContrastSynthLib.running.batch.record import FILES_OF_THE_BATCH
from ContrastSynthLib.running.batch.table import CASE, SERIES_SEPARATOR


@dataclass(frozen=True)
class Cases:
    """The rows of a table, its columns, what was left out and why, and what else to tell."""

    rows: list[dict[str, str]]
    columns: list[str]
    left_out: dict[str, str]
    notes: list[str]


def find_cases(
    dataset: Dataset,
    table: Path,
    method_key: str | None = None,
    filters: Sequence[tuple[str, str]] = (),
) -> Cases:
    """Return a row for each session that has all scans that a method needs.

    Paths are relative to the folder of ``table``. Without a method each session with any scan of
    a role is a row. ``filters`` are entities with the label that scans shall have. Raises
    RequestError for a method that needs what names of BIDS do not tell, and for filters that fit
    no scan.
    """
    wanted, needed = _roles(method_key)
    sessions = dataset.sessions()
    labels = checked_filters(filters, (scan for one in sessions for scan in one.scans))
    rows, left_out, notes = [], {}, []
    seen: dict[str, str] = {}
    for session in sessions:
        found, unclear = by_role(session.scans)
        choice = choose({role: kept(scans, labels) for role, scans in found.items()}, wanted)
        notes += [f"{session.case}: {note}" for note in (*session.notes, *unclear, *choice.notes)]
        why = _why_not(session, choice, needed, seen)
        if why:
            left_out[session.case] = why
            continue
        notes += [f"{session.case}: {text}" for text in choice.unclear.values()]
        rows.append({CASE: session.case, **_relative(choice, dataset, table)})
    columns = [CASE, *(role for role in wanted if any(role in row for row in rows))]
    return Cases(rows, columns, left_out, notes)


def write_cases(cases: Cases, table: Path) -> None:
    """Write the table. Raises RequestError where there is no row, or a file in its place."""
    if not cases.rows:
        raise RequestError(
            f"{table}: not written, for no session has all scans that are needed. Expected names "
            "such as sub-01_T1w.nii.gz (pre), sub-01_ce-gadolinium_T1w.nii.gz (post), "
            "sub-01_ce-lowdose_T1w.nii.gz (low)."
        )
    if os.path.lexists(table):
        raise RequestError(f"{table}: is there already. Choose another place (--out).")
    check_writable(table.parent)
    table.parent.mkdir(parents=True, exist_ok=True)
    write_text(table, rows_as_csv(cases.rows, cases.columns))


def _roles(method_key: str | None) -> tuple[Sequence[str], Sequence[str]]:
    """Return the roles to look for, and those without which there is no row."""
    if method_key is None:
        return ROLES, ()
    inputs = find_method(method_key).inputs
    needed = [role for role, declared in inputs.items() if not declared.optional]
    if unknown := [role for role in needed if role not in ROLES]:
        raise RequestError(
            f"{method_key} needs '{unknown[0]}', which names of BIDS do not tell. They tell "
            f"{', '.join(ROLES)}; write its table by hand."
        )
    return [role for role in inputs if role in ROLES], needed


def _why_not(
    session: Session, choice: Choice, needed: Sequence[str], seen: dict[str, str]
) -> str | None:
    """Return why a session is no row, None where it is one; ``seen`` are folders by what is one."""
    if reason := why_no_folder(session.case, FILES_OF_THE_BATCH):
        return f"its name cannot be that of a folder of results: {reason}"
    missing = [choice.unclear.get(role, f"no '{role}'") for role in needed]
    if missing := [
        text for role, text in zip(needed, missing, strict=True) if role not in choice.scans
    ]:
        return "; ".join(missing)
    if not choice.scans:
        return "; ".join(choice.unclear.values()) or "it has no scan of any role"
    other = seen.setdefault(same_folder(session.case), session.case)
    if other != session.case:
        return f"its folder of results is the same as that of {other} on some systems"
    return None


def _relative(choice: Choice, dataset: Dataset, table: Path) -> Mapping[str, str]:
    """Return the path of each scan from the folder of the table.

    Links to both folders are followed first: ".." leads out of where a link leads to.
    """
    here, there = table.absolute().parent.resolve(), dataset.folder.resolve()
    found = {}
    for role, scan in choice.scans.items():
        try:
            path = Path(os.path.relpath(there / scan.place, here)).as_posix()
        except ValueError:
            raise RequestError(
                f"{table}: is on another drive than the data set, so that no relative path leads "
                "there. Choose a place on the drive of the data set (--out)."
            ) from None
        if SERIES_SEPARATOR in path:
            raise RequestError(
                f"{path}: a '{SERIES_SEPARATOR}' separates files in a table of cases. Rename the "
                "folder of the data set."
            )
        found[role] = path
    return found
