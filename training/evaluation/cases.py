"""Cases to measure on: scans on one grid, and those of a folder of pairs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from data.prepared_cases import read_cases
from numpy.typing import NDArray

from ContrastSynthLib.errors import RequestError, unknown_name
from ContrastSynthLib.files.images import read_mask, read_volume
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.volumes import BoolArray, Volume, check_same_grid

UNENHANCED = "unenhanced"
"""In the truth of virtual patients: the post scan as it would be without agent."""
TARGET, SECOND = "target", "second"
"""Roles of what is to be made of the post scan, and of the scan before the agent beside it."""
SCANS = ("pre", "post", "corrupted")
"""Scans that are read from a folder."""


@dataclass(frozen=True)
class Scans:
    """Scans of one case on one grid, by role; ``mask`` is the brain where it is known.

    The roles are ``pre``, ``post`` and perhaps ``corrupted`` or ``low``; beside ``low``, ``post``
    is the full dose with the gain and shading of the low-dose scan. ``truth`` (k, j, i) is known
    of virtual patients: ``rise``, of the noise-free signal in medians of the brain, ``lesion``, the
    labels of lesions, and perhaps ``unenhanced``, the post scan as it would be without agent.
    ``added_noise`` is the standard deviation of noise that was added, in the unit of the task.
    """

    scans: Mapping[str, Volume]
    mask: Volume | None
    truth: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    added_noise: float = 0.0

    def __getitem__(self, role: str) -> Volume:
        """Return a scan. Raises RequestError where the case has none of that role."""
        if role not in self.scans:
            raise RequestError(
                f"The case has no scan '{role}'; it has {', '.join(self.scans)}. Prepare it with "
                "that column; virtual patients have 'target', and with --corrupt 'corrupted'."
            )
        return self.scans[role]

    @property
    def brain(self) -> BoolArray:
        """The voxels that are measured: the mask, else those above 0 in pre and post."""
        if self.mask is not None:
            return np.asarray(self.mask.array > 0)
        return np.asarray((self["pre"].array > 0) & (self["post"].array > 0))

    def with_scan(self, role: str, volume: Volume) -> Scans:
        """Return the case with another scan of a role."""
        return replace(self, scans={**self.scans, role: volume})


def neighbours_with_most(counts: NDArray[Any], slices: int | None) -> slice:
    """Return the ``slices`` neighbouring slices whose ``counts`` (k,) sum up to the most; or all.

    Fewer where there are not as many.
    """
    slices = min(slices or len(counts), len(counts))
    first = int(np.convolve(counts, np.ones(slices), mode="valid").argmax())
    return slice(first, first + slices)


def grid_of(grid: Grid, cut: slice) -> Grid:
    """Return the grid of some slices (k) of a volume."""
    matrix = grid.index_to_lps
    matrix[:, 3] = matrix @ (0, 0, cut.start, 1)
    shape = (cut.stop - cut.start, *grid.shape[1:])
    return Grid.from_index_to_lps(shape[::-1], matrix)


@dataclass(frozen=True)
class Item:
    """A case to measure; ``read`` loads or makes it when it is needed."""

    name: str
    patient: str
    read: Callable[[], Scans]


def refuse_unknown(names: Iterable[str], items: Sequence[Item]) -> None:
    """Raise RequestError for a name that none of the cases has."""
    known = [item.name for item in items]
    for name in names:
        if name not in known:
            raise unknown_name("case", name, known)


def items_in_folder(folder: Path, split: str, others: Sequence[str] = ()) -> list[Item]:
    """Return the cases of a folder; ``split`` counts for one that prepare_data.py wrote.

    ``others`` are scans to read beside SCANS, where a case has them.

    Cases without a pair are left out, with a message. Raises RequestError without a list.
    """
    path = folder / "cases.json"
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RequestError(f"{path}: cannot be read as a list of cases ({error}).") from error
    if "schema_version" in listed:
        return [
            Item(c.name, str(c.patient), partial(_read_scans, c.folder, _files(c.roles, others)))
            for c in read_cases(folder, split)
        ]
    items = []
    for name, files in listed.items():
        known = {role: files[role] for role in (*SCANS, *others, "mask") if role in files}
        if {"pre", "post"} <= set(known):
            items.append(Item(name, name, partial(_read_scans, folder / name, known)))
        else:
            print(f"{name}: left out, it is no pair of pre and post.", file=sys.stderr)
    return items


def _files(roles: tuple[str, ...], others: Sequence[str]) -> dict[str, str]:
    return {role: f"{role}.nrrd" for role in roles if role in (*SCANS, *others, "mask")}


def _read_scans(folder: Path, files: Mapping[str, str]) -> Scans:
    scans = {role: read_volume(folder / file) for role, file in files.items() if role != "mask"}
    check_same_grid(scans)
    return Scans(scans, read_mask(folder / files["mask"]) if "mask" in files else None)
