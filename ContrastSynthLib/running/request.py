"""What a user asks for, however the run is started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ContrastSynthLib.files.selection import split_selection
from ContrastSynthLib.registry.volumes import AUTO_MASK, MASK_ROLE
from ContrastSynthLib.volumes import Series, Volume

Source = Volume | Series | str | Path
"""A volume or a series in memory, or the file or DICOM folder that holds it.

``FILE#3`` is the third phase of a series, ``FOLDER@2`` the second of a DICOM series,
``FILE@Tumour`` a segment.
"""


@dataclass(frozen=True)
class Request:
    """What a user asks for. ``inputs`` maps a role to its source, or to several of a series.

    As the mask it may be the word ``auto``: the brain is found in the best T1 scan.
    ``times_s`` are seconds after injection: of the volumes of the role ``phase`` or, where the
    method has none, of its series; they replace the times that the files tell.
    ``align`` is ``none``, ``resample``, ``rigid`` or ``affine``.
    ``weights`` are others than the method's own: a name, an id or a folder, or a mapping from
    the networks' names to these.
    ``seed`` is where random numbers start from; without one it is drawn and recorded.
    ``phases`` are the numbers, from 1, of the phases to compute where a method that takes single
    volumes is given a series; empty for all of them.
    """

    method: str
    inputs: Mapping[str, Source | Sequence[Source]]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    preset: str | None = None
    align: str = "none"
    weights: str | Mapping[str, str] | None = None
    device: str = "auto"
    times_s: Sequence[float] = ()
    seed: int | None = None
    phases: tuple[int, ...] = ()


def sources_of(given: Source | Sequence[Source]) -> list[Source]:
    """Return the sources of a role as a list, also where it has only one."""
    return [given] if isinstance(given, (Volume, Series, str, Path)) else list(given)


def files_of(request: Request) -> dict[str, list[Path]]:
    """Return the files and folders that a request reads, by role."""
    found: dict[str, list[Path]] = {}
    for role, given in request.inputs.items():
        paths = [source for source in sources_of(given) if isinstance(source, (str, Path))]
        if role == MASK_ROLE:
            paths = [path for path in paths if path != AUTO_MASK]
        found[role] = [split_selection(path)[0] for path in paths]
    return found
