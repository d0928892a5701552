"""Choosing among the volumes of a DICOM series, and the list of them that users see."""

from __future__ import annotations

from pathlib import Path

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.files.dicom.phases import ORDERS, Part, shown_value
from ContrastSynthLib.files.selection import numbers_in

MOST_SHOWN = 12


def choose(path: Path, parts: list[Part], selection: str | None) -> Part:
    """Return the part with the number that was chosen; the only one where nothing was.

    Raises RequestError that lists the parts, and for a part that lacks slices.
    """
    if selection is None and len(parts) == 1:
        return parts[0]
    if selection is None:
        raise RequestError(f"{path}: {_what_it_is(parts)}\n{_how_to_choose(path, parts)}")
    number = int(selection) if selection.isascii() and selection.isdigit() else 0
    if not 1 <= number <= len(parts):
        raise RequestError(
            f"{path}: there is no part '{selection}'; expected a number from 1 to {len(parts)}.\n"
            + _how_to_choose(path, parts)
        )
    part = parts[number - 1]
    refuse_incomplete(path, [part], number)
    return part


def choose_several(path: Path, parts: list[Part], selection: str | None) -> list[Part]:
    """Return the parts that make a series: all, or those chosen as in ``1,3-5``.

    Raises RequestError for parts of several contrasts, and for those that lack slices.
    """
    chosen = parts
    if selection is not None:
        chosen = [parts[n - 1] for n in _numbers(path, parts, selection)]
    if len({part.contrast for part in chosen}) > 1:
        raise RequestError(
            f"{path}: {_what_it_is(parts)}\n{_how_to_choose(path, parts)} Several make a series, "
            f"as in {path.name}@1,3-5."
        )
    for part in chosen:
        refuse_incomplete(path, [part], parts.index(part) + 1)
    return chosen


def _numbers(path: Path, parts: list[Part], selection: str) -> list[int]:
    try:
        found = numbers_in(selection)
    except ValueError:
        found = []
    if not found or found[-1] > len(parts):
        raise RequestError(
            f"{path}: '{selection}' chooses no parts; expected numbers from 1 to {len(parts)} in "
            "their order, as in 1,3-5.\n" + _how_to_choose(path, parts)
        )
    return found


def refuse_incomplete(path: Path, parts: list[Part], first: int = 1) -> None:
    """Raise RequestError for a part with fewer images than the series has positions."""
    for number, part in enumerate(parts, start=first):
        if len(part.frames) != part.positions:
            raise RequestError(
                f"{path}: part {number} has {len(part.frames)} images at {part.positions} "
                "positions. Is the copy complete, or was the scan stopped? Choose another part, or "
                "move its images away."
            )


def _what_it_is(parts: list[Part]) -> str:
    several = f"{len(parts)} images at one position"
    if any(part.contrast for part in parts):
        keys = ", ".join(word.split()[0] for word in parts[0].contrast.split(", "))
        return f"{several} that differ in {keys}. Expected one image a position."
    key = parts[0].apart_by
    if key in ORDERS:
        return f"{several} that only their order sets apart ({key}). Expected one 3D volume."
    return f"this is a dynamic series, {several} that differ in {key}. Expected one 3D volume."


def _how_to_choose(path: Path, parts: list[Part]) -> str:
    rows = [f"  {number}: {_row(part)}" for number, part in enumerate(parts, start=1)]
    if len(rows) > MOST_SHOWN:
        rows[MOST_SHOWN:] = [f"  ... {len(rows) - MOST_SHOWN} more"]
    example = f"Write the number behind the path, {path.name}@{min(2, len(parts))}"
    series = (
        "" if parts[0].contrast else "; the command kinetics reads all of them (--series FOLDER)"
    )
    return "\n".join(rows) + f"\n{example}, to choose one (--in ROLE=PATH@NUMBER){series}."


def _row(part: Part) -> str:
    words = [part.contrast] if part.contrast else []
    if part.time_s is not None:
        words.append(f"at {part.time_s:.6g} s")
    if part.apart_by and part.apart_by != "InstanceNumber":
        words.append(f"{part.apart_by} {shown_value(part.frames[0].value(part.apart_by))}")
    agent = part.frames[0].value("ContrastBolusAgent")
    if agent and part.apart_by != "ContrastBolusAgent":
        words.append("with contrast agent")
    count = len(part.frames)
    words.append(
        f"{count} images" if count == part.positions else f"{count} of {part.positions} images"
    )
    return ", ".join(words)
