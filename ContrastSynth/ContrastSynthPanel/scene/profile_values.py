"""The values of volumes along a line: as they are now, quickly enough to follow a dragged end."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from ContrastSynthLib.analysis.profiles import Profile, line_profile, profile_error
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.phantom.marks import is_virtual_patient
from ContrastSynthLib.registry import IMAGE
from ContrastSynthLib.volumes import Volume
from ContrastSynthPanel.background import Task
from ContrastSynthPanel.scene import bridge, relations, result_names
from ContrastSynthPanel.scene.bridge import VOLUME
from ContrastSynthPanel.scene.csv_files import write_cells

Node = Any  # of MRML


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

    def __init__(self) -> None:
        """Hold nothing."""
        self._read: dict[str, tuple[int, Volume | RequestError]] = {}

    def holds(self, nodes: Iterable[Node]) -> bool:
        """Return whether the volumes of all these nodes are here as they are now."""
        return all(self._read.get(key_of(one), (None,))[0] == stamp_of(one) for one in nodes)

    def reading(self, labels: Mapping[Node, str]) -> Task:
        """Read, as a task, what is not here as it is now."""
        for node, label in labels.items():
            if self.holds([node]):
                continue
            yield _("Reading '{name}'").format(name=label)
            stamp = stamp_of(node)
            try:
                read = yield from bridge.reading_volume(node)
            except RequestError as error:
                read = error
            self._read[key_of(node)] = stamp, read

    def volume(self, node: Node) -> Volume:
        """Return a node's volume where it lies now; errors as in bridge.volume_from_node."""
        grid = bridge.world_grid(node)
        read = self._read[key_of(node)][1]
        if isinstance(read, RequestError):
            raise read
        return replace(read, grid=grid)

    def keep_only(self, nodes: Iterable[Node]) -> None:
        """Forget the volumes of other nodes."""
        kept = {key_of(node) for node in nodes}
        self._read = {key: value for key, value in self._read.items() if key in kept}


def key_of(node: Node) -> str:
    """Return what tells a node from others; those within a series have IDs of their own."""
    return f"{node.GetID()} {node.GetAddressAsString('')}"


def stamp_of(node: Node) -> int:
    """Return what is another number once the voxels of a node have changed."""
    image = node.GetImageData()
    return 0 if image is None else image.GetMTime()


def images() -> list[Node]:
    """Return the scans and synthetic images of the scene, no maps and no labels, oldest first."""
    found = relations.volumes_and_series()
    return [
        one for one in found if one.GetClassName() == VOLUME and relations.kind_of(one) == IMAGE
    ]


def told_apart(nodes: Iterable[Node]) -> dict[Node, str]:
    """Return a label of each node: its name, where several have the same with the patient's.

    Where that does not tell either, a number does.
    """
    nodes, labels = list(nodes), dict[Node, str]()
    names = [node.GetName() for node in nodes]
    for node in nodes:
        name, patient = node.GetName(), ""
        if names.count(name) > 1:
            patient = relations.patient_name(node)
        label = f"{name} ({patient})" if patient else name
        labels[node] = distinct(label, list(labels.values()))
    return labels


def values_along(
    cache: VolumeCache, labels: Mapping[Node, str], ends: Sequence[Sequence[float]]
) -> list[Along]:
    """Return volumes, by their nodes, reference first, along a line from one end to the other.

    Raises RequestError where the reference has no value there.
    """
    found: list[Along] = []
    reference: Profile | None = None
    start, end = ends
    for node, label in labels.items():
        try:
            volume = cache.volume(node)
        except RequestError as error:
            if reference is None:
                raise
            found.append(Along(label, problem=str(error)))
            continue
        made = bool(volume.synthetic) and not is_virtual_patient(volume.synthetic)
        along = Along(result_names.synthetic_name(label, made))
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
    shown = {one.label: one.profile for one in found if one.profile is not None}
    first = next(iter(shown.values()))
    head = ["distance_mm", "r_mm", "a_mm", "s_mm", *shown]
    rows = [head]
    for n, (distance, ras) in enumerate(zip(first.distance_mm, first.ras_mm, strict=True)):
        values = [float(one.values[n]) for one in shown.values()]
        text = ["" if math.isnan(value) else f"{value:.9g}" for value in values]
        rows.append([f"{distance:.6g}", *(f"{x:.6f}" for x in ras), *text])
    write_cells(path, rows)
