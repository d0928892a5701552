"""The values of volumes along a line: as they are now, quickly enough to follow a dragged end."""

import csv
import math
from dataclasses import dataclass, replace
from pathlib import Path

from slicer.i18n import tr as _

from ContrastSynthLib.analysis.profiles import Profile, line_profile, profile_error
from ContrastSynthLib.errors import RequestError
from ContrastSynthPanel.scene import bridge


@dataclass
class Along:
    """One volume along the line: its profile and error, or what keeps it from having them.

    ``label`` is its name, with the mark if it is synthetic. ``error`` is None for the reference.
    """

    label: str
    profile: Profile | None = None
    error: float | None = None
    problem: str = ""


class VolumeCache:
    """Volumes of nodes, read again only where their voxels have changed."""

    def __init__(self):
        """Hold nothing."""
        self._read = {}

    def volume(self, node):
        """Return a node's volume where it lies now; errors as in bridge.volume_from_node."""
        grid = bridge.world_grid(node)
        stamp = node.GetImageData().GetMTime()
        if self._read.get(node.GetID(), (None, None))[0] != stamp:
            self._read[node.GetID()] = (stamp, bridge.volume_from_node(node))
        return replace(self._read[node.GetID()][1], grid=grid)

    def keep_only(self, nodes) -> None:
        """Forget the volumes of other nodes."""
        kept = {node.GetID() for node in nodes}
        self._read = {key: value for key, value in self._read.items() if key in kept}


def values_along(cache: VolumeCache, nodes: list, ends: list) -> list[Along]:
    """Return the volumes of nodes, reference first, along a line from one end to the other.

    Raises RequestError where the reference has no value there.
    """
    start, end = ends
    found, reference = [], None
    for node in nodes:
        try:
            volume = cache.volume(node)
        except RequestError as error:
            if reference is None:
                raise
            found.append(Along(node.GetName(), problem=str(error)))
            continue
        name = bridge.synthetic_name(node.GetName(), bool(volume.synthetic))
        along = Along(distinct(name, [one.label for one in found]))
        found.append(along)
        if reference is None:
            along.profile = reference = line_profile(volume, start, end)
            continue
        try:
            along.profile = line_profile(volume, start, end, len(reference.values))
            along.error = profile_error(reference, along.profile)
        except RequestError as error:
            along.problem = str(error)
    return found


def distinct(name: str, others: list[str]) -> str:
    """Return a name, with a number behind it if another has the same."""
    number = 1
    tried = name
    while tried in others:
        number += 1
        tried = f"{name} ({number})"
    return tried


def write_csv(path: str | Path, found: list[Along]) -> None:
    """Write distance, place and values, a row a point; what lies outside a volume stays empty.

    Raises RequestError when the file cannot be written.
    """
    shown = [one for one in found if one.profile is not None]
    first = shown[0].profile
    head = ["distance_mm", "r_mm", "a_mm", "s_mm", *(one.label for one in shown)]
    try:
        with Path(path).open("w", newline="", encoding="utf-8-sig") as file:
            writer = csv.writer(file)
            writer.writerow(head)
            for n, (distance, ras) in enumerate(zip(first.distance_mm, first.ras_mm, strict=True)):
                values = [float(one.profile.values[n]) for one in shown]
                text = ["" if math.isnan(value) else f"{value:.9g}" for value in values]
                writer.writerow([f"{distance:.6g}", *(f"{x:.6f}" for x in ras), *text])
    except OSError as error:
        text = _("{path}: cannot be written ({error}). Choose another folder.")
        raise RequestError(text.format(path=path, error=error.strerror)) from error
