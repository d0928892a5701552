"""Which of several scans of a role is taken: those on one grid, else the last run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ContrastSynthLib.bids.dataset import Scan
from ContrastSynthLib.bids.filters import how_to_choose
from ContrastSynthLib.bids.roles import T1_ROLES
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.images import acquisition_in_file, read_header
from ContrastSynthLib.geometry import Grid

RUN = "run"
PRE = "pre"


@dataclass
class Choice:
    """The scan of each role, why other roles have none, and what to tell of it."""

    scans: dict[str, Scan] = field(default_factory=dict)
    unclear: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Placed:
    """A scan with its grid."""

    scan: Scan
    grid: Grid


def choose(found: Mapping[str, Sequence[Scan]], wanted: Iterable[str]) -> Choice:
    """Return one scan for each wanted role that has any, by names and headers alone.

    Of several T1-weighted scans those are taken that lie on one grid with the other roles, else
    the highest run. Scans that differ in more than their run leave the role unclear: nothing is
    guessed. All that was left out is in the notes.
    """
    choice = Choice()
    placed = {
        role: scans
        for role in wanted
        if (scans := list(_placed(role, found.get(role, ()), choice)))
    }
    t1 = [role for role in T1_ROLES.values() if role in placed]
    _take_shared(choice, placed, t1)
    taken = [one.grid for role in t1 for one in placed[role] if one.scan in choice.scans.values()]
    for role, scans in placed.items():
        if role not in choice.scans and role not in choice.unclear:
            same = [one for one in scans if any(one.grid.is_same(grid) for grid in taken)]
            _take(choice, role, same or scans)
    _tell(choice, placed)
    return choice


def _placed(role: str, scans: Sequence[Scan], choice: Choice) -> Iterable[_Placed]:
    """Yield the scans of a role that are one volume; a note tells of each other one."""
    for scan in scans:
        try:
            header = read_header(scan.path)
            if header.values != 1 or any(n != 1 for n in header.size[3:]) or len(header.size) < 3:
                raise RequestError("not one 3D volume.")
            yield _Placed(scan, header.grid()[0])
        except RequestError as error:
            why = str(error).replace(f"{scan.path}: ", "")
            choice.notes.append(f"{scan.place} ('{role}') was left out: {why}")


def _take_shared(choice: Choice, placed: Mapping[str, list[_Placed]], t1: Sequence[str]) -> None:
    """Take the scans of the grid that most of the T1-weighted roles have in common."""
    groups = _by_grid({role: placed[role] for role in t1})
    most = max((len(group) for group in groups), default=0)
    if most < 2:
        return
    best = [group for group in groups if len(group) == most]
    roles = sorted({role for group in best for role in group})
    everywhere = {role: [one for group in best for one in group.get(role, [])] for role in roles}
    # Of several such grids that of the last run counts, where the names differ in the run alone.
    picks = {role: _latest(scans) for role, scans in everywhere.items()}
    latest = [
        group
        for group in best
        if all(any(one is picks[role] for one in group.get(role, ())) for role in roles)
    ]
    for group in best if len(best) == 1 else latest:
        for role in roles:
            _take(choice, role, group[role])
        return
    for role, scans in everywhere.items():
        hint = how_to_choose([one.scan for one in scans])
        choice.unclear[role] = f"'{role}' could be on one of several grids: {_named(scans)}{hint}"


def _by_grid(placed: Mapping[str, list[_Placed]]) -> list[dict[str, list[_Placed]]]:
    """Return the scans by role for each grid that there is."""
    groups: list[dict[str, list[_Placed]]] = []
    for role, scans in placed.items():
        for one in scans:
            group = next((group for group in groups if _grid(group).is_same(one.grid)), None)
            if group is None:
                groups.append(group := {})
            group.setdefault(role, []).append(one)
    return groups


def _grid(group: Mapping[str, list[_Placed]]) -> Grid:
    return next(iter(group.values()))[0].grid


def _take(choice: Choice, role: str, scans: Sequence[_Placed]) -> None:
    picked = _latest(scans)
    if picked is None:
        hint = how_to_choose([one.scan for one in scans])
        choice.unclear[role] = f"'{role}' could be any of {_named(scans)}{hint}"
    else:
        choice.scans[role] = picked.scan


def _latest(scans: Sequence[_Placed]) -> _Placed | None:
    """Return the highest run of scans whose names differ in nothing else, else None."""
    ordered = sorted(scans, key=_run)
    if len({tuple(one.scan.name.without(RUN).items()) for one in ordered}) != 1:
        return None
    if len(ordered) > 1 and _run(ordered[-1]) == _run(ordered[-2]):
        return None
    return ordered[-1]


def _run(one: _Placed) -> int:
    return int(one.scan.name.entities.get(RUN, 0))


def _named(scans: Sequence[_Placed]) -> str:
    return ", ".join(one.scan.place for one in scans)


def _tell(choice: Choice, placed: Mapping[str, list[_Placed]]) -> None:
    """Note what was left out, and what of the chosen scans should make one look."""
    grids = {}
    for role, scans in placed.items():
        chosen = choice.scans.get(role)
        if chosen is None:
            continue
        others = [one for one in scans if one.scan is not chosen]
        if others:
            choice.notes.append(f"'{role}' is {chosen.place}; left out: {_named(others)}")
        if role in T1_ROLES.values():
            grids[role] = next(one.grid for one in scans if one.scan is chosen)
    names = list(grids)
    if any(not grids[names[0]].is_same(grids[name]) for name in names[1:]):
        choice.notes.append(
            f"{', '.join(names)} lie on different grids; the batch needs --align, such as "
            "--align rigid"
        )
    if PRE in choice.scans and (agent := acquisition_in_file(choice.scans[PRE].path, {}).agent):
        choice.notes.append(
            f"{choice.scans[PRE].place} is taken as '{PRE}', but its sidecar names {agent}; was it "
            "taken before the injection? A scan after it is named with ce-."
        )
