"""Volumes brought onto one grid, where a person allows it."""

from __future__ import annotations

from collections.abc import Collection

from slicer.i18n import tr as _

from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.geometry import grid_table
from ContrastSynthLib.preprocessing.alignment import align
from ContrastSynthLib.volumes import Volume


class DifferingGrids(RequestError):
    """Volumes do not lie on one grid; ``table`` says in what the grids differ."""

    def __init__(self, text: str, table: str) -> None:
        """Keep the table apart: it is too wide for a sentence."""
        super().__init__(text)
        self.table = table


def on_one_grid(
    volumes: dict[str, Volume], first: str, resample: bool, masks: Collection[str] = ()
) -> dict[str, Volume]:
    """Return all volumes, by name, on the grid of ``first``; RequestError where that cannot be.

    DifferingGrids unless they lie on it already, or ``resample`` allows to interpolate.
    """
    grids = {first: volumes[first].grid, **{name: one.grid for name, one in volumes.items()}}
    others = [name for name, grid in grids.items() if not grid.is_same(grids[first])]
    if others and not resample:
        names = ", ".join(f"'{name}'" for name in others)
        text = _("{names}: not on the grid of '{first}'.").format(names=names, first=first)
        raise DifferingGrids(text, grid_table(grids))
    try:
        return align(volumes, first, "resample", masks)[0]
    except RequestError as error:
        text = _("{what}. Register them first, or choose volumes of one patient.")
        what = str(error).partition("\n")[0].rstrip(":.")
        raise RequestError(text.format(what=what)) from None
